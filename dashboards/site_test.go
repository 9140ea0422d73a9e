package dashboards_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/dashboards/internal/fake"
	"github.com/matron-epr/matron/policy"
)

// bench is a Site with the fakes behind it.
type bench struct {
	cfg     dashboards.Config
	reader  *fake.Reader
	journal *fake.Journal
	health  dashboards.Health
	subject policy.Subject
	logged  *strings.Builder
}

func newBench() *bench {
	b := &bench{reader: fake.New(), journal: &fake.Journal{}, health: fake.Healthy(), subject: fake.Subject(), logged: &strings.Builder{}}
	b.cfg = dashboards.Config{
		Site: fake.Site, Key: []byte("0123456789abcdef0123456789abcdef"), Accesses: b.reader, Alerts: b.reader, Hazards: fake.Hazards{Log: fake.HazardLog()},
		Health: func(context.Context) dashboards.Health { return b.health },
		Record: b.journal.Record,
		May:    func(policy.Subject, policy.Area, policy.Action) bool { return true },
		Now:    fake.Now, Logger: slog.New(slog.NewTextHandler(b.logged, nil)),
	}
	return b
}

func (b *bench) site(t *testing.T) *dashboards.Site {
	t.Helper()
	site, err := dashboards.New(b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	return site
}

func (b *bench) do(t *testing.T, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	b.site(t).Handler().ServeHTTP(w, r.WithContext(policy.WithSubject(r.Context(), b.subject)))
	return w
}

func (b *bench) get(t *testing.T, path string) *httptest.ResponseRecorder {
	t.Helper()
	return b.do(t, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
}

func (b *bench) post(t *testing.T, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/.matron/lookup", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(t, r)
}

// find returns the address of a page that a look-up leads to.
func (b *bench) find(t *testing.T, by, number string) string {
	t.Helper()
	w := b.post(t, url.Values{"by": {by}, "number": {number}, "reason": {"complaint"}})
	if w.Code != http.StatusSeeOther {
		t.Fatalf("look up %s: status %d", by, w.Code)
	}
	return w.Header().Get("Location")
}

// hazard:GW-29 control:C-220
func TestEveryPageIsRefusedWithoutPermission(t *testing.T) {
	paths := []string{"/.matron/", "/.matron/lookup", "/.matron/patients/x", "/.matron/staff/x", "/.matron/alerts", "/.matron/live", "/.matron/live/now", "/.matron/hazards", "/.matron/hazards/GW-01", "/.matron/decisions/x", "/.matron/rules"}
	for _, path := range paths {
		t.Run("policy says no "+path, func(t *testing.T) {
			b := newBench()
			b.cfg.May = func(policy.Subject, policy.Area, policy.Action) bool { return false }
			refused(t, b, path)
		})
		t.Run("nobody "+path, func(t *testing.T) {
			b := newBench()
			b.subject = policy.Subject{}
			refused(t, b, path)
		})
	}
}

func refused(t *testing.T, b *bench, path string) {
	t.Helper()
	w := b.get(t, path)
	if w.Code != http.StatusForbidden {
		t.Errorf("status %d, want 403", w.Code)
	}
	if !strings.Contains(w.Body.String(), "You cannot open this page") {
		t.Errorf("no explanation in %q", w.Body.String())
	}
	if len(b.journal.Records()) != 0 {
		t.Error("a refused page recorded a look-up")
	}
}

func TestGuardAsksForThePagesOwnArea(t *testing.T) {
	want := map[string]policy.Area{
		"/.matron/": policy.Home, "/.matron/lookup": policy.Audit, "/.matron/alerts": policy.Audit,
		"/.matron/live": policy.Live, "/.matron/live/now": policy.Live, "/.matron/hazards": policy.Safety, "/.matron/hazards/GW-01": policy.Safety,
	}
	for path, area := range want {
		b := newBench()
		b.cfg.May = func(_ policy.Subject, asked policy.Area, _ policy.Action) bool { return asked == area }
		if w := b.get(t, path); w.Code != http.StatusOK {
			t.Errorf("%s with %s: status %d", path, area, w.Code)
		}
		b.cfg.May = func(_ policy.Subject, asked policy.Area, _ policy.Action) bool { return asked != area }
		if w := b.get(t, path); w.Code != http.StatusForbidden {
			t.Errorf("%s without %s: status %d", path, area, w.Code)
		}
	}
}

// TestNothingIsShownUnlessRecorded covers both ways in which a write fails: the
// record is lost, and the record is kept but reported as lost.
// hazard:GW-29 control:C-220
func TestNothingIsShownUnlessRecorded(t *testing.T) {
	good := newBench()
	patient, staff := good.find(t, "nhs", fake.Patient), good.find(t, "staff", fake.Nurse)
	paths := []string{patient, patient + "&view=events", patient + "&reveal=yes", staff, "/.matron/alerts", "/.matron/"}
	for _, kept := range []bool{false, true} {
		for _, path := range paths {
			b := newBench()
			b.journal.Err, b.journal.Keep = errors.New("disk full"), kept
			w := b.get(t, path)
			if w.Code != http.StatusServiceUnavailable {
				t.Errorf("%s: status %d, want 503", path, w.Code)
			}
			for _, secret := range []string{"Whitlock", "Adeyemi", "0018", "990"} {
				if strings.Contains(w.Body.String(), secret) {
					t.Errorf("%s: %q was shown", path, secret)
				}
			}
		}
		b := newBench()
		b.journal.Err, b.journal.Keep = errors.New("disk full"), kept
		w := b.post(t, url.Values{"by": {"nhs"}, "number": {fake.Patient}, "reason": {"complaint"}})
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Location") != "" {
			t.Errorf("look up: status %d to %q, want 503", w.Code, w.Header().Get("Location"))
		}
	}
}

func TestRecordNamesViewerPatientAndReason(t *testing.T) {
	b := newBench()
	path := b.find(t, "nhs", "999 000-0018")
	b.get(t, path+"&reveal=yes")
	base := audit.Record{
		Site: fake.Site, Kind: audit.KindAuditViewed, Time: fake.Now(), App: "matron", Area: "audit",
		Resource: "AuditEvent", Deliberate: "true", NHSNumber: fake.Patient, Certainty: audit.Authoritative,
		UserIssuer: "https://id.example", UserSub: "u-9001", Person: fake.Reviewer, UserName: "Alex Okafor",
		Roles: []string{"privacy-officer"}, Org: fake.Site, Assurance: 2, Effect: "allow", Outcome: audit.Success,
	}
	search, view := base, base
	search.Method, search.Action, search.Screen, search.PatientSource = "POST", "search", "look-up", audit.SourceBody
	search.Detail = []string{"reason=complaint"}
	view.Method, view.Action, view.Screen, view.PatientSource = "GET", "read", "who-viewed", audit.SourceURL
	view.Detail = []string{"reason=complaint", "revealed=identifiers"}
	if diff := cmp.Diff([]audit.Record{search, view}, b.journal.Records()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestStaffRecordNamesThePersonLookedUp(t *testing.T) {
	b := newBench()
	b.get(t, b.find(t, "staff", fake.Nurse))
	records := b.journal.Records()
	want := []string{"reason=complaint", "person=" + fake.Nurse}
	for _, r := range records {
		if diff := cmp.Diff(want, r.Detail); diff != "" {
			t.Errorf("%s detail (-want +got):\n%s", r.Screen, diff)
		}
	}
	if len(records) != 2 {
		t.Errorf("%d records, want 2", len(records))
	}
}

func TestIdentifiersStayOutOfAddressesAndTitles(t *testing.T) {
	b := newBench()
	for _, path := range []string{"/.matron/", "/.matron/alerts", b.find(t, "nhs", fake.Patient), b.find(t, "staff", fake.Nurse), b.find(t, "hospital", "H0044821")} {
		body := b.get(t, path).Body.String()
		for _, id := range []string{fake.Patient, fake.OtherPatient, "H0044821"} {
			if strings.Contains(body, id) || strings.Contains(path, id) {
				t.Errorf("%s holds %s", path, id)
			}
		}
		for _, part := range strings.Split(body, "href=\"")[1:] {
			href, _, _ := strings.Cut(part, "\"")
			if strings.Contains(href, fake.Nurse) {
				t.Errorf("address %s names a member of staff", href)
			}
		}
	}
}

func TestFailedQueryIsNotLoggedWithItsText(t *testing.T) {
	b := newBench()
	path := b.find(t, "nhs", fake.Patient)
	b.reader.Err = errors.New("SELECT … WHERE nhs_number = '9990000018'")
	if w := b.get(t, path); w.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503", w.Code)
	}
	if strings.Contains(b.logged.String(), "9990000018") {
		t.Errorf("log holds the number: %s", b.logged)
	}
	if !strings.Contains(b.logged.String(), "problem=unavailable operation=people") {
		t.Errorf("log lacks the operation: %s", b.logged)
	}
}

func TestHeaders(t *testing.T) {
	b := newBench()
	for _, path := range []string{"/.matron/", "/.matron/nowhere", "/.matron/patients/none"} {
		got := b.get(t, path).Header()
		want := map[string]string{
			"Content-Security-Policy":      "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			"Cache-Control":                "no-store",
			"Referrer-Policy":              "same-origin",
			"X-Content-Type-Options":       "nosniff",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Content-Type":                 "text/html; charset=utf-8",
		}
		for name, value := range want {
			if got.Get(name) != value {
				t.Errorf("%s %s: %q, want %q", path, name, got.Get(name), value)
			}
		}
	}
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	b := newBench()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/.matron/lookup", strings.NewReader("by=nhs&number=9990000018&reason=complaint"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if w := b.do(t, r); w.Code != http.StatusForbidden {
		t.Errorf("status %d, want 403", w.Code)
	}
	if len(b.journal.Records()) != 0 {
		t.Error("the look-up was made")
	}
}

func TestMenuShowsOnlyWhatIsPermitted(t *testing.T) {
	b := newBench()
	b.cfg.May = func(_ policy.Subject, area policy.Area, _ policy.Action) bool {
		return area == policy.Home || area == policy.Safety
	}
	body := b.get(t, "/.matron/").Body.String()
	for entry, want := range map[string]bool{"/.matron/hazards": true, "/.matron/live": false, "/.matron/alerts": false, "/.matron/lookup": false} {
		if got := strings.Contains(body, `href="`+entry+`"`); got != want {
			t.Errorf("%s on the page: %v, want %v", entry, got, want)
		}
	}
	if len(b.journal.Records()) != 0 {
		t.Error("a home page without patients was recorded as a look-up")
	}
}

func TestLookupRefusesWhatCannotBeFound(t *testing.T) {
	tests := []struct {
		name, want string
		form       url.Values
	}{
		{"wrong check digit", "valid NHS number", url.Values{"by": {"nhs"}, "number": {"999 000 0019"}, "reason": {"complaint"}}},
		{"nothing typed", "valid NHS number", url.Values{"by": {"nhs"}, "reason": {"complaint"}}},
		{"no reason", "Select why", url.Values{"by": {"nhs"}, "number": {fake.Patient}}},
		{"made-up reason", "Select why", url.Values{"by": {"nhs"}, "number": {fake.Patient}, "reason": {"curiosity"}}},
		{"other without words", "Say what the reason is", url.Values{"by": {"nhs"}, "number": {fake.Patient}, "reason": {"other"}}},
		{"nothing chosen", "Select what", url.Values{"number": {fake.Patient}, "reason": {"complaint"}}},
		{"staff number too long", "64 characters", url.Values{"by": {"staff"}, "number": {strings.Repeat("x", 65)}, "reason": {"complaint"}}},
		{"note too long", "500 characters", url.Values{"by": {"nhs"}, "number": {fake.Patient}, "reason": {"other"}, "note": {strings.Repeat("x", 501)}}},
		{"form too long", "too long", url.Values{"note": {strings.Repeat("x", 17<<10)}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench()
			w := b.post(t, tt.form)
			if w.Code != http.StatusUnprocessableEntity {
				t.Errorf("status %d, want 422", w.Code)
			}
			if body := w.Body.String(); !strings.Contains(body, tt.want) || !strings.Contains(body, "<title>Error: ") {
				t.Errorf("page lacks %q or the title does not begin with Error", tt.want)
			}
			_, rest, _ := strings.Cut(w.Body.String(), `error-summary__list`)
			_, rest, _ = strings.Cut(rest, `href="#`)
			field, _, _ := strings.Cut(rest, `"`)
			if field == "" || !strings.Contains(w.Body.String(), `id="`+field+`"`) {
				t.Errorf("the summary links to %q, which is not on the page", field)
			}
			if len(b.journal.Records()) != 0 {
				t.Error("a refused look-up was recorded")
			}
		})
	}
}

// hazard:GW-29 control:C-220
func TestNothingIsShownWithoutAReason(t *testing.T) {
	b := newBench()
	for _, page := range []string{b.find(t, "nhs", fake.Patient), b.find(t, "staff", fake.Nurse)} {
		before := len(b.journal.Records())
		bare, _, _ := strings.Cut(page, "?")
		for query, status := range map[string]int{"": 200, "?reason=curiosity": 422} {
			w := b.get(t, bare+query)
			if w.Code != status {
				t.Errorf("%q: status %d, want %d", query, w.Code, status)
			}
			if body := w.Body.String(); !strings.Contains(body, "Why are you looking this up?") || strings.Contains(body, "Whitlock") {
				t.Errorf("%q: names somebody, or does not ask why", query)
			}
		}
		if len(b.journal.Records()) != before {
			t.Error("asking why was recorded as a look-up")
		}
	}
}

func TestOpaqueIDsCannotBeMadeUpOrSwapped(t *testing.T) {
	b := newBench()
	patient := strings.TrimPrefix(b.find(t, "nhs", fake.Patient), "/.matron/patients/")
	id, query, _ := strings.Cut(patient, "?")
	other := newBench()
	other.cfg.Site = "RYY"
	tests := map[string]*bench{
		"/.matron/staff/" + id:                    b,     // a patient is no member of staff
		"/.matron/patients/" + "A" + id[1:]:       b,     // changed
		"/.matron/patients/" + id[:len(id)-4]:     b,     // cut short
		"/.matron/patients/" + "none":             b,     // made up
		"/.matron/patients/" + id:                 other, // of another site
		"/.matron/patients/" + id + "?before=abc": b,
	}
	for path, bench := range tests {
		if !strings.Contains(path, "?") {
			path += "?" + query
		} else {
			path += "&view=events&" + query
		}
		if w := bench.get(t, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, w.Code)
		}
	}
}

