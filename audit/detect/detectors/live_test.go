package detectors_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect/detectors"
	"github.com/matron-epr/matron/audit/detect/table"
)

// streaming is what the streaming detectors said of days, as one reads it.
func streaming(days []detectors.Day) map[string]float64 {
	live := map[string]bool{}
	for _, d := range detectors.Definitions() {
		live[d.ID] = d.Streaming
	}
	out := map[string]float64{}
	for _, d := range days {
		note := func(about string, signals []detectors.Signal) {
			for _, g := range signals {
				if live[g.Detector] {
					out[fmt.Sprint(d.Person, " ", d.Date, " ", about, " ", g.Detector, " ", g.Value)] = g.P
				}
			}
		}
		note("", d.Signals)
		for _, v := range d.Visits {
			note(v.Patient, v.Signals)
		}
	}
	return out
}

// week is what a small hospital does in a week.
func week() ([]audit.Record, []detectors.Strength) {
	rng := rand.New(rand.NewPCG(3, 4))
	people := []string{"ann", "bob", "cat", "dan", "gone", "stranger", "robot"}
	patients := []string{"self", "old-self", "home", "kin", "near", "colleague", "boss", "vip", "left"}
	for i := range 40 {
		patients = append(patients, fmt.Sprint("p", i))
	}
	var records []audit.Record
	var strength []detectors.Strength
	for i := range 1500 {
		r := audit.Record{
			Kind: audit.KindDecision, Source: "gw", Time: at(i/250, i%250*2), Person: people[rng.IntN(len(people))], Patient: patients[rng.IntN(len(patients))],
			Action: "read", Effect: "allow", Deliberate: "true", Session: fmt.Sprint("s", i%5), Roles: []string{"nurse"}, Seq: uint64(i + 1),
		}
		s := detectors.Strength(rng.IntN(2))
		switch rng.IntN(12) {
		case 0:
			r.Action, r.Patient = "search", ""
		case 1:
			r.Effect = "deny"
		case 2:
			r.Basis = audit.BasisBreakGlass + "1"
		case 3:
			r.Action = "print"
		case 4:
			r.Deliberate = "false"
		case 5:
			s = detectors.Strong
		}
		records, strength = append(records, r), append(strength, s)
	}
	return records, strength
}

// TestLiveMeasuresWhatARunMeasures: what comes access by access is measured, and set
// against the same, as what stands in a table.
func TestLiveMeasuresWhatARunMeasures(t *testing.T) {
	c := world()
	records, strength := week()
	tab := table.New()
	for i := range records {
		tab.Witness(&records[i])
	}
	tab.Settle()
	found := detectors.Run(detectors.Input{Accesses: tab, Explained: strength, Context: c, Location: time.UTC})
	want := streaming(found.Days)
	if len(want) < 100 {
		t.Fatalf("%d signals", len(want))
	}
	take := func(l *detectors.Live, from, to int) {
		for i := from; i < to; i++ {
			l.Take(&records[i], records[i].Time, func() detectors.Strength { return strength[i] })
		}
	}
	end := records[len(records)-1].Time
	l := detectors.NewLive(c, time.UTC)
	l.Seen(records[0].Time, nil)
	take(l, 0, len(records))
	if d := cmp.Diff(want, streaming(l.Look(end).Days)); d != "" {
		t.Error(d)
	}
	if kept := l.Table().Len(); kept >= len(records) {
		t.Errorf("%d rows are kept of %d", kept, len(records))
	}
	// In pieces the last look at each day says the same values, what they are set
	// against aside.
	l = detectors.NewLive(c, time.UTC)
	l.Seen(records[0].Time, nil)
	last := map[string]detectors.Day{}
	var days []detectors.Day
	for from := 0; from < len(records); from += 50 {
		take(l, from, from+50)
		fresh := l.Look(records[from+49].Time)
		for _, d := range fresh.Days {
			last[fmt.Sprint(d.Person, d.Date)] = d
		}
		for _, c := range fresh.Crowds {
			days = append(days, c.Days...)
		}
	}
	got := streaming(slices.AppendSeq(days, maps.Values(last)))
	for said := range want {
		if _, ok := got[said]; !ok {
			t.Errorf("in pieces nobody said %s", said)
		}
	}
}
