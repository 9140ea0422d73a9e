package proxy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

func everyAction() []policy.Action {
	return []policy.Action{
		policy.Read, policy.Search, policy.List, policy.Create, policy.Update, policy.Delete, policy.Print, policy.Export, "",
	}
}

func everyArea() []policy.Area {
	return []policy.Area{
		policy.Demographics, policy.Encounters, policy.Notes, policy.Results, policy.Prescribing, policy.Theatres, policy.Documents,
		policy.Administration, policy.Home, policy.Audit, policy.Safety, policy.Live, "",
	}
}

// refusedFrom is what the table below says, written another way than the code:
// the least shortage at which an exchange is refused, 255 for none.
func refusedFrom(kind proxy.LimitKind, action policy.Action, area policy.Area, about string) proxy.Shortage {
	clinical := slices.Contains([]policy.Area{policy.Notes, policy.Results, policy.Prescribing, policy.Theatres, policy.Documents, ""}, area)
	finding := area == policy.Demographics || area == policy.Encounters
	looking := action == policy.Search || action == policy.List
	writing := action == policy.Create || action == policy.Update || action == policy.Delete
	person := kind != proxy.MachineClient
	switch {
	case kind == proxy.Bulk || action == policy.Export:
		return proxy.ShortForBulk
	case person && action != policy.Print && finding:
		return 255
	case person && (clinical || area == policy.Home) && (action == policy.Read || writing || action == ""):
		return 255
	case person && (clinical || area == policy.Home) && looking && about != "somebody":
		return 255
	case looking:
		return proxy.ShortForSearch
	}
	return proxy.ShortForAll
}

// Every combination of kind, action, area, patient and shortage.
func TestWhatIsRefusedAtEachShortage(t *testing.T) {
	seen := map[proxy.Shortage]int{}
	for _, kind := range []proxy.LimitKind{proxy.Interactive, proxy.SearchKind, proxy.Bulk, proxy.MachineClient, ""} {
		for _, action := range everyAction() {
			for _, area := range everyArea() {
				for _, about := range []string{"patient", "nobody", "somebody"} {
					a := proxy.Access{Rule: "r", Kind: kind, Action: action, Area: area, Certainty: audit.Unknown, Hold: true}
					switch about {
					case "patient":
						a.Patients, a.Certainty = []proxy.Patient{{ID: "1"}}, audit.Authoritative
					case "nobody":
						a.Certainty = audit.None
					}
					for _, machine := range []bool{false, true} {
						as := kind
						if machine && kind != proxy.Bulk {
							as = proxy.MachineClient
						}
						want := refusedFrom(as, action, area, about)
						seen[want]++
						got := proxy.YieldsAt(policy.Subject{Machine: machine}, &a)
						if got != want {
							t.Errorf("%q %q in %q about %s, machine %v: refused from %d, want %d", kind, action, area, about, machine, got, want)
						}
					}
				}
			}
		}
	}
	for _, level := range []proxy.Shortage{proxy.ShortForBulk, proxy.ShortForSearch, proxy.ShortForAll, 255} {
		if seen[level] < 20 {
			t.Errorf("level %d has %d rows", level, seen[level])
		}
	}
}

