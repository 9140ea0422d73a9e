package appmap

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/matron-epr/matron/proxy"
)

// Explanation says what a map makes of one exchange, and why.
type Explanation struct {
	Rules []RuleTrial `json:"rules"`
	// Places are those of the rule that matched.
	Places []PlaceTrial `json:"places"`
	Trial  Trial        `json:"-"`
}

// RuleTrial says whether one rule matched an exchange.
type RuleTrial struct {
	ID      string `json:"id"`
	Matched bool   `json:"matched"`
	Why     string `json:"why"`
}

// PlaceTrial is what one setting of a rule found in an exchange.
type PlaceTrial struct {
	Setting string   `json:"setting"` // for example patient[0] or response.patient[0]
	Place   string   `json:"place"`   // as the map has it
	Values  []string `json:"values"`
	Problem string   `json:"problem,omitempty"`
}

// Explain tries an exchange and accounts for every rule and place.
func Explain(m *Map, e Exchange) Explanation {
	out := Explanation{Rules: []RuleTrial{}, Places: []PlaceTrial{}, Trial: Try(m, e)}
	x, err := m.open(e.Request, e.body)
	if err != nil {
		return out
	}
	matched := ""
	for _, r := range m.rules {
		t := RuleTrial{ID: r.id, Why: "outside the base " + m.base}
		switch {
		case x == nil:
		case matched != "":
			t.Why = "not tried: " + matched + " comes first"
		default:
			x.rule = r
			t.Matched, t.Why = r.explain(x)
		}
		out.Rules = append(out.Rules, t)
		if !t.Matched {
			continue
		}
		matched = r.id
		out.Places = append(out.Places, r.places(x)...)
		if out.Trial.Settled {
			out.Places = append(out.Places, r.responsePlaces(m, &e, out.Trial.Access)...)
		}
	}
	return out
}

// explain is matches in words.
func (r *rule) explain(x *exchange) (matched bool, why string) {
	method := x.method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if !slices.Contains(r.methods, method) {
		return false, fmt.Sprintf("the method is %s, not %s", x.method, strings.Join(r.methods, " or "))
	}
	if why := r.pattern.explain(x.segments); why != "" {
		return false, fmt.Sprintf("the path is not %s: %s", r.pattern.text, why)
	}
	for i := range r.conditions {
		c := &r.conditions[i]
		ok, err := c.holds(x)
		switch {
		case err != nil:
			return false, err.Error()
		case !ok && c.want == "*":
			return false, c.from.String() + " is absent"
		case !ok && c.want == "!":
			return false, c.from.String() + " is given, and must not be"
		case !ok:
			return false, fmt.Sprintf("%s is not %q", c.from, c.want)
		}
	}
	return true, "method, path and conditions are met"
}

// explain says where a path departs from the pattern, "" when it does not.
func (p *pattern) explain(segments []string) string {
	for i := range p.segments {
		if i >= len(segments) {
			return fmt.Sprintf("it ends after segment %d", len(segments))
		}
		if s := &p.segments[i]; !s.match(segments[i]) {
			switch {
			case s.capture == "":
				return fmt.Sprintf("segment %d is %q", i+1, segments[i])
			case s.table != nil:
				return fmt.Sprintf("segment %d, %q, is not in the table %s", i+1, segments[i], s.class)
			}
			return fmt.Sprintf("segment %d, %q, is no %s", i+1, segments[i], s.class)
		}
	}
	if !p.match(segments) {
		return fmt.Sprintf("it has %d segments", len(segments))
	}
	return ""
}

// places reads every place of the request that a rule names.
func (r *rule) places(x *exchange) []PlaceTrial {
	var all []PlaceTrial
	for _, f := range []struct {
		name string
		from *value
	}{
		{"action", &r.action},
		{"area", &r.area},
		{"screen", &r.screen},
		{"resource", &r.resource},
		{"resource-id", &r.resourceID},
		{"version", &r.version},
	} {
		if f.from.text == "" {
			continue
		}
		p := PlaceTrial{Setting: f.name, Place: f.from.text, Values: []string{}}
		text, err := f.from.get(x)
		p.failed(err)
		if text != "" {
			p.Values = []string{text}
		}
		all = append(all, p)
	}
	for i := range r.patients {
		all = append(all, tryPlace(fmt.Sprintf("patient[%d]", i), r.patients[i].from, x))
	}
	if r.extractor != nil {
		all = append(all, PlaceTrial{Setting: "use", Place: r.extractor.name, Values: []string{}})
	}
	return all
}

// responsePlaces reads every place of the response that a rule names, in each
// element if it says so.
func (r *rule) responsePlaces(m *Map, e *Exchange, a proxy.Access) []PlaceTrial {
	if r.response == nil {
		return nil
	}
	n, err := newAnswer(m, a, e.Response, proxy.Short(e.ResponseBody))
	if err != nil {
		return nil // Withheld says the same
	}
	var all []PlaceTrial
	from := []reader{n}
	if r.response.counted {
		p := PlaceTrial{Setting: "response.each", Place: "json:/" + strings.Join(r.response.each, "/"), Values: []string{}}
		listed := false
		from = nil
		p.failed(n.json(func(s *jsonStream) (err error) {
			listed, err = s.elements(r.response.each, 0, func(node any) error {
				from = append(from, element{n, node})
				return nil
			})
			return err
		}))
		if listed {
			p.Values = append(p.Values, fmt.Sprintf("%d elements", len(from)))
		}
		all = append(all, p)
	}
	for i := range r.response.patients {
		all = append(all, tryPlace(fmt.Sprintf("response.patient[%d]", i), r.response.patients[i].from, from...))
	}
	return all
}

func tryPlace(setting string, s *source, from ...reader) PlaceTrial {
	p := PlaceTrial{Setting: setting, Place: s.String(), Values: []string{}}
	for _, r := range from {
		texts, err := r.read(s)
		p.failed(err)
		p.Values = append(p.Values, texts...)
	}
	return p
}

func (p *PlaceTrial) failed(err error) {
	if err != nil && !errors.Is(err, errUnmapped) {
		p.Problem = err.Error()
	}
}
