package proxy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap"
	"github.com/matron-epr/matron/proxy/limit"
)

// withLimits is a gateway with real limits whose clock stands still and whose pauses
// are too short to wait for.
func withLimits(rules limit.Rules, change func(*proxy.Config)) func(*proxy.Config) {
	return func(c *proxy.Config) {
		at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
		if rules.Pause == 0 {
			rules.Pause = time.Millisecond
		}
		l, err := limit.New(limit.Config{Rules: rules, Now: func() time.Time { return at }})
		if err != nil {
			panic(err)
		}
		c.Limiter = l
		if change != nil {
			change(c)
		}
	}
}

// budget lets everybody open two patients an hour and see three in lists.
func budget() limit.Rules {
	return limit.Rules{Budget: limit.Budget{Opened: limit.Number{Hour: 2}, Listed: limit.Number{Hour: 3}}}
}

func budgetRecords(w *world) (list []string) {
	for _, r := range w.log.kinds(audit.KindLimit) {
		list = append(list, r.Effect+" "+strings.Join(slices.Concat(r.Reasons, slices.DeleteFunc(slices.Clone(r.Detail), func(d string) bool {
			return !strings.HasPrefix(d, "budget=") && !strings.HasPrefix(d, "patients=") && !strings.HasPrefix(d, "of=")
		})), " "))
	}
	return list
}

// TestGW03CareBeyondTheBudgetGoesOn: it is slowed once for each patient, said in the
// header, in the record of the access and in one of its own.
// hazard:GW-03 control:C-13
func TestGW03CareBeyondTheBudgetGoesOn(t *testing.T) {
	var events []proxy.Event
	w := build(t, say("ok"), withLimits(budget(), func(c *proxy.Config) { c.Observe = func(e proxy.Event) { events = append(events, e) } }))
	for i, slowed := range []bool{false, false, true, false, true} { // patients 0, 1, 2, 2 again, 3
		id := strconv.Itoa([]int{0, 1, 2, 2, 3}[i])
		a := w.do("GET", "/patient/"+id, "")
		w.log.waitOutcome()
		if a.status != 200 || (a.header.Get("Matron-Slowed") == "0.001;reason=patient-budget") != slowed {
			t.Errorf("patient %s: %d, Matron-Slowed %q", id, a.status, a.header.Get("Matron-Slowed"))
		}
	}
	if a := w.do("PUT", "/patient/4", "note"); a.status != 200 {
		t.Errorf("a write: %d", a.status)
	}
	w.log.waitOutcome()
	if diff := cmp.Diff([]string{"allow patient-budget budget=opened hour patients=3 of=2"}, budgetRecords(w)); diff != "" {
		t.Errorf("records of limits (-want +got):\n%s", diff)
	}
	d := w.log.kinds(audit.KindDecision)[2]
	if !slices.Contains(d.Detail, "slowed=1ms") || !slices.Contains(d.Detail, "over-budget=opened hour") || d.Effect != "allow" {
		t.Errorf("decision %+v", d)
	}
	told := 0
	for _, e := range events {
		if e.BudgetTold {
			told++
		}
	}
	if e := events[2]; told != 1 || e.Budget != "opened hour" || e.Slowed != time.Millisecond {
		t.Errorf("told %d times, event %+v", told, e)
	}
}

