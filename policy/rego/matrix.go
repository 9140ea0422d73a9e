package rego

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/matron-epr/matron/policy"
)

// Matrix is who may do what, as the rules themselves answer it.
type Matrix struct {
	Revision string `json:"revision"`
	Roles    []Role `json:"roles"`
	Granted  []Word `json:"activities"` // national activities that add something to every role
	Areas    []Word `json:"areas"`
	Actions  []Word `json:"actions"`
	Lines    []Line `json:"lines"` // by area, then role, then kind of entry

	Classes []Class `json:"classes"` // protections beyond the usual
}

// Word is a code of the tables and how staff call it.
type Word struct {
	Code  string `json:"code"`
	Title string `json:"title"`
}

// Role is one block of the table of roles and the national codes that stand for it.
type Role struct {
	Word
	Machine bool     `json:"machine"`
	Codes   []string `json:"codes"`
}

// Line is what one role may do in one area or, where Resource is given, with
// one kind of entry there that is answered differently. Where Role is an activity
// it is what each person who holds it may do, whatever their role.
type Line struct {
	Area     string            `json:"area"`
	Role     string            `json:"role"`
	Resource string            `json:"resource,omitempty"`
	Answers  []policy.Decision `json:"-"` // in the order of Matrix.Actions
	Caring   []bool            `json:"-"` // likewise: where a register of care relationships is kept, only for patients whom they care for
}

// none reports whether every answer is no.
func (l Line) none() bool {
	return !slices.ContainsFunc(l.Answers, func(d policy.Decision) bool { return d.Effect != policy.Deny })
}

// same reports whether both lines have the same effects.
func (l Line) same(other Line) bool {
	return slices.Equal(l.Caring, other.Caring) &&
		slices.EqualFunc(l.Answers, other.Answers, func(a, b policy.Decision) bool { return a.Effect == b.Effect })
}

// tables is the part of a bundle's data that names what can be asked.
type tables struct {
	Roles map[string]struct {
		Title      string                         `json:"title"`
		Machine    bool                           `json:"machine"`
		BreakGlass bool                           `json:"break-glass"`
		May        map[string][]string            `json:"may"`
		Also       map[string]map[string][]string `json:"also"`
	} `json:"roles"`
	Activities map[string]struct {
		Name string `json:"name"`
	} `json:"activities"`
	Rights  map[string]any    `json:"rights"`
	Codes   map[string]string `json:"codes"`
	Areas   map[string]string `json:"areas"`
	Actions map[string]string `json:"actions"`

	Relationships struct {
		Counts map[string][]string `json:"counts"` // by area
	} `json:"relationships"`
	Sensitivity sensitivity `json:"sensitivity"`
}

// errNoTables is a bundle whose rules may be sound but that names no roles.
var errNoTables = errors.New("the bundle has no tables roles, areas and actions, so there is nothing to ask for")

// Ask works out the matrix of the bundle in dir ("" means the embedded default)
// by asking its rules, for each role of its tables, about one known patient's
// record. Lines on which everything is refused are left out. Its error is
// Problems when the bundle is at fault.
func Ask(ctx context.Context, dir string) (Matrix, error) {
	c, err := load(ctx, dir)
	if err != nil {
		return Matrix{}, inFolder(dir, err)
	}
	t, err := c.tables(ctx)
	if err != nil {
		return Matrix{}, inFolder(dir, err)
	}
	m := Matrix{Revision: c.revision, Roles: t.roles(), Granted: t.granted(), Areas: words(t.Areas), Actions: actions(t.Actions)}
	kinds := t.kinds()
	for _, area := range m.Areas {
		for _, role := range m.Roles {
			whole, err := c.line(ctx, m.Actions, role, Line{Area: area.Code, Role: role.Code})
			if err != nil {
				return Matrix{}, err
			}
			if !whole.none() {
				m.Lines = append(m.Lines, whole)
			}
			for _, kind := range kinds[area.Code] {
				l, err := c.line(ctx, m.Actions, role, Line{Area: area.Code, Role: role.Code, Resource: kind})
				if err != nil {
					return Matrix{}, err
				}
				if !l.same(whole) {
					m.Lines = append(m.Lines, l)
				}
			}
		}
		for _, activity := range m.Granted {
			l, err := c.grantedLine(ctx, m, Line{Area: area.Code, Role: activity.Code})
			if err != nil {
				return Matrix{}, err
			}
			if !l.none() {
				m.Lines = append(m.Lines, l)
			}
		}
	}
	m.Classes, err = c.classes(ctx, m, t)
	return m, err
}

// grantedLine asks for every role of people that has an activity besides.
func (c *compiled) grantedLine(ctx context.Context, m Matrix, l Line) (Line, error) {
	for _, a := range m.Actions {
		d, caring := policy.Decision{Effect: policy.Allow}, false
		for _, role := range m.Roles {
			if role.Machine {
				continue
			}
			q := asking(role, a.Code, l)
			q.Subject.Activities = []string{l.Role}
			allowed, err := c.allows(ctx, &q, answerWithin)
			if err != nil {
				return Line{}, fmt.Errorf("ask what %s adds to %s: %w", l.Role, role.Code, err)
			}
			if !allowed {
				d, caring = policy.Decision{}, false
				break
			}
			needs, err := c.needsCare(ctx, q)
			if err != nil {
				return Line{}, err
			}
			caring = caring || needs
		}
		l.Answers, l.Caring = append(l.Answers, d), append(l.Caring, caring)
	}
	return l, nil
}

