package detect

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/feeds"
)

func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

func hasher(t testing.TB) feeds.Hasher {
	t.Helper()
	h, err := feeds.NewHasher(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

const staffFile = `{"person":"nurse","roles":["nurse"],"wards":["ASH"],"name":{"family":"O'Testby"},"address":{"line":"1 Fable Close","postcode":"ZZ99 1AA"},"nhs_number":"9990000069"}
{"person":"desk","roles":["receptionist"],"name":{"family":"Sampleton"},"address":{"line":"2 Fable Close","postcode":"ZZ99 2AA"}}
{"person":"robot","roles":["api-client"],"kind":"machine"}
`

const patientsFile = `{"patient":"self","nhs_number":"999 000 0069","name":{"family":"O’TESTBY"},"address":{"line":"1, fable close","postcode":"zz991aa"}}
{"patient":"kin","name":{"family":"Otestby"},"address":{"line":"1 Fable Close","postcode":"ZZ99 1AA"}}
{"patient":"lodger","name":{"family":"Mockham"},"address":{"line":"1 Fable Close","postcode":"ZZ99 1AA"}}
{"patient":"namesake","name":{"family":"O'Testby"},"address":{"line":"9 Elsewhere","postcode":"ZZ99 9ZZ"}}
{"patient":"cousin","name":{"family":"O'Testby"},"address":{"line":"7 Fable Close","postcode":"ZZ99 1AA"}}
{"patient":"onward","name":{"family":"O'Testby"},"address":{"line":"1 Fable Close","postcode":"ZZ99 1AA"}}
{"patient":"oldkin","merged_into":"kin"}
`

const careFile = `{"patient":"onward","kind":"inpatient","start":"2026-11-20T09:00:00Z","ward":"ASH","evidence":"adt:1"}
{"patient":"kin","kind":"inpatient","start":"2026-10-01T09:00:00Z","end":"2026-10-02T09:00:00Z","ward":"ASH","evidence":"adt:2"}
`

func hospital(t testing.TB) feeds.Context {
	t.Helper()
	r := feeds.Reader{Hasher: hasher(t)}
	var c feeds.Context
	var about [3]feeds.Feed
	var errs [3]error
	c.Staff, about[0], errs[0] = r.Staff(strings.NewReader(staffFile))
	c.Patients, about[1], errs[1] = r.Patients(strings.NewReader(patientsFile))
	c.Care, about[2], errs[2] = r.Care(strings.NewReader(careFile))
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	if n := about[0].Rejected + about[1].Rejected + about[2].Rejected; n > 0 {
		t.Fatalf("%d lines rejected", n)
	}
	return c
}

// view is an access of the right kind to be counted.
func view(seq uint64, person, patient string, change ...func(*audit.Record)) audit.Record {
	r := audit.Record{
		Kind: audit.KindDecision, Site: "DEM01", Source: "gw", Seq: seq, Time: noon().Add(time.Duration(seq) * time.Second),
		Person: person, Patient: patient, Effect: "allow", Action: "read", PatientSource: audit.SourceURL,
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

// found is what matters of an alert in a table.
func found(r Result) []string {
	var out []string
	for _, a := range r.Alerts {
		out = append(out, string(a.Kind)+" "+a.Person+" "+strings.Join(a.Patients, ","))
	}
	return out
}

func TestWhoIsAskedAbout(t *testing.T) {
	c := hospital(t)
	for name, row := range map[string]struct {
		record audit.Record
		want   []string
	}{
		"own record":                {view(1, "nurse", "self"), []string{"own-record nurse self"}},
		"same surname and address":  {view(1, "nurse", "kin"), []string{"household nurse kin"}},
		"same address":              {view(1, "nurse", "lodger"), []string{"household nurse lodger"}},
		"same surname and postcode": {view(1, "nurse", "cousin"), []string{"household nurse cousin"}},
		"a number that was merged":  {view(1, "nurse", "oldkin"), []string{"household nurse kin"}},
		"named among search results": {view(1, "nurse", "kin", func(r *audit.Record) {
			r.Kind, r.Action, r.PatientSource = audit.KindPatient, "search", audit.SourceResponse
		}), nil},
		"searched for by id":           {view(1, "nurse", "kin", func(r *audit.Record) { r.Action = "search" }), []string{"household nurse kin"}},
		"same surname alone":           {view(1, "nurse", "namesake"), nil},
		"explained by a stay":          {view(1, "nurse", "onward"), nil},
		"somebody else's household":    {view(1, "desk", "kin"), nil},
		"refused":                      {view(1, "nurse", "self", func(r *audit.Record) { r.Effect = "deny" }), nil},
		"challenged":                   {view(1, "nurse", "self", func(r *audit.Record) { r.Effect = "challenge" }), nil},
		"not deliberate":               {view(1, "nurse", "self", func(r *audit.Record) { r.Deliberate = "false" }), nil},
		"an outcome":                   {view(1, "nurse", "self", func(r *audit.Record) { r.Kind = audit.KindOutcome }), nil},
		"somebody not on the list":     {view(1, "stranger", "self"), nil},
		"a patient not on the list":    {view(1, "nurse", "nobody"), nil},
		"machine":                      {view(1, "robot", "self"), nil},
		"nobody's own number is known": {view(1, "desk", "lodger"), nil},
	} {
		if d := cmp.Diff(row.want, found(Run(Config{}, c, []audit.Record{row.record}))); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

// hazard:GW-28 control:C-215
func TestAlertSaysWhy(t *testing.T) {
	got := Run(Config{}, hospital(t), []audit.Record{view(2, "nurse", "kin"), view(1, "nurse", "kin"), view(3, "nurse", "onward")})
	want := Result{
		Accesses: 3, Explained: 1,
		Alerts: []Alert{{
			ID: got.Alerts[0].ID, Made: noon().Add(2 * time.Second), Kind: Household, Detector: Detector{"household", 1},
			Site: "DEM01", Person: "nurse", Patients: []string{"kin"}, Days: []string{"2026-11-22"},
			Sentences: []string{
				"The person and the patient have the same surname and address.",
				"It was viewed 2 times on 22 November 2026, first at 12:00:01.",
				"Not yet explained: no stay, list, referral, result, letter or task that leads to the person is known.",
			},
			Explanations: []Explanation{}, Evidence: []Ref{{"gw", 1}, {"gw", 2}},
		}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(got.Alerts[0].ID) != 24 {
		t.Errorf("id %q", got.Alerts[0].ID)
	}
}

// TestOwnRecordIsReportedEvenWhenExplained and carries the explanation.
func TestOwnRecordIsReportedEvenWhenExplained(t *testing.T) {
	c := hospital(t)
	c.Care = append(c.Care, feeds.Care{Patient: "self", Kind: "inpatient", Start: noon(), Ward: "ASH", Evidence: "adt:9"})
	got := Run(Config{}, c, []audit.Record{view(1, "nurse", "self")})
	want := []Explanation{{
		Template: "T3", Strength: "strong", Evidence: "adt:9",
		Sentence: "The patient was cared for on ward ASH, where the person works, from 22 November 2026 12:00 on.",
	}}
	if len(got.Alerts) != 1 {
		t.Fatalf("%d alerts", len(got.Alerts))
	}
	if d := cmp.Diff(want, got.Alerts[0].Explanations); d != "" {
		t.Error(d)
	}
}

// TestLiveSeesWhatOneLookSees: records in pieces, pieces that come twice and pieces
// out of order lead to the same questions as all at once.
func TestLiveSeesWhatOneLookSees(t *testing.T) {
	c := hospital(t)
	var records []audit.Record
	for i := range uint64(200) {
		records = append(records, view(i+1, []string{"nurse", "desk"}[i%2], []string{"self", "kin", "lodger", fmt.Sprint("x", i)}[i%4]))
	}
	ids := func(alerts []Alert) map[string]bool {
		out := map[string]bool{}
		for _, a := range alerts {
			out[a.ID] = true
		}
		return out
	}
	want := ids(Run(Config{}, c, records).Alerts)
	live, got := NewLive(Config{}, c), []Alert{}
	for _, part := range [][2]int{{50, 80}, {0, 60}, {40, 80}, {80, 200}, {100, 200}} {
		got = append(got, live.Look(records[part[0]:part[1]]).Alerts...)
	}
	if d := cmp.Diff(want, ids(got)); d != "" {
		t.Error(d)
	}
	if r := live.Look(records); r.Accesses != 0 || len(r.Alerts) != 0 {
		t.Errorf("seen again: %+v", r)
	}
}

// TestLiveKeepsNoMoreThanItMay under a flood and over days.
func TestLiveKeepsNoMoreThanItMay(t *testing.T) {
	live, asked := NewLive(Config{}, hospital(t)), map[string]bool{}
	for day := range 4 {
		var records []audit.Record
		for i := range perPerson + 100 {
			records = append(records, view(uint64(day*10*perPerson+i+1), "desk", fmt.Sprint("x", i), func(r *audit.Record) {
				r.Time = noon().AddDate(0, 0, day).Add(time.Duration(i) * time.Millisecond)
			}))
		}
		for _, a := range live.Look(records).Alerts {
			asked[a.ID] = true
		}
		if len(asked) != day+1 {
			t.Errorf("day %d: %d questions, one a day is enough for a flood", day, len(asked))
		}
		if n := len(live.people["desk"]); n > perPerson || n != len(live.seen) {
			t.Errorf("day %d: %d accesses are kept, %d marked as seen", day, n, len(live.seen))
		}
	}
	live.Look([]audit.Record{view(9, "nurse", "kin", func(r *audit.Record) { r.Time = noon().AddDate(0, 0, 30) })})
	if len(live.people) != 1 {
		t.Errorf("%d people are kept", len(live.people))
	}
}

func TestHallOfResidenceIsNoHousehold(t *testing.T) {
	c := hospital(t)
	for i := range maxAtAddress {
		c.Patients = append(c.Patients, feeds.Patient{ID: fmt.Sprint("student", i), Address: c.Staff[0].Address})
	}
	if got := found(Run(Config{}, c, []audit.Record{view(1, "nurse", "lodger")})); got != nil {
		t.Errorf("%v", got)
	}
}

func TestBulkOpening(t *testing.T) {
	many := func(person, role string, n int, gap time.Duration) []audit.Record {
		var out []audit.Record
		for i := range n {
			out = append(out, view(uint64(i+1), person, fmt.Sprint("p", i), func(r *audit.Record) {
				r.Time, r.Roles = noon().Add(time.Duration(i)*gap), []string{role}
			}))
		}
		return out
	}
	repeated := append(many("clerk", "clerk", 20, time.Second), many("clerk", "clerk", 20, time.Second)...)
	for name, row := range map[string]struct {
		records  []audit.Record
		patients int // in the alert; 0 means no alert
	}{
		"at the limit":             {many("clerk", "clerk", 20, time.Second), 0},
		"over the limit":           {many("clerk", "clerk", 21, time.Second), 21},
		"the same ones again":      {repeated, 0},
		"over it but slowly":       {many("clerk", "clerk", 60, time.Minute), 0},
		"a desk that sees all":     {many("desk", "receptionist", 40, time.Second), 0},
		"even for such a desk":     {many("desk", "receptionist", 41, time.Second), 41},
		"a machine among machines": {many("robot", "api-client", 500, time.Second), 0},
	} {
		got := Run(Config{}, feeds.Context{}, row.records)
		n := 0
		for _, a := range got.Alerts {
			n += len(a.Patients)
		}
		if n != row.patients || len(got.Alerts) > 1 {
			t.Errorf("%s: %d alerts over %d patients, want %d", name, len(got.Alerts), n, row.patients)
		}
	}
	// What is explained does not count towards it.
	c := hospital(t)
	records := many("nurse", "nurse", 20, time.Second)
	records = append(records, view(99, "nurse", "onward"))
	if got := found(Run(Config{}, c, records)); got != nil {
		t.Errorf("with an explained one: %v", got)
	}
}

// TestSameInputSameAlerts shuffles the input and slides the window that it is
// seen through.
func TestSameInputSameAlerts(t *testing.T) {
	c := hospital(t)
	var records []audit.Record
	for i := range uint64(200) {
		records = append(records, view(i+1, []string{"nurse", "desk"}[i%2], []string{"self", "kin", "lodger", fmt.Sprint("x", i)}[i%4]))
	}
	want := Run(Config{}, c, records)
	if len(want.Alerts) < 3 {
		t.Fatalf("%v", found(want))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		rng.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		if d := cmp.Diff(want, Run(Config{}, c, records)); d != "" {
			t.Fatalf("another order, other alerts:\n%s", d)
		}
	}
	known := map[string]bool{}
	for _, a := range want.Alerts {
		known[a.ID] = true
	}
	for _, a := range Run(Config{}, c, records[:150]).Alerts {
		if !known[a.ID] {
			t.Errorf("%s got another id when less was known", a.Kind)
		}
	}
}

// hazard:GW-28 control:C-216
func TestMissingFeedsAreNamed(t *testing.T) {
	c := hospital(t)
	records := []audit.Record{view(1, "nurse", "self")}
	for name, row := range map[string]struct {
		context feeds.Context
		want    []Missing
	}{
		"all there":       {c, nil},
		"no staff":        {feeds.Context{Patients: c.Patients, Care: c.Care}, []Missing{{ownDetector(), "not evaluated: no staff feed"}, {householdDetector(), "not evaluated: no staff feed"}}},
		"no patients":     {feeds.Context{Staff: c.Staff, Care: c.Care}, []Missing{{ownDetector(), "not evaluated: no patients feed"}, {householdDetector(), "not evaluated: no patients feed"}}},
		"an empty one is": {feeds.Context{Staff: []feeds.Staff{}, Patients: []feeds.Patient{}}, nil},
	} {
		if d := cmp.Diff(row.want, Run(Config{}, row.context, records).NotEvaluated); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
	c.Care = nil
	got := Run(Config{}, c, []audit.Record{view(1, "nurse", "kin")})
	if !strings.Contains(strings.Join(got.Alerts[0].Sentences, " "), "there is no care feed") {
		t.Errorf("a missing care feed looks like an empty one: %v", got.Alerts[0].Sentences)
	}
}

// TestWordsAreNeutral: software never accuses.
// hazard:GW-28 control:C-215
func TestWordsAreNeutral(t *testing.T) {
	c := hospital(t)
	records := []audit.Record{view(1, "nurse", "self"), view(2, "nurse", "kin"), view(3, "nurse", "lodger"), view(4, "nurse", "cousin")}
	for i := range uint64(30) {
		records = append(records, view(i+10, "desk", fmt.Sprint("x", i)))
	}
	for _, a := range Run(Config{}, c, records).Alerts {
		for _, s := range a.Sentences {
			for _, word := range []string{"suspicious", "misuse", "breach", "violation", "offend", "abuse", "illegal", "anomal"} {
				if strings.Contains(strings.ToLower(s), word) {
					t.Errorf("%q", s)
				}
			}
		}
	}
}

func TestFindByNHSNumber(t *testing.T) {
	h := hasher(t)
	patients := []feeds.Patient{
		{ID: "old", NHS: h.NHS("9990000018"), MergedInto: "new"},
		{ID: "nameless"},
		{ID: "self", NHS: h.NHS("9990000069")},
		{ID: "new"},
	}
	for number, want := range map[string]string{"999 000 0069": "self", "9990000018": "new", "9990000026": "", "": ""} {
		if got := h.Find(patients, number); got != want {
			t.Errorf("%q: %q, want %q", number, got, want)
		}
	}
}
