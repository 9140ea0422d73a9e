package detectors_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect/detectors"
	"github.com/matron-epr/matron/audit/detect/table"
	"github.com/matron-epr/matron/audit/feeds"
)

func at(day, minute int) time.Time {
	return time.Date(2026, 9, 1+day, 9, minute, 0, 0, time.UTC)
}

// world is a small hospital: ann and bob work on ASH, cat on OAK.
func world() feeds.Context {
	day := func(n int) time.Time { return time.Date(2026, 9, 1+n, 0, 0, 0, 0, time.UTC) }
	c := feeds.Context{
		Staff: []feeds.Staff{
			{Person: "ann", Roles: []string{"nurse"}, Wards: []string{"ASH"}, NHS: "n-ann", Name: "ann", Family: "f", Address: "home", Unit: "u", Manager: "bob"},
			{Person: "bob", Roles: []string{"nurse"}, Wards: []string{"ASH"}, NHS: "n-bob", Name: "bob", Unit: "v"},
			{Person: "cat", Roles: []string{"nurse"}, Wards: []string{"OAK"}, NHS: "n-cat", Name: "cat", Unit: "w"},
			{Person: "dan", Roles: []string{"nurse"}, Wards: []string{"ELM"}, Name: "dan", Unit: "w"},
			{Person: "gone", Roles: []string{"nurse"}, End: day(-1)},
			{Person: "robot", Roles: []string{"machine"}, Kind: "machine", NHS: "n-robot"},
		},
		Patients: []feeds.Patient{
			{ID: "self", NHS: "n-ann"},
			{ID: "old-self", MergedInto: "self"},
			{ID: "home", Address: "home", Unit: "u"},
			{ID: "kin", Kin: []feeds.Kin{{Name: "ann"}}},
			{ID: "near", Unit: "u"},
			{ID: "colleague", NHS: "n-cat"},
			{ID: "boss", NHS: "n-bob"},
			{ID: "vip", Flags: []string{"vip"}},
		},
		Care:    feeds.CareOf(feeds.Care{Patient: "left", Kind: "inpatient", Start: day(-60), End: day(-20), Ward: "ASH"}),
		Rota:    []feeds.Shift{},
		Devices: []feeds.Device{{Device: "PC-ASH", Ward: "ASH"}, {Device: "PC-OAK", Ward: "OAK"}, {Device: "COW-OAK", Ward: "OAK", Kind: "trolley"}},
	}
	for _, p := range []string{"ann", "bob", "cat", "dan"} {
		for n := range 60 {
			c.Rota = append(c.Rota, feeds.Shift{Person: p, Start: day(n).Add(7 * time.Hour), End: day(n).Add(15 * time.Hour)})
		}
	}
	for i := range 9 {
		c.Care.Add(feeds.Care{Patient: fmt.Sprint("oak", i), Kind: "inpatient", Start: day(-1), Ward: "OAK"})
	}
	return c
}

// look is one access; strong ones are explained.
type look struct {
	person, patient, action string
	at                      time.Time
	strong                  bool
	more                    audit.Imported
}

func run(c feeds.Context, looks []look) detectors.Found {
	slices.SortStableFunc(looks, func(a, b look) int { return a.at.Compare(b.at) })
	t := table.New()
	var explained []detectors.Strength
	for i, l := range looks {
		r := l.more
		r.ID, r.Person, r.Patient, r.Time, r.Action = fmt.Sprint(i), l.person, l.patient, l.at, l.action
		if r.Action == "" {
			r.Action = "read"
		}
		t.Add(&r)
		strength := detectors.Unexplained
		if l.strong {
			strength = detectors.Strong
		}
		explained = append(explained, strength)
	}
	return detectors.Run(detectors.Input{Accesses: t, Explained: explained, Context: c, Location: time.UTC})
}

// says are the values of one detector.
func says(f detectors.Found, id string) []float64 {
	var out []float64
	add := func(all []detectors.Signal) {
		for _, g := range all {
			if g.Detector == id {
				out = append(out, g.Value)
			}
		}
	}
	for _, d := range f.Days {
		add(d.Signals)
		for _, v := range d.Visits {
			add(v.Signals)
		}
	}
	return out
}

