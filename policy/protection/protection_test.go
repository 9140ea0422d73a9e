package protection_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/matron-epr/matron/policy/protection"
)

func built(tb testing.TB, staff []string, patients ...protection.Patient) *protection.List {
	tb.Helper()
	b := protection.New()
	for _, p := range patients {
		if err := b.AddPatient(p); err != nil {
			tb.Fatal(err)
		}
	}
	for _, n := range staff {
		if err := b.AddStaff(n); err != nil {
			tb.Fatal(err)
		}
	}
	return b.Build()
}

// hazard:GW-26 control:C-204
func TestProtectionByEveryNumber(t *testing.T) {
	l := built(t, []string{"999 000 0018"},
		protection.Patient{ID: "P1", NHSNumber: "9990000018"},                              // works here
		protection.Patient{ID: "P2", NHSNumber: "999-000-0026", Classes: []string{"vip"}},  //
		protection.Patient{ID: "P3", MergedInto: "P4"},                                     // an older number of P5
		protection.Patient{ID: "P4", MergedInto: "P5"},                                     //
		protection.Patient{ID: "P5", NHSNumber: "9990000034", Classes: []string{"sealed"}}, //
		protection.Patient{ID: "P6", NHSNumber: "9990000042"},                              // nobody's business
		protection.Patient{ID: "P7", NHSNumber: "9990000034", Classes: []string{"s-flag"}}, // registered twice
	)
	for _, c := range []struct{ id, nhs, want string }{
		{"P1", "", "staff"},
		{"", "9990000018", "staff"},
		{"9990000018", "", "staff"}, // an application without ids of its own
		{"P2", "", "vip"},
		{"P9", "9990000026", "vip"},
		{"P1", "9990000026", "staff vip"},
		{"P3", "", "s-flag sealed"},
		{"P4", "", "s-flag sealed"},
		{"P5", "", "s-flag sealed"},
		{"P7", "", "s-flag sealed"},
		{"P6", "9990000042", ""},
		{"", "", ""},
		{"unheard of", "9990000050", ""},
	} {
		if got := strings.Join(l.Classes(l.Of(c.id, c.nhs)), " "); got != c.want {
			t.Errorf("%q %q: %q, want %q", c.id, c.nhs, got, c.want)
		}
	}
	both := l.Of("P1", "") | l.Of("P2", "") | l.Of("P3", "")
	if got := l.Classes(both); !slices.Equal(got, []string{"s-flag", "sealed", "staff", "vip"}) {
		t.Errorf("together: %v", got)
	}
}

func TestListWithNobody(t *testing.T) {
	l := built(t, nil)
	if l.Len() != 0 || l.Classes(l.Of("P1", "9990000018")) != nil {
		t.Error("somebody is protected")
	}
}

func TestClassesAreWords(t *testing.T) {
	for _, class := range []string{"", "two words", "a,b"} {
		if err := protection.New().AddPatient(protection.Patient{ID: "P1", Classes: []string{class}}); err == nil {
			t.Errorf("%q is a class", class)
		}
	}
	b := protection.New()
	var err error
	for i := range 17 {
		err = b.AddPatient(protection.Patient{ID: "P1", Classes: []string{fmt.Sprint("c", i)}})
	}
	if err == nil {
		t.Error("no bound")
	}
}

// A million patients, each of them protected: what a list takes and how long one
// question lasts.
func BenchmarkOfMillion(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	build := protection.New()
	for i := range 1_000_000 {
		p := protection.Patient{ID: fmt.Sprint("P", i), NHSNumber: fmt.Sprintf("%010d", i), Classes: []string{"deceased"}}
		if err := build.AddPatient(p); err != nil {
			b.Fatal(err)
		}
	}
	l := build.Build()
	build = nil
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportAllocs()
	for b.Loop() {
		if len(l.Classes(l.Of("P500000", "0000500000"))) != 1 {
			b.Fatal("not protected")
		}
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
	runtime.KeepAlive(l)
}
