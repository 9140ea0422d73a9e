package dashboards

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"time"

	"github.com/matron-epr/matron/policy"
)

// Base is where the pages stand.
const Base = "/.matron/"

// Sentinels that problems maps to a status and a page.
var (
	errNotPermitted = errors.New("not permitted")
	errNotRecorded  = errors.New("look-up not recorded")
	errUnavailable  = errors.New("index unavailable")
)

// Route is one page as the gateway's map needs to know it. Path is a pattern of
// http.ServeMux.
type Route struct {
	ID     string
	Method string
	Path   string
	Area   policy.Area
	Action policy.Action
	// KeepAlive marks what a page fetches by itself: it is not activity of a
	// person and must not extend a session.
	KeepAlive bool
	// Vital marks the page that says what is wrong: it is shown however full the
	// disk of the record is.
	Vital bool
}

// Routes lists every page.
func Routes() []Route { return append(mainRoutes(), safetyRoutes()...) }

func mainRoutes() []Route {
	return []Route{
		{ID: "home", Method: http.MethodGet, Path: Base + "{$}", Area: policy.Home, Action: policy.Read},
		{ID: "lookup", Method: http.MethodGet, Path: Base + "lookup", Area: policy.Audit, Action: policy.Read},
		{ID: "lookup-search", Method: http.MethodPost, Path: Base + "lookup", Area: policy.Audit, Action: policy.Search},
		{ID: "patient", Method: http.MethodGet, Path: Base + "patients/{id}", Area: policy.Audit, Action: policy.Read},
		{ID: "staff", Method: http.MethodGet, Path: Base + "staff/{id}", Area: policy.Audit, Action: policy.Read},
		{ID: "decision", Method: http.MethodGet, Path: Base + "decisions/{id}", Area: policy.Audit, Action: policy.Read},
		{ID: "alerts", Method: http.MethodGet, Path: Base + "alerts", Area: policy.Audit, Action: policy.Read},
		{ID: "alert", Method: http.MethodGet, Path: Base + "alerts/{id}", Area: policy.Audit, Action: policy.Read},
		{ID: "alert-judge", Method: http.MethodPost, Path: Base + "alerts/{id}", Area: policy.Audit, Action: policy.Update},
		{ID: "emergencies", Method: http.MethodGet, Path: Base + "emergencies", Area: policy.Audit, Action: policy.Read},
		{ID: "emergency", Method: http.MethodGet, Path: Base + "emergencies/{id}", Area: policy.Audit, Action: policy.Read},
		{ID: "emergency-judge", Method: http.MethodPost, Path: Base + "emergencies/{id}", Area: policy.Audit, Action: policy.Update},
		{ID: "live", Method: http.MethodGet, Path: Base + "live", Area: policy.Live, Action: policy.Read},
		{ID: "live-now", Method: http.MethodGet, Path: Base + "live/now", Area: policy.Live, Action: policy.Read, KeepAlive: true},
		{ID: "health", Method: http.MethodGet, Path: Base + "health", Area: policy.Live, Action: policy.Read, Vital: true},
		{ID: "modes", Method: http.MethodGet, Path: Base + "modes", Area: policy.Live, Action: policy.Read},
		{ID: "rules", Method: http.MethodGet, Path: Base + "rules", Area: policy.Rules, Action: policy.Read},
		{ID: "rules-propose", Method: http.MethodPost, Path: Base + "rules/propose", Area: policy.Rules, Action: policy.Create},
		{ID: "rules-withdraw", Method: http.MethodPost, Path: Base + "rules/withdraw", Area: policy.Rules, Action: policy.Create},
		{ID: "rules-approve", Method: http.MethodPost, Path: Base + "rules/approve", Area: policy.Rules, Action: policy.Update},
		{ID: "rules-roll-back", Method: http.MethodPost, Path: Base + "rules/roll-back", Area: policy.Rules, Action: policy.Update},
		{ID: "rules-mark", Method: http.MethodPost, Path: Base + "rules/mark", Area: policy.Safety, Action: policy.Update},
	}
}

