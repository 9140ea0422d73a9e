package dashboards_test

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/dashboards/internal/fake"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
	"github.com/matron-epr/matron/policy"
)

// safetyBench is a bench whose viewer is a clinical safety officer who signed in a
// moment ago.
func safetyBench() (*bench, *fake.Book) {
	b, book := newBench(), fake.NewBook(fake.BusyLog())
	b.cfg.Hazards, b.cfg.Safety = book, book.Safety()
	b.subject.AuthTime = fake.Now()
	return b, book
}

func (b *bench) send(t *testing.T, path string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(t, r)
}

// signPage is the address to which the sign-off leads by signing in again.
func (b *bench) signPage(t *testing.T) string {
	t.Helper()
	body := b.get(t, "/.matron/safety/release").Body.String()
	links := regexp.MustCompile(`href="(/\.matron/sign-in\?again=now&amp;return=[^"]+)"`).FindAllStringSubmatch(body, -1)
	if links == nil {
		t.Fatal("the page leads to no signing")
	}
	u, err := url.Parse(html.UnescapeString(links[len(links)-1][1]))
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get("return")
}

func approval() url.Values {
	return url.Values{"version": {"1.5"}, "statement": {"The residual risk is acceptable."}, "confirm": {"0", "1"}}
}

func log(t *testing.T, book *fake.Book) hazardlog.Log {
	t.Helper()
	l, err := book.Hazards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAnOfficerSignsAVersionAndOnlyOnce(t *testing.T) {
	b, book := safetyBench()
	page := b.signPage(t)
	before := log(t, book)
	content, err := before.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if body := b.get(t, page).Body.String(); !strings.Contains(body, hazardlog.Hash(content)) || !strings.Contains(body, "0000001") {
		t.Error("the page does not show the hash of what is signed, or the registration")
	}
	if w := b.send(t, page, approval()); w.Code != http.StatusSeeOther {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	l := log(t, book)
	a := l.Approved()
	if a.Version != "1.5" || a.SHA256 != hazardlog.Hash(content) || a.Officer != fake.Officer() || a.Baseline != fake.Running() {
		t.Errorf("approved: %+v", a)
	}
	if body := b.get(t, "/.matron/safety/release").Body.String(); strings.Count(body, "1 contradicted, 1 stale, 1 not enough data, 3 not measured, 1 supported") != 2 || !strings.Contains(body, "None was kept") {
		t.Error("the signed versions do not say what was known when they were signed")
	}
	events := l.Events()
	last := events[len(events)-1]
	if last.By.Account != b.subject.Sub || last.By.Proof == nil || last.By.Proof.Method != "sign-in" || !strings.Contains(last.By.Proof.Evidence, hazardlog.Hash([]byte(a.Text(l.ID)))) {
		t.Errorf("signed by %+v", last.By)
	}
	again := approval()
	again.Set("version", "1.6")
	if w := b.send(t, page, again); w.Code != http.StatusConflict || log(t, book).Approved().Version != "1.5" {
		t.Errorf("the same sign-in signed twice: status %d", w.Code)
	}
}

// hazard:GW-32 control:C-235
func TestSigningIsRefused(t *testing.T) {
	tests := map[string]struct {
		spoil  func(b *bench, book *fake.Book)
		form   func(url.Values)
		status int
		why    string
	}{
		"not signed in again": {spoil: func(b *bench, _ *fake.Book) {
			b.cfg.Safety.Began = func(policy.Subject) time.Time { return fake.Now().Add(-time.Second) }
		}, status: 409, why: "You have not proved again who you are"},
		"the provider did not ask them": {spoil: func(b *bench, _ *fake.Book) { b.subject.AuthTime = fake.Now().Add(-2 * time.Minute) }, status: 409, why: "You have not proved again who you are"},
		"no time of proof":              {spoil: func(b *bench, _ *fake.Book) { b.subject.AuthTime = time.Time{} }, status: 409, why: "You have not proved again who you are"},
		"opened too long ago": {spoil: func(b *bench, _ *fake.Book) {
			later := fake.Now().Add(31 * time.Minute)
			b.cfg.Now, b.subject.AuthTime = func() time.Time { return later }, later
		}, status: 409, why: "more than 30 minutes ago"},
		"somebody else's page": {spoil: func(b *bench, _ *fake.Book) { b.subject.Sub = "u-9002" }, status: 403, why: "You cannot open this page"},
		"no officer": {spoil: func(b *bench, _ *fake.Book) {
			b.cfg.Safety.Officer = func(policy.Subject) (hazardlog.Officer, bool) { return hazardlog.Officer{}, false }
		}, status: 409, why: "You are not one of the clinical safety officers"},
		"registration ended": {spoil: func(b *bench, _ *fake.Book) {
			b.cfg.Safety.Officer = func(policy.Subject) (hazardlog.Officer, bool) {
				o := fake.Officer()
				o.Expires = "2026-11-02"
				return o, true
			}
		}, status: 409, why: "ended on 2 November 2026"},
		"the log changed": {spoil: func(_ *bench, book *fake.Book) {
			err := book.Change(context.Background(), "", hazardlog.Actor{Issuer: "os", Account: "bob"}, hazardlog.Change{Act: hazardlog.Raise, Value: hazardlog.Decision{ID: "D-09", On: "2026-11-03", Text: "Another decision", Reason: "meanwhile"}})
			if err != nil {
				panic(err)
			}
		}, status: 409, why: "D-09 is new: Another decision, by bob"},
		"may not change the log": {spoil: func(b *bench, _ *fake.Book) {
			b.cfg.May = func(_ policy.Subject, _ policy.Area, a policy.Action) bool { return a != policy.Update }
		}, status: 403, why: "You cannot open this page"},
		"one confirmation": {form: func(f url.Values) { f["confirm"] = []string{"0"} }, status: 422, why: "Confirm both, or do not sign"},
		"no statement":     {form: func(f url.Values) { f.Del("statement") }, status: 422, why: "Say why the residual risk is acceptable"},
		"an old version":   {form: func(f url.Values) { f.Set("version", "1.4") }, status: 422, why: "1.4"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, book := safetyBench()
			page := b.signPage(t)
			form := approval()
			if tt.form != nil {
				tt.form(form)
			}
			if tt.spoil != nil {
				tt.spoil(b, book)
			}
			w := b.send(t, page, form)
			if w.Code != tt.status || !strings.Contains(html.UnescapeString(w.Body.String()), tt.why) {
				t.Errorf("status %d, want %d with %q: %s", w.Code, tt.status, tt.why, w.Body)
			}
			if log(t, book).Approved().Version != "1.4" {
				t.Error("signed all the same")
			}
		})
	}
}

func TestErrorsStandInTheWayOfSigning(t *testing.T) {
	b, book := safetyBench()
	raise := hazardlog.Change{Act: hazardlog.Raise, Value: hazardlog.Hazard{ID: "GW-04", Name: "A hazard that nobody has rated", Owner: "CSO", Status: hazardlog.Open}}
	if err := book.Change(t.Context(), "", hazardlog.Actor{Issuer: "os", Account: "bob"}, raise); err != nil {
		t.Fatal(err)
	}
	body := b.get(t, "/.matron/safety/release").Body.String()
	for _, want := range []string{"errors stand in the way of sign-off", "Nobody has rated it"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(body, "sign this version") {
		t.Error("the page offers to sign a log with errors")
	}
}

func TestAnotherSiteCannotSign(t *testing.T) {
	b, book := safetyBench()
	page := b.signPage(t)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, page, strings.NewReader(approval().Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if w := b.do(t, r); w.Code != http.StatusForbidden || log(t, book).Approved().Version != "1.4" {
		t.Errorf("status %d", w.Code)
	}
}

// TestConcurrentEditsAreShownAndNeverOverwritten opens a form twice. The second to
// save sees what the first wrote, keeps what they left alone, and decides where both
// wrote.
// hazard:GW-32 control:C-236
func TestConcurrentEditsAreShownAndNeverOverwritten(t *testing.T) {
	b, book := safetyBench()
	h, _ := log(t, book).Find("GW-01")
	const path = "/.matron/hazards/GW-01/edit"
	revision := fmt.Sprint(log(t, book).Revision(h.Subject()))
	form := func(harm, owner, effect string) url.Values {
		return url.Values{
			"revision": {revision}, "name": {h.Name}, "effect": {effect}, "hazard": {h.Hazard}, "harm": {harm}, "causes": {strings.Join(h.Causes, "\r\n")},
			"conditions": {""}, "owner": {owner}, "review": {""}, "why": {"workshop"},
		}
	}
	if w := b.send(t, path, form("Theirs of the harm.", "Their owner", h.Effect)); w.Code != http.StatusSeeOther {
		t.Fatalf("first: status %d %s", w.Code, w.Body)
	}
	w := b.send(t, path, form("Mine of the harm.", h.Owner, "Mine of the effect."))
	body := html.UnescapeString(w.Body.String())
	for _, want := range []string{"Changed while you were writing", "It now says: “Theirs of the harm.”", ">Mine of the harm.<", ">Mine of the effect.<", `value="Their owner"`} {
		if !strings.Contains(body, want) {
			t.Errorf("status %d, the page lacks %q", w.Code, want)
		}
	}
	if now, _ := log(t, book).Find("GW-01"); w.Code != http.StatusConflict || now.Harm != "Theirs of the harm." || now.Effect != h.Effect {
		t.Errorf("status %d, saved: %+v", w.Code, now)
	}
	revision = fmt.Sprint(log(t, book).Revision(h.Subject()))
	if w := b.send(t, path, form("Mine of the harm.", "Their owner", "Mine of the effect.")); w.Code != http.StatusSeeOther {
		t.Fatalf("decided: status %d", w.Code)
	}
	if now, _ := log(t, book).Find("GW-01"); now.Harm != "Mine of the harm." || now.Owner != "Their owner" || now.Effect != "Mine of the effect." {
		t.Errorf("saved: %+v", now)
	}
}

// hazard:GW-32 control:C-241
func TestARatingInQuestionIsMarkedEverywhereAndStaysVisible(t *testing.T) {
	b, _ := safetyBench()
	for _, path := range []string{"/.matron/safety", "/.matron/hazards", "/.matron/hazards?rating=today", "/.matron/hazards/GW-01", "/.matron/safety/release", b.signPage(t)} {
		body := b.get(t, path).Body.String()
		if !strings.Contains(body, "In question: evidence contradicts C-01") {
			t.Errorf("%s does not say that the rating is in question", path)
		}
		if !strings.Contains(body, "Risk 3") && !strings.Contains(body, "Major x Low = 3") {
			t.Errorf("%s does not show the signed rating", path)
		}
	}
}

// hazard:GW-32 control:C-241
func TestNoDataIsNeverGreen(t *testing.T) {
	b, _ := safetyBench()
	b.cfg.Safety.Evidence = func(context.Context) evidence.Report { return evidence.Report{} }
	for path, want := range map[string]string{
		"/.matron/safety": "Nothing has been measured yet", "/.matron/safety/signals": "Nothing is measured here yet", "/.matron/safety/controls/C-03": "Not measured", "/.matron/hazards/GW-01": "Not measured",
	} {
		body := b.get(t, path).Body.String()
		if !strings.Contains(body, want) || strings.Contains(body, ">Supported<") || strings.Contains(body, "barrier--supported") {
			t.Errorf("%s lacks %q or shows a control as supported", path, want)
		}
	}
}

func TestPictureAndTableOfABowTieAgree(t *testing.T) {
	b, book := safetyBench()
	body := b.get(t, "/.matron/hazards/GW-01").Body.String()
	_, tail, _ := strings.Cut(body, "<svg")
	picture, rest, _ := strings.Cut(tail, "</svg>")
	for _, x := range log(t, book).ControlsOf("GW-01") {
		if strings.Count(picture, ">"+x.ID+"<") != 1 || !strings.Contains(rest, html.EscapeString(x.Text)) {
			t.Errorf("%s is not once in the picture and in full in the table", x.ID)
		}
	}
	for _, want := range []string{"Contradicted", "Supported", "Not enough data", "Not measured"} {
		if !strings.Contains(picture, ">"+want+"<") {
			t.Errorf("the picture says nowhere %q", want)
		}
	}
}

func TestTheHazardLogIsReadByManyAndChangedByFew(t *testing.T) {
	b, book := safetyBench()
	b.cfg.May = func(_ policy.Subject, _ policy.Area, a policy.Action) bool { return a == policy.Read }
	for _, path := range []string{"/.matron/hazards/GW-01", "/.matron/safety/controls/C-01", "/.matron/safety/incidents", "/.matron/safety/release"} {
		if body := b.get(t, path).Body.String(); strings.Contains(body, "/edit") || strings.Contains(body, "/new/") || strings.Contains(body, "again=now") || strings.Contains(body, "/pack") {
			t.Errorf("%s offers what the reader may not do", path)
		}
	}
	seq := log(t, book).Seq()
	for _, path := range []string{"/.matron/hazards/GW-01/status", "/.matron/safety/new/incident", "/.matron/safety/controls/C-01/edit"} {
		if w := b.send(t, path, url.Values{"revision": {"1"}, "status": {"Closed"}, "why": {"x"}}); w.Code != http.StatusForbidden {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
	if w := b.get(t, "/.matron/safety/pack"); w.Code != http.StatusForbidden {
		t.Errorf("pack: status %d", w.Code)
	}
	if log(t, book).Seq() != seq {
		t.Error("the log changed")
	}
}

func TestAFormNamesWhatIsWrongWhereItIs(t *testing.T) {
	b, book := safetyBench()
	w := b.send(t, "/.matron/safety/new/incident", url.Values{"on": {"yesterday"}, "harm": {"yes"}, "hazards": {"GW-77"}})
	body := html.UnescapeString(w.Body.String())
	for _, want := range []string{`"yesterday" is no day`, `There is no hazard "GW-77"`, `href="#text"`, `value="GW-77"`} {
		if !strings.Contains(body, want) {
			t.Errorf("status %d, the page lacks %q", w.Code, want)
		}
	}
	if w := b.send(t, "/.matron/safety/new/incident", url.Values{"on": {"2026-11-02"}, "text": {"A list came late."}, "harm": {"yes"}, "hazards": {"GW-01 GW-02"}}); w.Header().Get("Location") != "/.matron/safety/incidents/I-03" {
		t.Errorf("status %d to %q", w.Code, w.Header().Get("Location"))
	}
	if last := log(t, book).Incidents[2]; !last.Harm || len(last.Hazards) != 2 {
		t.Errorf("added: %+v", last)
	}
}

// TestARatingIsProposedAndEndsAnAcceptance gives a severity by its two questions; the
// risk is the matrix's.
func TestARatingIsProposedAndEndsAnAcceptance(t *testing.T) {
	b, book := safetyBench()
	revision := fmt.Sprint(log(t, book).Revision(hazardlog.Subject{Kind: hazardlog.OfHazard, ID: "GW-01"}))
	w := b.send(t, "/.matron/hazards/GW-01/residual", url.Values{
		"revision": {revision}, "residual.consequence": {"death"}, "residual.patients": {"several"}, "residual.severity": {"Major"}, "residual.likelihood": {"Low"}, "residual.justification": {"Two wards."}, "why": {"incident I-01"},
	})
	h, _ := log(t, book).Find("GW-01")
	if w.Code != http.StatusSeeOther || h.Residual.Severity != "Catastrophic" || h.Residual.Risk() != 4 || h.Residual.Owned() || h.Acceptance.Accepted {
		t.Errorf("status %d, %+v %+v: %s", w.Code, h.Residual, h.Acceptance, w.Body)
	}
}

func TestTheIssuePackIsAFile(t *testing.T) {
	b, _ := safetyBench()
	w := b.get(t, "/.matron/safety/pack")
	if w.Header().Get("Content-Type") != "application/zip" || w.Header().Get("Content-Disposition") != "attachment; filename=example-hazard-log-draft.zip" || w.Body.String() != "PK" {
		t.Errorf("%v %q", w.Header(), w.Body)
	}
}