func many(n int, l look, step time.Duration, name string) []look {
	var out []look
	for i := range n {
		l.patient = fmt.Sprintf("%s%d", name, i)
		out = append(out, l)
		l.at = l.at.Add(step)
	}
	return out
}

// TestEachDetector points at what it is for, and not at what is next to it.
func TestEachDetector(t *testing.T) {
	one := func(patient string) look { return look{person: "ann", patient: patient, at: at(3, 0)} }
	strong := func(l look) look { l.strong = true; return l }
	with := func(l look, m audit.Imported) look { l.more = m; return l }
	days := func(n int, patient string) (out []look) {
		for i := range n {
			out = append(out, look{person: "ann", patient: patient, at: at(i, 0)})
		}
		return out
	}
	crowd := func(people ...string) (out []look) {
		for _, p := range people {
			out = append(out, look{person: p, patient: "x", at: at(3, 0)})
		}
		return out
	}
	late := one("x")
	late.at = at(3, 0).Add(11 * time.Hour)
	printed := many(5, look{person: "ann", at: at(3, 0), action: "print", strong: true}, time.Minute, "p-")
	swapped := []look{
		strong(with(one("a"), audit.Imported{Device: "PC-ASH"})), with(one("b"), audit.Imported{Device: "PC-OAK"}), with(one("c"), audit.Imported{Device: "PC-OAK"}),
	}
	for id, row := range map[string]struct{ yes, no []look }{
		"own-record":         {[]look{strong(one("old-self"))}, []look{one("home"), {person: "robot", patient: "self", at: at(3, 0)}}},
		"household":          {[]look{one("kin")}, []look{strong(one("kin")), one("near")}},
		"neighbour":          {[]look{one("near")}, []look{one("home"), one("colleague")}},
		"co-worker":          {[]look{one("boss")}, []look{one("self"), one("near")}},
		"vip-crowd":          {crowd("ann", "cat", "dan"), crowd("ann", "bob", "cat")},
		"post-care":          {[]look{one("left")}, []look{one("oak1"), {person: "ann", patient: "left", at: at(3, 0), action: "update"}}},
		"break-glass":        {[]look{with(one("x"), audit.Imported{BreakGlass: true})}, []look{one("x")}},
		"out-of-hours":       {[]look{late}, []look{one("x")}},
		"off-ward":           {many(4, one(""), time.Minute, "oak"), many(2, one(""), time.Minute, "oak")},
		"bulk":               {many(20, one(""), time.Second, "b-"), many(20, one(""), time.Minute, "b-")},
		"enumeration":        {many(8, strong(one("")), time.Minute, "H100"), many(7, one(""), time.Minute, "H100")},
		"shared-credentials": {swapped, swapped[:2]},
		"dormant-leaver":     {[]look{{person: "gone", patient: "x", at: at(3, 0)}}, []look{one("x")}},
		"exfiltration":       {printed, printed[:4]},
		"obsession":          {days(2, "x"), days(1, "x")},
		"serial-co-worker":   {[]look{one("boss"), one("colleague")}, []look{one("boss"), one("boss")}},
		"low-and-slow":       {many(5, one(""), 24*time.Hour, "s-"), many(4, one(""), 24*time.Hour, "s-")},
		"search": {
			[]look{{person: "ann", action: "search", at: at(3, 0)}, {person: "ann", patient: "x", at: at(3, 1)}},
			[]look{{person: "ann", action: "search", at: at(3, 0)}, {person: "ann", patient: "x", at: at(3, 2)}},
		},
		"no-care": {[]look{one("x")}, []look{one("oak1"), one("left")}},
	} {
		if got := says(run(world(), row.yes), id); len(got) == 0 {
			t.Errorf("%s says nothing", id)
		}
		if got := says(run(world(), row.no), id); len(got) > 0 {
			t.Errorf("%s says %v", id, got)
		}
	}
}

