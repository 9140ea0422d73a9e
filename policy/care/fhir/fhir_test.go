package fhir_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/policy/care"
	"github.com/matron-epr/matron/policy/care/fhir"
)

var (
	noon   = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	config = fhir.Config{Source: "EPR", Patients: "EPR"}
	lists  = care.Lists{Staff: []care.Person{
		{Person: "nurseA", Wards: []string{"ward-a"}},
		{Person: "nurseB", Wards: []string{"ward-b"}},
		{Person: "doctor", Numbers: []care.ID{{Authority: "GMC", Value: "C1"}}},
		{Person: "d7"},
		{Person: "renal", Teams: []string{"renal-team"}},
	}}
)

const (
	inA = `{"resourceType":"Encounter","id":"e1","meta":{"lastUpdated":"2026-11-03T08:00:00Z"},"status":"in-progress","class":{"code":"IMP"},
		"subject":{"reference":"Patient/p1","identifier":{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"9990000018"}},"period":{"start":"2026-11-03T07:30:00Z"},
		"participant":[{"individual":{"reference":"Practitioner/d7"}},{"type":[{"coding":[{"code":"REF"}]}],"individual":{"type":"Practitioner","identifier":{"system":"https://fhir.hl7.org.uk/Id/gmc-number","value":"C1"}}}],
		"location":[{"location":{"reference":"https://epr.example/fhir/Location/bed-9"},"physicalType":{"coding":[{"code":"bd"}]}},{"location":{"reference":"Location/ward-a"},"physicalType":{"coding":[{"code":"wa"}]}}]}`
	thenB = `{"resourceType":"Encounter","id":"e1","meta":{"lastUpdated":"2026-11-03T10:00:00+00:00"},"status":"in-progress","class":{"code":"IMP"},"subject":{"reference":"Patient/p1"},"period":{"start":"2026-11-03T07:30:00Z"},
		"location":[{"location":{"reference":"Location/ward-b"},"status":"active","period":{"start":"2026-11-03T09:30:00Z"}},{"location":{"reference":"Location/ward-a"},"status":"completed","period":{"start":"2026-11-03T07:30:00Z"}},{"location":{"reference":"Location/ward-c"},"status":"planned"}]}`
	finished = `{"resourceType":"Encounter","id":"e1","meta":{"lastUpdated":"2026-11-03T11:00:00Z"},"status":"finished","class":{"code":"IMP"},"subject":{"reference":"Patient/p1"},"period":{"start":"2026-11-03T07:30:00Z","end":"2026-11-03T10:45:00Z"},
		"location":[{"location":{"identifier":{"value":"ward-b"}}}]}`
	wrong = `{"resourceType":"Encounter","id":"e1","meta":{"lastUpdated":"2026-11-03T11:30:00Z"},"status":"entered-in-error","subject":{"reference":"Patient/p1"},
		"location":[{"location":{"reference":"Location/ward-b"}}]}`
	appointment = `{"resourceType":"Appointment","id":"a1","meta":{"lastUpdated":"2026-11-01T08:00:00Z"},"status":"booked","start":"2026-11-04T09:00:00Z","end":"2026-11-04T09:30:00Z",
		"participant":[{"actor":{"reference":"Patient/p1"},"status":"accepted"},{"actor":{"reference":"Practitioner/d7"},"status":"accepted"},{"actor":{"reference":"Location/ward-a"},"status":"accepted"}]}`
	team = `{"resourceType":"CareTeam","id":"t1","status":"active","subject":{"reference":"Patient/p1"},"period":{"start":"2026-11-01"},
		"participant":[{"member":{"reference":"Practitioner/x1"}},{"member":{"reference":"Practitioner/x2"}},{"member":{"reference":"Practitioner/x3"}},{"member":{"reference":"Practitioner/x4"}},
		{"member":{"reference":"Practitioner/x5"}},{"member":{"reference":"Practitioner/x6"}},{"member":{"reference":"Practitioner/d7"}}],"managingOrganization":[{"reference":"Organization/renal-team"}]}`
)

// say asks everybody about the patient and returns what they are told.
func say(r *care.Register, at time.Time) string {
	var out []string
	for _, p := range lists.Staff {
		for _, f := range r.Relations(p.Person, care.ID{Authority: "EPR", Value: "p1"}, at) {
			out = append(out, p.Person+" "+f.Relation.String()+" "+f.Control)
		}
	}
	return strings.Join(out, ", ")
}

