package gateway

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/cases"
	"github.com/matron-epr/matron/audit/detect"
	lanes "github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// pagesMap classifies requests for Matron's own pages, which stand behind the
// same pipeline as every application.
type pagesMap struct {
	mux    *http.ServeMux
	routes map[string]dashboards.Route // by pattern
}

func newPagesMap() pagesMap {
	m := pagesMap{mux: http.NewServeMux(), routes: map[string]dashboards.Route{}}
	for _, r := range slices.Concat(dashboards.Routes(), fhirRoutes()) {
		pattern := r.Method + " " + r.Path
		m.routes[pattern] = r
		m.mux.Handle(pattern, http.NotFoundHandler())
	}
	return m
}

// Classify implements proxy.Map. The patient whom a page shows is named by the
// page's own audit-viewed record, since addresses hold no identifier.
func (m pagesMap) Classify(r *http.Request, _ func() ([]byte, error)) (proxy.Access, error) {
	_, pattern := m.mux.Handler(r)
	route, ok := m.routes[pattern]
	if !ok {
		return proxy.Access{Deny: denyForm(r.URL.Path)}, nil
	}
	a := proxy.Access{
		Rule: pageRule(route), Action: route.Action, Area: route.Area, Screen: route.ID,
		Certainty: audit.None, Source: audit.SourceNone, Kind: proxy.Interactive,
		KeepAlive: route.KeepAlive, Vital: route.Vital, Deliberate: "true",
	}
	if route.KeepAlive {
		a.Deliberate = "false"
	}
	if a.Deny = denyForm(r.URL.Path); a.Deny != "" {
		a.Screen, a.Deliberate = "", "" // a program asks, for whatever reason
		if route.Area == policy.Audit {
			a.Resource = "AuditEvent"
		}
		if route.Action == policy.Search {
			a.Kind = proxy.SearchKind
		} else if id, found := strings.CutPrefix(r.URL.Path, fhirBase+"/AuditEvent/"); found {
			a.ID = id
		}
	}
	return a, nil
}

// pageRule names a route in records.
func pageRule(r dashboards.Route) string { return "page-" + r.ID }

// denyForm is the form of a refusal that whoever asks for path understands.
func denyForm(path string) proxy.DenyForm {
	if strings.HasPrefix(path, fhirBase+"/") {
		return proxy.DenyOperationOutcome
	}
	return proxy.DenyAuto
}

// Settle implements proxy.Map; no page is ever held.
func (pagesMap) Settle(proxy.Access, *http.Response, proxy.Body) (proxy.Settlement, error) {
	return proxy.Settlement{Certainty: audit.None}, nil
}

// may asks the policy whether a page may be offered to somebody.
func (g *Gateway) may(s policy.Subject, area policy.Area, action policy.Action) bool {
	return g.policy.Decide(context.Background(), policy.Request{
		Subject: s, Site: g.cfg.Site, App: pagesName, Rule: "page-menu", Action: action, Area: area,
		Certainty: string(audit.None), Method: http.MethodGet, Time: g.now(), Sensitivity: policy.Sensitivity{Known: true},
	}).Allowed()
}

// alertReader shows alerts and the cases of the last run in the words of the pages.
type alertReader struct {
	store *cases.Store
	names *names
	last  *runCases
	index index
	site  string
	now   func() time.Time
}

// Alerts implements dashboards.AlertReader.
func (r alertReader) Alerts(ctx context.Context, limit int) ([]dashboards.Alert, error) {
	made, err := r.last.read()
	if err != nil {
		return nil, err
	}
	live, err := apart(ctx, r.store, made, limit)
	if err != nil {
		return nil, err
	}
	said, err := r.store.Dispositions(ctx, "")
	if err != nil {
		return nil, err
	}
	verdicts := map[string]string{}
	for _, d := range said {
		verdicts[d.Alert] = d.Outcome
	}
	var alerts []dashboards.Alert
	for _, a := range live {
		alerts = append(alerts, r.page(a))
	}
	for i := range made[:min(limit, len(made))] {
		alerts = append(alerts, caseAlert(&made[i]))
	}
	ctx, cancel := context.WithTimeout(ctx, pageQuery) // for all names together
	defer cancel()
	for i := range alerts {
		a := &alerts[i]
		who := r.names.of(ctx, a.Person)
		a.PersonName, a.Roles, a.Verdict = who.name, who.roles, verdicts[a.ID]
	}
	return alerts, nil
}

