package journal

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
)

// BenchmarkAppend256 measures 256 writers that wait for each record, beside one
// writer that does nothing but write and fdatasync the same bytes one record at
// a time, in the same run on the same disk.
func BenchmarkAppend256(b *testing.B) {
	bare := bareSync(b, 300)
	cfg := config(b)
	cfg.Now = time.Now
	mustCreate(b, cfg)
	j := mustOpen(b, cfg)
	var left atomic.Int64
	left.Store(int64(b.N))
	var writers sync.WaitGroup
	b.ResetTimer()
	cpu, began := cpuTime(b), time.Now()
	for range 256 {
		writers.Go(func() {
			r := sample("9000001")
			for left.Add(-1) >= 0 {
				if _, err := j.Append(b.Context(), r); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	rate := float64(b.N) / time.Since(began).Seconds()
	b.ReportMetric(rate, "records/s")
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-µs/record")
	b.ReportMetric(bare, "bare-syncs/s")
	b.ReportMetric(rate/bare, "x-bare")
	b.ReportMetric(float64(b.N)/float64(j.Stats().Syncs), "records/sync")
	b.StopTimer()
	mustClose(b, j)
}

// BenchmarkAppend1000 measures how long Append takes when 1,000 exchanges a
// second arrive evenly, each with a decision that waits and an outcome that
// does not.
func BenchmarkAppend1000(b *testing.B) {
	cfg := config(b)
	cfg.Now = time.Now
	mustCreate(b, cfg)
	j := mustOpen(b, cfg)
	took := make([]time.Duration, b.N)
	var exchanges sync.WaitGroup
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	b.ResetTimer()
	for i := range b.N {
		<-tick.C
		exchanges.Go(func() {
			began := time.Now()
			mustAppend(b, j, sample("9000001"))
			took[i] = time.Since(began)
			if err := j.Add(&audit.Record{Kind: audit.KindOutcome, Status: 200}); err != nil {
				b.Error(err)
			}
		})
	}
	exchanges.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(2*b.N)/float64(j.Stats().Syncs), "records/sync")
}

// bareSync returns how many write and fdatasync pairs a second the disk does.
func bareSync(b *testing.B, n int) float64 {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "bare"))
	if err != nil {
		b.Fatal(err)
	}
	disk := diskFile{f}
	b.Cleanup(func() { _ = disk.Close() })
	if err := disk.Reserve(1 << 20); err != nil {
		b.Fatal(err)
	}
	record := sample("9000001").MarshalCanonical()
	began := time.Now()
	for i := range n {
		if _, err := disk.WriteAt(record, int64(i*len(record))); err != nil {
			b.Fatal(err)
		}
		if err := disk.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / time.Since(began).Seconds()
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRead measures reading blocks as large as those that are shipped.
func BenchmarkRead(b *testing.B) {
	const block = 20_000
	cfg := config(b)
	mustCreate(b, cfg)
	j := mustOpen(b, cfg)
	records := make([]*audit.Record, block)
	for i := range records {
		records[i] = sample("9000001")
	}
	mustAppend(b, j, records...)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if got, err := j.Read(1, block); err != nil || len(got) != block {
			b.Fatal(len(got), err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/block, "ns/record")
	b.StopTimer()
	mustClose(b, j)
}
