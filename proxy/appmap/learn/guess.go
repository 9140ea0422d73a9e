package learn

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// action is what requests of a method mostly do, unless a word in the path says
// better.
func (r *route) action() string {
	var said string
	for i := range r.segments {
		for _, t := range tokens(r.segments[i].literal) {
			said = cmp.Or(actionWord(t, r.method), said) // the last word counts
		}
	}
	if said != "" {
		return said
	}
	switch r.method {
	case http.MethodPost:
		return "create"
	case http.MethodPut, http.MethodPatch:
		return "update"
	case http.MethodDelete:
		return "delete"
	}
	for name := range r.parameters {
		if slices.ContainsFunc(tokens(name), func(t string) bool { return slices.Contains([]string{"q", "search", "term", "query"}, t) }) {
			return "search"
		}
	}
	return "read"
}

func actionWord(t, method string) string {
	switch t {
	case "search", "find", "lookup", "autocomplete", "suggest":
		return "search"
	case "list", "lists", "worklist", "worklists", "whiteboard":
		return "list"
	case "print", "printing":
		return "print"
	case "export", "download":
		return "export"
	case "delete", "remove":
		return "delete"
	case "update", "edit", "save":
		if method != http.MethodGet { // asking for the page to edit something reads it
			return "update"
		}
	}
	return ""
}

// candidates are places of the request that may name the patient.
func (r *route) candidates() []Candidate {
	all := []Candidate{}
	for i, s := range r.values {
		if s == nil {
			continue
		}
		ground, weight := "", 0
		if i > 0 && !r.segments[i-1].variable() && speaksOfPatient(r.segments[i-1].literal) {
			ground, weight = "follows "+r.segments[i-1].literal, 40
		}
		all = appendCandidate(all, "path:"+r.segments[i].name, ground, weight, r.segments[i].name, s)
	}
	for _, name := range slices.Sorted(maps.Keys(r.parameters)) {
		ground, weight := "", 0
		if speaksOfPatient(name) {
			ground, weight = "its name", 30
		}
		s := r.parameters[name]
		all = appendCandidate(all, "query:"+name, ground, weight, name, s)
		if last := len(all) - 1; last >= 0 && all[last].Value == "query:"+name && s.requests < r.requests {
			all[last].Ground += fmt.Sprintf("; in %d of %d requests", s.requests, r.requests)
			all[last].weight -= 5
		}
	}
	slices.SortStableFunc(all, func(a, b Candidate) int { return cmp.Compare(b.weight, a.weight) })
	return all
}

// appendCandidate appends a place if its name or the form of its values speaks for
// it.
func appendCandidate(list []Candidate, value, ground string, weight int, name string, s *shape) []Candidate {
	c := Candidate{Value: value, Ground: ground, weight: weight}
	if strings.Contains(strings.ToLower(name), "nhs") {
		c.System = "nhs-number"
	}
	if s.likeNHS() {
		form := fmt.Sprintf("10 digits, check digit valid in %d of %d", s.nhs, s.values)
		c.System, c.weight = "nhs-number", weight+20
		if ground != "" {
			form = ground + "; " + form
		}
		c.Ground = form
	}
	if c.Ground == "" {
		return list
	}
	return append(list, c)
}

// speaksOfPatient reports whether a name is one that applications give to the
// number of a patient.
func speaksOfPatient(name string) bool {
	flat := strings.ToLower(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, name))
	switch flat {
	case "patient", "patients", "patientid", "patientids", "patientuuid", "patientidentifier", "patientnumber", "patientno",
		"pid", "pids", "setpid", "puuid", "mrn", "crn", "nhs", "nhsno", "nhsnumber", "subject", "subjectid",
		"hospitalnumber", "hospitalno", "casenote", "casenotes", "personid", "ehrid":
		return true
	}
	return false
}

// isSecret reports whether a parameter may hold what must not get into the record.
func isSecret(name string) bool {
	return slices.ContainsFunc(tokens(name), func(t string) bool {
		switch t {
		case "token", "password", "passwd", "pass", "pwd", "secret", "ticket", "jwt", "sid", "session", "sessionid", "credential", "credentials", "assertion", "otp", "pin", "signature":
			return true
		}
		return false
	})
}

// shownContent reports whether a media type is one of those that maps name: what
// a client says besides is not shown.
func shownContent(content string) bool {
	switch content {
	case "application/json", "application/x-www-form-urlencoded", "multipart/form-data", "text/xml", "application/xml", "application/soap+xml", "application/fhir+json", "text/plain":
		return true
	}
	return false
}
