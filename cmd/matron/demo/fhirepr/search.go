package fhirepr

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	defaultPage = 20
	maxPage     = 200
)

// query is a search that has been understood whole. A parameter that is not
// understood is refused: leaving a filter out would show too many patients.
type query struct {
	typ    string
	terms  []term
	count  int
	offset int
}

// term is one parameter; any of its values may match.
type term struct {
	name   string
	values []string
}

// parameters lists what each type can be searched by.
func parameters(typ string) []string {
	all := []string{"_id", "_count", "_offset", "_format", "_total", "identifier"}
	switch typ {
	case "Patient":
		return append(all, "name", "family", "given", "birthdate", "gender")
	case "Encounter":
		return append(all, "patient", "subject", "status", "class", "location")
	case "Observation":
		return append(all, "patient", "subject", "code", "category", "status")
	case "MedicationRequest":
		return append(all, "patient", "subject", "status")
	case "DocumentReference":
		return append(all, "patient", "subject", "type", "category", "status")
	case "AllergyIntolerance":
		return append(all, "patient", "code")
	}
	return nil
}

func parseQuery(typ string, values url.Values) (query, error) {
	q := query{typ: typ, count: defaultPage}
	allowed := parameters(typ)
	if allowed == nil {
		return query{}, &fault{http.StatusNotFound, "not-supported", "This server does not hold resources of that type."}
	}
	for name, given := range values {
		if !slices.Contains(allowed, name) {
			return query{}, &fault{http.StatusBadRequest, "not-supported", "This server cannot search " + typ + " by one of the parameters given."}
		}
		for _, v := range given {
			if err := q.add(name, v); err != nil {
				return query{}, err
			}
		}
	}
	return q, nil
}

func (q *query) add(name, value string) error {
	values := strings.Split(value, ",")
	switch name {
	case "_total", "_format":
		return nil
	case "_count", "_offset":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return &fault{http.StatusBadRequest, "invalid", name + " must be a whole number of 0 or more."}
		}
		if name == "_offset" {
			q.offset = n
		} else {
			q.count = min(n, maxPage)
		}
		return nil
	case "subject":
		name = "patient"
	}
	if name == "patient" {
		for i, v := range values {
			if id := patientID(v); id != "" {
				values[i] = id
			}
		}
	}
	q.terms = append(q.terms, term{name, values})
	return nil
}

func (t term) matches(id string, f fields) bool {
	switch t.name {
	case "_id":
		return slices.Contains(t.values, id)
	case "patient":
		return slices.Contains(t.values, f.patient)
	case "name", "family", "given":
		return slices.ContainsFunc(f.words[t.name], func(word string) bool {
			return slices.ContainsFunc(t.values, func(v string) bool {
				return v != "" && strings.HasPrefix(word, strings.ToLower(v))
			})
		})
	}
	return slices.ContainsFunc(f.tokens[t.name], func(token string) bool { return slices.Contains(t.values, token) })
}

// search returns one page of what matches, oldest first, and how many match.
func (s *store) search(q query) (page []version, total int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, id := range s.candidates(q) {
		k := key{q.typ, id}
		v, ok := s.last(k)
		if !ok || v.Deleted || !s.fits(k, q.terms) {
			continue
		}
		if total >= q.offset && len(page) < q.count {
			page = append(page, v)
		}
		total++
	}
	return page, total
}

func (s *store) fits(k key, terms []term) bool {
	f := s.fields[k]
	return !slices.ContainsFunc(terms, func(t term) bool { return !t.matches(k.ID, f) })
}

// candidates narrows by patient or id where the query names just one.
func (s *store) candidates(q query) []string {
	for _, t := range q.terms {
		if len(t.values) != 1 {
			continue
		}
		switch t.name {
		case "_id":
			return t.values
		case "patient":
			return s.byPatient[q.typ][t.values[0]]
		}
	}
	return s.byType[q.typ]
}