// needsCare reports whether what is allowed where no register of care relationships is
// kept is refused where one is and knows of none.
func (c *compiled) needsCare(ctx context.Context, q policy.Request) (bool, error) {
	q.Care = policy.Care{Feed: policy.CurrentFeed}
	allowed, err := c.allows(ctx, &q, answerWithin)
	if err != nil {
		return false, fmt.Errorf("ask whether a care relationship is needed: %w", err)
	}
	return !allowed, nil
}

// answerWithin is how long one question of the matrix may take.
const answerWithin = 10 * time.Second

// asking is the question whether a role may do something to one known patient's record.
func asking(role Role, action string, l Line) policy.Request {
	return policy.Request{
		Subject: policy.Subject{Issuer: "matrix", Sub: "matrix", Roles: []string{role.Code}, Machine: role.Machine},
		Rule:    "matrix", Action: policy.Action(action), Area: policy.Area(l.Area), Resource: l.Resource,
		Patients: []string{"matrix"}, Certainty: "authoritative", Sensitivity: policy.Sensitivity{Known: true},
	}
}

// line asks one question for each action.
func (c *compiled) line(ctx context.Context, actions []Word, role Role, l Line) (Line, error) {
	for _, a := range actions {
		if err := c.answer(ctx, &l, asking(role, a.Code, l)); err != nil {
			return Line{}, fmt.Errorf("ask whether %s may %s %s: %w", l.Role, a.Code, l.Area, err)
		}
	}
	return l, nil
}

// answer adds the answer to one question to a line.
func (c *compiled) answer(ctx context.Context, l *Line, q policy.Request) error {
	d, err := c.decide(ctx, &q, answerWithin)
	if err != nil {
		return err
	}
	caring := false
	if d.Allowed() {
		if caring, err = c.needsCare(ctx, q); err != nil {
			return err
		}
	}
	l.Answers, l.Caring = append(l.Answers, d), append(l.Caring, caring)
	return nil
}

func (c *compiled) tables(ctx context.Context) (tables, error) {
	var t tables
	doc, err := c.store.Read(ctx, c.txn, nil)
	if err != nil {
		return t, fmt.Errorf("read policy data: %w", err)
	}
	value, ok := doc.(ast.Value)
	if !ok {
		return t, errNoTables
	}
	if err := decode(ast.NewTerm(value), &t); err != nil {
		return t, fmt.Errorf("read the tables of roles, areas and actions: %w", err)
	}
	if len(t.Roles) == 0 || len(t.Areas) == 0 || len(t.Actions) == 0 {
		return t, errNoTables
	}
	return t, nil
}

func (t tables) roles() []Role {
	list := make([]Role, 0, len(t.Roles))
	for code, r := range t.Roles {
		role := Role{Word: Word{code, r.Title}, Machine: r.Machine}
		for national, stands := range t.Codes {
			if stands == code {
				role.Codes = append(role.Codes, national)
			}
		}
		slices.Sort(role.Codes)
		list = append(list, role)
	}
	slices.SortFunc(list, func(a, b Role) int { return compare(a.Word, b.Word) })
	return list
}

// granted are the activities that the tables give rights to.
func (t tables) granted() []Word {
	names := map[string]string{}
	for code := range t.Rights {
		names[code] = t.Activities[code].Name
	}
	return words(names)
}

// kinds are the kinds of entry of each area that some role has a line for.
func (t tables) kinds() map[string][]string {
	kinds := map[string]map[string]bool{}
	for _, r := range t.Roles {
		for area, entries := range r.Also {
			for kind := range entries {
				if kinds[area] == nil {
					kinds[area] = map[string]bool{}
				}
				kinds[area][kind] = true
			}
		}
	}
	sorted := make(map[string][]string, len(kinds))
	for area, set := range kinds {
		sorted[area] = slices.Sorted(maps.Keys(set))
	}
	return sorted
}

func words(table map[string]string) []Word {
	list := make([]Word, 0, len(table))
	for code, title := range table {
		list = append(list, Word{code, title})
	}
	slices.SortFunc(list, compare)
	return list
}

// actions are in the order of the policy package, from looking to taking away;
// words of a site's own follow.
func actions(table map[string]string) []Word {
	order := []policy.Action{
		policy.Read, policy.Search, policy.List, policy.Create, policy.Update, policy.Delete, policy.Print, policy.Export,
	}
	rank := func(w Word) int {
		if i := slices.Index(order, policy.Action(w.Code)); i >= 0 {
			return i
		}
		return len(order)
	}
	list := words(table)
	slices.SortStableFunc(list, func(a, b Word) int { return rank(a) - rank(b) })
	return list
}

func compare(a, b Word) int {
	switch {
	case a.Title != b.Title && a.Title < b.Title, a.Title == b.Title && a.Code < b.Code:
		return -1
	case a == b:
		return 0
	}
	return 1
}
