package proxy_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap"
)

// glass is a proxy.Emergency in memory, which notes what it is told.
type glass struct {
	mu      sync.Mutex
	grants  map[string]proxy.Grant // by person and patients, in force here
	others  map[string]proxy.Grant // that another gateway gave
	offers  []proxy.Refused
	broken  bool // pages cannot be made
	cannot  bool // nothing can be offered
	renewed int
}

func newGlass() *glass {
	return &glass{grants: map[string]proxy.Grant{}, others: map[string]proxy.Grant{}}
}

func grantKey(s policy.Subject, patients []proxy.Patient) string {
	key := s.Person
	for _, p := range patients {
		key += " " + p.ID
	}
	return key
}

func (g *glass) Granted(s policy.Subject, site, app string, patients []proxy.Patient) proxy.Grant {
	g.mu.Lock()
	defer g.mu.Unlock()
	if site != "RBA" || app != "epr" {
		return proxy.Grant{}
	}
	return g.grants[grantKey(s, patients)]
}

func (g *glass) Renew(context.Context, policy.Subject) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.renewed++
	for key, grant := range g.others {
		g.grants[key] = grant
	}
	return len(g.others) > 0
}

func (g *glass) Offer(_ context.Context, r proxy.Refused) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.offers = append(g.offers, r)
	if g.cannot {
		return ""
	}
	return "/.matron/emergency/" + r.Patient.ID + "-of-" + r.Subject.Sub
}

func (g *glass) Page(_ context.Context, path string) ([]byte, error) {
	if g.broken {
		return nil, errors.New("no page")
	}
	return []byte("the page of " + path + ", reference " + g.offers[len(g.offers)-1].Request), nil
}

// ungranted refuses whoever has no grant, as the rules do, and notes the questions.
type ungranted struct {
	refuse policy.Decision
	mu     sync.Mutex
	asked  []policy.Request
}

func (u *ungranted) Decide(_ context.Context, q policy.Request) policy.Decision {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked = append(u.asked, q)
	if q.Grant == "" {
		return u.refuse
	}
	return policy.Decision{Effect: policy.Allow, Revision: "r1"}
}

func challenged(t *testing.T) (*world, *ungranted) {
	t.Helper()
	rules := &ungranted{refuse: challengeAll(policy.Request{})}
	return build(t, say(secret), func(c *proxy.Config) { c.Decider, c.Home = rules, "/start/" }), rules
}

// A grant goes into the question and into the record, and the answer says until when;
// without it nothing is forwarded.
func TestGrantIsAskedWithAndRecorded(t *testing.T) {
	w, rules := challenged(t)
	until := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	w.glass.grants["p-ada 4711"] = proxy.Grant{ID: "BG-1", Until: until, Purpose: "BTG"}
	a := w.do("GET", "/patient/4711", "")
	if a.status != 200 || a.header.Get("Matron-Break-Glass-Until") != "2026-11-22T04:00:00Z" {
		t.Errorf("got %d %v", a.status, a.header)
	}
	w.log.waitOutcome()
	if q := rules.asked[0]; q.Grant != "BG-1" || q.Purpose != "BTG" {
		t.Errorf("asked %+v", q)
	}
	d := w.log.kinds(audit.KindDecision)[0]
	if d.Basis != "break-glass:BG-1" || d.Purpose != "BTG" || d.Effect != "allow" {
		t.Errorf("recorded %+v", d)
	}
	b := w.do("GET", "/patient/4712", "", navigate)
	if b.status != 403 || b.header.Get("Matron-Break-Glass-Until") != "" || w.forwarded() != 1 {
		t.Errorf("another patient: %d %v", b.status, b.header)
	}
	w.log.waitOutcome()
	if d := w.log.kinds(audit.KindDecision)[1]; d.Basis != "" || d.Purpose != "" {
		t.Errorf("recorded %+v", d)
	}
}

