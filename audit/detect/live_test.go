package detect_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect"
	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/audit/detect/neutral"
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

const site = "DEM01"

func live(c feeds.Context) *detect.Live {
	return detect.NewLive(detect.Config{Site: site, Budget: 20}, c)
}

// all looks at everything at once.
func all(c feeds.Context, records ...audit.Record) detect.Result {
	l := live(c)
	return look(l, records...)
}

// look takes records in and looks a minute after the newest.
func look(l *detect.Live, records ...audit.Record) detect.Result {
	now := noon()
	for i := range records {
		if at := records[i].Time.Add(time.Minute); at.After(now) {
			now = at
		}
	}
	l.Take(slices.Clone(records), now)
	return l.Look(now)
}

// found is what matters of an alert in a table, in order.
func found(r detect.Result) []string {
	var out []string
	for _, a := range r.Alerts {
		out = append(out, a.Kind+" "+a.Person+" "+strings.Join(a.Patients, ","))
	}
	slices.Sort(out)
	return out
}

// many are looks of the desk at as many patients.
func many(n int) []audit.Record {
	var out []audit.Record
	for i := range n {
		out = append(out, view(uint64(i+1), "desk", fmt.Sprint("p", 3*i), func(r *audit.Record) {
			r.Time, r.Roles, r.Deliberate = noon().Add(time.Duration(i)*time.Second), []string{"receptionist"}, "true"
		}))
	}
	return out
}

// TestWhoFetchesRecordAfterRecordIsNoPage: what a page fetches at once is nobody's
// choice, and what a program fetches for minutes is somebody's.
func TestWhoFetchesRecordAfterRecordIsNoPage(t *testing.T) {
	for n, want := range map[int]int{30: 0, 150: 1} {
		var records []audit.Record
		for i := range n {
			records = append(records, view(uint64(i+1), "desk", fmt.Sprint("p", 3*i), func(r *audit.Record) {
				r.Time, r.Session = noon().Add(time.Duration(i)*20*time.Millisecond), "s"
			}))
		}
		r := all(hospital(t), records...)
		if len(r.Alerts) != want {
			t.Errorf("%d patients: %v", n, heads(r))
		}
	}
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
		"another hospital's":           {view(1, "nurse", "self", func(r *audit.Record) { r.Site = "OTHER" }), nil},
		"somebody not on the list":     {view(1, "stranger", "self"), []string{"co-worker stranger self"}},
		"a patient not on the list":    {view(1, "nurse", "nobody"), nil},
		"machine":                      {view(1, "robot", "self"), nil},
		"nobody's own number is known": {view(1, "desk", "lodger"), nil},
	} {
		if d := cmp.Diff(row.want, found(all(c, row.record))); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

// hazard:GW-28 control:C-215
func TestAlertSaysWhy(t *testing.T) {
	got := all(hospital(t), view(2, "nurse", "kin"), view(1, "nurse", "kin"), view(3, "nurse", "onward"))
	if len(got.Alerts) != 1 {
		t.Fatalf("%+v", got)
	}
	a := got.Alerts[0]
	text := strings.Join(a.Sentences, "\n")
	for _, want := range []string{"The person and the patient have the same address.", "Not yet explained says nothing against anybody"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not said: %s", want, text)
		}
	}
	want := detect.Alert{
		ID: a.ID, Made: noon().Add(2 * time.Second), Kind: "household", Detector: detect.Detector{ID: "household", Version: 2}, Site: site,
		Lane: cases.Budget, Score: a.Score, Person: "nurse", People: []string{"nurse"}, Patients: []string{"kin"}, Days: []string{"2026-11-22"},
		Detectors: a.Detectors, Versions: a.Versions, Sentences: a.Sentences, Explanations: []detect.Explanation{}, Evidence: []detect.Ref{{Source: "gw", Seq: 1}, {Source: "gw", Seq: 2}},
	}
	if d := cmp.Diff(want, a); d != "" {
		t.Error(d)
	}
	if len(a.ID) != 24 || a.Versions["household"] != 2 || a.Versions["scoring"] == 0 || len(a.Detectors) == 0 || a.Detectors[0].P <= 0 {
		t.Errorf("%+v", a)
	}
}