// safetyRoutes lists the pages of the hazard log. A form is shown to those who may
// send it.
func safetyRoutes() []Route {
	all := []Route{
		{ID: "safety", Path: safetyBase, Action: policy.Read},
		{ID: "hazards", Path: hazardsBase, Action: policy.Read},
		{ID: "hazard", Path: hazardsBase + "/{id}", Action: policy.Read},
		{ID: "hazard-control", Path: safetyBase + "/controls/{id}", Action: policy.Read},
		{ID: "safety-signals", Path: safetyBase + "/signals", Action: policy.Read},
		{ID: "incidents", Path: safetyBase + "/incidents", Action: policy.Read},
		{ID: "incident", Path: safetyBase + "/incidents/{id}", Action: policy.Read},
		{ID: "reviews", Path: safetyBase + "/reviews", Action: policy.Read},
		{ID: "safety-decisions", Path: safetyBase + "/decisions", Action: policy.Read},
		{ID: "release", Path: safetyBase + "/release", Action: policy.Read},
		{ID: "issue-pack", Path: safetyBase + "/pack", Action: policy.Export},
	}
	for _, form := range []Route{
		{ID: "hazard-form", Path: hazardsBase + "/{id}/{form}"},
		{ID: "hazard-control-form", Path: safetyBase + "/controls/{id}/{form}"},
		{ID: "incident-form", Path: safetyBase + "/incidents/{id}/{form}"},
		{ID: "review-form", Path: safetyBase + "/reviews/{id}/{form}"},
		{ID: "safety-new", Path: safetyBase + "/new/{what}"},
		{ID: "sign", Path: safetyBase + "/sign/{ticket}"},
	} {
		form.Action = policy.Update
		sent := form
		sent.ID, sent.Method = form.ID+"-sent", http.MethodPost
		all = append(all, form, sent)
	}
	for i := range all {
		all[i].Area = policy.Safety
		if all[i].Method == "" {
			all[i].Method = http.MethodGet
		}
	}
	return all
}

// answer is what a page function makes of a request: a template with its view,
// somewhere to go, or a file.
type answer struct {
	status   int // 0 means 200
	template string
	view     any
	location string // redirect with 303 instead
	file     string // a ZIP file instead
	name     string // of that file
}

// pageFunc makes one page. Its error is one of the sentinels or stands for 500.
type pageFunc func(r *http.Request) (answer, error)

// Site is the dashboards' http.Handler maker.
type Site struct {
	cfg       Config
	seal      *sealer
	templates *templates
	assets    *assets
	handler   http.Handler
}

// New checks the configuration, reads the assets and parses the templates.
func New(cfg Config) (*Site, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Location == nil {
		cfg.Location = time.UTC
	}
	if cfg.Branding.Service == "" {
		cfg.Branding.Service = "Matron"
	}
	built, err := loadAssets()
	if err != nil {
		return nil, err
	}
	seal, err := newSealer(cfg.Key, cfg.Site)
	if err != nil {
		return nil, err
	}
	tmpl, err := parseTemplates()
	if err != nil {
		return nil, err
	}
	s := &Site{cfg: cfg, seal: seal, templates: tmpl, assets: built}
	s.handler = s.routes()
	return s, nil
}

// Handler serves the pages under Base, for requests that the gateway has
// identified, decided and recorded.
func (s *Site) Handler() http.Handler { return s.handler }

// Assets serves the style sheet, the script and the icon, to anybody: sign-in
// and error pages use them.
func (s *Site) Assets() http.Handler { return s.assets }