func TestPagingListsEveryViewOnce(t *testing.T) {
	b := newBench()
	path := b.find(t, "nhs", fake.Patient) + "&view=events"
	want := 0
	for _, row := range b.reader.Rows {
		if row.NHSNumber == fake.Patient {
			want++
		}
	}
	seen := map[string]int{}
	total := 0
	for range 20 {
		body := b.get(t, path).Body.String()
		for _, part := range strings.Split(body, "3\u00a0November\u00a02026, ")[1:] {
			if len(part) > 8 && part[5] == ':' && part[8] == '<' {
				seen[part[:8]]++
				total++
			}
		}
		_, next, found := strings.Cut(body, `pagination__link--next" href="`)
		if !found {
			break
		}
		path, _, _ = strings.Cut(next, `"`)
		path = strings.ReplaceAll(path, "&amp;", "&")
	}
	if total != want || len(seen) != want {
		t.Errorf("%d rows, %d different, want %d", total, len(seen), want)
	}
}

// hazard:GW-29 control:C-221
func TestCountsAreNeverNoughtWhenTheIndexIsBehind(t *testing.T) {
	for name, health := range map[string]dashboards.Health{
		"nothing known": {},
		"failed":        {Index: dashboards.StateFailed, IndexedTo: fake.Now()},
		"behind":        {Index: dashboards.StateOK, IndexedTo: fake.Now().Add(-2 * time.Minute)},
	} {
		b := newBench()
		b.health = health
		b.cfg.Accesses = &fake.Reader{}
		body := b.get(t, b.find(t, "nhs", fake.Nobody)).Body.String()
		if !strings.Contains(body, "Unknown") || strings.Contains(body, "No view is recorded") {
			t.Errorf("%s: claims that nobody viewed the record", name)
		}
	}
	b := newBench()
	if body := b.get(t, b.find(t, "nhs", fake.Nobody)).Body.String(); !strings.Contains(body, "No view is recorded.") {
		t.Error("up to date: does not say that nobody viewed the record")
	}
}

