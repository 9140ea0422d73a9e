package clickhouse

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
)

// A block ends with its month, at its limit and before damage, which the next
// one meets. Its hash is the one that ledgers hold since ever, and memory that
// is used again keeps no row, nor does an insert that failed give its memory up.
func TestPackCutsBlocks(t *testing.T) {
	damaged := errors.New("damaged")
	records := make([]audit.Record, 9)
	for i := range records {
		at := time.Date(2026, 10, 31, 23, 59, 57+i, 0, time.UTC) // the fourth is in November
		records[i] = audit.Record{Seq: uint64(i) + 1, Time: at, Kind: audit.KindStart}
	}
	walk := func(from uint64, limit int, visit func(*audit.Record, []byte) bool) error {
		for i := int(from) - 1; i < int(from)-1+limit; i++ {
			if i == len(records)-1 {
				return damaged
			}
			if !visit(&records[i], records[i].MarshalCanonical()) {
				break
			}
		}
		return nil
	}
	s := new(Store)
	for _, want := range []block{{first: 1, last: 3, month: 202610}, {first: 4, last: 7, month: 202611}, {first: 8, last: 8, month: 202611}} {
		h := sha256.New()
		for i := want.first; i <= want.last; i++ {
			b := records[i-1].MarshalCanonical()
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
			h.Write(b)
		}
		want.hash = hex.EncodeToString(h.Sum(nil))
		p, err := s.pack(walk, want.first, 4)
		if err != nil || p.block != want || p.columns.rows() != int(want.rows()) || !p.at.Equal(records[want.first-1].Time) {
			t.Fatalf("got %+v, %v, want %+v", p, err, want)
		}
		s.free(p)
	}
	if p, err := s.pack(walk, 9, 4); p != nil || !errors.Is(err, damaged) {
		t.Errorf("got %+v, %v", p, err)
	}
	lent := newEncoder()
	lent.lent = true
	s = new(Store)
	s.free(&packed{columns: lent})
	if s.encoder() == lent {
		t.Error("memory was used again that an insert may still be sending")
	}
}
