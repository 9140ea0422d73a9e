package learn

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Proposal is what a Tally makes of the requests. It holds no value of any.
type Proposal struct {
	Application string    `json:"application"`
	Base        string    `json:"base,omitempty"`
	From        time.Time `json:"from,omitzero"`
	To          time.Time `json:"to,omitzero"`
	Source      string    `json:"source"` // where the requests were read
	Requests    uint64    `json:"requests"`
	People      int       `json:"people"`
	// NotListed are requests of further routes than can be told apart, Outside those
	// whose path is not below Base, Unreadable lines of a file that say nothing.
	NotListed  uint64   `json:"not_listed,omitempty"`
	Outside    uint64   `json:"outside,omitempty"`
	Unreadable uint64   `json:"unreadable,omitempty"`
	Redact     []string `json:"redact,omitempty"` // parameters that may hold secrets
	Rules      []Rule   `json:"rules"`
}

// Rule is one proposed rule, and what stands behind it.
type Rule struct {
	ID         string            `json:"id"`
	Method     string            `json:"method"`
	Path       string            `json:"path"`
	Action     string            `json:"action"`
	Area       string            `json:"area"` // always TODO
	Phase      string            `json:"phase"`
	Patient    []Candidate       `json:"patient"` // most likely first
	Requests   uint64            `json:"requests"`
	People     int               `json:"people"`
	First      time.Time         `json:"first"`
	Last       time.Time         `json:"last"`
	Status     map[string]uint64 `json:"status"`
	Content    map[string]uint64 `json:"content,omitempty"` // media types of request bodies
	Parameters []Parameter       `json:"parameters,omitempty"`
	// Hidden is how many names of parameters are not shown.
	Hidden int      `json:"hidden_parameters,omitempty"`
	Places []Place  `json:"places,omitempty"` // of the path
	Notes  []string `json:"notes,omitempty"`

	from *route
}

// Parameter is a query parameter of the requests of a rule.
type Parameter struct {
	Name     string `json:"name"`
	Requests uint64 `json:"requests"` // that have it
}

// Place is a part of the path that varies.
type Place struct {
	Name     string `json:"name"`
	Distinct int    `json:"distinct"` // values, counted up to 1,000
}

// Candidate is a place that may name the patient.
type Candidate struct {
	Value  string `json:"value"`
	System string `json:"system,omitempty"`
	Ground string `json:"ground"`

	weight int
}

// Proposal returns what was gathered, the most frequent route first. A rule stands
// before those that would hide it, however frequent they are.
func (t *Tally) Proposal() Proposal {
	p := Proposal{
		Application: t.query.App, Base: t.base, From: t.query.From, To: t.query.To, Requests: t.requests,
		People: len(t.people), NotListed: t.overflow, Outside: t.outside, Rules: []Rule{},
	}
	secrets := map[string]bool{}
	var all []Rule
	for _, r := range t.routes {
		all = append(all, r.rule())
		for name := range r.parameters {
			if isSecret(name) {
				secrets["query:"+name] = true
			}
		}
	}
	slices.SortFunc(all, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	p.Redact = slices.Sorted(maps.Keys(secrets))
	for _, r := range all {
		at := slices.IndexFunc(p.Rules, func(o Rule) bool { return o.from.hides(r.from) })
		if at < 0 {
			at = len(p.Rules)
		} else {
			r.Notes = append(r.Notes, "stands before a more frequent rule that would hide it")
		}
		p.Rules = slices.Insert(p.Rules, at, r)
	}
	nameRules(p.Rules)
	return p
}

// hides reports whether every request of o would match r.
func (r *route) hides(o *route) bool {
	open := r.open || r.slash
	if r.method != o.method || len(r.segments) > len(o.segments) || (o.open || o.slash) && !open {
		return false
	}
	if len(r.segments) < len(o.segments) && !open {
		return false
	}
	for i := range r.segments {
		if !r.segments[i].hides(&o.segments[i]) {
			return false
		}
	}
	return true
}

func (s *segment) hides(o *segment) bool {
	switch {
	case !s.variable():
		return !o.variable() && s.literal == o.literal
	case s.class == "":
		return true
	case o.variable():
		return s.class == o.class
	case s.class == "hex":
		return only(o.literal, "0123456789abcdefABCDEF-")
	}
	return false
}

func (r *route) rule() Rule {
	p := Rule{
		Method: r.method, Path: r.pattern(), Action: r.action(), Area: TODO, Requests: r.requests, People: len(r.people),
		First: r.first, Last: r.last, Status: r.status, Content: r.contents, Hidden: len(r.hidden), Patient: r.candidates(), from: r,
	}
	for _, name := range slices.Sorted(maps.Keys(r.parameters)) {
		p.Parameters = append(p.Parameters, Parameter{name, r.parameters[name].requests})
	}
	for i, s := range r.values {
		if s != nil {
			p.Places = append(p.Places, Place{r.segments[i].name, len(s.distinct)})
		}
	}
	p.Phase = "request"
	if len(p.Patient) == 0 && !r.writes() {
		p.Phase = "response"
	}
	p.Notes = r.notes()
	return p
}

func (r *route) writes() bool { return r.method != "GET" && r.method != "OPTIONS" }

// notes say what a person has to know about how the rule came about.
func (r *route) notes() []string {
	var notes []string
	has := func(k kind) []string {
		var names []string
		for i := range r.segments {
			if s := &r.segments[i]; s.kind == k {
				names = append(names, "{"+s.name+"}")
			}
		}
		return names
	}
	if names := has(word); len(names) > 0 {
		notes = append(notes, strings.Join(names, ", ")+": words that are not shown, since they could be names. Show one that is the application's with --word")
	}
	if names := has(redacted); len(names) > 0 {
		notes = append(notes, strings.Join(names, ", ")+": the record itself has a place holder here")
	}
	if r.slash {
		notes = append(notes, "the path ends with a slash, which a map can only say with **")
	}
	if r.open {
		notes = append(notes, "longer than 24 parts: ** stands for the rest")
	}
	if r.guessed {
		notes = append(notes, "the method is concluded from the action")
	}
	if r.method == otherMethod {
		notes = append(notes, "of a method that no map can name")
	}
	return notes
}

// nameRules gives each rule an id made of its method and literals.
func nameRules(rules []Rule) {
	used := map[string]int{}
	for i := range rules {
		parts := []string{strings.ToLower(rules[i].Method)}
		for _, s := range rules[i].from.segments {
			if !s.variable() {
				parts = append(parts, tokens(s.literal)...)
			}
		}
		if rules[i].Method == otherMethod {
			parts[0] = "other"
		}
		if len(parts) == 1 && len(rules[i].from.segments) == 0 {
			parts = append(parts, "start")
		}
		id := strings.Join(parts, "-")
		if used[id]++; used[id] > 1 {
			id += "-" + strconv.Itoa(used[id])
		}
		rules[i].ID = id
	}
}
