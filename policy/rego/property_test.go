package rego

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/matron-epr/matron/policy"
)

// corpusSize is how many random questions a property is tried on: the race detector
// makes each of them ten times as long, and finds nothing in the arithmetic of rules.
const corpusSize = 2000 - racing*50

// Over a random corpus, the hot query and the full decision say the same, and
// there is a reason exactly when there is no permission.
func TestAllowEqualsFullDecision(t *testing.T) {
	t.Parallel()
	c := loadDefault(t)
	random := rand.New(rand.NewPCG(4857, 773456))
	effects := map[policy.Effect]int{}
	codes := map[string]int{}
	for range corpusSize {
		q := randomQuestion(random)
		d, err := c.decide(t.Context(), &q, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.ask(t.Context(), c.decision, question(c.words, c.all, &q), topdown.NewCancel(), nil)
		if err != nil || answer == nil {
			t.Fatal(err)
		}
		var full struct {
			Allow   bool   `json:"allow"`
			Effect  string `json:"effect"`
			Reasons []struct {
				Code string `json:"code"`
			} `json:"reasons"`
		}
		if err := decode(answer["decision"], &full); err != nil {
			t.Fatal(err)
		}
		if d.Allowed() != full.Allow || full.Allow != (len(full.Reasons) == 0) || !full.Allow && d.Effect.String() != full.Effect {
			t.Fatalf("hot %v, full %+v for %+v", d, full, q)
		}
		effects[d.Effect]++
		for _, r := range full.Reasons {
			codes[r.Code]++
		}
	}
	for _, effect := range []policy.Effect{policy.Allow, policy.Challenge, policy.Deny} {
		if effects[effect] < corpusSize/50 {
			t.Errorf("%d of %d are %v: the corpus says little", effects[effect], corpusSize, effect)
		}
	}
	for _, code := range []string{"no-relationship", "sensitive-record", "sensitivity-unknown", "assurance-too-low", "sign-in-too-old", "purpose-not-stated"} {
		if codes[code] == 0 {
			t.Errorf("nothing is refused for %s: the corpus says little", code)
		}
	}
}

// randomQuestion is mostly one that could be asked, with anything wrong with it.
func randomQuestion(r *rand.Rand) policy.Request {
	pick := func(usual string, others ...string) string {
		if r.IntN(8) > 0 {
			return usual
		}
		return others[r.IntN(len(others))]
	}
	q := asked()
	q.Subject.Issuer = pick("https://id.example", "", "https://id.example")
	q.Subject.Sub = pick("u-1", "", "u-2")
	q.Subject.Roles = [][]string{
		{pick("nurse", "doctor", "receptionist", "ward-clerk", "privacy-officer")},
		{pick("R8001", "R8000", "R9999", "")},
		{"doctor", "receptionist"},
		{pick("doctor", "api-client")},
		{pick("nurse", "")},
	}[r.IntN(5)]
	q.Subject.Activities = [][]string{nil, {"B0360"}, {"B0082", "B1611"}, {"B9999", ""}}[r.IntN(4)]
	q.Subject.Machine = r.IntN(8) == 0
	q.Subject.Assurance = r.IntN(4)
	q.Subject.AuthTime = q.Time.Add(-time.Duration(r.IntN(900)) * time.Minute)
	q.Rule = pick("fhir-read", "", "fhir-read", "x")
	q.Action = policy.Action(pick("read", "search", "create", "update", "delete", "", "fly"))
	q.Area = policy.Area([]string{pick("notes", "audit", "home", "", "kitchen"), pick("results", "demographics", "prescribing")}[r.IntN(2)])
	q.Resource = pick("Condition", "MedicationAdministration", "")
	q.Patients, q.Certainty = []string{"1001"}, pick("authoritative", "learned", "several", "none", "unknown", "")
	if r.IntN(6) == 0 {
		q.Patients = [][]string{{"1001", "1002"}, nil, {""}}[r.IntN(3)]
	}
	q.Held = r.IntN(2) == 0
	q.Purpose = []string{"", "TREAT", "ETREAT", "FUN"}[r.IntN(4)]
	q.Grant = pick("", "g-1", "g-2")
	q.Care = randomCare(r)
	q.Sensitivity = randomSensitivity(r)
	return q
}

func randomSensitivity(r *rand.Rand) policy.Sensitivity {
	s := policy.Sensitivity{Known: r.IntN(8) > 0}
	if r.IntN(2) == 0 {
		s.Classes = [][]string{{"staff"}, {"sealed"}, {"sealed"}, {"sealed", "vip"}, {"s-flag"}, {"sexual-health"}, {"deceased"}, {"royal"}}[r.IntN(8)]
	}
	return s
}

func randomCare(r *rand.Rand) policy.Care {
	some := func() []string {
		return [][]string{{"ward-stay"}, {"clinic-list", "referral"}, {"named-clinician"}, {"device-in-ward"}, {"friend"}, nil}[r.IntN(6)]
	}
	c := policy.Care{Feed: []policy.Feed{policy.CurrentFeed, policy.CurrentFeed, policy.NoFeed, policy.SilentFeed, policy.LoadingFeed, "?"}[r.IntN(6)], Kinds: some()}
	for range r.IntN(3) {
		c.Each = append(c.Each, some())
	}
	return c
}

// A cached answer is never another one than the rules would give now: across changes
// of the rules and back, of what is known of patients and of relationships, grants
// that begin and end, people who lose a role, and rules that look at the clock.
func TestRememberedAnswersAreThoseOfTheRules(t *testing.T) {
	t.Parallel()
	const byTheClock = "allow if {\n\tinput.time < \"2026-11-22T03:00:40Z\"\n\tinput.grant != \"\"\n}\n\nallow if input.subject.signed_in_within == 60\n"
	changed := changedRoles(t)
	bundles := []*compiled{loadDefault(t), changed, compileRules(t, byTheClock)}
	var now time.Time
	e := &Engine{cfg: Config{Timeout: time.Minute, Now: func() time.Time { return now }}.withDefaults()}
	e.current.Store(bundles[0])
	now = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	random := rand.New(rand.NewPCG(773456, 4857))
	questions := make([]policy.Request, 8)
	for i := range questions {
		questions[i] = randomQuestion(random)
	}
	hits, allowed := 0, 0
	for step := range corpusSize {
		now = now.Add(time.Duration(random.IntN(100)) * time.Millisecond)
		if step%400 == 0 { // back to before the hour of the rules that look at the clock
			now = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
		}
		at := random.IntN(len(questions))
		switch q := &questions[at]; random.IntN(40) {
		case 0:
			e.current.Store(bundles[random.IntN(len(bundles))])
		case 1:
			q.Grant = []string{"", "g-1"}[random.IntN(2)]
		case 2:
			q.Care = randomCare(random)
		case 3:
			q.Sensitivity = randomSensitivity(random)
		case 4:
			q.Subject.Roles = nil // revoked
		case 5, 6:
			*q = randomQuestion(random)
		}
		q := questions[at]
		q.Time = now
		c := e.current.Load()
		before := remembered(c, &q, now)
		got := e.Decide(t.Context(), q)
		want, err := c.decide(t.Context(), &q, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("step %d, remembered %t: %s for %+v", step, before, diff, q)
		}
		if before {
			hits++
		}
		if got.Allowed() {
			allowed++
		}
	}
	if hits < corpusSize/50 || allowed < corpusSize/50 {
		t.Errorf("%d remembered, %d allowed of %d: that says little", hits, allowed, corpusSize)
	}
}

func remembered(c *compiled, q *policy.Request, now time.Time) bool {
	_, ok := c.cache.get(appendKey(nil, c.reads, q), now)
	return ok
}

// changedRoles is the default bundle with a nurse who reads no notes.
func changedRoles(t *testing.T) *compiled {
	t.Helper()
	src, err := readBundle("")
	if err != nil {
		t.Fatal(err)
	}
	nurse := src.data["roles"].(map[string]any)["nurse"].(map[string]any)
	nurse["may"].(map[string]any)["notes"] = []any{"list"}
	c, err := compile(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// statements are facts whose absence, or another value, is not missing evidence but
// says something else that is so. Only these may turn a refusal into a permission.
func statements() map[string]string {
	return map[string]string{
		"without Care.Feed":           "no register of care relationships is kept: a fact of the configuration",
		"without Sensitivity.Classes": "it is known that there are none",
		"garbled Sensitivity.Known":   "it is known after all",
		"garbled Grant":               "emergency access, whose id only the gateway itself can say",
		"garbled Subject.Machine":     "a person asks, not a system, or the other way round",
		"without Subject.Machine":     "a person asks, not a system",
	}
}

// required says, by fact, for what a question is refused that lacks it.
func required() map[string]string {
	return map[string]string{
		"without Subject.Issuer": "no-identity", "without Subject.Sub": "no-identity",
		"without Rule": "unmapped", "without Action": "unknown-action", "garbled Action": "unknown-action",
		"without Area": "unknown-area", "garbled Area": "unknown-area",
		"without Certainty": "patient-unknown", "garbled Certainty": "patient-unknown", "garbled Patients": "patient-unknown",
	}
}

// Every case of the default bundle, with each fact missing and each garbled: what the
// rules do not read changes nothing, what they require refuses, and nothing turns a
// refusal into a permission but a fact that is a statement.
func TestCasesWithFactsMissingAndGarbled(t *testing.T) {
	t.Parallel()
	src, err := readBundle("")
	if err != nil {
		t.Fatal(err)
	}
	c := loadDefault(t)
	turned := map[string]bool{}
	for i := range src.cases {
		if racing > 0 && i%4 > 0 {
			continue // the race detector makes each of them ten times as long
		}
		one := &src.cases[i]
		q := one.Question()
		asked, err := c.decide(t.Context(), &q, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for _, how := range []string{"without", "garbled"} {
			for _, fact := range factsOf() {
				name := how + " " + fact
				varied := q
				vary(reflect.ValueOf(&varied).Elem(), fact, how)
				got, err := c.decide(t.Context(), &varied, time.Minute)
				if err != nil {
					t.Fatalf("%s, %s: %v", one.Name, name, err)
				}
				if wrong := judge(c, name, q, varied, asked, got); wrong != "" {
					t.Errorf("%s (%s), %s: %s", one.Name, one.Place(), name, wrong)
				}
				if got.Allowed() && !asked.Allowed() {
					turned[name] = true
				}
			}
		}
	}
	for name, why := range statements() {
		if !turned[name] && racing == 0 {
			t.Errorf("%s is said to be a statement (%s), and changes no refusal", name, why)
		}
	}
}

// judge says what is wrong with the answer to a question that lacks a fact.
func judge(c *compiled, name string, q, varied policy.Request, asked, got policy.Decision) string {
	code, needed := required()[name]
	switch {
	case got.Allowed() == (len(got.Reasons) > 0):
		return fmt.Sprintf("reasons do not fit: %+v", got)
	case got.Allowed() && !asked.Allowed() && statements()[name] == "":
		return "allowed, although it was refused with the fact"
	case needed && got.Allowed():
		return "allowed"
	case needed && q.Rule != "" && q.Subject.Known() && !slices.ContainsFunc(got.Reasons, func(r policy.Reason) bool { return r.Code == code }):
		return fmt.Sprintf("not refused for %s: %v", code, got.Reasons)
	case !readBy(c, q, varied) && !cmp.Equal(asked, got):
		return fmt.Sprintf("the rules do not read it, and answer %+v", got)
	}
	return ""
}

// readBy reports whether the rules of allow can tell the two questions apart.
func readBy(c *compiled, q, varied policy.Request) bool {
	return string(appendKey(nil, c.reads, &q)) != string(appendKey(nil, c.reads, &varied))
}

// vary takes a fact away or puts nonsense in its place.
func vary(q reflect.Value, fact, how string) {
	v := q
	for name := range strings.SplitSeq(fact, ".") {
		v = v.FieldByName(name)
	}
	if how == "without" {
		v.SetZero()
		return
	}
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)))
	case []string:
		v.Set(reflect.ValueOf([]string{"", "\x00garbled", "\xff"}))
	case [][]string:
		v.Set(reflect.ValueOf([][]string{nil, {"", "\x00garbled", "\xff"}}))
	case bool:
		v.SetBool(!v.Bool())
	case int:
		v.SetInt(-7)
	default:
		v.SetString("\x00garbled\xff")
	}
}
