package care_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/policy/care"
)

var noon = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

func hours(n int) time.Time { return noon.Add(time.Duration(n) * time.Hour) }

func mrn(n string) care.ID { return care.ID{Authority: "RCB", Value: n} }

func nhs(n string) care.ID { return care.ID{Authority: care.NHS, Value: n} }

// ev is a change of patient 1, visit V1, at noon plus some hours.
func ev(kind care.Kind, at int, control string, more ...func(*care.Change)) care.Change {
	c := care.Change{Kind: kind, Patient: []care.ID{mrn("1")}, Source: "PAS", Control: control, At: hours(at), Visit: "V1", Class: 'I'}
	for _, f := range more {
		f(&c)
	}
	return c
}

func ward(w string) func(*care.Change) { return func(c *care.Change) { c.Ward = w } }

func patient(ids ...care.ID) func(*care.Change) { return func(c *care.Change) { c.Patient = ids } }

func prior(id care.ID, visit string) func(*care.Change) {
	return func(c *care.Change) { c.Prior, c.PriorVisit = id, visit }
}

func visit(v string) func(*care.Change) { return func(c *care.Change) { c.Visit = v } }

func class(k care.Class) func(*care.Change) { return func(c *care.Change) { c.Class = k } }

func from(h int) func(*care.Change) { return func(c *care.Change) { c.Start = hours(h) } }

func to(h int) func(*care.Change) { return func(c *care.Change) { c.End = hours(h) } }

func sent(h int) func(*care.Change) { return func(c *care.Change) { c.Sent = hours(h) } }

func clinic(c *care.Change) { c.Clinic = true }

func team(t string) func(*care.Change) { return func(c *care.Change) { c.Team = t } }

func by(number string) func(*care.Change) {
	return func(c *care.Change) {
		c.People = append(c.People, care.Clinician{ID: care.ID{Authority: "GMC", Value: number}})
	}
}

func referred(c *care.Change) {
	c.People = append(c.People, care.Clinician{ID: care.ID{Authority: "GMC", Value: "G1"}, Referring: true})
}

// lists: a nurse on each of the wards A and B, a coder of A, a doctor C1 with a
// registrar in her team, a bank nurse whom only the rota knows.
var lists = care.Lists{
	Staff: []care.Person{
		{Person: "nurseA", Wards: []string{"A"}},
		{Person: "nurseB", Wards: []string{"B"}},
		{Person: "coderA", Wards: []string{"A"}, Long: true},
		{Person: "doctor", Teams: []string{"renal"}, Numbers: []care.ID{{Authority: "GMC", Value: "C1"}}},
		{Person: "registrar", Teams: []string{"renal"}},
		{Person: "gp", Numbers: []care.ID{{Authority: "GMC", Value: "G1"}}},
		{Person: "bank"},
		{Person: "leaver", Wards: []string{"A"}, End: noon},
	},
	Rota:    []care.Shift{{Person: "bank", Ward: "A", Start: hours(1), End: hours(9)}},
	Devices: []care.Device{{Device: "pc1", Ward: "A", To: hours(24)}, {Device: "pc1", Ward: "B", From: hours(24)}},
}

func register(t *testing.T, changes ...care.Change) *care.Register {
	t.Helper()
	r := care.New(care.Windows{})
	r.Use(lists)
	for _, c := range changes {
		m := care.Message{c}
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
		r.Apply(m)
	}
	return r
}