func TestDegradedGatewayIsSaid(t *testing.T) {
	tests := []struct {
		name, want string
		change     func(*dashboards.Health)
	}{
		{"journal", "cannot be written", func(h *dashboards.Health) { h.Journal = dashboards.StateFailed }},
		{"index", "does not answer", func(h *dashboards.Health) { h.Index = dashboards.StateFailed }},
		{"unknown", "not known whether lists are complete", func(h *dashboards.Health) { h.Index = dashboards.StateUnknown }},
		{"behind", "Lists are behind", func(h *dashboards.Health) { h.IndexedTo = fake.Now().Add(-time.Hour) }},
		{"bypass", "The gateway is bypassed: requests", func(h *dashboards.Health) { h.Mode = "bypass" }},
		{"bypass of one", "The gateway is bypassed for fhir until ", func(h *dashboards.Health) { h.Mode, h.Modes = "bypass", []dashboards.AppMode{fake.Bypassed()} }},
		{"observing one", "observes only for ui: ", func(h *dashboards.Health) {
			h.Mode, h.Modes = "observe", []dashboards.AppMode{{App: "fhir", Mode: "enforce"}, {App: "ui", Mode: "observe"}}
		}},
		{"observe", "observes only", func(h *dashboards.Health) { h.Mode = "observe" }},
		{"second sink", "recorded in the second place", func(h *dashboards.Health) { h.SecondSink = "/srv/second" }},
		{"full disk", "Exports and other bulk work are refused", func(h *dashboards.Health) { h.Disk.Level = 1 }},
		{"read-only", "read-only", func(h *dashboards.Health) { h.Disk.ReadOnly = true }},
		{"care", "Nothing is heard of admissions and transfers so far (PAS/RBA)", func(h *dashboards.Health) { h.Care = dashboards.Care{Set: true, Silent: []string{"PAS/RBA"}} }},
		{"clock", "put back by 1 hour", func(h *dashboards.Health) { h.ClockAt, h.ClockBy = fake.Now().Add(-time.Minute), -time.Hour }},
		{"reload", "stays in force", func(h *dashboards.Health) { h.ReloadBad = true }},
	}
	for _, tt := range tests {
		b := newBench()
		if body := b.get(t, "/.matron/").Body.String(); strings.Contains(body, tt.want) {
			t.Errorf("%s: said though it works", tt.name)
		}
		tt.change(&b.health)
		for _, path := range []string{"/.matron/", "/.matron/lookup", "/.matron/hazards"} {
			if body := b.get(t, path).Body.String(); !strings.Contains(body, tt.want) {
				t.Errorf("%s: %s does not say %q", tt.name, path, tt.want)
			}
		}
	}
}