func TestResources(t *testing.T) {
	t.Parallel()
	replaced := func(s, old, with string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("%s is not there", old)
		}
		return strings.Replace(s, old, with, 1)
	}
	for name, row := range map[string]struct {
		resources []string
		want      string
	}{
		"in":            {[]string{inA}, "nurseA ward-stay Encounter/e1, doctor referral Encounter/e1, d7 named-clinician Encounter/e1"},
		"moved":         {[]string{inA, thenB}, "nurseA ward-stay Encounter/e1#2, nurseB ward-stay Encounter/e1"},
		"corrected":     {[]string{inA, replaced(thenB, "Location/ward-a", "Location/ward-x")}, "nurseB ward-stay Encounter/e1"},
		"moved at once": {[]string{replaced(inA, "08:00:00Z", "10:00:00.120Z"), replaced(thenB, "10:00:00+00:00", "10:00:00.121Z"), replaced(replaced(inA, "08:00:00Z", "10:00:00.119Z"), "ward-a", "ward-b")}, "nurseA ward-stay Encounter/e1#2, nurseB ward-stay Encounter/e1"},
		"finished":      {[]string{inA, thenB, finished}, "nurseB ward-stay Encounter/e1"},
		"in error":      {[]string{inA, thenB, finished, wrong}, ""},
		"planned":       {[]string{replaced(inA, "in-progress", "planned")}, "nurseA ward-stay Encounter/e1, doctor referral Encounter/e1, d7 named-clinician Encounter/e1"},
		"unknown":       {[]string{replaced(inA, "in-progress", "unknown")}, ""},
		"clinic":        {[]string{appointment}, "nurseA clinic-list Appointment/a1, d7 clinic-list Appointment/a1"},
		"no show":       {[]string{appointment, replaced(replaced(appointment, "booked", "noshow"), "11-01T08", "11-02T08")}, ""},
		"no time":       {[]string{replaced(appointment, `"start"`, `"begin"`)}, ""},
		"team":          {[]string{team}, "d7 named-clinician CareTeam/t1#2, renal team-handover CareTeam/t1#3"},
		"suggested":     {[]string{replaced(team, "active", "proposed")}, ""},
		"bundle":        {[]string{`{"resourceType":"Bundle","entry":[{"resource":` + appointment + `},{"resource":{"resourceType":"Group","id":7}},{"resource":` + team + `}]}`}, "nurseA clinic-list Appointment/a1, d7 clinic-list Appointment/a1, d7 named-clinician CareTeam/t1#2, renal team-handover CareTeam/t1#3"},
		"other":         {[]string{`{"resourceType":"Observation","status":7}`}, ""},
	} {
		for _, backwards := range []bool{false, true} {
			resources := slices.Clone(row.resources)
			if backwards {
				slices.Reverse(resources)
			}
			r := care.New(care.Windows{})
			r.Use(lists)
			for _, text := range resources {
				messages, err := fhir.Read(config, []byte(text), noon)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				for _, m := range messages {
					r.Apply(m)
				}
			}
			got := strings.Split(say(r, noon), ", ")
			want := strings.Split(row.want, ", ")
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s (backwards %v): %q, want %q", name, backwards, got, want)
			}
		}
	}
}

