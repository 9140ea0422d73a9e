package limit_test

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/limit"
)

// crowd is how many people are at work in benchmarks: each has opened 40 patients
// and seen 60 more in lists.
const crowd = 100_000

// busy is a Limiter that knows a crowd, and what each of them takes.
func busy(b *testing.B) (*limit.Limiter, []policy.Subject, *clock) {
	b.Helper()
	c := &clock{t: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	number := limit.Number{Hour: 60, Shift: 300}
	l, err := limit.New(limit.Config{Now: c.now, Rules: limit.Rules{Budget: limit.Budget{Opened: number, Listed: number}}})
	if err != nil {
		b.Fatal(err)
	}
	people := make([]policy.Subject, crowd)
	for i := range people {
		people[i] = nurse(fmt.Sprint("user-", i))
	}
	before := heap()
	many, listed := patients(upTo(40)...), patients(upTo(60)...)
	listed.Listed = true
	for i := range people {
		l.Take(people[i], proxy.Interactive, 1)
		l.Meet(people[i], many)
		l.Meet(people[i], listed)
	}
	size := float64(heap()-before) / crowd
	b.Cleanup(func() { b.ReportMetric(size, "B/person") })
	b.ReportAllocs()
	return l, people, c
}

// cpu reports the time that the processor spent on each turn, which others on the
// same machine change less than the time on the wall.
func cpu(b *testing.B) func() {
	b.Helper()
	spent := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := spent()
	return func() { b.ReportMetric(float64(spent()-before)/float64(b.N), "cpu-ns/op") }
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkRequest is all that one request of care asks: its actions and its patient.
func BenchmarkRequest(b *testing.B) {
	l, people, _ := busy(b)
	met := patients(7)
	done := cpu(b)
	for i := 0; b.Loop(); i++ {
		s := people[i*7919%crowd]
		l.Take(s, proxy.Interactive, 1)
		l.Meet(s, met)
	}
	done()
}

func BenchmarkTake(b *testing.B) {
	l, people, _ := busy(b)
	done := cpu(b)
	for i := 0; b.Loop(); i++ {
		l.Take(people[i*7919%crowd], proxy.Interactive, 1)
	}
	done()
}

func BenchmarkMeet(b *testing.B) {
	l, people, _ := busy(b)
	met := patients(7)
	done := cpu(b)
	for i := 0; b.Loop(); i++ {
		l.Meet(people[i*7919%crowd], met)
	}
	done()
}

// BenchmarkPeopleComeAndGo is the time of one request while everybody who was there
// has gone home, and is forgotten as others come: the longest pause is the metric.
func BenchmarkPeopleComeAndGo(b *testing.B) {
	l, _, c := busy(b)
	c.add(24 * time.Hour)
	met := patients(7)
	var longest time.Duration
	done := cpu(b)
	for i := 0; b.Loop(); i++ {
		s := nurse(fmt.Sprint("late-", i%crowd))
		began := time.Now()
		l.Take(s, proxy.Interactive, 1)
		l.Meet(s, met)
		longest = max(longest, time.Since(began))
	}
	done()
	b.ReportMetric(float64(longest.Microseconds()), "longest-µs")
	b.ReportMetric(float64(l.Len()), "remembered")
}

// BenchmarkTenThousandPatients is of somebody who has met as many as are told apart.
func BenchmarkTenThousandPatients(b *testing.B) {
	l, _, c := busy(b)
	s := nurse("harvester")
	for i := range limit.MaxPatients {
		l.Meet(s, patients(i))
	}
	met := patients(7)
	done := cpu(b)
	for i := 0; b.Loop(); i++ {
		if i%10000 == 0 { // a step of the windows now and then
			c.add(5 * time.Minute)
		}
		l.Meet(s, met)
	}
	done()
}