// TestLinksOfTheHomePageClaimNoReason: a reason goes into the record in the
// viewer's name. Only a link of an alert knows it.
func TestLinksOfTheHomePageClaimNoReason(t *testing.T) {
	b := newBench()
	b.reader.Found = nil
	body := b.get(t, "/.matron/").Body.String()
	if !strings.Contains(body, "/.matron/patients/") || strings.Contains(body, "reason=") {
		t.Error("a link claims a reason, or there are no links")
	}
}

func TestHomePanelsFailAlone(t *testing.T) {
	b := newBench()
	b.cfg.Alerts = &fake.Reader{Err: errors.New("no answer")}
	body := b.get(t, "/.matron/").Body.String()
	for _, want := range []string{"Alerts cannot be read", "Sam Whitlock", "Enforcing", "Not measured yet"} {
		if !strings.Contains(body, want) {
			t.Errorf("home lacks %q", want)
		}
	}
}

func TestNoTrafficIsAnAlarm(t *testing.T) {
	const alarm = "No requests for 2 minutes"
	b := newBench()
	if body := b.get(t, "/.matron/live").Body.String(); strings.Contains(body, alarm) {
		t.Error("alarm though requests arrive")
	}
	b.cfg.Accesses = &fake.Reader{}
	if body := b.get(t, "/.matron/live").Body.String(); !strings.Contains(body, alarm) {
		t.Error("no alarm though nothing arrives")
	}
}