// What another gateway granted counts at once.
func TestGrantOfAnotherGatewayIsLookedForBeforeRefusing(t *testing.T) {
	w, rules := challenged(t)
	w.glass.others["p-ada 4711"] = proxy.Grant{ID: "BG-2", Until: time.Now().Add(time.Hour)}
	if a := w.do("GET", "/patient/4711", ""); a.status != 200 || len(rules.asked) != 2 {
		t.Errorf("got %d after %d questions", a.status, len(rules.asked))
	}
}

// A navigation gets the page that offers emergency access in place of the refusal,
// and everything else an address of it in its own form; a write is never to be
// come back to.
// hazard:GW-01 control:C-01
func TestRefusalOffersEmergencyAccess(t *testing.T) {
	const address = "/.matron/emergency/4711-of-ada"
	referer := func(r *http.Request) { r.Header.Set("Referer", "https://"+r.Host+"/list?ward=7") }
	abroad := func(r *http.Request) { r.Header.Set("Referer", "https://elsewhere.example/x") }
	for _, row := range []struct {
		name, method string
		with         []with
		page         bool
		back         string
	}{
		{"navigation", "GET", []with{navigate}, true, "/patient/4711?tab=2"},
		{"program", "GET", nil, false, "/start/"},
		{"script of a page", "GET", []with{referer, header("Sec-Fetch-Mode", "cors")}, false, "/list?ward=7"},
		{"form", "POST", []with{navigate, referer}, false, "/list?ward=7"},
		{"form from elsewhere", "POST", []with{navigate, abroad}, false, "/start/"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, _ := challenged(t)
			a := w.do(row.method, "/patient/4711?tab=2", "", row.with...)
			if a.status != 403 || a.header.Get("Location") != "" || w.forwarded() != 0 || !strings.Contains(a.body, address) {
				t.Fatalf("got %d %s", a.status, a.body)
			}
			if page := strings.HasPrefix(a.body, "the page of "+address); page != row.page {
				t.Errorf("got %s", a.body)
			}
			if p := a.header.Get("Referrer-Policy"); p != "same-origin" {
				t.Errorf("browsers send the form on the page from the origin null: referrer policy %q", p)
			}
			if len(w.glass.offers) != 1 {
				t.Fatalf("offers %+v", w.glass.offers)
			}
			o, d := w.glass.offers[0], w.log.kinds(audit.KindDecision)[0]
			want := proxy.Refused{
				Offer: policy.BreakGlass, Request: d.Request, Subject: o.Subject, Site: "RBA", App: "epr", Patient: proxy.Patient{ID: "4711"},
				Source: o.Source, Certainty: audit.Authoritative, Rule: d.Route, Area: policy.Notes, Reasons: challengeAll(policy.Request{}).Reasons,
				Return: row.back, Sensitivity: policy.Sensitivity{Known: true},
			}
			if diff := cmp.Diff(want, o); diff != "" || o.Subject.Sub != "ada" {
				t.Error(diff)
			}
		})
	}
}

