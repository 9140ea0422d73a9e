package dashboards_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/dashboards/internal/fake"
	"github.com/matron-epr/matron/policy"
)

// decisionPage finds the newest decision about the patient and opens it.
func decisionPage(t *testing.T, b *bench) (address string, w *httptest.ResponseRecorder) {
	t.Helper()
	list := b.get(t, b.find(t, "nhs", fake.Patient)+"&view=events").Body.String()
	found := regexp.MustCompile(`href="(/\.matron/decisions/[^"]+)"`).FindStringSubmatch(list)
	if found == nil {
		t.Fatal("no decision is linked from the list")
	}
	address = strings.ReplaceAll(found[1], "&amp;", "&")
	return address, b.get(t, address)
}

func TestDecisionPageSaysWhy(t *testing.T) {
	b := newBench()
	b.cfg.Decisions = fake.Decisions{Why: fake.Refusal()}
	_, w := decisionPage(t, b)
	page := w.Body.String()
	for _, want := range []string{
		"Why this was decided", "those that decided then", "role-not-permitted@explain.rego:61", "Did not hold", "stopped at access.rego:52",
		"Not reached", "subject.auth_time", "4 hours", "With the role doctor.", "Your role (nurse) may not add to prescriptions.",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if strings.Contains(page, fake.Patient) || strings.Contains(page, "9990000018") {
		t.Error("the page names the patient in full")
	}
	address, _ := decisionPage(t, b)
	if revealed := b.get(t, address+"&reveal=yes").Body.String(); !strings.Contains(revealed, "999 000 0018") {
		t.Error("the patient is not shown when asked for")
	}
}

// Viewing a decision is recorded before it is read, with whom it is about.
func TestDecisionPageIsRecordedFirst(t *testing.T) {
	b := newBench()
	b.cfg.Decisions = fake.Decisions{Why: fake.Refusal()}
	address, _ := decisionPage(t, b)
	records := b.journal.Records()
	last := records[len(records)-1]
	if last.Screen != "decision" || last.NHSNumber != fake.Patient || last.Kind != audit.KindAuditViewed ||
		!strings.Contains(strings.Join(last.Detail, " "), "record=gw1/") {
		t.Errorf("recorded: %+v", last)
	}
	for _, kept := range []bool{false, true} {
		b.journal.Err, b.journal.Keep = errors.New("disk full"), kept
		b.cfg.Decisions = fake.Decisions{Read: func() { t.Error("read before it was recorded") }}
		if w := b.get(t, address); w.Code != http.StatusServiceUnavailable {
			t.Errorf("unrecorded: %d", w.Code)
		}
	}
	why, _, _ := strings.Cut(address, "?")
	b = newBench()
	b.cfg.Decisions = fake.Decisions{Why: fake.Refusal()}
	if page := b.get(t, why).Body.String(); !strings.Contains(page, "Why are you looking this up?") || len(b.journal.Records()) != 0 {
		t.Error("a decision is shown without a reason")
	}
}

// What cannot be told is said: rules that are not kept, records that no rule was
// asked for, answers that differ.
func TestDecisionPageSaysWhatIsNotKnown(t *testing.T) {
	for _, c := range []struct {
		decisions fake.Decisions
		status    int
		want      string
	}{
		{fake.Decisions{Why: fake.Refusal(), Today: true}, 200, "those in force now: the rules that decided then"},
		{fake.Decisions{Why: fake.Refusal(), Allowed: true}, 200, "Asked again, the rules answer otherwise: deny."},
		{fake.Decisions{Unasked: "The rules were not asked."}, 200, "The rules were not asked."},
		{fake.Decisions{Err: dashboards.ErrNoDecision}, 404, "Page not found"},
		{fake.Decisions{Err: errors.New("no answer")}, 503, "cannot be read"},
	} {
		b := newBench()
		b.cfg.Decisions = c.decisions
		if _, w := decisionPage(t, b); w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%q: %d", c.want, w.Code)
		}
	}
	b := newBench()
	if list := b.get(t, b.find(t, "nhs", fake.Patient)+"&view=events").Body.String(); strings.Contains(list, "/.matron/decisions/") {
		t.Error("decisions are linked where nobody explains them")
	}
	if w := b.get(t, "/.matron/decisions/none?reason=complaint"); w.Code != http.StatusNotFound {
		t.Errorf("a made-up address: %d", w.Code)
	}
}

// What somebody may do about rules is what their role permits, and what was refused
// is said.
func TestRulesPage(t *testing.T) {
	b := newBench()
	if page := b.get(t, "/.matron/rules").Body.String(); !strings.Contains(page, "two people are not demanded here") {
		t.Error("it is not said that promotion is not demanded")
	}
	book := &fake.RuleBook{State: fake.Promoting()}
	b.cfg.Rules = book
	page := b.get(t, "/.matron/rules").Body.String()
	for _, want := range []string{"P0a1b2c3d waits", "Ash 12", "Needed, and not there yet", "Mark P0a1b2c3d", "Propose P9f8e7d6c", "Put the rules", "gw1/41"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	b.cfg.May = func(_ policy.Subject, area policy.Area, action policy.Action) bool {
		return area == policy.Rules && action == policy.Read
	}
	if page := b.get(t, "/.matron/rules").Body.String(); strings.Contains(page, "<form") || !strings.Contains(page, "P0a1b2c3d waits") {
		t.Error("somebody who may only read is offered more")
	}
	if w := b.approve(t); w.Code != http.StatusForbidden || len(book.Asked) != 0 {
		t.Errorf("without permission: %d", w.Code)
	}
	b.cfg.May = func(policy.Subject, policy.Area, policy.Action) bool { return true }
	if w := b.approve(t); w.Code != http.StatusSeeOther || len(book.Asked) != 1 || book.Asked[0].By.Sub != b.subject.Sub ||
		book.Asked[0].Step != dashboards.Approve || book.Asked[0].Proposal != "P0a1b2c3d" || book.Asked[0].Reason != "as agreed" {
		t.Errorf("%d, asked %+v", w.Code, book.Asked)
	}
	book.Err = dashboards.RulesRefusal("P0a1b2c3d must be approved by somebody else")
	if w := b.approve(t); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "must be approved by somebody else.") {
		t.Errorf("refused: %d", w.Code)
	}
	book.Err = errors.New("no answer")
	if w := b.approve(t); w.Code != http.StatusServiceUnavailable {
		t.Errorf("failed: %d", w.Code)
	}
	b.health.Rules = []string{"The rules in DIR are not in force."}
	if page := b.get(t, "/.matron/hazards").Body.String(); !strings.Contains(page, "The rules in DIR are not in force.") {
		t.Error("no banner says that rules wait")
	}
}

func (b *bench) approve(t *testing.T) *httptest.ResponseRecorder {
	t.Helper()
	form := url.Values{"proposal": {"P0a1b2c3d"}, "reason": {" as agreed "}}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/.matron/rules/approve", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(t, r)
}
