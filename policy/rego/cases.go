package rego

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	yamlast "github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/matron-epr/matron/policy"
)

// Case is one row of a bundle's tables of cases (…_cases.yaml): what is so, what is
// asked, and what the rules must answer. Its comments are the manual.
type Case struct {
	// Name says it in a few words. Required, once in a bundle.
	Name string `yaml:"case"`
	// Story says for readers what happens and why the answer is right.
	Story  string `yaml:"story"`
	Facts  Facts  `yaml:"facts"`
	Asks   Asks   `yaml:"asks"`
	Expect Expect `yaml:"expect"`

	file         string
	line, column int
}

// Facts are what the gateway knows when it asks. What a case leaves out is a person
// who signed in ten minutes ago at level 2, in a hospital without a register of care
// relationships and without protected records.
type Facts struct {
	// Roles are roles here or national job roles.
	Roles []string `yaml:"roles"`
	// Activities are national activities that the person was granted.
	Activities []string `yaml:"activities"`
	// System says that a connected system asks, not a person.
	System bool `yaml:"system"`
	// SignedIn is false for somebody whom nobody knows. Default true.
	SignedIn bool `yaml:"signed_in"`
	// Assurance is the level of authentication, 0 to 3. Default 2.
	Assurance int `yaml:"assurance"`
	// SignedInMinutesAgo is when they proved who they are; below 0 is not known.
	// Default 10.
	SignedInMinutesAgo int `yaml:"signed_in_minutes_ago"`
	// Register is the state of the register of care relationships: none, current,
	// silent or loading. Default none.
	Register string `yaml:"register"`
	// Relationships are the kinds of care relationship with every patient.
	Relationships []string `yaml:"relationships"`
	// Each are the kinds with each patient, where they differ.
	Each [][]string `yaml:"relationships_with_each"`
	// Protected are the classes that the patients are of.
	Protected []string `yaml:"protected"`
	// ProtectionKnown is false where the list of patients could not be read. Default
	// true.
	ProtectionKnown bool `yaml:"protection_known"`
	// EmergencyAccess says that it is in force for the person and every patient.
	EmergencyAccess bool `yaml:"emergency_access"`
	// Time is when it is asked. Default 22 November 2026, 03:00 UTC.
	Time time.Time `yaml:"time"`
}

// Asks is the request. What a case leaves out is reading one known patient's record.
type Asks struct {
	// Action is read, search, list, create, update, delete, print or export.
	// Default read.
	Action string `yaml:"action"`
	// Area is the part of the record. Required.
	Area string `yaml:"area"`
	// Kind is the kind of entry, as maps call it.
	Kind string `yaml:"kind"`
	// Patients are whom it is about. Default one; [] is nobody.
	Patients []string `yaml:"patients"`
	// Certainty is how sure that is: authoritative, learned, several, none or unknown.
	// Default authoritative.
	Certainty string `yaml:"certainty"`
	// Held says that the answer is kept back until everybody whom it names is recorded.
	Held bool `yaml:"held"`
	// Purpose is what for, as a code of HL7 PurposeOfUse.
	Purpose string `yaml:"purpose"`
	// Mapped is false for a request that no map knows. Default true.
	Mapped bool `yaml:"mapped"`
	// App is the application.
	App string `yaml:"app"`
}

// Expect is the answer.
type Expect struct {
	// Decision is allow, deny or challenge. Required.
	Decision string `yaml:"decision"`
	// Offer is what a challenge offers: break-glass, step-up or purpose. Required for
	// a challenge.
	Offer string `yaml:"offer"`
	// Because are the codes of all reasons, in any order. Required unless allowed.
	Because []string `yaml:"because"`
	// Says are words that the texts shown to staff hold.
	Says []string `yaml:"says"`
	// Obligations are all that comes with a permission, in any order; [] is nothing.
	// Default: whatever does.
	Obligations []string `yaml:"obligations"`
}

// caseTime is when cases are asked that do not say when.
func caseTime() time.Time { return time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC) }

// newCase holds what a case leaves out.
func newCase() Case {
	return Case{
		Facts: Facts{SignedIn: true, Assurance: 2, SignedInMinutesAgo: 10, Register: "none", ProtectionKnown: true, Time: caseTime()},
		Asks:  Asks{Action: string(policy.Read), Patients: []string{"P1"}, Certainty: "authoritative", Mapped: true},
	}
}

// Place is file:line of the case.
func (c *Case) Place() string { return fmt.Sprintf("%s:%d", c.file, c.line) }

