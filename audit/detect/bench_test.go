package detect_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
)

// BenchmarkTake is what one access costs, the looks at what has come since included:
// of a ward at work, and of one person who opens record after record.
func BenchmarkTake(b *testing.B) {
	for name, person := range map[string]func(int) string{
		"ward": func(i int) string { return fmt.Sprint("s", i%300) },
		"one":  func(int) string { return "s1" },
	} {
		b.Run(name, func(b *testing.B) {
			l := live(hospital(b))
			const tick = 5000
			records := make([]audit.Record, tick)
			seq := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				now := noon().Add(time.Duration(seq) * time.Millisecond)
				for i := range records {
					seq++
					records[i] = view(seq, person(i), fmt.Sprint("p-", person(i), "-", 3*(i/1500+int(seq)/tick)), func(r *audit.Record) {
						r.Time, r.Deliberate = now, "true"
					})
				}
				l.Take(records, now)
				l.Look(now)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(seq), "ns/access")
		})
	}
}