// TestOwnRecordIsReportedEvenWhenExplained and carries the explanation.
func TestOwnRecordIsReportedEvenWhenExplained(t *testing.T) {
	c := hospital(t)
	c.Care.Add(feeds.Care{Patient: "self", Kind: "inpatient", Start: noon(), Ward: "ASH", Evidence: "adt:9"})
	got := all(c, view(1, "nurse", "self"))
	want := []detect.Explanation{{
		Template: "T3", Strength: "strong", Evidence: "adt:9",
		Sentence: "The patient was cared for on ward ASH, where the person works, from 22 November 2026 12:00 on.",
	}}
	if len(got.Alerts) != 1 {
		t.Fatalf("%d alerts", len(got.Alerts))
	}
	if d := cmp.Diff(want, got.Alerts[0].Explanations); d != "" || got.Alerts[0].Lane != cases.MustReview {
		t.Error(d, got.Alerts[0].Lane)
	}
}

// TestAnEntryExplainsWhatWasLookedAtBefore on the same day.
func TestAnEntryExplainsWhatWasLookedAtBefore(t *testing.T) {
	l := live(hospital(t))
	looks := many(25)
	for i := range looks {
		entry := looks[i]
		entry.Seq, entry.Action = entry.Seq+100, "update"
		entry.Time = entry.Time.Add(30 * time.Second)
		looks = append(looks, entry)
	}
	kin := view(300, "nurse", "kin")
	entry := view(301, "nurse", "kin", func(r *audit.Record) { r.Action = "update" })
	if r := look(l, append(looks, kin, entry)...); slices.ContainsFunc(found(r), func(s string) bool { return strings.HasPrefix(s, "household") }) {
		t.Errorf("%v", found(r))
	}
}