// Question is what the case asks of the rules.
func (c *Case) Question() policy.Request {
	f, a := &c.Facts, &c.Asks
	q := policy.Request{
		Subject: policy.Subject{Person: "S1", Roles: f.Roles, Activities: f.Activities, Machine: f.System, Assurance: f.Assurance},
		Site:    "RBA", App: a.App, Action: policy.Action(a.Action), Area: policy.Area(a.Area), Resource: a.Kind,
		Patients: a.Patients, Certainty: a.Certainty, Held: a.Held, Purpose: a.Purpose, Time: f.Time,
		Care:        policy.Care{Kinds: f.Relationships, Each: f.Each},
		Sensitivity: policy.Sensitivity{Known: f.ProtectionKnown, Classes: slices.Sorted(slices.Values(f.Protected))},
	}
	if f.SignedIn {
		q.Subject.Issuer, q.Subject.Sub = "https://id.example", "u-1"
	}
	if f.SignedInMinutesAgo >= 0 {
		q.Subject.AuthTime = f.Time.Add(-time.Duration(f.SignedInMinutesAgo) * time.Minute)
	}
	if f.Register != "none" {
		q.Care.Feed, q.Care.AsOf = policy.Feed(f.Register), f.Time.Add(-time.Minute)
	}
	if f.EmergencyAccess {
		q.Grant = "g-1"
	}
	if a.Mapped {
		q.Rule = "case"
	}
	return q
}

// isCases reports whether a file of a bundle is a table of cases.
func isCases(name string) bool {
	base := strings.TrimSuffix(strings.TrimSuffix(path.Base(name), ".yaml"), ".yml")
	return base != path.Base(name) && strings.HasSuffix(base, "_cases")
}

// addCases reads a table of cases. Unknown words are errors.
func (s *source) addCases(name string, text []byte) Problems {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return Problems{*tableProblem(name, err)}
	}
	list, p := caseList(name, file)
	if p != nil {
		return Problems{*p}
	}
	var ps Problems
	for _, node := range list {
		c := newCase()
		c.file = name
		if err := yaml.NodeToValue(node, &c, yaml.Strict()); err != nil {
			ps = append(ps, *tableProblem(name, err))
			continue
		}
		at := firstToken(node)
		c.line, c.column = at.Line, at.Column
		ps = append(ps, c.problems()...)
		if i := slices.IndexFunc(s.cases, func(other Case) bool { return other.Name == c.Name }); i >= 0 && c.Name != "" {
			ps = append(ps, c.problem("the case %q stands at %s as well", c.Name, s.cases[i].Place()))
		}
		s.cases = append(s.cases, c)
	}
	return ps
}

// caseList is the list under the one entry of the file.
func caseList(name string, file *yamlast.File) ([]yamlast.Node, *Problem) {
	const want = "expected \"cases:\" and below it a list of cases, each with case, asks and expect"
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, &Problem{File: name, Text: want}
	}
	top := file.Docs[0].Body
	m, ok := top.(*yamlast.MappingNode)
	if !ok || len(m.Values) != 1 || m.Values[0].Key.String() != "cases" {
		at := top.GetToken().Position
		return nil, &Problem{File: name, Line: at.Line, Column: at.Column, Text: want}
	}
	list, ok := m.Values[0].Value.(*yamlast.SequenceNode)
	if !ok || len(list.Values) == 0 {
		at := m.Values[0].Key.GetToken().Position
		return nil, &Problem{File: name, Line: at.Line, Column: at.Column, Text: want}
	}
	return list.Values, nil
}

// firstToken is where a node begins: that of a mapping is at its first colon.
func firstToken(n yamlast.Node) (at struct{ Line, Column int }) {
	if m, ok := n.(*yamlast.MappingNode); ok && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	at.Line, at.Column = n.GetToken().Position.Line, n.GetToken().Position.Column
	return at
}

func (c *Case) problem(format string, args ...any) Problem {
	return Problem{File: c.file, Line: c.line, Column: c.column, Text: fmt.Sprintf(format, args...)}
}

// problems are what is wrong with the case itself, whatever the rules answer.
func (c *Case) problems() Problems {
	var ps Problems
	add := func(bad bool, text string) {
		if bad {
			ps = append(ps, c.problem("%s", text))
		}
	}
	x := &c.Expect
	refused := x.Decision == policy.Deny.String() || x.Decision == policy.Challenge.String()
	add(c.Name == "", "the case has no name: begin it with \"case:\" and say it in a few words")
	add(c.Asks.Area == "" && c.Asks.Mapped, "asks.area is missing: which part of the record is it about?")
	add(x.Decision != policy.Allow.String() && !refused, "expect.decision is allow, deny or challenge")
	add(refused && len(x.Because) == 0, "expect.because is missing: the codes of the reasons for which it is refused")
	add(x.Decision == policy.Challenge.String() && !policy.Offer(x.Offer).Known(), "expect.offer of a challenge is break-glass, step-up or purpose")
	add(x.Decision != policy.Challenge.String() && x.Offer != "", "expect.offer belongs to a challenge")
	add(x.Decision == policy.Allow.String() && len(x.Because)+len(x.Says) > 0, "what is allowed has no reasons and says nothing")
	add(!slices.Contains([]string{"none", "current", "silent", "loading"}, c.Facts.Register), "facts.register is none, current, silent or loading")
	return ps
}

