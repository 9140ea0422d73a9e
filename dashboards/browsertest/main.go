// Command browsertest serves the dashboards in every state to the browser tests
// beside it: one loopback address a state, all with the same made-up hospital.
// It prints the addresses as one line of JSON and serves until its standard
// input ends. It is no part of Matron's binary.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/dashboards/internal/fake"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/policy"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// served is what the tests need to know.
type served struct {
	States map[string]string `json:"states"` // state to origin
	Pages  map[string]string `json:"pages"`  // page to path
}

// state is one way the pages can be.
type state struct {
	cfg     dashboards.Config
	subject policy.Subject
}

func run(stdin io.Reader, stdout io.Writer) error {
	out := served{States: map[string]string{}}
	for name, st := range states() {
		handler, err := st.handler()
		if err != nil {
			return fmt.Errorf("state %s: %w", name, err)
		}
		if name == "full" {
			out.Pages = pages(handler)
		}
		origin, err := serve(handler)
		if err != nil {
			return err
		}
		out.States[name] = origin
	}
	if err := json.NewEncoder(stdout).Encode(out); err != nil {
		return fmt.Errorf("print addresses: %w", err)
	}
	if _, err := io.Copy(io.Discard, stdin); err != nil {
		return fmt.Errorf("wait for the tests: %w", err)
	}
	return nil
}

// states lists every state by name.
func states() map[string]state {
	full := func() state {
		reader := fake.New()
		book := fake.NewBook(fake.BusyLog())
		subject := fake.Subject()
		subject.AuthTime = fake.Now()
		return state{subject: subject, cfg: dashboards.Config{
			Site: fake.Site, Branding: dashboards.Branding{Organisation: "Example Hospital"},
			Key: []byte("0123456789abcdef0123456789abcdef"), Accesses: reader, Alerts: reader, Hazards: book, Safety: book.Safety(),
			Emergencies: fake.NewEmergencies(), Explain: fake.Explain, Ward: fake.Ward, HospitalNumber: fake.HospitalNumber,
			Health:    func(context.Context) dashboards.Health { return fake.Healthy() },
			Record:    new(fake.Journal).Record,
			May:       func(policy.Subject, policy.Area, policy.Action) bool { return true },
			Decisions: fake.Decisions{Why: fake.Refusal()}, Rules: &fake.RuleBook{State: fake.Promoting()},
			Now: fake.Now, Logger: slog.New(slog.DiscardHandler),
		}}
	}
	out := map[string]state{"full": full()}

	empty := full()
	empty.cfg.Accesses, empty.cfg.Alerts, empty.cfg.Hazards = &fake.Reader{}, &fake.Reader{}, nil
	empty.cfg.Safety = dashboards.Safety{}
	empty.cfg.Rules, empty.cfg.Decisions = nil, fake.Decisions{Unasked: "The rules were not asked: no map knew this request."}
	out["empty"] = empty

	broken := full()
	down := &fake.Reader{Err: errors.New("no answer")}
	broken.cfg.Accesses, broken.cfg.Alerts = down, down
	broken.cfg.Hazards = fake.Hazards{Err: errors.New("no answer")}
	broken.cfg.Health = func(context.Context) dashboards.Health { return dashboards.Health{} }
	out["error"] = broken

	out["draft"] = full().proposed()

	stale := full()
	stale.cfg.Health = func(context.Context) dashboards.Health {
		h := fake.Healthy()
		h.IndexedTo, h.Waiting, h.Mode, h.ReloadBad = fake.Now().Add(-26*time.Hour), 41_207, "observe", true
		h.Unjudged = fake.Unjudged()
		return h
	}
	out["stale"] = stale

	disk := full()
	disk.cfg.Health = func(context.Context) dashboards.Health {
		h := fake.Healthy()
		h.Disk.Used, h.Disk.Free, h.Disk.Level, h.Disk.Since = .962, 3_912_000_000, 3, fake.Now().Add(-11*time.Minute)
		h.Index, h.IndexCode, h.Waiting = dashboards.StateFailed, "clickhouse-81", 41_207
		h.ClockAt, h.ClockBy = fake.Now().Add(-3*time.Hour), -time.Hour
		h.Witness = dashboards.Copy{Set: true, State: dashboards.StateFailed, Waiting: 9, Behind: 4 * time.Hour}
		return h
	}
	out["disk-full"] = disk

	observed := full()
	observed.cfg.Accesses = fake.Waiving()
	observed.cfg.Health = func(context.Context) dashboards.Health { return fake.Observed() }
	out["observed"] = observed

	refused := full()
	refused.cfg.May = func(_ policy.Subject, area policy.Area, _ policy.Action) bool { return area == policy.Home }
	out["no-permission"] = refused

	unrecorded := full()
	unrecorded.cfg.Record = (&fake.Journal{Err: errors.New("disk full")}).Record
	out["unrecorded"] = unrecorded
	return out
}