// routes puts every page behind guard. A route without a page is refused at the
// start rather than left open.
func (s *Site) routes() http.Handler {
	pages := map[string]pageFunc{
		"home": s.home, "lookup": s.lookup, "lookup-search": s.search,
		"patient": s.patient, "staff": s.staff, "alerts": s.alerts,
		"alert": s.alert, "alert-judge": s.judgeAlert,
		"live": s.live, "live-now": s.live, "health": s.health, "modes": s.modes,
		"decision": s.decision,
		"rules":    s.rules, "rules-propose": s.rulesStep(Propose), "rules-withdraw": s.rulesStep(Withdraw),
		"rules-approve": s.rulesStep(Approve), "rules-roll-back": s.rulesStep(RollBack), "rules-mark": s.rulesStep(Mark),
		"emergencies": s.emergencies, "emergency": s.emergency, "emergency-judge": s.judge,
	}
	maps.Copy(pages, s.safetyPages())
	mux := http.NewServeMux()
	for _, route := range Routes() {
		mux.Handle(route.Method+" "+route.Path, s.guard(route, pages[route.ID]))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, errOpaque)
	})
	protect := http.NewCrossOriginProtection()
	protect.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, errNotPermitted)
	}))
	return secured(protect.Handler(mux))
}

func (s *Site) safetyPages() map[string]pageFunc {
	pages := map[string]pageFunc{
		"safety": s.safetyOverview, "hazards": s.hazards, "hazard": s.hazard, "hazard-control": s.hazardControl, "safety-signals": s.signals,
		"incidents": s.incidents, "incident": s.incident, "reviews": s.reviews, "safety-decisions": s.decisions, "release": s.release, "issue-pack": s.pack,
	}
	for id, form := range map[string]pageFunc{
		"hazard-form": s.hazardForm, "hazard-control-form": s.controlForm, "incident-form": s.incidentForm, "review-form": s.reviewForm,
		"safety-new": s.newSafety, "sign": s.sign,
	} {
		pages[id], pages[id+"-sent"] = form, form
	}
	return pages
}

// guard refuses whoever the gateway did not identify and whatever the policy
// does not permit, though the gateway has decided already: a mistake in a map
// must not open a page (GW-18).
func (s *Site) guard(route Route, page pageFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.permits(r.Context(), route.Area, route.Action) {
			s.fail(w, r, errNotPermitted)
			return
		}
		a, err := page(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.write(w, r, a)
	})
}

// permits asks the policy about the subject of ctx. Nobody is permitted nothing.
func (s *Site) permits(ctx context.Context, area policy.Area, action policy.Action) bool {
	subject := policy.SubjectFrom(ctx)
	return subject.Known() && s.cfg.May(subject, area, action)
}

// secured sets the headers that every page has, refusals included.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// write renders into memory first, so that a page is whole or not there.
func (s *Site) write(w http.ResponseWriter, r *http.Request, a answer) {
	if a.location != "" {
		http.Redirect(w, r, a.location, http.StatusSeeOther)
		return
	}
	if a.file != "" {
		w.Header().Set("Content-Type", "application/zip")
		w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": a.name}))
		_, err := io.WriteString(w, a.file)
		s.sent(r, "file", err)
		return
	}
	var page bytes.Buffer
	if err := s.templates.render(&page, a.template, a.view); err != nil {
		s.cfg.Logger.LogAttrs(r.Context(), slog.LevelError, "page not rendered",
			slog.String("template", a.template), slog.String("error", err.Error()))
		http.Error(w, "This page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, err := page.WriteTo(w)
	s.sent(r, a.template, err)
}

// sent notes that somebody went away before they had all of it.
func (s *Site) sent(r *http.Request, what string, err error) {
	if err != nil {
		s.cfg.Logger.LogAttrs(r.Context(), slog.LevelDebug, "page not sent", slog.String("template", what))
	}
}

// fail answers with the page of the problem. The error's text is neither shown
// nor logged, since the text of a failed query may hold the identifier that was
// asked for; the log gets the problem, the operation and the type of the cause.
func (s *Site) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	s.cfg.Logger.LogAttrs(r.Context(), slog.LevelWarn, "page refused",
		slog.Int("status", p.Status), slog.String("problem", p.Code),
		slog.String("operation", operationOf(err)), slog.String("cause", causeOf(err)))
	view := problemPage{chrome: s.chrome(r, p.Heading), Problem: p}
	s.write(w, r, answer{status: p.Status, template: "problem", view: view})
}