// TestBeyondTheBudgetExportsAndSearchesAreRefused: but not the search that care
// begins with, nor one for a single patient's entries.
// hazard:GW-03 control:C-14
func TestBeyondTheBudgetExportsAndSearchesAreRefused(t *testing.T) {
	access := map[string]proxy.Access{
		"/export":  {Action: policy.Export, Area: policy.Administration, Kind: proxy.Bulk, Certainty: audit.None},
		"/results": {Action: policy.Search, Area: policy.Results, Kind: proxy.SearchKind, Certainty: audit.None},
		"/find":    {Action: policy.Search, Area: policy.Demographics, Kind: proxy.SearchKind, Certainty: audit.None},
		"/both": {Kind: proxy.SearchKind, Certainty: audit.None, Parts: []proxy.Part{
			{Action: policy.Search, Area: policy.Demographics}, {Action: policy.Search, Area: policy.Notes},
		}},
		"/own": {Action: policy.Search, Area: policy.Results, Kind: proxy.SearchKind, Certainty: audit.Authoritative, Patients: []proxy.Patient{{ID: "1"}}},
		"/one": {Action: policy.Read, Area: policy.Results, Certainty: audit.Authoritative, Patients: []proxy.Patient{{ID: "1"}}},
	}
	for _, row := range []struct {
		mode   proxy.Mode
		path   string
		status int
	}{
		{proxy.Enforce, "/export", 429},
		{proxy.Enforce, "/results", 429},
		{proxy.Enforce, "/both", 429},
		{proxy.Enforce, "/find", 200},
		{proxy.Enforce, "/own", 200},
		{proxy.Enforce, "/one", 200},
		{proxy.Observe, "/export", 200},
		{proxy.Observe, "/results", 200},
	} {
		w := build(t, say("ok"), withLimits(budget(), func(c *proxy.Config) {
			c.Apps[0].Mode = row.mode
			c.Apps[0].Map = testMap{classify: func(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
				a, ok := access[r.URL.Path]
				if a.Rule = "r"; !ok {
					return readPatient(r, body)
				}
				return a, nil
			}}
		}))
		if a := w.do("GET", row.path, ""); a.status != 200 {
			t.Fatalf("%s within the budget: %d", row.path, a.status)
		}
		for i := range 4 {
			w.do("GET", fmt.Sprint("/patient/", i), "")
		}
		a := w.do("GET", row.path, "", navigate)
		if a.status != row.status {
			t.Errorf("%s in %s mode beyond it: %d, want %d", row.path, row.mode, a.status, row.status)
		}
		records := w.log.kinds(audit.KindDecision)
		last := records[len(records)-1]
		switch {
		case row.status == 429:
			if a.header.Get("Retry-After") != "3600" || !strings.Contains(a.body, "one at a time: that is never refused") {
				t.Errorf("%s: Retry-After %q, page %s", row.path, a.header.Get("Retry-After"), a.body)
			}
			if got := budgetRecords(w); len(got) != 2 || got[1] != "deny patient-budget" {
				t.Errorf("%s: records %q", row.path, got)
			}
		case row.mode == proxy.Observe && (!last.WouldDeny || !slices.Equal(last.Reasons, []string{audit.ReasonBudget})):
			t.Errorf("%s: decision %+v", row.path, last)
		}
	}
}

// TestListsHaveABudgetOfTheirOwn: what an answer shows counts when it is shown, each
// patient once, and then not even the search for a patient goes on.
func TestListsHaveABudgetOfTheirOwn(t *testing.T) {
	w := build(t, func(rw http.ResponseWriter, r *http.Request) {
		say("patient 1\npatient 2\npatient "+r.URL.Path[1:])(rw, r)
	}, withLimits(budget(), func(c *proxy.Config) {
		m := heldMap()
		m.classify = func(*http.Request, func() ([]byte, error)) (proxy.Access, error) {
			return proxy.Access{Rule: "find", Action: policy.Search, Area: policy.Demographics, Kind: proxy.SearchKind, Hold: true}, nil
		}
		c.Apps[0].Map = m
	}))
	for _, row := range []struct {
		path, slowed string
		status       int
	}{{"/3", "", 200}, {"/3", "", 200}, {"/4", "0.001;reason=patient-budget", 200}, {"/1", "", 429}} {
		a := w.do("GET", row.path, "")
		if a.status != row.status || a.header.Get("Matron-Slowed") != row.slowed {
			t.Errorf("%s: %d, Matron-Slowed %q", row.path, a.status, a.header.Get("Matron-Slowed"))
		}
	}
	w.log.waitOutcome()
	w.log.waitOutcome()
	if o := w.log.waitOutcome(); !slices.Contains(o.Detail, "slowed=1ms") || !slices.Contains(o.Detail, "over-budget=listed hour") {
		t.Errorf("outcome %+v", o)
	}
	if got := budgetRecords(w); len(got) != 2 || got[0] != "allow patient-budget budget=listed hour patients=4 of=3" {
		t.Errorf("records %q", got)
	}
}

