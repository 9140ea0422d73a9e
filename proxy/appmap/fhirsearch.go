package appmap

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// checkParams refuses parameters that make a search reveal what the gateway
// cannot follow. Chains and reverse chains tell facts about a patient without
// returning anything of theirs, so that reading the response would not help.
func checkParams(params url.Values) error {
	for name, values := range params {
		base, modifier, _ := strings.Cut(name, ":")
		switch {
		case strings.Contains(name, "."):
			return unmappedSince("%s asks about resources that nobody has decided", name)
		case (base == "_include" || base == "_revinclude") && modifier != "":
			return unmappedSince("%s fetches what nobody has decided: name each type in an _include of its own", name)
		case base == "_format" && !slices.ContainsFunc(values, isJSONFormat):
			return unmappedSince("_format asks for another format than JSON")
		case base == "_format" && slices.ContainsFunc(values, func(v string) bool { return v != values[0] }):
			return malformed("_format is given more than once")
		case strings.HasPrefix(name, "_") && !knownParam(base):
			return unmappedSince("the map cannot follow the parameter %s", base)
		}
	}
	return nil
}

// knownParam lists the parameters of FHIR search that apply to every type and
// that the map can follow. _has, _filter, _query and _contained are not among
// them.
func knownParam(name string) bool {
	switch name {
	case "_id", "_lastUpdated", "_tag", "_profile", "_security", "_source", "_text", "_content", "_list",
		"_sort", "_count", "_offset", "_cursor", "_total", "_summary", "_elements", "_include", "_revinclude",
		"_format", "_pretty", "_since", "_at", "_type":
		return true
	}
	return false
}

func isJSONFormat(text string) bool {
	// A "+" that a client did not escape has become a space.
	t, _, _ := strings.Cut(strings.ReplaceAll(text, " ", "+"), ";")
	return t == "json" || isJSONType(t)
}

// fhirSearch reads a search by GET, by POST _search, or in the compartment of a
// patient. Its response is always held: a server that does not know a parameter
// may ignore it and return everybody.
func fhirSearch(x *exchange, a *proxy.Access) error {
	params, err := x.searchParams()
	if err != nil {
		return err
	}
	kind := x.capture("type")
	wanted, err := x.ask(kind, params)
	if err != nil {
		return err
	}
	patients := wanted.patients
	parts := append([]proxy.Part{{Action: a.Action, Area: a.Area, Resource: kind}}, wanted.parts...)
	parts, err = x.m.included(parts, params)
	if err != nil {
		return err
	}
	setParts(a, parts)
	a.Patients, a.Certainty, a.Hold = patients, certaintyOf(patients), true
	if len(patients) > 0 {
		a.Source = audit.SourceURL
		if x.method == http.MethodPost && x.capture("patient") == "" {
			a.Source = audit.SourceBody
		}
	}
	return nil
}

func (x *exchange) capture(name string) string {
	if i := x.rule.pattern.index(name); i >= 0 {
		return x.segments[i]
	}
	return ""
}

// searchParams joins the parameters of the query and of the form.
func (x *exchange) searchParams() (url.Values, error) {
	query, err := x.params()
	if err != nil {
		return nil, err
	}
	posts := x.method == http.MethodPost
	if posts != (mediaType(x.header) == "application/x-www-form-urlencoded") {
		return nil, unmappedSince("a form belongs to POST _search and nothing else: some applications read it with any method")
	}
	if !posts {
		return query, nil
	}
	form, err := x.formBody()
	if err != nil {
		return nil, err
	}
	all := maps.Clone(query)
	for name, values := range form {
		all[name] = append(slices.Clone(all[name]), values...)
	}
	return all, nil
}

// searched gathers one set of names per parameter. Parameters that name different
// patients are refused: applications differ in which they follow.
type searched struct {
	ids, numbers [][]string
}

func (s *searched) param(sc *scope, kind, base, modifier, value string) error {
	switch {
	case kind == "Patient" && base == "_id" && modifier == "":
		return s.addIDs(sc, value)
	case kind == "Patient" && base == "identifier" && modifier == "":
		return s.addNumbers(value)
	case !hasWord(sc.m.tables["params"][kind], base):
		return nil
	}
	switch modifier {
	case "", "Patient":
		return s.addIDs(sc, value)
	case "identifier":
		return s.addNumbers(value)
	case "missing", "not":
		return nil // names whom the result does not hold
	}
	if isTypeName(modifier) {
		return nil // a group, a device, a place
	}
	return unmappedSince("the map cannot follow %s:%s", base, modifier)
}

func (s *searched) addIDs(sc *scope, list string) error {
	var ids []string
	for value := range strings.SplitSeq(list, ",") {
		if len(ids) > maxPatients {
			return malformed("too many patients are named")
		}
		if isFHIRID(value) {
			ids = appendNew(ids, value)
			continue
		}
		p, t := sc.reference(value)
		switch {
		case t == aPatient && p.ID != "":
			ids = appendNew(ids, p.ID)
		case t != notAPatient:
			return malformed("a patient parameter names nobody")
		}
	}
	if len(ids) > 0 {
		slices.Sort(ids)
		s.ids = append(s.ids, ids)
	}
	return nil
}

func (s *searched) addNumbers(list string) error {
	var numbers []string
	for value := range strings.SplitSeq(list, ",") {
		system, number, ok := strings.Cut(value, "|")
		if !ok || system != nhsSystem {
			return nil // another system: whom it names shows in the response
		}
		n := nhsNumber(number)
		if n == "" {
			return malformed("an NHS number must have ten digits")
		}
		if numbers = appendNew(numbers, n); len(numbers) > maxPatients {
			return malformed("too many patients are named")
		}
	}
	slices.Sort(numbers)
	s.numbers = append(s.numbers, numbers)
	return nil
}

func (s *searched) patients() ([]proxy.Patient, error) {
	for _, sets := range [][][]string{s.ids, s.numbers} {
		for _, set := range sets {
			if !slices.Equal(set, sets[0]) {
				return nil, malformed("parameters name different patients")
			}
		}
	}
	var list []proxy.Patient
	if len(s.ids) > 0 {
		for _, id := range s.ids[0] {
			list = append(list, proxy.Patient{ID: id})
		}
	}
	if len(s.numbers) == 0 {
		return list, nil
	}
	if len(list) == 1 && len(s.numbers[0]) == 1 {
		list[0].NHSNumber = s.numbers[0][0]
		return list, nil
	}
	for _, n := range s.numbers[0] {
		list = append(list, proxy.Patient{NHSNumber: n})
	}
	return list, nil
}

// included adds a part for each type that _include and _revinclude fetch
// besides, since somebody who may search for patients may not see what they are
// prescribed. An _include that does not say its type adds none; what it fetches
// is compared with the parts when the response is read.
func (m *Map) included(parts []proxy.Part, params url.Values) ([]proxy.Part, error) {
	for _, name := range []string{"_include", "_revinclude"} {
		for _, value := range params[name] {
			source, rest, _ := strings.Cut(value, ":")
			param, fetched, _ := strings.Cut(rest, ":")
			switch {
			case name == "_revinclude":
				fetched = source
			case fetched == "" && hasWord(m.tables["params"][source], param):
				fetched = "Patient"
			case fetched == "" && param != "*" && source != "*":
				continue
			}
			area, known := m.tables["areas"][fetched]
			if !known {
				return nil, unmappedSince("%s=%s fetches what nobody has decided: name one type that the map knows", name, value)
			}
			parts = append(parts, proxy.Part{Action: policy.Search, Area: policy.Area(area), Resource: fetched})
		}
	}
	return parts, nil
}
