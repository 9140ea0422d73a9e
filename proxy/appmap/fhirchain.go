package appmap

import (
	"net/url"
	"strings"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// asked is what a search asks for.
type asked struct {
	patients []proxy.Patient
	// parts are the types that a chain looks into, besides the one that is searched.
	parts []proxy.Part
}

// ask reads the parameters of a search for resources of one type.
func (x *exchange) ask(kind string, params url.Values) (asked, error) {
	plain, chains := url.Values{}, url.Values{}
	for name, values := range params {
		if strings.Contains(name, ".") || strings.HasPrefix(name, "_has:") {
			chains[name] = values
		} else {
			plain[name] = values
		}
	}
	if err := checkParams(plain); err != nil {
		return asked{}, err
	}
	s := searched{}
	if id := x.capture("patient"); id != "" {
		s.ids = [][]string{{id}}
	}
	sc := scope{m: x.m, host: x.host, bundle: x.entry}
	for _, name := range keys(plain) {
		base, modifier, _ := strings.Cut(name, ":")
		for _, value := range plain[name] {
			if err := s.param(&sc, kind, base, modifier, value); err != nil {
				return asked{}, err
			}
		}
	}
	var open []string // chains that do not say whom they mean
	for _, name := range keys(chains) {
		for _, value := range chains[name] {
			named, err := s.chain(&sc, kind, name, value)
			if err != nil {
				return asked{}, err
			}
			if !named {
				open = appendNew(open, name)
			}
		}
	}
	patients, err := s.patients()
	if err != nil {
		return asked{}, err
	}
	parts, err := x.m.followed(kind, open, len(patients) > 0)
	return asked{patients, parts}, err
}

// chain reads a chain that ends at the patient's id or NHS number, such as
// subject:Patient.identifier: it names whom it means. named is false for any
// other.
func (s *searched) chain(sc *scope, kind, name, value string) (named bool, err error) {
	first, rest, _ := strings.Cut(name, ".")
	base, modifier, _ := strings.Cut(first, ":")
	if modifier != "" && modifier != "Patient" || !hasWord(sc.m.tables["params"][kind], base) {
		return false, nil
	}
	before := len(s.ids) + len(s.numbers)
	switch rest {
	case "_id":
		err = s.addIDs(sc, value)
	case "identifier":
		err = s.addNumbers(value)
	}
	return len(s.ids)+len(s.numbers) > before, err
}

// followed says what chains look into. A chain tells facts without returning
// anything, so that reading the response would not show whose: it is unmapped
// unless the map says chains: narrow, and even then the search must name its
// patients besides and every type on the way is decided.
func (m *Map) followed(kind string, chains []string, named bool) ([]proxy.Part, error) {
	var parts []proxy.Part
	for _, name := range chains {
		switch {
		case m.tables["options"]["chains"] != "narrow":
			return nil, unmappedSince("%s asks about resources that nobody has decided", name)
		case !named:
			return nil, unmappedSince("%s: a chained search must name its patient besides", name)
		}
		types, err := m.chainTypes(kind, name)
		if err != nil {
			return nil, err
		}
		for _, t := range types {
			area, known := m.tables["areas"][t]
			if !known {
				return nil, unmappedSince("%s looks into %s, which the map does not know", name, t)
			}
			parts = append(parts, proxy.Part{Action: policy.Search, Area: policy.Area(area), Resource: t})
		}
	}
	return parts, nil
}

// chainTypes names the types on the way of a chain. One that does not say its
// type, and is no subject, could lead anywhere.
func (m *Map) chainTypes(kind, name string) ([]string, error) {
	var types []string
	for name != "" {
		if reverse, ok := strings.CutPrefix(name, "_has:"); ok {
			of, rest, _ := strings.Cut(reverse, ":")
			_, next, ok := strings.Cut(rest, ":")
			if !ok {
				return nil, malformed("_has is not _has:Type:reference:parameter")
			}
			kind, name, types = of, next, append(types, of)
			continue
		}
		link, rest, more := strings.Cut(name, ".")
		if !more {
			if strings.HasPrefix(name, "_") && name != "_id" && name != "_lastUpdated" {
				return nil, unmappedSince("the map cannot follow %s at the end of a chain", name)
			}
			break
		}
		base, of, _ := strings.Cut(link, ":")
		if of == "" && hasWord(m.tables["params"][kind], base) {
			of = "Patient"
		}
		if of == "" {
			return nil, unmappedSince("%s does not say of which type: write %s:Type", base, base)
		}
		kind, name, types = of, rest, append(types, of)
	}
	return types, nil
}

// hasWord reports whether a word is one of those in a list that spaces part.
func hasWord(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if w == word {
			return true
		}
	}
	return false
}