// TestDeclarations: a reviewer can read what each detector is, and no two share an id.
func TestDeclarations(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range detectors.Definitions() {
		if d.Version < 1 || d.Title == "" || d.Description == "" || d.FalsePositives == "" || d.Runbook == "" || detectors.Say(d.ID, 2) == "" && detectors.Say(d.ID, 1) == "" || seen[d.ID] {
			t.Errorf("%+v", d)
		}
		seen[d.ID] = true
	}
}

// TestRareWithinTheRole: what the whole role does weighs little.
func TestRareWithinTheRole(t *testing.T) {
	var looks []look
	c := world()
	c.Staff = nil
	for i := range 600 {
		role := []string{"clerk", "doctor"}[i%2]
		p := fmt.Sprint(role, i)
		c.Staff = append(c.Staff, feeds.Staff{Person: p, Roles: []string{role}})
		n := 1
		if role == "clerk" || i == 1 {
			n = 6
		}
		looks = append(looks, many(n, look{person: p, at: at(3, 0), action: "print", strong: true}, time.Minute, "p-")...)
	}
	p := map[string]float64{}
	for _, d := range run(c, looks).Days {
		for _, g := range d.Signals {
			if g.Detector == "exfiltration" {
				p[d.Role] = g.P
			}
		}
	}
	if p["clerk"] < .5 || p["doctor"] > p["clerk"]/2 {
		t.Errorf("%v", p)
	}
}

// TestMissingFeedsAreNamed and the rest goes on.
func TestMissingFeedsAreNamed(t *testing.T) {
	c := world()
	c.Rota = nil
	f := run(c, []look{{person: "ann", patient: "self", at: at(3, 0)}})
	why := "not evaluated: no rota feed"
	want := []detectors.Missing{{Detector: "out-of-hours", Version: 1, Reason: why}, {Detector: "ward-silence", Version: 1, Reason: why}}
	if d := cmp.Diff(want, f.NotEvaluated); d != "" {
		t.Error(d)
	}
	if len(says(f, "own-record")) != 1 {
		t.Error("the others fell silent too")
	}
	if f := run(feeds.Context{}, []look{{person: "ann", patient: "x", at: at(3, 0)}}); len(f.NotEvaluated) == 0 {
		t.Error("nothing is missing without feeds")
	}
	if f := run(world(), nil); len(f.Days) > 0 {
		t.Error("something was found in nothing")
	}
}

// TestSameInputSameFindings, in whatever order it comes.
func TestSameInputSameFindings(t *testing.T) {
	var looks []look
	for i := range 200 {
		looks = append(looks, look{person: []string{"ann", "bob", "cat"}[i%3], patient: []string{"self", "kin", "vip", "left"}[i%4], at: at(i%9, 0).Add(time.Duration(i) * time.Second)})
	}
	options := cmpopts.IgnoreUnexported(detectors.Found{})
	rows := cmpopts.IgnoreFields(detectors.Visit{}, "Rows")
	want := run(world(), slices.Clone(looks))
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(looks), func(i, j int) { looks[i], looks[j] = looks[j], looks[i] })
	if d := cmp.Diff(want, run(world(), looks), options, rows); d != "" {
		t.Error(d)
	}
}

// TestLooksAtNobodyOnceItIsToStop: whoever waits for a stop does not wait for the rest.
func TestLooksAtNobodyOnceItIsToStop(t *testing.T) {
	tab := table.New()
	tab.Add(&audit.Imported{ID: "1", Person: "ann", Patient: "self", Time: at(0, 0), Action: "read"})
	in := detectors.Input{Accesses: tab, Explained: make([]detectors.Strength, 1), Context: world(), Location: time.UTC, Progress: new(table.Progress)}
	if f := detectors.Run(in); len(f.Days) != 1 || in.Progress.Rows.Load() != 1 {
		t.Errorf("%d days, %d rows done", len(f.Days), in.Progress.Rows.Load())
	}
	in.Progress.Stop.Store(true)
	if f := detectors.Run(in); len(f.Days) != 0 {
		t.Errorf("%d days after it was to stop", len(f.Days))
	}
}
