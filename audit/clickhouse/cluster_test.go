package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/engine/enginetest"
)

// newCluster starts two engines that know each other as the shards of "trust".
func newCluster(t *testing.T) [2]*engine.Engine {
	t.Helper()
	var engines [2]*engine.Engine
	var dirs [2]string
	shards := ""
	for i := range engines {
		dirs[i] = t.TempDir()
		cfg := enginetest.Config(t, dirs[i])
		cfg.Native = true
		e := enginetest.Start(t, cfg)
		engines[i] = e
		host, port, _ := strings.Cut(e.NativeAddr(), ":")
		shards += fmt.Sprintf("<shard><replica><host>%s</host><port>%s</port><user>%s</user><password>%s</password></replica></shard>",
			host, port, e.User(), e.Password())
	}
	for i, e := range engines {
		if err := os.Mkdir(filepath.Join(dirs[i], "config.d"), 0o700); err != nil {
			t.Fatal(err)
		}
		xml := "<clickhouse><remote_servers><trust>" + shards + "</trust></remote_servers></clickhouse>"
		if err := os.WriteFile(filepath.Join(dirs[i], "config.d", "cluster.xml"), []byte(xml), 0o600); err != nil {
			t.Fatal(err)
		}
		pid := e.PID()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the engine to come back", func() bool { return e.PID() != pid }, func() any { return e.Err() })
	}
	return engines
}

// Each gateway ships into its own shard, and a question to either is answered
// from both.
func TestShardsHoldTheirOwnAndAnswerForAll(t *testing.T) {
	engines := newCluster(t)
	var stores [2]*clickhouse.Store
	for i, e := range engines {
		s, err := clickhouse.Open(t.Context(), clickhouse.Config{
			Addr: []string{e.Addr()}, User: e.User(), Password: e.Password(), Cluster: clickhouse.Cluster{Name: "trust"},
			QueryTimeout: time.Minute, Log: discard(), Now: func() time.Time { return start().Add(time.Hour) },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		stores[i] = s
		for range 2 { // as often as wanted
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, s := range stores {
		records := []audit.Record{a("N1", "P1", "allow", nil), outcome("P1", 1, 200, audit.Success), a("N2", fmt.Sprint("Q", i), "deny", nil)}
		for j := range records {
			records[j].Source, records[j].Seq, records[j].Time = fmt.Sprint("gw", i+1), uint64(j)+1, start().Add(time.Duration(j)*time.Second)
		}
		shipper, err := clickhouse.NewShipper(shipperConfig(s, &named{source{records: records, ended: errEnded}, records[0].Source}, new(failing), nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := shipper.Run(t.Context()); !errors.Is(err, errEnded) {
			t.Fatal(err)
		}
		if err := shipper.Reconcile(t.Context()); err != nil || shipper.Status().Missing != 0 {
			t.Errorf("%+v, %v", shipper.Status(), err)
		}
	}
	for i, s := range stores {
		sources, err := s.Sources(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := []clickhouse.Bounds{{Source: "gw1", First: 1, Last: 3, Count: 3}, {Source: "gw2", First: 1, Last: 3, Count: 3}}
		if diff := cmp.Diff(want, sources); diff != "" {
			t.Error(diff)
		}
		got, err := s.Accesses(t.Context(), audit.Query{Patient: "P1"})
		if err != nil || len(got) != 2 || !got[0].Settled || !got[1].Settled {
			t.Errorf("%v, %v", got, err)
		}
		sql(t, engines[i], fmt.Sprintf("SELECT throwIf(count() != 3 OR any(source) != 'gw%d') FROM matron.records_local", i+1))
	}
}

// named is a source with another name.
type named struct {
	source
	name string
}

func (n *named) Source() string { return n.name }

func (n *named) Wait(ctx context.Context, after uint64) error { return n.source.Wait(ctx, after) }

func (n *named) Walk(from uint64, limit int, visit func(*audit.Record, []byte) bool) error {
	return n.source.Walk(from, limit, visit)
}

func (n *named) Committed() uint64 { return n.source.Committed() }
