package clickhouse_test

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/engine/enginetest"
	"github.com/matron-epr/matron/audit/journal"
)

// watched is a source that says where it was read from.
type watched struct {
	*journal.Journal
	mu    sync.Mutex
	reads map[uint64]int
	third chan struct{} // closed when the third block is read
}

func (w *watched) Walk(from uint64, limit int, visit func(*audit.Record, []byte) bool) error {
	w.mu.Lock()
	if w.reads[from]++; from == 1001 && w.reads[from] == 1 {
		close(w.third)
	}
	w.mu.Unlock()
	return w.Journal.Walk(from, limit, visit)
}

// stalled holds back the insert of the second block until the third is read.
type stalled struct {
	net.Conn
	t     *testing.T
	third <-chan struct{}
}

func (s stalled) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("insert_deduplication_token=gw1%2F501-")) {
		select {
		case <-s.third:
		case <-time.After(time.Minute):
			s.t.Error("the third block was not read while the second was on its way")
		}
	}
	return s.Conn.Write(b)
}

// While a block is on its way the next one is packed, and it is read only once.
func TestNextBlockIsPackedMeanwhile(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config(t, t.TempDir()))
	openStore(t, e, "http")
	d := newDisk(t)
	d.fill(1000) // four blocks within a month
	src := &watched{Journal: d.journal, reads: map[uint64]int{}, third: make(chan struct{})}
	s, err := clickhouse.Open(t.Context(), clickhouse.Config{
		Addr: []string{e.Addr()}, User: e.User(), Password: e.Password(), Log: discard(), QueryTimeout: time.Minute,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			return stalled{conn, t, src.third}, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	shipper := d.shipper(s, func(c *clickhouse.ShipperConfig) { c.Source = src })
	stop := running(t, shipper)
	verified(t, shipper)
	stop()
	exact(t, s, 2000)
	src.mu.Lock()
	defer src.mu.Unlock()
	for from, n := range src.reads {
		if n != 1 {
			t.Errorf("the block from %d was read %d times", from, n)
		}
	}
}