// TestPiecesLeadToTheSameQuestions as everything at once: pieces that come twice and
// pieces out of order.
func TestPiecesLeadToTheSameQuestions(t *testing.T) {
	c := hospital(t)
	var records []audit.Record
	for i := range uint64(200) {
		records = append(records, view(i+1, []string{"nurse", "desk"}[i%2], []string{"self", "kin", "lodger", fmt.Sprint("x", i)}[i%4]))
	}
	want := all(c, records...)
	if len(want.Alerts) < 3 {
		t.Fatalf("%v", found(want))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	shuffled := slices.Clone(records)
	for range 3 {
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if d := cmp.Diff(want, all(c, shuffled...)); d != "" {
			t.Fatalf("another order, other alerts:\n%s", d)
		}
	}
	ids := map[string]bool{}
	for _, a := range want.Alerts {
		ids[a.ID] = true
	}
	l, got := live(c), map[string]bool{}
	for _, part := range [][2]int{{50, 80}, {0, 60}, {40, 80}, {80, 200}, {100, 200}} {
		for _, a := range look(l, records[part[0]:part[1]]...).Alerts {
			if got[a.ID] {
				t.Errorf("%s was asked twice", a.Kind)
			}
			got[a.ID] = true
		}
	}
	if d := cmp.Diff(slices.Sorted(maps.Keys(ids)), slices.Sorted(maps.Keys(got))); d != "" {
		t.Error(d)
	}
	if taken := l.Take(slices.Clone(records), noon().Add(time.Hour)); taken.Accesses != 0 || taken.Again != 200 || len(l.Look(noon().Add(time.Hour)).Alerts) != 0 {
		t.Errorf("seen again: %+v", taken)
	}
}

// TestRestart: the record is measured again, nothing is asked twice, and what came
// meanwhile is asked about.
func TestRestart(t *testing.T) {
	c := hospital(t)
	records := many(25)
	records = append(records, view(100, "nurse", "kin"))
	before := look(live(c), records...)
	if len(before.Alerts) != 2 {
		t.Fatalf("%v", found(before))
	}
	l := live(c)
	l.Remember(slices.Clone(records[:20]), noon().Add(time.Hour))
	l.Learn(noon().Add(time.Hour))
	l.Asked(before.Alerts)
	if again := look(l, append(slices.Clone(records[20:]), view(200, "nurse", "self"))...); !slices.Equal(found(again), []string{"own-record nurse self"}) {
		t.Errorf("after the restart: %v", found(again))
	}
}

// TestFeedsAreTakenInWhileItRuns and what was seen stays.
//
// hazard:GW-28 control:C-216
func TestFeedsAreTakenInWhileItRuns(t *testing.T) {
	full := hospital(t)
	less := full
	less.Staff = nil
	l := live(less)
	bulk := many(25)
	r := look(l, append(slices.Clone(bulk[:15]), view(101, "nurse", "kin"))...)
	if len(r.Alerts) != 0 || !slices.ContainsFunc(r.NotEvaluated, func(m detect.Missing) bool {
		return m.Detector.ID == "household" && m.Reason == "not evaluated: no staff feed"
	}) {
		t.Errorf("without staff: %+v", r)
	}
	l.Tell(full)
	r = look(l, append(slices.Clone(bulk[15:]), view(102, "nurse", "lodger"))...)
	if d := cmp.Diff([]string{"bulk desk", "household nurse lodger"}, heads(r)); d != "" || slices.ContainsFunc(r.NotEvaluated, func(m detect.Missing) bool { return m.Detector.ID == "household" }) {
		t.Errorf("with staff: %v %s", r.NotEvaluated, d)
	}
	l.Tell(feeds.Context{})
	if r = look(l, view(103, "nurse", "cousin")); len(r.Alerts) != 0 || len(r.NotEvaluated) == 0 {
		t.Errorf("with nothing: %+v", r)
	}
}

// TestOtherWeightsCountFromTheNextLookOn and say so.
func TestOtherWeightsCountFromTheNextLookOn(t *testing.T) {
	l := live(hospital(t))
	weights := cases.DefaultScoring()
	weights.Version, weights.Weights = 7, map[string]map[string]float64{"co-worker": {cases.AnyRole: .01}}
	l.Weigh(weights)
	if r := look(l, view(1, "stranger", "self")); len(r.Alerts) != 0 {
		t.Errorf("although it counts for next to nothing: %v", found(r))
	}
	if r := look(l, view(2, "nurse", "kin")); len(r.Alerts) != 1 || r.Alerts[0].Versions["scoring"] != 7 {
		t.Errorf("%+v", r.Alerts)
	}
}

// heads is found, of one patient where there is one.
func heads(r detect.Result) []string {
	out := found(r)
	for i, s := range out {
		if strings.Contains(s, ",") {
			out[i] = s[:strings.LastIndex(s, " ")]
		}
	}
	return out
}

// TestTimesThatCannotBe are left out and counted: a clock that is ahead, a record
// that comes after weeks. What is a little late or early counts.
func TestTimesThatCannotBe(t *testing.T) {
	c := hospital(t)
	at := func(d time.Duration) audit.Record {
		return view(5, "nurse", "kin", func(r *audit.Record) { r.Time = noon().Add(d) })
	}
	for name, row := range map[string]struct {
		by    time.Duration
		taken detect.Taken
		asked int
	}{
		"now":            {0, detect.Taken{Accesses: 1}, 1},
		"a minute ahead": {time.Minute, detect.Taken{Accesses: 1}, 1},
		"a day late":     {-24 * time.Hour, detect.Taken{Accesses: 1}, 1},
		"an hour ahead":  {time.Hour, detect.Taken{OutOfTime: 1}, 0},
		"years ahead":    {50 * 365 * 24 * time.Hour, detect.Taken{OutOfTime: 1}, 0},
		"weeks late":     {-21 * 24 * time.Hour, detect.Taken{OutOfTime: 1}, 0},
		"long ago":       {-50 * 365 * 24 * time.Hour, detect.Taken{OutOfTime: 1}, 0},
	} {
		l := live(c)
		got := l.Take([]audit.Record{at(row.by)}, noon())
		r := l.Look(noon())
		if got != row.taken || len(r.Alerts) != row.asked {
			t.Errorf("%s: %+v, %d alerts", name, got, len(r.Alerts))
		}
		// What cannot be leaves the rest as it was.
		if row.asked == 0 {
			next := view(6, "nurse", "lodger", func(r *audit.Record) { r.Time = noon() })
			if l.Take([]audit.Record{next}, noon().Add(time.Minute)); len(l.Look(noon().Add(time.Minute)).Alerts) != 1 {
				t.Errorf("%s: what came afterwards is not asked about", name)
			}
		}
	}
}

// TestFeedsThatContradictThemselves: two lines about one person, one in two beds, a
// ring of merges.
func TestFeedsThatContradictThemselves(t *testing.T) {
	c := hospital(t)
	c.Staff = append(c.Staff, feeds.Staff{Person: "nurse", Roles: []string{"porter"}, Wards: []string{"OAK"}})
	c.Patients = append(c.Patients, feeds.Patient{ID: "ring1", MergedInto: "ring2"}, feeds.Patient{ID: "ring2", MergedInto: "ring1"})
	c.Care.Add(
		feeds.Care{Patient: "ring1", Kind: "inpatient", Start: noon().Add(time.Hour), End: noon().Add(-time.Hour), Ward: "ASH"},
		feeds.Care{Patient: "cousin", Kind: "inpatient", Start: noon(), Ward: "ELM", Bed: "1"},
		feeds.Care{Patient: "cousin", Kind: "inpatient", Start: noon(), Ward: "YEW", Bed: "2"})
	r := all(c, view(1, "nurse", "ring1"), view(2, "nurse", "ring2"), view(3, "nurse", "cousin"))
	if d := cmp.Diff([]string{"household nurse cousin"}, found(r)); d != "" {
		t.Error(d)
	}
}

// TestALeapDoesNotFloodIt: a hundred times as much as on other days, by one person
// and by all, leads to no more questions than there is time for, and what is kept
// stays bounded.
func TestALeapDoesNotFloodIt(t *testing.T) {
	c := hospital(t)
	for i := 0; i < 5000; i += 2 { // half of the patients are listed
		c.Patients = append(c.Patients, feeds.Patient{ID: fmt.Sprint("x", 7*i)})
	}
	l := live(c)
	seq, asked := uint64(0), map[string]int{}
	var taken detect.Taken
	step := func(now time.Time, records []audit.Record) detect.Result {
		k := l.Take(records, now)
		taken.Accesses, taken.TooMany = taken.Accesses+k.Accesses, taken.TooMany+k.TooMany
		r := l.Look(now)
		for _, a := range r.Alerts {
			asked[string(a.Lane)]++
		}
		return r
	}
	for i := range 20 { // one person opens five thousand records
		var records []audit.Record
		for j := range 250 {
			seq++
			records = append(records, view(seq, "desk", fmt.Sprint("x", 7*(250*i+j)), func(r *audit.Record) { r.Time = noon().Add(time.Duration(seq) * time.Millisecond) }))
		}
		step(noon().Add(time.Minute), records)
	}
	if taken.Accesses != 2000 || taken.TooMany != 3000 || asked["budget"] > 3 {
		t.Errorf("one person: %+v, asked %v", taken, asked)
	}
	for i := range 300 { // and everybody opens thirty
		var records []audit.Record
		for j := range 30 {
			seq++
			records = append(records, view(seq, fmt.Sprint("s", i), fmt.Sprint("y", 7*j), func(r *audit.Record) { r.Time = noon().Add(time.Minute + time.Duration(seq)*time.Millisecond) }))
		}
		step(noon().Add(2*time.Minute), records)
	}
	if asked["budget"] > 20 || asked["budget"] == 0 {
		t.Errorf("%v questions, and there is time for 20 a day", asked)
	}
	if r := step(noon().Add(3*time.Minute), []audit.Record{view(seq+1, "nurse", "self", func(r *audit.Record) { r.Time = noon().Add(2 * time.Minute) })}); len(r.Alerts) != 1 {
		t.Error("what must be reviewed is lost in the flood")
	}
}

func TestHallOfResidenceIsNoHousehold(t *testing.T) {
	c := hospital(t)
	for i := range 6 {
		c.Patients = append(c.Patients, feeds.Patient{ID: fmt.Sprint("student", i), Address: c.Staff[0].Address})
	}
	if got := found(all(c, view(1, "nurse", "lodger"))); slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "household") }) {
		t.Errorf("%v", got)
	}
}

// hazard:GW-28 control:C-215
func TestWordsAreNeutral(t *testing.T) {
	records := []audit.Record{view(501, "nurse", "self"), view(502, "nurse", "kin"), view(503, "nurse", "lodger"), view(504, "nurse", "cousin")}
	for _, a := range all(hospital(t), append(many(30), records...)...).Alerts {
		for _, s := range a.Sentences {
			if word := neutral.Accuses(s); word != "" {
				t.Errorf("%q says %s", s, word)
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