func TestLiveNamesNoPatient(t *testing.T) {
	b := newBench()
	body := b.get(t, "/.matron/live").Body.String()
	if strings.Contains(body, "/patients/") || strings.Contains(body, "··· ···") {
		t.Error("the live page names a patient")
	}
}

func TestHazardsAreNarrowedByCell(t *testing.T) {
	tests := map[string][]string{
		"":                               {"GW-01", "GW-02", "GW-03"},
		"?severity=Major&likelihood=Low": {"GW-01"},
		"?severity=Major&likelihood=Medium&rating=initial":  {"GW-01"},
		"?severity=Major&likelihood=Medium":                 nil,
		"?severity=Terrible&likelihood=Low":                 {"GW-01", "GW-02", "GW-03"}, // hides nothing
		"?severity=Catastrophic&likelihood=Very+Low":        {"GW-02"},
		"?severity=Catastrophic&likelihood=Low&rating=what": nil,
	}
	for query, want := range tests {
		b := newBench()
		body := b.get(t, "/.matron/hazards"+query).Body.String()
		var got []string
		for _, id := range []string{"GW-01", "GW-02", "GW-03"} {
			if strings.Contains(body, "/.matron/hazards/"+id) {
				got = append(got, id)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
}

func TestUnratedHazardIsNeverShownAsLow(t *testing.T) {
	b := newBench()
	body := b.get(t, "/.matron/hazards/GW-03").Body.String()
	if strings.Contains(body, "Risk 1") || strings.Count(body, "Not rated") != 7 {
		t.Errorf("unrated hazard: %d times Not rated, want 7", strings.Count(body, "Not rated"))
	}
	if w := b.get(t, "/.matron/hazards/GW-99"); w.Code != http.StatusNotFound {
		t.Errorf("unknown hazard: status %d, want 404", w.Code)
	}
}

func TestConfigIsRefusedWithoutItsParts(t *testing.T) {
	for name, spoil := range map[string]func(*dashboards.Config){
		"Site":     func(c *dashboards.Config) { c.Site = "" },
		"Key":      func(c *dashboards.Config) { c.Key = c.Key[:31] },
		"Accesses": func(c *dashboards.Config) { c.Accesses = nil },
		"Alerts":   func(c *dashboards.Config) { c.Alerts = nil },
		"Health":   func(c *dashboards.Config) { c.Health = nil },
		"Record":   func(c *dashboards.Config) { c.Record = nil },
		"May":      func(c *dashboards.Config) { c.May = nil },
		"Now":      func(c *dashboards.Config) { c.Now = nil },
		"Logger":   func(c *dashboards.Config) { c.Logger = nil },
	} {
		cfg := newBench().cfg
		spoil(&cfg)
		if _, err := dashboards.New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: error %v", name, err)
		}
	}
}

func TestAssets(t *testing.T) {
	b := newBench()
	site := b.site(t)
	serve := func(path, etag string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		if etag != "" {
			r.Header.Set("If-None-Match", etag)
		}
		w := httptest.NewRecorder()
		site.Assets().ServeHTTP(w, r)
		return w
	}
	plain := serve("/.matron/assets/matron.css", "")
	if plain.Code != 200 || plain.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("plain: status %d, caching %q", plain.Code, plain.Header().Get("Cache-Control"))
	}
	if again := serve("/.matron/assets/matron.css", plain.Header().Get("ETag")); again.Code != http.StatusNotModified {
		t.Errorf("revalidated: status %d, want 304", again.Code)
	}
	_, rest, _ := strings.Cut(b.get(t, "/.matron/lookup").Body.String(), `rel="stylesheet" href="`)
	hashed, _, _ := strings.Cut(rest, `"`)
	if w := serve(hashed, ""); w.Code != 200 || w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" {
		t.Errorf("%s: status %d, caching %q", hashed, w.Code, w.Header().Get("Cache-Control"))
	}
	for _, path := range []string{"/.matron/assets/README.md", "/.matron/assets/../assets/matron.css", "/.matron/assets/", "/.matron/assets/x/matron.css"} {
		if w := serve(path, ""); w.Code != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, w.Code)
		}
	}
}
