package explain

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect/table"
	"github.com/matron-epr/matron/audit/feeds"
)

const staffFile = `{"person":"nia","roles":["nurse"],"team":"ash-nurses","wards":["ASH"],"valid_to":"2026-11-19"}
{"person":"nia","roles":["nurse"],"team":"elm-nurses","wards":["ELM"],"valid_from":"2026-11-20"}
{"person":"ned","roles":["nurse"],"team":"ash-nurses","wards":["ASH"]}
{"person":"gone","roles":["nurse"],"wards":["ASH"],"end":"2026-11-15"}
{"person":"doc","roles":["doctor"],"team":"med","wards":["OAK"]}
{"person":"phil","roles":["pharmacist"],"team":"pharmacy"}
{"person":"sam","roles":["secretary"],"team":"fracture"}
`

const rotaFile = `{"person":"doc","start":"2026-11-18T20:00:00Z","end":"2026-11-19T08:00:00Z","kind":"on-call"}
{"person":"ned","start":"2026-11-18T07:00:00Z","end":"2026-11-18T19:00:00Z","ward":"OAK"}
`

const careFile = `{"patient":"in","kind":"inpatient","start":"2026-11-10T09:00:00Z","ward":"ASH","evidence":"adt:1"}
{"patient":"in","kind":"task","start":"2026-11-17T09:00:00Z","team":"pharmacy","evidence":"task:1"}
{"patient":"old","kind":"outpatient","start":"2026-11-10T09:00:00Z","end":"2026-11-10T09:30:00Z","team":"fracture","people":["doc"],"evidence":"clinic:1"}
{"patient":"ref","kind":"referral","start":"2026-11-01T09:00:00Z","team":"fracture","evidence":"ref:1"}
{"patient":"let","kind":"document","start":"2026-11-16T09:00:00Z","team":"fracture","evidence":"doc:1"}
{"patient":"aud","kind":"task","start":"2026-11-16T00:00:00Z","end":"2026-11-18T00:00:00Z","team":"clinical-audit","people":["ned"],"evidence":"audit:1"}
{"patient":"oak","kind":"inpatient","start":"2026-11-17T00:00:00Z","end":"2026-11-30T00:00:00Z","ward":"OAK","evidence":"adt:2"}
`