// TestWhatIsRefusedMeetsNobody: nor what refreshes by itself.
func TestWhatIsRefusedMeetsNobody(t *testing.T) {
	for name, change := range map[string]func(*proxy.Config){
		"refused": func(c *proxy.Config) { c.Decider = deciderFunc(denyAll) },
		"a screen that polls": func(c *proxy.Config) {
			c.Apps[0].Map = testMap{classify: func(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
				a, err := readPatient(r, body)
				a.KeepAlive = true
				return a, err
			}}
		},
	} {
		w := build(t, nil, withLimits(budget(), change))
		for i := range 10 {
			w.do("GET", fmt.Sprint("/patient/", i), "")
		}
		if got := budgetRecords(w); len(got) != 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestEachEntryOfABatchCounts: those beyond a limit are answered as if they had come
// alone, and the others go on; patients count by entry.
func TestEachEntryOfABatchCounts(t *testing.T) {
	m, err := appmap.Builtin("fhir-r4")
	if err != nil {
		t.Fatal(err)
	}
	rules := budget()
	rules.Kinds = map[proxy.LimitKind]limit.Rate{proxy.SearchKind: {PerSecond: 0.01, Burst: 2}}
	w := build(t, fhirServer("9"), withLimits(rules, func(c *proxy.Config) { c.Apps[0].Map = m }))
	entries := func(urls ...string) string {
		var list []string
		for _, u := range urls {
			list = append(list, fmt.Sprintf(`{"request":{"method":"GET","url":%q}}`, u))
		}
		return `{"resourceType":"Bundle","type":"batch","entry":[` + strings.Join(list, ",") + `]}`
	}
	fhir := header("Content-Type", "application/fhir+json")
	a := w.do("POST", "/", entries("Patient/1", "Patient?name=a", "Patient?name=b", "Patient?name=c", "Patient/2", "Patient/3"), fhir)
	var got []string
	for _, e := range bundleIn(t, a.body).Entry {
		got = append(got, e.Response.Status[:3])
	}
	if diff := cmp.Diff([]string{"200", "200", "200", "429", "200", "200"}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s\n%s", diff, a.body)
	}
	if a.header.Get("Matron-Slowed") == "" || !slices.Contains(budgetRecords(w), "allow patient-budget budget=opened hour patients=3 of=2") {
		t.Errorf("Matron-Slowed %q, records %q", a.header.Get("Matron-Slowed"), budgetRecords(w))
	}
	var reasons []string
	for _, r := range w.log.kinds(audit.KindDecision) {
		if r.Effect == "deny" {
			reasons = append(reasons, r.Reasons...)
		}
	}
	if !slices.Equal(reasons, []string{audit.ReasonLimited}) {
		t.Errorf("refused because of %q", reasons)
	}
	hits := w.forwarded()
	if a := w.do("POST", "/", entries("Patient?name=d", "Patient?name=e"), fhir); a.status != 429 || a.header.Get("Retry-After") == "" || w.forwarded() != hits {
		t.Errorf("a batch of which nothing is left: %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
}

// TestATransactionCostsWhatItsEntriesDo.
func TestATransactionCostsWhatItsEntriesDo(t *testing.T) {
	m, err := appmap.Builtin("fhir-r4")
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://epr.test/", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/fhir+json")
	a, err := m.Classify(r, func() ([]byte, error) {
		return []byte(`{"resourceType":"Bundle","type":"transaction","entry":[` +
			`{"request":{"method":"GET","url":"Patient/1"}},{"request":{"method":"GET","url":"Patient/2"}},{"request":{"method":"GET","url":"Patient/3"}}]}`), nil
	})
	if err != nil || a.Actions != 3 {
		t.Errorf("%d actions, %v", a.Actions, err)
	}
}

// TestMachinesThatAreNotRegisteredAreRefused: with a reason that their owners
// understand, on record with the name that the token has, floods counted; observed
// applications only mark them.
// hazard:GW-24 control:C-189
func TestMachinesThatAreNotRegisteredAreRefused(t *testing.T) {
	for _, row := range []struct {
		err    error
		mode   proxy.Mode
		status int
		code   string
	}{
		{proxy.ErrMachineUnknown, proxy.Enforce, 403, "machine-not-registered"},
		{proxy.ErrMachineExpired, proxy.Enforce, 403, "machine-expired"},
		{proxy.ErrMachineNetwork, proxy.Enforce, 403, "machine-network"},
		{proxy.ErrMachineUnknown, proxy.Observe, 200, "machine-not-registered"},
		{nil, proxy.Enforce, 200, ""},
	} {
		w := build(t, nil, func(c *proxy.Config) {
			c.Apps[0].Mode = row.mode
			at := time.Now()
			c.Now = func() time.Time { return at }
			c.Identifier = machineIdentifier{c.Identifier}
			c.Admit = func(s policy.Subject, ip string) error {
				if s.Sub != "board" || ip != "127.0.0.1" {
					t.Errorf("asked about %s from %s", s.Sub, ip)
				}
				return row.err
			}
		})
		for range 30 {
			a := w.do("GET", "/patient/1", "", header("Cookie", ""), header("Authorization", "Bearer board"))
			if a.status != row.status || row.status == 403 && !strings.Contains(a.body, row.code) {
				t.Fatalf("%v: %d %s", row.err, a.status, a.body)
			}
		}
		if a := w.do("GET", "/patient/1", ""); a.status != 200 { // a person
			t.Errorf("%v: a person gets %d", row.err, a.status)
		}
		limits, decisions := w.log.kinds(audit.KindLimit), w.log.kinds(audit.KindDecision)
		switch {
		case row.status == 403:
			if len(limits) != 10 || len(decisions) != 1 || limits[0].UserSub != "board" || limits[0].App != "epr" || !slices.Equal(limits[0].Reasons, []string{row.code}) {
				t.Errorf("%v: %d records, decisions %d, first %+v", row.err, len(limits), len(decisions), limits)
			}
		case row.code != "":
			if d := decisions[0]; !d.WouldDeny || !slices.Equal(d.Reasons, []string{row.code}) {
				t.Errorf("%v: decision %+v", row.err, d)
			}
		case decisions[0].WouldDeny:
			t.Errorf("a registered machine: %+v", decisions[0])
		}
	}
}

// machineIdentifier makes every bearer token a machine's.
type machineIdentifier struct{ proxy.Identifier }

func (m machineIdentifier) Identify(r *http.Request) (policy.Subject, error) {
	s, err := m.Identifier.Identify(r)
	if r.Header.Get("Authorization") != "" {
		s.Machine, s.Person = true, ""
	}
	return s, err
}

// TestMachineBeyondItsBudgetIsRefusedWhateverItDoes, since nobody waits for it.
// hazard:GW-24 control:C-191
func TestMachineBeyondItsBudgetIsRefusedWhateverItDoes(t *testing.T) {
	rules := limit.Rules{Machines: map[string]limit.Machine{"board": {Budget: limit.Budget{Opened: limit.Number{Hour: 2}}}}}
	w := build(t, nil, withLimits(rules, func(c *proxy.Config) { c.Identifier = machineIdentifier{c.Identifier} }))
	var got []int
	for i := range 4 {
		got = append(got, w.do("GET", fmt.Sprint("/patient/", i), "", header("Cookie", ""), header("Authorization", "Bearer board")).status)
	}
	if !slices.Equal(got, []int{200, 200, 200, 429}) {
		t.Errorf("%v", got)
	}
	if w.ids.touched != 0 {
		t.Errorf("%d touches by a machine", w.ids.touched)
	}
}
