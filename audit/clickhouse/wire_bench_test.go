package clickhouse

import (
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse/workload"
)

// BenchmarkEncode measures what one block costs the gateway before it is sent.
func BenchmarkEncode(b *testing.B) {
	records := make([]audit.Record, 50_000)
	workload.New(1, time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC), 200_000).Fill(records)
	e := newEncoder()
	for name, step := range map[string]func(){
		"hash": func() { contentHash(records) },
		"wire": func() {
			e.encode(records)
			e.body.Reset()
			if err := (proto.Block{Columns: len(e.input), Rows: len(records)}).EncodeRawBlock(&e.body, 0, e.input); err != nil {
				b.Fatal(err)
			}
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(records)), "ns/record")
		})
	}
}