func hospital(t testing.TB) feeds.Context {
	t.Helper()
	h, err := feeds.NewHasher(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	r := feeds.Reader{Hasher: h}
	var c feeds.Context
	var errs [4]error
	c.Staff, _, errs[0] = r.Staff(strings.NewReader(staffFile))
	c.Rota, _, errs[1] = r.Rota(strings.NewReader(rotaFile))
	c.Care, _, errs[2] = r.Care(strings.NewReader(careFile))
	c.Patients, _, errs[3] = r.Patients(strings.NewReader(`{"patient":"in"}` + "\n" + `{"patient":"before","merged_into":"in"}` + "\n" + `{"patient":"ring","merged_into":"gnir"}` + "\n" + `{"patient":"gnir","merged_into":"ring"}` + "\n"))
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	c.Devices = []feeds.Device{{Device: "pc-ash", Ward: "ASH"}, {Device: "pc-oak", Ward: "OAK"}}
	return c
}

func moment(t testing.TB, s string) time.Time {
	t.Helper()
	var day, hour, minute int
	if _, err := fmt.Sscanf(s, "%d %d:%d", &day, &hour, &minute); err != nil {
		t.Fatal(err)
	}
	return time.Date(2026, 11, day, hour, minute, 0, 0, time.UTC)
}

// hazard:GW-28 control:C-214
func TestEachTemplateSaysWhyWithEvidence(t *testing.T) {
	e := New(Config{}, hospital(t))
	for name, row := range map[string]struct {
		person, patient, at, device string
		want                        string // template, strength and evidence of each
	}{
		"on the ward":                 {"ned", "in", "18 12:00", "", "T3 strong adt:1"},
		"by a number merged away":     {"ned", "before", "18 12:00", "", "T3 strong adt:1"},
		"merged in a ring":            {"ned", "ring", "18 12:00", "", ""},
		"works on the ward then":      {"nia", "in", "19 12:00", "", "T3 strong adt:1"},
		"has moved on":                {"nia", "in", "20 12:00", "", ""},
		"has left":                    {"gone", "in", "16 12:00", "", ""},
		"had not left":                {"gone", "in", "15 12:00", "", "T3 strong adt:1"},
		"before the stay":             {"ned", "in", "9 08:00", "", ""},
		"a day before the stay":       {"ned", "in", "9 10:00", "", "T3 strong adt:1"},
		"at the patient's ward":       {"sam", "in", "18 12:00", "pc-ash", "T4 strong adt:1"},
		"at another ward":             {"sam", "in", "18 12:00", "pc-oak", ""},
		"where the rota sends them":   {"ned", "oak", "18 12:00", "", "T3 strong adt:2"},
		"when the shift is long over": {"ned", "oak", "19 12:00", "", ""},
		"named":                       {"doc", "old", "24 09:00", "", "T2 strong clinic:1"},
		"list of the team":            {"sam", "old", "17 09:00", "", "T5 strong clinic:1"},
		"list over for a week":        {"sam", "old", "17 10:00", "", ""},
		"referred":                    {"sam", "ref", "28 12:00", "", "T6 strong ref:1"},
		"referred long ago":           {"sam", "ref", "29 10:00", "", ""},
		"letter that waits":           {"sam", "let", "18 12:00", "", "T7 strong doc:1"},
		"work item":                   {"phil", "in", "18 12:00", "", "T8 strong task:1"},
		"work item long done":         {"phil", "in", "28 12:00", "", "T8 weak "},
		"serves all, nobody's":        {"phil", "old", "18 12:00", "", ""},
		"on call":                     {"doc", "in", "18 23:00", "", "T8 weak "},
		"approved audit":              {"ned", "aud", "17 12:00", "", "T12 strong audit:1"},
		"audit that has ended":        {"ned", "aud", "20 12:00", "", ""},
		"person not known":            {"stranger", "in", "18 12:00", "", ""},
		"patient not known":           {"ned", "stranger", "18 12:00", "", ""},
		"nothing known":               {"", "", "18 12:00", "", ""},
	} {
		var got []string
		for _, x := range e.Explain(Access{Person: row.person, Patient: row.patient, At: moment(t, row.at), Device: row.device}) {
			got = append(got, x.Template+" "+x.Strength+" "+x.Evidence)
			if x.Sentence == "" || x.ForPatient == "" || strings.ContainsAny(x.Sentence+x.ForPatient, "{}") {
				t.Errorf("%s: %+v", name, x)
			}
		}
		if d := cmp.Diff(row.want, strings.Join(got, ", ")); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	got := e.Explain(Access{Person: "ned", Patient: "in", At: moment(t, "18 12:00")})
	want := []Explanation{{
		Template: "T3", Strength: Strong, Evidence: "adt:1",
		Sentence:   "The patient was cared for on ward ASH, where the person works, from 10 November 2026 09:00 on.",
		ForPatient: "You were cared for on ward ASH, where this member of staff works.",
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// looks makes a table of "person patient action day hour:minute device".
func looks(t testing.TB, lines ...string) *table.Table {
	t.Helper()
	tab := table.New()
	for i, l := range lines {
		f := strings.Fields(l)
		tab.Add(&audit.Imported{
			ID: fmt.Sprint(i), Person: f[0], Patient: f[1], Action: f[2], Time: moment(t, f[3]+" "+f[4]), Device: strings.Join(f[5:], ""), Deliberate: "true",
		})
	}
	tab.Sort()
	return tab
}

func codes(m Mask) string {
	var out []string
	for k := Charted; k <= Local; k++ {
		if m.Has(k) {
			out = append(out, k.Code())
		}
	}
	if m.Strong() {
		out = append(out, Strong)
	}
	return strings.Join(out, " ")
}

func TestRowsKnowWhatElseWasDone(t *testing.T) {
	e := New(Config{}, hospital(t))
	for name, row := range map[string]struct {
		lines []string
		want  []string
	}{
		"within a day of an entry": {
			[]string{"sam x read 17 10:00", "sam x read 18 12:00", "sam x update 19 11:00", "doc x read 19 11:30", "sam x read 21 09:00"},
			[]string{"", "T1 strong", "T1 strong", "", "T11"},
		},
		"by a number merged away": {
			[]string{"sam before read 20 10:00", "sam in update 20 11:00"}, []string{"T1 strong", "T1 strong"},
		},
		"a reason does not chain": {
			[]string{"sam x update 1 10:00", "sam x read 20 10:00", "sam x read 31 09:00", "sam x read 31 11:00"}, []string{"T1 strong", "T11", "T11", ""},
		},
		"a colleague took part": {
			[]string{"ned y read 16 09:00", "nia y update 18 09:00", "doc y read 18 10:00"}, []string{"T10", "T1 strong", ""},
		},
		"one's own part is no colleague's": {
			[]string{"ned y update 10 09:00", "ned y read 12 09:00"}, []string{"T1 strong", "T11"},
		},
		"account used at two wards": {
			[]string{"sam oak read 18 10:00 pc-oak", "sam z read 18 10:05 pc-ash", "sam oak read 18 12:00 pc-oak"}, []string{"", "", "T4 strong"},
		},
	} {
		tab := looks(t, row.lines...)
		var got []string
		for _, m := range e.Rows(tab, nil) {
			got = append(got, codes(m))
		}
		if d := cmp.Diff(row.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestRowsAndSingleLooksAgree on all that the feeds alone can say.
func TestRowsAndSingleLooksAgree(t *testing.T) {
	e := New(Config{}, hospital(t))
	var lines []string
	for _, person := range []string{"nia", "ned", "gone", "doc", "phil", "sam", "nobody"} {
		for _, patient := range []string{"in", "before", "old", "ref", "let", "aud", "oak", "none"} {
			for day := 1; day <= 30; day += 2 {
				lines = append(lines, fmt.Sprintf("%s %s read %d 12:00", person, patient, day))
			}
		}
	}
	tab := looks(t, lines...)
	alone := strings.NewReplacer(" T9", "", " T10", "", " T11", "")
	for row, m := range e.Rows(tab, nil) {
		a := Access{Person: tab.People.Text(tab.Person[row]), Patient: tab.Patients.Text(tab.Patient[row]), At: tab.Time(row)}
		want := ""
		for _, x := range e.Explain(a) {
			want += " " + x.Template
		}
		got := ""
		for _, x := range e.Row(a, m) {
			got += " " + x.Template
		}
		if alone.Replace(got) != want {
			t.Errorf("%+v: %s by itself, %s among others", a, want, got)
		}
	}
}

func TestOnlyWhatWasLookedAtIsExplained(t *testing.T) {
	tab := table.New()
	for i, one := range []audit.Imported{{Deliberate: "false"}, {Outcome: "denied"}, {}} {
		one.ID, one.Person, one.Patient, one.Action, one.Time = fmt.Sprint(i), "ned", "in", "read", moment(t, "18 12:00")
		tab.Add(&one)
	}
	var got []bool
	for _, m := range New(Config{}, hospital(t)).Rows(tab, nil) {
		got = append(got, m.Strong())
	}
	if d := cmp.Diff([]bool{false, false, true}, got); d != "" {
		t.Error(d)
	}
}

func local() SiteTemplate {
	return SiteTemplate{
		ID: "ash-visits", Roles: []string{"secretary"}, Strength: Strong, ApprovedBy: "IG lead", Care: SiteCare{Kinds: []string{"inpatient"}, Wards: []string{"ASH"}, After: 48 * time.Hour},
		Reviewer: "Secretaries visit ward ASH.", Patient: "A secretary visited your ward.",
	}
}

// TestTemplateOfTheSite: in shadow it counts and explains nothing.
func TestTemplateOfTheSite(t *testing.T) {
	tab := looks(t, "sam in read 18 12:00", "doc in read 18 12:00", "sam oak read 18 12:00")
	for state, want := range map[string][2]bool{"": {false, true}, "shadow": {false, true}, "on": {true, false}} {
		s := local()
		s.State = state
		e := New(Config{Site: []SiteTemplate{s}}, hospital(t))
		m := e.Rows(tab, nil)
		if m[0].Strong() != want[0] || m[0].Shadow() != want[1] || m[1] != 0 || m[2] != 0 {
			t.Errorf("%q: %v", state, m)
		}
		x := e.Explain(Access{Person: "sam", Patient: "in", At: moment(t, "18 12:00")})
		if want[0] != (len(x) == 1 && x[0].Template == "T14:ash-visits" && x[0].Sentence == s.Reviewer && x[0].Evidence == "adt:1") || len(x) > 1 {
			t.Errorf("%q: %+v", state, x)
		}
	}
}

func TestMistakesOfATemplateAreNamed(t *testing.T) {
	bad := SiteTemplate{ID: "X Y", State: "off", Strength: "very", Care: SiteCare{Kinds: []string{"visit"}, After: 1e18}}
	on := local()
	on.State, on.ApprovedBy = "on", ""
	accusing := local()
	accusing.ID, accusing.Reviewer, accusing.Patient = "accusing", "No misuse: secretaries prepare visits.", "Nobody was snooping in your record."
	f := SiteFile{Templates: []SiteTemplate{local(), bad, on, accusing}}
	got := map[string]bool{}
	for _, p := range f.Validate() {
		got[p.Path] = true
	}
	want := map[string]bool{}
	for _, field := range []string{"id", "state", "strength", "roles", "care.kinds", "care.after", "reviewer", "patient"} {
		want["templates[1]."+field] = true
	}
	want["templates[2].id"], want["templates[2].approved_by"] = true, true
	want["templates[3].reviewer"], want["templates[3].patient"] = true, true
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if ps := (&SiteFile{Templates: []SiteTemplate{local()}}).Validate(); len(ps) > 0 {
		t.Errorf("a good one: %v", ps)
	}
}