// The exchanges that the table of the document names, by name.
// hazard:GW-02 control:C-11
// hazard:GW-12 control:C-50
func TestDirectCareIsNeverRefused(t *testing.T) {
	named := []proxy.Patient{{ID: "1"}}
	for name, row := range map[string]struct {
		a    proxy.Access
		want proxy.Shortage
	}{
		"find a patient":             {proxy.Access{Action: policy.Search, Area: policy.Demographics, Kind: proxy.SearchKind, Hold: true}, 255},
		"ward list":                  {proxy.Access{Action: policy.List, Area: policy.Encounters, Hold: true}, 255},
		"results of one patient":     {proxy.Access{Action: policy.Search, Area: policy.Results, Kind: proxy.SearchKind, Patients: named}, 255},
		"a result by its number":     {proxy.Access{Action: policy.Read, Area: policy.Results, Hold: true}, 255},
		"save a note":                {proxy.Access{Action: policy.Create, Area: policy.Notes, Patients: named}, 255},
		"letters of one patient":     {proxy.Access{Action: policy.List, Area: policy.Documents, Patients: named}, 255},
		"the formulary":              {proxy.Access{Action: policy.Search, Area: policy.Prescribing, Certainty: audit.None}, 255},
		"a style sheet":              {proxy.Access{Action: policy.Read, Area: policy.Administration, Static: true}, 255},
		"our health page":            {proxy.Access{Action: policy.Read, Area: policy.Live, Vital: true}, 255},
		"our home page":              {proxy.Access{Action: policy.Read, Area: policy.Home}, 255},
		"unmapped":                   {proxy.Access{}, 255},
		"results of everybody":       {proxy.Access{Action: policy.Search, Area: policy.Results, Kind: proxy.SearchKind, Hold: true}, proxy.ShortForSearch},
		"letters of everybody":       {proxy.Access{Action: policy.List, Area: policy.Documents, Hold: true}, proxy.ShortForSearch},
		"who viewed a record":        {proxy.Access{Action: policy.Search, Area: policy.Audit}, proxy.ShortForSearch},
		"an audit page":              {proxy.Access{Action: policy.Read, Area: policy.Audit}, proxy.ShortForAll},
		"print a letter":             {proxy.Access{Action: policy.Print, Area: policy.Documents, Patients: named}, proxy.ShortForAll},
		"administration":             {proxy.Access{Action: policy.Update, Area: policy.Administration, Patients: named}, proxy.ShortForAll},
		"all of one patient at once": {proxy.Access{Action: policy.Export, Area: policy.Notes, Patients: named}, proxy.ShortForBulk},
		"a transaction of writes": {proxy.Access{Patients: named, Parts: []proxy.Part{
			{Action: policy.Create, Area: policy.Notes}, {Action: policy.Create, Area: policy.Prescribing},
		}}, 255},
		"a transaction that exports first": {proxy.Access{Patients: named, Parts: []proxy.Part{
			{Action: policy.Export, Area: policy.Notes}, {Action: policy.Create, Area: policy.Notes},
		}}, proxy.ShortForBulk},
		"a transaction that exports": {proxy.Access{Patients: named, Parts: []proxy.Part{
			{Action: policy.Create, Area: policy.Notes}, {Action: policy.Export, Area: policy.Notes},
		}}, proxy.ShortForBulk},
	} {
		if got := proxy.YieldsAt(policy.Subject{}, &row.a); got != row.want {
			t.Errorf("%s: refused from %d, want %d", name, got, row.want)
		}
	}
}

// spaceMap classifies by the path /kind/action/area/patient, "-" for none.
func spaceMap() testMap {
	return testMap{classify: func(r *http.Request, _ func() ([]byte, error)) (proxy.Access, error) {
		p := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
		a := proxy.Access{
			Rule: "space", Kind: proxy.LimitKind(p[0]), Action: policy.Action(p[1]), Area: policy.Area(p[2]), Certainty: audit.None,
			Deny: proxy.DenyForm(r.Header.Get("Form")),
		}
		if p[3] != "-" {
			a.Patients, a.Certainty, a.Source = []proxy.Patient{{ID: p[3]}}, audit.Authoritative, audit.SourceURL
		}
		if p[3] == "unknown" {
			a.Patients, a.Certainty = nil, audit.Unknown
		}
		return a, nil
	}}
}

// shortOf builds a gateway whose disk is as short as level says.
func shortOf(t *testing.T, level *atomic.Uint32, change func(*proxy.Config)) *world {
	return build(t, say("ok"), func(c *proxy.Config) {
		c.Apps[0].Map = spaceMap()
		c.Space = func() proxy.Shortage { return proxy.Shortage(level.Load()) }
		if change != nil {
			change(c)
		}
	})
}

