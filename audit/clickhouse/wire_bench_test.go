package clickhouse

import (
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse/workload"
)

// BenchmarkPack measures what one block costs the gateway before it is sent,
// but for reading it.
func BenchmarkPack(b *testing.B) {
	records := make([]audit.Record, 50_000)
	workload.New(1, time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC), 200_000).Fill(records)
	canonical := make([][]byte, len(records))
	for i := range records {
		canonical[i] = records[i].MarshalCanonical()
	}
	walk := func(_ uint64, _ int, visit func(*audit.Record, []byte) bool) error {
		for i := range records {
			visit(&records[i], canonical[i])
		}
		return nil
	}
	s := new(Store)
	b.ReportAllocs()
	for b.Loop() {
		p, err := s.pack(walk, 1, len(records))
		if err != nil {
			b.Fatal(err)
		}
		p.columns.body.Reset()
		if err := (proto.Block{Columns: len(p.columns.input), Rows: p.columns.rows()}).EncodeRawBlock(&p.columns.body, 0, p.columns.input); err != nil {
			b.Fatal(err)
		}
		s.free(p)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(records)), "ns/record")
}