func (alertReader) page(a detect.Alert) dashboards.Alert {
	page := dashboards.Alert{
		ID: a.ID, Time: a.Made, Person: a.Person,
		Detector: a.Kind, Severity: severity(a.Lane), Sentences: a.Sentences, People: a.People, Patients: a.Patients, Days: a.Days,
		Detectors: measured(a.Detectors),
	}
	if len(a.Patients) == 1 {
		page.Patient = a.Patients[0]
	}
	for _, e := range a.Explanations {
		page.Explanations = append(page.Explanations, dashboards.AlertReason{Template: e.Template, Sentence: e.Sentence, Evidence: e.Evidence, Strong: e.Strength == "strong"})
	}
	return page
}

// severity is how soon somebody should look at an alert of a lane.
func severity(l lanes.Lane) dashboards.Severity {
	switch l {
	case lanes.MustReview:
		return dashboards.High
	case lanes.Budget:
		return dashboards.Medium
	case lanes.Random:
	}
	return dashboards.Low
}

// health answers from memory how the gateway is now.
func (g *Gateway) health(context.Context) dashboards.Health {
	stats := g.journal.Stats()
	shipped := g.office.status()
	modes := g.modes()
	h := dashboards.Health{
		Mode: weakest(modes), Modes: modes, ModeSince: g.modeSince(modes), PolicyRev: g.policy.Revision(),
		Journal: dashboards.StateOK, JournalSeq: stats.Committed,
		Index: dashboards.StateFailed, Waiting: shipped.Lag, IndexedTo: g.office.indexedTo(),
		DetectedAt: g.detection.finished(), DetectEvery: g.cfg.Detection.Every, DetectBehind: g.detection.caughtUpTo(),
		Unjudged: g.detection.missing.list(), IndexCode: shipped.LastError,
	}
	if g.journal.Healthy() != nil {
		h.Journal = dashboards.StateFailed
	}
	if g.office.ready() {
		h.Index = dashboards.StateOK
	}
	h.ReloadAt, h.ReloadBad = g.reloads.last()
	h.Probe, h.Notices = g.probe.health(), g.mailer.health()
	h.ProtectionUnknown = !g.protected.known()
	h.Rules = g.rulesNotes()
	if !g.signin.SaysWhen() {
		h.SaysNotWhen = g.cfg.SignIn.Issuer
	}
	g.machineHealth(&h)
	g.limitHealth(&h)
	return h
}

// pageQuery bounds what one list of a page waits for. A page that says
// "unknown" soon is better than one that nobody waits for.
const pageQuery = 5 * time.Second

// index is what pages ask of ClickHouse, or an error while there is none.
type index struct{ office *backOffice }

func (i index) Accesses(ctx context.Context, q audit.Query) ([]audit.Access, error) {
	store, err := i.office.open()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, pageQuery)
	defer cancel()
	return store.Accesses(ctx, q)
}

func (i index) Events(ctx context.Context, q audit.Query) ([]audit.Access, error) {
	store, err := i.office.open()
	if err != nil {
		return nil, err
	}
	return store.Events(ctx, q)
}

func (i index) Event(ctx context.Context, source string, seq uint64) (audit.Access, error) {
	store, err := i.office.open()
	if err != nil {
		return audit.Access{}, err
	}
	return store.Event(ctx, source, seq)
}

func (i index) People(ctx context.Context, q audit.Query) ([]audit.PersonSummary, error) {
	store, err := i.office.open()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, pageQuery)
	defer cancel()
	return store.People(ctx, q)
}

func (i index) Rates(ctx context.Context, from, to time.Time, step time.Duration) ([]audit.Rate, error) {
	store, err := i.office.open()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, pageQuery)
	defer cancel()
	return store.Rates(ctx, from, to, step)
}