// hazard:GW-01 control:C-05
func TestProgramsAreToldWhatWouldHelp(t *testing.T) {
	w, _ := challenged(t)
	a := w.do("GET", "/patient/4711", "")
	var p struct {
		Challenge  string `json:"challenge"`
		BreakGlass string `json:"break_glass"`
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Challenge != "break-glass" || p.BreakGlass != w.url+"/.matron/emergency/4711-of-ada" {
		t.Errorf("%v %s", err, a.body)
	}
}

// Where the page cannot be made the refusal leads to it, and where nothing can be
// offered it is a refusal; either way it says why.
func TestRefusalStandsWhereNothingCanBeOffered(t *testing.T) {
	w, _ := challenged(t)
	w.glass.broken = true
	if a := w.do("GET", "/patient/4711", "", navigate); a.status != 403 || !strings.Contains(a.body, `href="/.matron/emergency/4711-of-ada"`) {
		t.Errorf("got %d %s", a.status, a.body)
	}
	w.glass.cannot = true
	if a := w.do("GET", "/patient/4711", "", navigate); a.status != 403 || strings.Contains(a.body, "emergency/") || !strings.Contains(a.body, "You do not look after") {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// Only what the rules offer is offered: rules that gave no answer offer it with a
// refusal, and a refusal alone does not.
func TestNothingIsOfferedUnasked(t *testing.T) {
	for name, row := range map[string]struct {
		refuse policy.Decision
		want   int
	}{
		"refused":         {denyAll(policy.Request{}), 0},
		"no answer":       {policy.Decision{Offer: policy.BreakGlass, Reasons: []policy.Reason{{Code: "policy-error", Text: "No answer.", Remedy: "Again."}}}, 1},
		"a purpose":       {policy.Decision{Effect: policy.Challenge, Offer: policy.Purpose}, 1},
		"signing in":      {policy.Decision{Effect: policy.Challenge, Offer: policy.StepUp}, 0},
		"or an emergency": {policy.Decision{Effect: policy.Challenge, Offer: policy.StepUp, Emergency: true}, 1},
		"zero":            {policy.Decision{}, 0},
	} {
		w, rules := challenged(t)
		rules.refuse = row.refuse
		if a := w.do("GET", "/patient/4711", "", navigate); a.status/100 != 4 || len(w.glass.offers) != row.want {
			t.Errorf("%s: got %d, %d offers", name, a.status, len(w.glass.offers))
		}
	}
}

// A refusal that could not be recorded offers nothing.
func TestUnrecordedRefusalOffersNothing(t *testing.T) {
	w, _ := challenged(t)
	w.log.appendFault = func(int, []*audit.Record) fault { return lost }
	if a := w.do("GET", "/patient/4711", "", navigate); a.status != 503 || len(w.glass.offers) != 0 {
		t.Errorf("got %d, %d offers", a.status, len(w.glass.offers))
	}
}

// A grant that lets in a patient whom only the answer names stands in the record of
// that patient, and of no other.
func TestGrantForWhomTheAnswerNamesIsRecorded(t *testing.T) {
	for _, row := range []struct {
		address string
		want    map[string]string // basis by patient
	}{
		{"/fhir/Observation/o-p2", map[string]string{"p2": "allow break-glass:BG-2 BTG"}},
		{"/fhir/Observation/o-p1", map[string]string{"p1": "allow  "}},
		{"/fhir/Observation?code=x", map[string]string{"p1": "allow  ", "p2": "allow break-glass:BG-2 BTG", "p3": "challenge  "}},
	} {
		w := build(t, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "application/fhir+json")
			body := searchAnswer([]string{"p1", "p2", "p3"})
			if id := path.Base(r.URL.Path); r.URL.RawQuery == "" {
				body = observation(id, strings.TrimPrefix(id, "o-"))
			}
			_, _ = io.WriteString(rw, body)
		}, func(c *proxy.Config) {
			m, err := appmap.Builtin("fhir-r4")
			if err != nil {
				t.Fatal(err)
			}
			c.Apps[0].Map, c.Apps[0].Prefix, c.Apps[0].StripPrefix = m, "/fhir", true
			c.Decider = deciderFunc(func(q policy.Request) policy.Decision {
				if q.Grant == "" && (slices.Contains(q.Patients, "p2") || slices.Contains(q.Patients, "p3")) {
					return challengeAll(q)
				}
				d := allowAll(q)
				d.Obligations = []string{"filter"}
				return d
			})
		})
		w.glass.grants["p-ada p2"] = proxy.Grant{ID: "BG-2", Until: time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC), Purpose: "BTG"}
		a := w.do("GET", row.address, "")
		w.log.waitOutcome()
		got := map[string]string{}
		for _, r := range w.log.kinds(audit.KindPatient) {
			got[r.Patient] = r.Effect + " " + r.Basis + " " + r.Purpose
		}
		until := a.header.Get("Matron-Break-Glass-Until")
		if diff := cmp.Diff(row.want, got); diff != "" || a.status != 200 || row.address == "/fhir/Observation/o-p2" && until == "" {
			t.Errorf("%s: %d, until %q: %s", row.address, a.status, until, diff)
		}
	}
}