// Whichever comes first, visits under the id of a Patient are those of the hospital's
// number that it has.
func TestPatientHasNumbers(t *testing.T) {
	t.Parallel()
	c := config
	c.Systems = map[string]string{"https://rba.example.org/mrn": "RBA"}
	numbered := func(id, identifiers string) string {
		return `{"resourceType":"Patient","id":"` + id + `","meta":{"lastUpdated":"2026-11-03T07:00:00Z"},"name":[{"family":"Test"}],"identifier":` + identifiers + `}`
	}
	const hospital = `{"system":"https://rba.example.org/mrn","value":"17"}`
	arrived := care.Message{{Kind: care.Stay, Patient: []care.ID{{Authority: "RBA", Value: "17"}}, Source: "PAS", Control: "a01", At: noon, Ward: "ward-b", Visit: "V"}}
	for name, row := range map[string]struct {
		identifiers string
		want        string // who is known to care by the hospital's number
	}{
		"both":         {`[` + hospital + `,{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"9990000018"}]`, "nurseA nurseB"},
		"the hospital": {`[` + hospital + `]`, "nurseA nurseB"},
		"the NHS":      {`[{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"9990000018"}]`, "nurseB"},
		"an old one":   {`[{"use":"old",` + hospital[1:] + `]`, "nurseB"},
		"another":      {`[{"system":"https://elsewhere.example.org","value":"17"}]`, "nurseB"},
		"none":         {`[]`, "nurseB"},
		"garbled":      {`7`, "nurseB"},
	} {
		for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
			r := care.New(care.Windows{})
			r.Use(lists)
			for _, i := range order {
				messages := []care.Message{arrived}
				if i > 0 {
					var err error
					if messages, err = fhir.Read(c, []byte([]string{"", strings.Replace(inA, `,"identifier":{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"9990000018"}`, "", 1), numbered("p1", row.identifiers)}[i]), noon); err != nil {
						t.Fatal(err)
					}
				}
				for _, m := range messages {
					r.Apply(m)
				}
			}
			var got []string
			for _, p := range []string{"nurseA", "nurseB"} {
				if len(r.Relations(p, care.ID{Authority: "RBA", Value: "17"}, noon)) > 0 {
					got = append(got, p)
				}
			}
			if strings.Join(got, " ") != row.want {
				t.Errorf("%s, in the order %v: %v, want %s", name, order, got, row.want)
			}
			if strings.Contains(row.identifiers, `"9990000018"`) && len(r.Relations("nurseA", care.ID{Authority: care.NHS, Value: "9990000018"}, noon)) == 0 {
				t.Errorf("%s, in the order %v: not known by the NHS number", name, order)
			}
		}
	}
	if _, err := fhir.Read(c, []byte(numbered("", "[]")), noon); !errors.Is(err, fhir.ErrResource) {
		t.Errorf("a Patient without id: %v", err)
	}
	wrong := numbered("p1", `[{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"9990000019"}]`)
	if m, err := fhir.Read(c, []byte(wrong), noon); m != nil || err != nil {
		t.Errorf("a wrong check digit: %v, %v", m, err)
	}
}

func TestPatientIsKnownByTheNHSNumberAsWell(t *testing.T) {
	t.Parallel()
	r := care.New(care.Windows{})
	r.Use(lists)
	messages, err := fhir.Read(config, []byte(inA), noon)
	if err != nil {
		t.Fatal(err)
	}
	r.Apply(messages[0])
	if got := r.Relations("nurseA", care.ID{Authority: care.NHS, Value: "9990000018"}, noon); len(got) != 1 {
		t.Error(got)
	}
}

func TestResourcesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "{", "[]", "{}", `{"resourceType":"Encounter"}`, `{"resourceType":"Encounter","id":"e1","status":"planned"}`,
		`{"resourceType":"Encounter","id":"e1","status":7,"subject":{"reference":"Patient/1"}}`,
		`{"resourceType":"Encounter","id":"e1","status":"planned","subject":{"reference":"Patient/1"},"period":{"start":"soon"}}`,
		`{"resourceType":"Bundle","entry":[{"resource":{}}]}`,
		`{"resourceType":"Encounter","id":"` + strings.Repeat("e", 300) + `","status":"planned","subject":{"reference":"Patient/1"}}`,
	} {
		m, err := fhir.Read(config, []byte(text), noon)
		if m != nil || !errors.Is(err, fhir.ErrResource) && !errors.Is(err, care.ErrChange) {
			t.Errorf("%.80s: %v", text, err)
		}
	}
}

// Whatever a resource holds, what is read from it can be kept.
func FuzzFHIRCare(f *testing.F) {
	for _, s := range []string{inA, thenB, finished, wrong, appointment, team, `{"resourceType":"Patient","id":"p1","identifier":[{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"9990000018"}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		messages, err := fhir.Read(config, data, noon)
		if err != nil {
			return
		}
		r := care.New(care.Windows{})
		r.Use(lists)
		for _, m := range messages {
			if err := m.Check(); err != nil {
				t.Fatal(err)
			}
			r.Apply(m)
		}
		_ = say(r, noon)
	})
}