// handler stands in for the gateway: it puts the subject into the context and
// serves the assets to anybody.
func (st state) handler() (http.Handler, error) {
	site, err := dashboards.New(st.cfg)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(dashboards.Base+"assets/", site.Assets())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		site.Handler().ServeHTTP(w, r.WithContext(policy.WithSubject(r.Context(), st.subject)))
	})
	return mux, nil
}

// pages finds the address of every page; the opaque ones by looking them up.
func pages(h http.Handler) map[string]string {
	return map[string]string{
		"home": "/.matron/", "lookup": "/.matron/lookup", "alerts": "/.matron/alerts", "live": "/.matron/live", "health": "/.matron/health",
		"modes":       "/.matron/modes",
		"emergencies": "/.matron/emergencies", "emergency": "/.matron/emergencies/BG-NEW2", "emergency-own": "/.matron/emergencies/BG-MINE",
		"hazards": "/.matron/hazards", "hazards-initial": "/.matron/hazards?rating=initial",
		"hazards-cell": "/.matron/hazards?severity=Major&likelihood=Low", "hazard": "/.matron/hazards/GW-01",
		"hazards-today": "/.matron/hazards?rating=today", "hazards-filtered": "/.matron/hazards?risk=3%2B&evidence=question",
		"safety": "/.matron/safety", "safety-control": "/.matron/safety/controls/C-01", "signals": "/.matron/safety/signals",
		"incidents": "/.matron/safety/incidents", "incident": "/.matron/safety/incidents/I-01", "reviews": "/.matron/safety/reviews",
		"safety-decisions": "/.matron/safety/decisions", "release": "/.matron/safety/release", "sign": link(h, "/.matron/safety/release", "sign"),
		"sign-accept": link(h, "/.matron/hazards/GW-02", "sign"), "hazard-edit": "/.matron/hazards/GW-01/edit", "hazard-rate": "/.matron/hazards/GW-01/residual",
		"hazard-status": "/.matron/hazards/GW-01/status", "control-edit": "/.matron/safety/controls/C-01/edit", "incident-new": "/.matron/safety/new/incident",
		"hazard-new": "/.matron/safety/new/hazard", "review-done": "/.matron/safety/reviews/R-02/done", "incident-resolve": "/.matron/safety/incidents/I-02/resolve",
		"not-found": "/.matron/patients/none", "rules": "/.matron/rules", "decision": decision(h),
		"patient": find(h, "nhs", fake.Patient), "patient-events": find(h, "nhs", fake.Patient) + "&view=events",
		"alert": "/.matron/alerts/A-2", "alert-crowd": "/.matron/alerts/C-1", "patient-letter": find(h, "nhs", fake.Patient) + "&view=letter", "patient-revealed": find(h, "nhs", fake.Patient) + "&reveal=yes", "patient-nobody": find(h, "nhs", fake.Nobody),
		"patient-why": strings.Split(find(h, "nhs", fake.Patient), "?")[0], "staff": find(h, "staff", fake.Nurse),
		"staff-own": find(h, "staff", fake.Reviewer),
	}
}

// proposed is the state with the log that comes with Matron, which nobody has signed.
func (st state) proposed() state {
	book := fake.NewBook(starter())
	st.cfg.Hazards, st.cfg.Safety = book, book.Safety()
	return st
}

// starter is the log that comes with Matron.
func starter() hazardlog.Log {
	l, err := hazardlog.StarterLog()
	if err != nil {
		log.Fatal(err)
	}
	return l
}

// link finds the last page that a page leads to by signing in again.
func link(h http.Handler, from, to string) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, from, nil))
	parts := strings.Split(w.Body.String(), "return=%2F.matron%2Fsafety%2F"+to+"%2F")
	id, _, _ := strings.Cut(parts[len(parts)-1], `"`)
	return "/.matron/safety/" + to + "/" + id
}

// find posts the look-up form and returns where it leads.
func find(h http.Handler, by, number string) string {
	form := url.Values{"by": {by}, "number": {number}, "reason": {"planned-audit"}}
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/.matron/lookup", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Header().Get("Location")
}

// decision finds the page of the newest decision about the patient.
func decision(h http.Handler) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, find(h, "nhs", fake.Patient)+"&view=events", nil))
	_, after, _ := strings.Cut(w.Body.String(), `href="/.matron/decisions/`)
	id, _, _ := strings.Cut(after, `"`)
	return "/.matron/decisions/" + strings.ReplaceAll(id, "&amp;", "&")
}

// serve answers on a free loopback port for as long as the process lives.
func serve(h http.Handler) (string, error) {
	var listen net.ListenConfig
	l, err := listen.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }() // ends with the process
	return "http://" + l.Addr().String(), nil
}