// Check says how the answer of the rules differs from what the case expects, "" when
// it does not.
func (c *Case) Check(d policy.Decision) string {
	x := &c.Expect
	var codes, shown []string
	for _, r := range d.Reasons {
		codes, shown = append(codes, r.Code), append(shown, r.Text, r.Remedy)
	}
	obligations := d.Obligations
	if x.Obligations == nil {
		obligations = nil
	}
	got := spell(d.Effect.String(), string(d.Offer), codes, obligations)
	if want := spell(x.Decision, x.Offer, x.Because, x.Obligations); got != want {
		return fmt.Sprintf("expected %s, the rules answer %s (%s)", want, got, strings.Join(d.Rules, ", "))
	}
	for _, words := range x.Says {
		if !strings.Contains(strings.Join(shown, "\n"), words) {
			return fmt.Sprintf("%q is not said; the rules say: %s", words, strings.Join(shown, " "))
		}
	}
	return ""
}

func spell(effect, offer string, codes, obligations []string) string {
	text := effect
	if offer != "" {
		text += " by " + offer
	}
	if len(codes) > 0 {
		text += " because of " + strings.Join(slices.Sorted(slices.Values(codes)), ", ")
	}
	if len(obligations) > 0 {
		text += " with the obligation " + strings.Join(slices.Sorted(slices.Values(obligations)), ", ")
	}
	return text
}

// try asks a case and says what is wrong with the answer, nil for nothing.
func (c *compiled) try(ctx context.Context, one *Case) *Problem {
	q := one.Question()
	d, err := c.decide(ctx, &q, testTimeout)
	wrong := ""
	if err != nil {
		wrong = "the rules give no answer: " + place(err)
	} else {
		wrong = one.Check(d)
	}
	if wrong == "" {
		return nil
	}
	p := one.problem("case %q: %s", one.Name, wrong)
	return &p
}

// errNobody is what is said of rules that close the record to the whole hospital.
var errNobody = errors.New("nobody in any role may do anything by these rules, even with every fact in their favour: they would close the record to the whole hospital")

// refuseDenyingAll asks for every role of people whether the rules let them do
// anything that somebody without a role may not (GW-01, GW-02).
func (c *compiled) refuseDenyingAll(ctx context.Context) error {
	t, err := c.tables(ctx)
	if errors.Is(err, errNoTables) {
		return nil // nothing says which roles there are
	}
	if err != nil {
		return err
	}
	kinds := t.kinds()
	for _, role := range t.roles() {
		if role.Machine {
			continue
		}
		for area := range t.Areas {
			for action := range t.Actions {
				for _, kind := range append([]string{""}, kinds[area]...) {
					if c.gains(ctx, role, action, Line{Area: area, Resource: kind}) {
						return nil
					}
				}
			}
		}
	}
	return Problems{problemAt(rulesNamed(c.rules, "allow")[0].Location, errNobody.Error())}
}

// gains reports whether a role makes the difference, with every other fact in favour:
// no register of care relationships, or every kind of relationship. An error of the
// rules is no permission.
func (c *compiled) gains(ctx context.Context, role Role, action string, l Line) bool {
	q := asking(role, action, l)
	q.Subject.Assurance, q.Subject.AuthTime, q.Time, q.Purpose = 3, caseTime(), caseTime(), "TREAT"
	if c.differs(ctx, q) {
		return true
	}
	q.Care = policy.Care{
		Feed: policy.CurrentFeed, AsOf: caseTime(),
		Kinds: []string{"clinic-list", "device-in-ward", "named-clinician", "referral", "team-handover", "ward-stay"},
	}
	return c.differs(ctx, q)
}

func (c *compiled) differs(ctx context.Context, q policy.Request) bool {
	with, err := c.allows(ctx, &q, answerWithin)
	if err != nil || !with {
		return false
	}
	q.Subject.Roles = nil
	without, err := c.allows(ctx, &q, answerWithin)
	return err == nil && !without
}