// say writes facts as one line: relation, control and, in brackets, what says so
// about the person and the hours from which and to which it lasts.
func say(facts []care.Fact) string {
	var out []string
	for _, f := range facts {
		s := f.Relation.String() + " " + f.Control
		s += fmt.Sprintf("[%s %d", f.Via, int(f.From.Sub(noon).Hours()))
		if !f.To.IsZero() {
			s += fmt.Sprintf(" to %d", int(f.To.Sub(noon).Hours()))
		}
		out = append(out, s+"]")
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

const d = 24 // hours of a day

// TestRelations holds what each message means for whom. Each row asks about one
// person at some hours.
// hazard:GW-21 control:C-171
func TestRelations(t *testing.T) {
	t.Parallel()
	admit := ev(care.Stay, 0, "a01", ward("A"), by("C1"), referred)
	for _, row := range []struct {
		name    string
		changes []care.Change
		person  string
		at      int
		want    string
	}{
		{"nobody before", []care.Change{admit}, "nurseA", -1, ""},
		{"admitted", []care.Change{admit}, "nurseA", 0, "ward-stay a01[staff list 0]"},
		{"another ward", []care.Change{admit}, "nurseB", 0, ""},
		{"left the hospital", []care.Change{admit}, "leaver", 0, ""},
		{"unknown person", []care.Change{admit}, "visitor", 0, ""},
		{"named", []care.Change{admit}, "doctor", 1, "named-clinician a01[ 0], team-handover a01[staff list 0]"},
		{"team of the named", []care.Change{admit}, "registrar", 1, "team-handover a01[staff list 0]"},
		{"referring", []care.Change{admit}, "gp", 1, "referral a01[ 0]"},
		{"on shift", []care.Change{admit}, "bank", 2, "ward-stay a01[rota 0]"},
		{"handing over", []care.Change{admit}, "bank", 11, "ward-stay a01[rota 0]"},
		{"shift is over", []care.Change{admit}, "bank", 12, ""},
		{"stays a month", []care.Change{admit}, "nurseA", 30 * d, "ward-stay a01[staff list 0]"},
		{"forgotten in the ward", []care.Change{admit}, "nurseA", 400 * d, ""},

		{"transferred, old ward", []care.Change{admit, ev(care.Stay, 5, "a02", ward("B"), by("C1"))}, "nurseA", 6, "ward-stay a01[staff list 0 to 5]"},
		{"transferred, old ward later", []care.Change{admit, ev(care.Stay, 5, "a02", ward("B"))}, "nurseA", 8 * d, ""},
		{"transferred, new ward", []care.Change{admit, ev(care.Stay, 5, "a02", ward("B"))}, "nurseB", 6, "ward-stay a02[staff list 5]"},
		{"transferred, same doctor", []care.Change{admit, ev(care.Stay, 5, "a02", ward("B"), by("C1"))}, "doctor", 6, "named-clinician a02[ 0], team-handover a02[staff list 0]"},
		{"new doctor, same ward", []care.Change{admit, ev(care.Update, 5, "a08", ward("A"), by("C9"))}, "nurseA", 6, "ward-stay a08[staff list 0]"},
		{"nothing new", []care.Change{admit, ev(care.Update, 5, "a08", ward("A"), by("C1"), referred)}, "nurseA", 6, "ward-stay a01[staff list 0]"},
		{"two moves in the same minute", []care.Change{ev(care.Stay, 0, "z2", ward("A"), sent(1)), ev(care.Stay, 0, "a1", ward("B"), sent(2))}, "nurseB", 3, "ward-stay a1[staff list 0]"},
		{"two moves in the same second", []care.Change{ev(care.Stay, 0, "10", ward("B"), sent(1)), ev(care.Stay, 0, "9", ward("A"), sent(1))}, "nurseB", 3, "ward-stay 10[staff list 0]"},
		{"transfer cancelled, old ward", []care.Change{admit, ev(care.Stay, 5, "a02", ward("B")), ev(care.CancelMove, 6, "a12")}, "nurseA", 30 * d, "ward-stay a01[staff list 0]"},
		{"transfer cancelled, wrong ward", []care.Change{admit, ev(care.Stay, 5, "a02", ward("B")), ev(care.CancelMove, 6, "a12")}, "nurseB", 7, ""},
		{"wrong ward at that time", []care.Change{admit, ev(care.Stay, 5, "a02", ward("B")), ev(care.CancelMove, 6, "a12")}, "nurseB", 5, "ward-stay a02[staff list 5 to 6]"},
		{"nothing to cancel", []care.Change{admit, ev(care.CancelMove, 6, "a12")}, "nurseA", 7, "ward-stay a01[staff list 0]"},

		{"discharged", []care.Change{admit, ev(care.End, 5, "a03")}, "nurseA", 6 * d, "ward-stay a01[staff list 0 to 5]"},
		{"discharged a while ago", []care.Change{admit, ev(care.End, 5, "a03")}, "nurseA", 8 * d, ""},
		{"coding takes longer", []care.Change{admit, ev(care.End, 5, "a03")}, "coderA", 30 * d, "ward-stay a01[staff list 0 to 5]"},
		{"doctor writes the letter", []care.Change{admit, ev(care.End, 5, "a03")}, "doctor", 30 * d, "named-clinician a01[ 0 to 5], team-handover a01[staff list 0 to 5]"},
		{"updated afterwards", []care.Change{admit, ev(care.End, 5, "a03"), ev(care.Update, 9, "a08", ward("B"))}, "nurseB", 10, ""},
		{"discharge cancelled", []care.Change{admit, ev(care.End, 5, "a03"), ev(care.CancelEnd, 6, "a13")}, "nurseA", 30 * d, "ward-stay a01[staff list 0]"},
		{"discharge in an update", []care.Change{admit, ev(care.Update, 9, "a08", ward("A"), by("C1"), referred, to(5))}, "nurseA", 9, "ward-stay a01[staff list 0 to 5]"},
		{"admission never heard of", []care.Change{ev(care.End, 5, "a03", ward("A"), from(-20))}, "nurseA", 6, "ward-stay a03[staff list -20 to 5]"},

		{"admission cancelled", []care.Change{admit, ev(care.CancelStay, 2, "a11")}, "nurseA", 3, ""},
		{"admission cancelled, doctor", []care.Change{admit, ev(care.CancelStay, 2, "a11")}, "doctor", 3, ""},
		{"updated after it was cancelled", []care.Change{admit, ev(care.CancelStay, 2, "a11"), ev(care.Update, 3, "a08", ward("A"))}, "nurseA", 4, ""},
		{"before it was cancelled", []care.Change{admit, ev(care.CancelStay, 2, "a11")}, "nurseA", 1, "ward-stay a01[staff list 0 to 2]"},
		{"admitted after all", []care.Change{admit, ev(care.CancelStay, 2, "a11"), ev(care.Stay, 3, "a01b", ward("A"))}, "nurseA", 4, "ward-stay a01b[staff list 3]"},

		{"expected", []care.Change{ev(care.Plan, 0, "a05", ward("A"), from(7*d), to(7*d))}, "nurseA", 5 * d, "ward-stay a05[staff list 168 to 168]"},
		{"expected, too early", []care.Change{ev(care.Plan, 0, "a05", ward("A"), from(7*d))}, "nurseA", 3 * d, ""},
		{"expected no longer", []care.Change{ev(care.Plan, 0, "a05", ward("A"), from(2*d)), ev(care.CancelPlan, 1, "a38")}, "nurseA", 2, ""},
		{"cancelling a plan leaves the stay", []care.Change{admit, ev(care.CancelPlan, 1, "a38")}, "nurseA", 2, "ward-stay a01[staff list 0]"},
		{"cancelling the stay leaves the plan", []care.Change{ev(care.Plan, 0, "a05", ward("A"), from(2*d)), ev(care.Stay, 1, "a01", ward("A")), ev(care.CancelStay, 2, "a11")}, "nurseA", 3, "ward-stay a05[staff list 48 to 48]"},

		{"clinic list", []care.Change{ev(care.Plan, 0, "s12", ward("A"), clinic, from(d), to(d+1))}, "nurseA", d, "clinic-list s12[staff list 24 to 25]"},
		{"clinic of the doctor", []care.Change{ev(care.Plan, 0, "s12", ward("X"), clinic, by("C1"), from(d), to(d+1))}, "doctor", 10 * d, "clinic-list s12[ 24 to 25], team-handover s12[staff list 24 to 25]"},
		{"moved", []care.Change{ev(care.Plan, 0, "s12", ward("A"), clinic, from(d)), ev(care.Plan, 1, "s13", ward("A"), clinic, from(30*d))}, "nurseA", d, ""},
		{"moved, then", []care.Change{ev(care.Plan, 0, "s12", ward("A"), clinic, from(d)), ev(care.Plan, 1, "s13", ward("A"), clinic, from(30*d))}, "nurseA", 30 * d, "clinic-list s13[staff list 720 to 720]"},
		{"appointment cancelled", []care.Change{ev(care.Plan, 0, "s12", ward("A"), clinic, from(d)), ev(care.CancelPlan, 1, "s15")}, "nurseA", d, ""},

		{"referred to", []care.Change{ev(care.Referral, 0, "i12", by("C1"), referred)}, "doctor", 100 * d, "referral i12[ 0]"},
		{"referral is old", []care.Change{ev(care.Referral, 0, "i12", by("C1"))}, "doctor", 127 * d, ""},
		{"referred to a team", []care.Change{ev(care.Referral, 0, "i12", team("renal"))}, "registrar", 1, "team-handover i12[staff list 0]"},
		{"care team", []care.Change{ev(care.CareTeam, 0, "ct", by("C1"), to(5*d))}, "doctor", 1, "named-clinician ct[ 0 to 120], team-handover ct[staff list 0 to 120]"},

		{"replaced", []care.Change{ev(care.Stay, 0, "v1", ward("A"), sent(0)), ev(care.Replace, 2, "v2", sent(2)), ev(care.Stay, 0, "v2", ward("B"), sent(2))}, "nurseA", 3, ""},
		{"replacing", []care.Change{ev(care.Stay, 0, "v1", ward("A"), sent(0)), ev(care.Replace, 2, "v2", sent(2)), ev(care.Stay, 0, "v2", ward("B"), sent(2))}, "nurseB", 3, "ward-stay v2[staff list 0]"},
		{"another source is not replaced", []care.Change{admit, ev(care.Replace, 2, "v2", sent(2), func(c *care.Change) { c.Source = "EPR" })}, "nurseA", 3, "ward-stay a01[staff list 0]"},

		{"A&E nobody ends", []care.Change{ev(care.Stay, 0, "a04", ward("A"), class('E'))}, "nurseA", 4 * d, ""},
		{"A&E", []care.Change{ev(care.Stay, 0, "a04", ward("A"), class('E'))}, "nurseA", 2 * d, "ward-stay a04[staff list 0]"},
		{"outpatient nobody ends", []care.Change{ev(care.Stay, 0, "a04", ward("A"), class('O'))}, "nurseA", 2 * d, ""},
		{"clock of the sender is ahead", []care.Change{func() care.Change { c := admit; c.At = c.At.Add(4 * time.Minute); return c }()}, "nurseA", 0, "ward-stay a01[staff list 0]"},

		{"two visits", []care.Change{admit, ev(care.Stay, 1, "x", visit("V2"), ward("A"), class('O'))}, "nurseA", 2, "ward-stay a01[staff list 0], ward-stay x[staff list 1]"},
		{"swap", []care.Change{
			admit, ev(care.Stay, 0, "b01", patient(mrn("2")), ward("B")),
			ev(care.Stay, 5, "a17", ward("B")), ev(care.Stay, 5, "a17", patient(mrn("2")), ward("A")),
		}, "nurseB", 6, "ward-stay a17[staff list 5]"},
	} {
		r := register(t, row.changes...)
		if got := say(r.Relations(row.person, mrn("1"), hours(row.at))); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// A merged number answers for the survivor before anything is decided, and the
// other way round; a wrong number answers for nobody.
// hazard:GW-01 control:C-86
// hazard:GW-26 control:C-205
func TestMergedNumbersResolveToTheSurvivor(t *testing.T) {
	t.Parallel()
	old := []care.Change{
		ev(care.Stay, 0, "a01", ward("A")),
		ev(care.Merge, 5, "a40", patient(mrn("2"), nhs("9990000018")), prior(mrn("1"), "")),
		ev(care.Merge, 6, "a40b", patient(mrn("3")), prior(mrn("2"), "")),
		ev(care.End, 7, "a03", patient(mrn("3"))), // the same visit under its new number
	}
	for _, order := range [][]int{{0, 1, 2, 3}, {2, 1, 0, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}} {
		r := register(t)
		for _, i := range order {
			r.Apply(care.Message{old[i]})
		}
		for _, id := range []care.ID{mrn("1"), mrn("2"), mrn("3"), nhs("9990000018")} {
			if got := say(r.Relations("nurseA", id, hours(8))); got != "ward-stay a01[staff list 0 to 7]" {
				t.Errorf("%v: %v: %q", order, id, got)
			}
			if got, ok := r.Resolve(id); !ok || got != mrn("3") {
				t.Errorf("%v: %v resolves to %v", order, id, got)
			}
		}
	}
	r := register(t, old...)
	if _, ok := r.Resolve(mrn("4")); ok || r.Relations("nurseA", mrn("4"), hours(8)) != nil || r.Relations("nurseA", care.ID{Value: "1"}, hours(8)) != nil {
		t.Error("an unknown number is somebody's")
	}
	nobodys := register(t, ev(care.Stay, 0, "a01", patient(care.ID{Value: "1"}), ward("A")))
	if _, ok := nobodys.Resolve(care.ID{Authority: "XYZ", Value: "1"}); ok || nobodys.Relations("nurseA", care.ID{Authority: "XYZ", Value: "1"}, hours(1)) != nil {
		t.Error("an authority that was never heard of is taken for none")
	}
	// A newer merge puts the number elsewhere; an older one that comes late does not.
	r.Apply(care.Message{ev(care.Merge, 9, "c", patient(mrn("7")), prior(mrn("1"), ""))})
	r.Apply(care.Message{ev(care.Merge, 4, "late", patient(mrn("8")), prior(mrn("1"), ""))})
	if got, _ := r.Resolve(mrn("1")); got != mrn("7") {
		t.Errorf("resolves to %v", got)
	}
	// Merged into each other they are one.
	r.Apply(care.Message{ev(care.Merge, 10, "d", patient(mrn("1")), prior(mrn("7"), ""))})
	if got, _ := r.Resolve(mrn("7")); got != mrn("7") {
		t.Errorf("resolves to %v", got)
	}
}

func TestVisitsAreMovedAndRenumbered(t *testing.T) {
	t.Parallel()
	changes := []care.Change{
		ev(care.Stay, 0, "a01", ward("A")),
		ev(care.Stay, 0, "other", visit("V9"), ward("B")),
		ev(care.Move, 1, "a45", patient(mrn("2")), visit("W1"), prior(mrn("1"), "V1")),
		ev(care.Stay, 2, "a02", ward("B")), // still sent under the old number
	}
	r := register(t, changes...)
	if got := say(r.Relations("nurseB", mrn("2"), hours(3))); got != "ward-stay a02[staff list 2]" {
		t.Errorf("moved visit: %q", got)
	}
	if got := say(r.Relations("nurseB", mrn("1"), hours(3))); got != "ward-stay other[staff list 0]" {
		t.Errorf("what stays: %q", got)
	}
	if got := say(r.Relations("nurseA", mrn("1"), hours(3))); got != "" {
		t.Errorf("what went: %q", got)
	}
	r.Apply(care.Message{ev(care.Move, 4, "back", visit("V1"), prior(mrn("2"), "W1"))})
	r.Apply(care.Message{ev(care.End, 5, "a03")})
	if got := say(r.Relations("nurseA", mrn("1"), hours(6))); got != "ward-stay a01[staff list 0 to 2]" {
		t.Errorf("moved back: %q", got)
	}
}

// Two numbers of the hospital are not one patient because one NHS number comes
// with both; the number goes to whom the newest message gives it.
// hazard:GW-26 control:C-203
func TestOneNHSNumberJoinsNobody(t *testing.T) {
	t.Parallel()
	n := nhs("9990000018")
	changes := []care.Change{
		ev(care.Stay, 0, "only", patient(n), visit("E1"), ward("A"), class('E')), // A&E knew the NHS number alone
		ev(care.Stay, 1, "one", patient(mrn("1"), n), ward("A")),
		ev(care.Stay, 2, "two", patient(mrn("2"), n), visit("V2"), ward("B")),
	}
	for _, order := range [][]int{{0, 1, 2}, {1, 2, 0}, {2, 1, 0}, {2, 0, 1}} {
		r := register(t)
		for _, i := range order {
			r.Apply(care.Message{changes[i]})
		}
		if got := say(r.Relations("nurseB", mrn("1"), hours(3))); got != "" {
			t.Errorf("%v: two patients are one: %q", order, got)
		}
		if got := say(r.Relations("nurseB", n, hours(3))); !strings.Contains(got, "two") && order[0] != 0 {
			t.Errorf("%v: the newest has the number: %q", order, got)
		}
	}
	r := register(t, changes[:2]...)
	if got := say(r.Relations("nurseA", mrn("1"), hours(2))); got != "ward-stay one[staff list 1], ward-stay only[staff list 0]" {
		t.Errorf("what was heard of the NHS number alone: %q", got)
	}
}

func TestDevicesAndFeeds(t *testing.T) {
	t.Parallel()
	r := register(t, ev(care.Stay, 0, "a01", ward("A")))
	if got := say(r.OnDevice("pc1", mrn("1"), hours(1))); got != "device-in-ward a01[devices 0]" {
		t.Error(got)
	}
	if got := say(r.OnDevice("pc1", mrn("1"), hours(25))) + say(r.OnDevice("pc2", mrn("1"), hours(1))); got != "" {
		t.Error(got)
	}
	r.Heard("PAS", noon)
	r.Heard("PAS", hours(-5))
	if diff := gocmp.Diff([]care.Feed{{Source: "PAS", Last: noon}}, r.Feeds()); diff != "" {
		t.Error(diff)
	}
}

// history is a long, random but possible life of some patients.
func history(rnd *rand.Rand, events int) []care.Change {
	kinds := []care.Kind{care.Stay, care.Stay, care.Update, care.End, care.CancelEnd, care.CancelMove, care.CancelStay, care.Plan, care.CancelPlan, care.Referral, care.Merge, care.Replace, care.Flag}
	out := make([]care.Change, events)
	for i := range out {
		k := kinds[rnd.IntN(len(kinds))]
		c := ev(k, i/2, "m"+strconv.Itoa(i), patient(mrn(strconv.Itoa(rnd.IntN(4)))), visit("V"+strconv.Itoa(rnd.IntN(3))))
		c.Sent = c.At.Add(time.Duration(rnd.IntN(5)) * 400 * time.Millisecond)
		switch k {
		case care.Stay, care.Update, care.Plan:
			c.Ward, c.Clinic = string(rune('A'+rnd.IntN(2))), k == care.Plan && rnd.IntN(2) == 0
			by("C" + strconv.Itoa(rnd.IntN(2)))(&c)
		case care.Referral:
			by("C1")(&c)
		case care.Flag:
			c.Said, c.Flags = care.Flags(rnd.IntN(8)), care.Flags(rnd.IntN(8))
		case care.Merge: // only upwards, as survivors are
			a, b := rnd.IntN(4), rnd.IntN(4)
			c.Patient, c.Prior = []care.ID{mrn(strconv.Itoa(max(a, b) + 1))}, mrn(strconv.Itoa(min(a, b)))
		default:
		}
		out[i] = c
	}
	return out
}

// everything asks about everybody at many times.
func everything(r *care.Register) []string {
	var out []string
	for p := range 5 {
		flags, known := r.Flags(mrn(strconv.Itoa(p)))
		out = append(out, fmt.Sprint(p, flags, known))
		for _, person := range []string{"nurseA", "nurseB", "doctor", "registrar", "bank"} {
			for at := -24; at < 60*24; at += 11 {
				if s := say(r.Relations(person, mrn(strconv.Itoa(p)), hours(at))); s != "" {
					out = append(out, fmt.Sprint(p, person, at, s))
				}
			}
		}
	}
	return out
}

// A flag holds until a newer message takes it away, under all numbers of a patient.
func TestFlags(t *testing.T) {
	t.Parallel()
	said := func(at int, said, on care.Flags, n string) care.Change {
		return ev(care.Flag, at, "f", patient(mrn(n)), func(c *care.Change) { c.Said, c.Flags = said, on })
	}
	both := care.VIP | care.Deceased
	for name, row := range map[string]struct {
		changes []care.Change
		want    care.Flags
	}{
		"nothing said":       {[]care.Change{ev(care.Stay, 0, "a", ward("A"))}, 0},
		"said":               {[]care.Change{said(0, both, care.VIP, "1")}, care.VIP},
		"taken away":         {[]care.Change{said(0, both, both, "1"), said(1, care.Deceased, 0, "1")}, care.VIP},
		"in the other order": {[]care.Change{said(1, care.Deceased, 0, "1"), said(0, both, both, "1")}, care.VIP},
		"of a merged number": {[]care.Change{said(0, both, care.VIP, "2"), ev(care.Merge, 1, "m", prior(mrn("2"), ""))}, care.VIP},
		"of somebody else":   {[]care.Change{ev(care.Stay, 0, "a", ward("A")), said(0, both, both, "2")}, 0},
	} {
		if got, ok := register(t, row.changes...).Flags(mrn("1")); got != row.want || !ok {
			t.Errorf("%s: %b, %t", name, got, ok)
		}
	}
	if _, ok := register(t).Flags(mrn("1")); ok {
		t.Error("a number that was never heard of")
	}
}

// The relationship that began first says since when there is one.
func TestSince(t *testing.T) {
	t.Parallel()
	r := register(t, ev(care.Stay, 0, "a", ward("A"), by("C1")), ev(care.CareTeam, 2, "c", visit("V2"), by("C1"), from(-5)))
	for person, want := range map[string]int{"nurseA": 0, "doctor": -5} {
		if since, ok := r.Since(person, mrn("1"), hours(3)); !ok || !since.Equal(hours(want)) {
			t.Errorf("%s since %v, %t", person, since, ok)
		}
	}
	if _, ok := r.Since("nurseB", mrn("1"), hours(3)); ok {
		t.Error("a relationship of nobody")
	}
}

// Messages may come twice and in any order: what is known in the end is the same.
// hazard:GW-21 control:C-168
func TestWardIsWhereThePatientIs(t *testing.T) {
	t.Parallel()
	in := []care.Change{
		ev(care.Stay, 0, "a01", ward("A")), ev(care.Stay, 3, "a02", ward("B")), ev(care.End, 5, "a03", ward("B")),
		ev(care.Plan, 20, "a05", ward("A"), visit("V2")), ev(care.Stay, 30, "x01", ward("A"), visit("V3")), ev(care.CancelStay, 31, "x11", visit("V3")),
	}
	for at, want := range map[int]string{-1: "", 0: "A", 2: "A", 3: "B", 4: "B", 5: "", 21: "", 32: ""} {
		if got := register(t, in...).Ward(mrn("1"), hours(at)); got != want {
			t.Errorf("after %d hours: %q, want %q", at, got, want)
		}
	}
	if got := register(t, in[0]).Ward(mrn("1"), hours(24*400)); got != "" {
		t.Errorf("nothing was heard for more than a year: %q", got)
	}
	if got := register(t, in...).Ward(mrn("2"), hours(1)); got != "" {
		t.Errorf("somebody else: %q", got)
	}
}

func TestOrderAndDuplicatesDoNotMatter(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 25 {
		h := history(rnd, 24)
		inOrder := register(t, h...)
		want := everything(inOrder)
		shuffled := append(slices.Clone(h), h[:12]...)
		rnd.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		r := register(t, shuffled...)
		if diff := gocmp.Diff(want, everything(r)); diff != "" {
			t.Fatalf("another order, another answer:\n%s", diff)
		}
		if a, b := inOrder.Counts().Events, r.Counts().Events; a != b {
			t.Fatalf("%d events, with duplicates %d", a, b)
		}
		again := register(t)
		for m := range r.Dump() {
			if err := m.Check(); err != nil {
				t.Fatal(err)
			}
			again.Apply(m)
		}
		if diff := gocmp.Diff(want, everything(again)); diff != "" {
			t.Fatalf("a dump is not the register:\n%s", diff)
		}
		if a, b := r.Counts(), again.Counts(); a.Events != b.Events || a.Patients != b.Patients || a.Identifiers != b.Identifiers || a.Merges != b.Merges {
			t.Fatalf("counts %+v, %+v", a, b)
		}
	}
}

func TestForgetKeepsNumbersAndWhatIsRecent(t *testing.T) {
	t.Parallel()
	r := register(t, ev(care.Stay, 0, "a01", ward("A")), ev(care.End, 1, "a03"), ev(care.Plan, 0, "a05", visit("V2"), ward("A"), from(900*d)))
	if n := r.Forget(hours(100 * d)); n != 2 {
		t.Errorf("%d events went", n)
	}
	if got := say(r.Relations("nurseA", mrn("1"), hours(900*d))); got != "ward-stay a05[staff list 21600 to 21600]" {
		t.Error(got)
	}
	if _, ok := r.Resolve(mrn("1")); !ok {
		t.Error("the number is forgotten")
	}
}

func TestCheckRefusesWhatCannotBeKept(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*care.Change){
		"kind":        func(c *care.Change) { c.Kind = 0 },
		"no patient":  func(c *care.Change) { c.Patient = nil },
		"empty":       func(c *care.Change) { c.Patient[0].Value = "" },
		"too long":    func(c *care.Change) { c.Visit = strings.Repeat("x", 300) },
		"no evidence": func(c *care.Change) { c.Control = "" },
		"no time":     func(c *care.Change) { c.At = time.Time{} },
		"far future":  func(c *care.Change) { c.End = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) },
		"no prior":    func(c *care.Change) { c.Kind = care.Merge },
		"people":      func(c *care.Change) { c.People = make([]care.Clinician, care.MaxPeople+1) },
		"no number":   func(c *care.Change) { c.People = make([]care.Clinician, 1) },
	} {
		c := ev(care.Stay, 0, "x", ward("A"))
		change(&c)
		if err := (care.Message{c}).Check(); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}

// BenchmarkRelations asks about a million patients with four events each and
// 10,000 members of staff, and prints how much memory they need.
func BenchmarkRelations(b *testing.B) {
	const patients, people, wards = 1_000_000, 10_000, 60
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := care.New(care.Windows{})
	var l care.Lists
	for i := range people {
		p := care.Person{
			Person: "p" + strconv.Itoa(i), Wards: []string{"W" + strconv.Itoa(i%wards)}, Teams: []string{"T" + strconv.Itoa(i%200)},
			Numbers: []care.ID{{Authority: "GMC", Value: "C" + strconv.Itoa(i)}},
		}
		l.Staff = append(l.Staff, p)
		for s := range 20 {
			l.Rota = append(l.Rota, care.Shift{Person: p.Person, Ward: "W" + strconv.Itoa((i+s)%wards), Start: hours(s * 24), End: hours(s*24 + 8)})
		}
	}
	r.Use(l)
	control := 0
	for i := range patients {
		ids := []care.ID{mrn(strconv.Itoa(1000000 + i)), nhs(fmt.Sprintf("999%07d", i))}
		for e, kind := range []care.Kind{care.Stay, care.Stay, care.Update, care.End} {
			control++
			c := care.Change{
				Kind: kind, Patient: ids, Source: "PAS/RCB", Control: fmt.Sprintf("%016d", control), At: hours(e + i%500), Sent: hours(e + i%500),
				Visit: "V" + strconv.Itoa(i), Class: 'I', Ward: "W" + strconv.Itoa((i+e)%wards),
			}
			by("C" + strconv.Itoa(i%people))(&c)
			by("C" + strconv.Itoa((i+1)%people))(&c)
			r.Apply(care.Message{c})
		}
	}
	l = care.Lists{}
	runtime.GC()
	runtime.ReadMemStats(&after)
	facts, i := 0, 0
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		i += 7919
		facts += len(r.Relations("p"+strconv.Itoa(i%people), mrn(strconv.Itoa(1000000+i%patients)), hours(100)))
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB-heap")
	b.ReportMetric(cmp.Or(float64(facts), 1)/float64(b.N), "facts/op")
}

// BenchmarkRelationsOfALongStay asks about a patient of whom an update came each
// hour for a month.
func BenchmarkRelationsOfALongStay(b *testing.B) {
	r := care.New(care.Windows{})
	r.Use(lists)
	r.Apply(care.Message{ev(care.Stay, 0, "a01", ward("A"))})
	for h := range 720 {
		r.Apply(care.Message{ev(care.Update, h, "u"+strconv.Itoa(h), ward("A"), by("C"+strconv.Itoa(h/100)))})
	}
	for b.Loop() {
		if len(r.Relations("nurseA", mrn("1"), hours(720))) != 1 {
			b.Fatal("no fact")
		}
	}
}