func TestFillingDiskRefusesWhatCanWaitAndNeverCare(t *testing.T) {
	for _, mode := range []proxy.Mode{proxy.Enforce, proxy.Observe} {
		var level atomic.Uint32
		w := shortOf(t, &level, func(c *proxy.Config) { c.Apps[0].Mode = mode })
		for _, row := range []struct {
			path string
			code [4]string // by shortage, "" for let through
		}{
			{"/bulk/export/notes/7", [4]string{"", "disk-no-bulk", "disk-no-bulk", "disk-no-bulk"}},
			{"/search/search/results/unknown", [4]string{"", "", "disk-no-search", "disk-no-search"}},
			{"/interactive/print/documents/7", [4]string{"", "", "", "disk-care-only"}},
			{"/machine/read/notes/7", [4]string{"", "", "", "disk-care-only"}},
			{"/interactive/read/notes/7", [4]string{}},
			{"/search/search/demographics/unknown", [4]string{}},
			{"/interactive/create/prescribing/7", [4]string{}},
		} {
			for short, code := range row.code {
				level.Store(uint32(short))
				before := w.forwarded()
				a := w.do("GET", row.path, "")
				if code == "" {
					if a.status != 200 || a.body != "ok" {
						t.Errorf("%s %s at %d: got %d %s", mode, row.path, short, a.status, a.body)
					}
					w.log.waitOutcome()
					continue
				}
				var p struct{ Type, Reference string }
				if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Type != "urn:matron:problem:"+code {
					t.Errorf("%s %s at %d: %v %+v, want %s", mode, row.path, short, err, p, code)
				}
				if a.status != 503 || a.header.Get("Retry-After") != "300" || w.forwarded() != before {
					t.Errorf("%s %s at %d: got %d %v", mode, row.path, short, a.status, a.header)
				}
				limits := w.log.kinds(audit.KindLimit)
				if r := limits[len(limits)-1]; r.Request != p.Reference || r.Effect != "deny" || !slices.Equal(r.Reasons, []string{code}) || r.Status != 503 {
					t.Errorf("%s %s at %d: record %+v", mode, row.path, short, r)
				}
			}
		}
	}
}

// What a person reads: what is refused, what still works, whom to ring.
func TestRefusalForWantOfRoomSaysWhatStillWorks(t *testing.T) {
	var level atomic.Uint32
	level.Store(uint32(proxy.ShortForAll))
	w := shortOf(t, &level, nil)
	for path, words := range map[string]string{
		"/bulk/export/notes/7":           "Exports and other bulk work are refused",
		"/search/search/results/unknown": "Searches that are not about one patient are refused",
		"/interactive/print/documents/7": "everything else is refused",
	} {
		page := w.do("GET", path, "", navigate)
		for _, want := range []string{words, "usual", "Ring the service desk", "after 5 minutes", page.header.Get("Matron-Request")} {
			if page.status != 503 || !strings.Contains(page.body, want) {
				t.Errorf("%s: %d, the page lacks %q: %s", path, page.status, want, page.body)
			}
		}
		fhir := w.do("GET", path, "", header("Form", "operation-outcome"))
		var o struct {
			ResourceType string
			Issue        []struct {
				Code    string
				Details struct{ Text string }
			}
		}
		if err := json.Unmarshal([]byte(fhir.body), &o); err != nil || o.ResourceType != "OperationOutcome" ||
			o.Issue[0].Code != "transient" || !strings.Contains(o.Issue[0].Details.Text, words) {
			t.Errorf("%s: %v %s", path, err, fhir.body)
		}
	}
}

// Refusals must not use up the room that they make.
func TestFloodOfRefusalsForWantOfRoomIsCounted(t *testing.T) {
	var level atomic.Uint32
	level.Store(uint32(proxy.ShortForBulk))
	w := shortOf(t, &level, nil)
	const n = 200
	for range n {
		if a := w.do("GET", "/bulk/export/notes/7", ""); a.status != 503 {
			t.Fatalf("got %d", a.status)
		}
	}
	if err := w.gateway.Close(); err != nil {
		t.Fatal(err)
	}
	recorded, counted := 0, 0
	for _, r := range w.log.kinds(audit.KindLimit) {
		if diff := cmp.Diff([]string{"disk-no-bulk"}, r.Reasons); diff != "" {
			t.Error(diff)
		}
		if r.Request != "" {
			recorded++
		}
		for _, d := range r.Detail {
			var missed int
			if k, _ := fmt.Sscanf(d, "unrecorded=%d", &missed); k == 1 {
				counted += missed
			}
		}
	}
	if recorded+counted != n || recorded > n/2 {
		t.Errorf("%d recorded and %d counted of %d", recorded, counted, n)
	}
	if got := len(w.log.kinds(audit.KindOutcome)); got != 0 {
		t.Errorf("%d outcomes", got)
	}
}

// However full the disk: signing in, assets and the way into an emergency, which are
// answered to anybody.
func TestSignInAndBreakGlassNeedNoRoom(t *testing.T) {
	var level atomic.Uint32
	level.Store(200) // higher than any that is known
	w := shortOf(t, &level, func(c *proxy.Config) {
		c.PublicPaths = append(c.PublicPaths, "/.matron/emergency/")
	})
	for _, path := range []string{"/.matron/sign-in", "/.matron/assets/x.css", "/.matron/emergency/1", "/interactive/read/notes/7"} {
		if a := w.do("GET", path, ""); a.status != 200 {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
		}
	}
	if a := w.do("GET", "/machine/print/audit/x", ""); a.status != 503 {
		t.Errorf("anything else: got %d", a.status)
	}
}

// Who measures no disk refuses nothing.
func TestNobodyMeasuringRefusesNothing(t *testing.T) {
	w := build(t, say("ok"), func(c *proxy.Config) { c.Apps[0].Map = spaceMap() })
	if a := w.do("GET", "/bulk/export/notes/7", ""); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if proxy.Shortage(0) != proxy.NoShortage {
		t.Error("the zero value refuses")
	}
}

// The largest request that there can be is answered sensibly and leaves records
// that an entry bundle holds.
func TestLargestRequestLeavesRecordsThatFit(t *testing.T) {
	longRoles := make([]string, 5000)
	for i := range longRoles {
		longRoles[i] = fmt.Sprintf("a role that the provider made up, number %d", i)
	}
	parts := make([]proxy.Part, 2000)
	for i := range parts {
		parts[i] = proxy.Part{Action: policy.Create, Area: policy.Notes, Resource: fmt.Sprintf("Resource%d", i)}
	}
	for _, row := range []struct {
		name, path string
		access     proxy.Access
		status     int
		code       string
	}{
		{"a path as long as may be", "/" + strings.Repeat("p", 4095) + "?" + strings.Repeat("q", 16<<10), proxy.Access{}, 200, ""},
		{"a longer path", "/" + strings.Repeat("p", 4096), proxy.Access{}, 414, "address-too-long"},
		{"a longer query", "/p?" + strings.Repeat("q", 16<<10+1), proxy.Access{}, 414, "address-too-long"},
		{"an enormous query", "/p?" + strings.Repeat("q", 900<<10), proxy.Access{}, 414, "address-too-long"},
		{"secrets that grow", "/p?" + strings.Repeat("s&", 8<<10), proxy.Access{Redact: []string{"s"}}, 200, ""},
		{"a long id", "/p", proxy.Access{ID: strings.Repeat("i", 513)}, 400, "unclassifiable"},
		{"a long version", "/p", proxy.Access{Version: strings.Repeat("i", 513)}, 400, "unclassifiable"},
		{"a long screen", "/p", proxy.Access{Screen: strings.Repeat("s", 1<<20), Resource: strings.Repeat("r", 1<<20)}, 200, ""},
		{"many parts", "/p", proxy.Access{Parts: parts[:200]}, 200, ""},
		{"too many parts", "/p", proxy.Access{Parts: parts}, 400, "too-many-parts"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, say("ok"), func(c *proxy.Config) {
				c.MaxHeader = 1 << 20
				c.Decider = deciderFunc(func(policy.Request) policy.Decision {
					return policy.Decision{Effect: policy.Allow, Rules: longRoles, Revision: strings.Repeat("r", 1000)}
				})
				c.Apps[0].Map = testMap{classify: func(*http.Request, func() ([]byte, error)) (proxy.Access, error) {
					a := row.access
					a.Rule, a.Action, a.Area, a.Certainty = "r", policy.Update, policy.Notes, audit.Several
					a.Patients = []proxy.Patient{{ID: strings.Repeat("1", 512), NHSNumber: strings.Repeat("9", 512)}, {ID: strings.Repeat("2", 512)}}
					return a, nil
				}}
				c.Identifier = enormous{longRoles}
			})
			a := w.do("GET", row.path, "", header("User-Agent", strings.Repeat("u", 60<<10)))
			if a.status != row.status {
				t.Fatalf("got %d %s", a.status, a.body)
			}
			if o := w.log.waitOutcome(); o.Error != row.code {
				t.Errorf("outcome %q", o.Error)
			}
			w.log.mu.Lock()
			defer w.log.mu.Unlock()
			for i := range w.log.all {
				if n := len(w.log.all[i].MarshalCanonical()); n > audit.MaxBytes {
					t.Errorf("record %d (%s) has %d bytes", i+1, w.log.all[i].Kind, n)
				}
			}
		})
	}
}

// enormous is somebody of whom the provider says more than anybody wants to know.
type enormous struct{ roles []string }

func (e enormous) Identify(*http.Request) (policy.Subject, error) {
	long := strings.Repeat("x", 100<<10)
	return policy.Subject{
		Issuer: long, Sub: long, Person: long, Name: long, Roles: e.roles, Activities: e.roles, AMR: e.roles,
		Organisation: long, RoleID: long, ACR: long, Session: long, Token: long,
	}, nil
}

func (enormous) Touch(context.Context, policy.Subject) {}
