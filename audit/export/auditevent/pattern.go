package auditevent

import (
	"net/http"
	"strings"
)

// pattern is how BALP writes one kind of access.
type pattern struct {
	name                 string // in the name of the profile, "" when BALP has none
	action               string
	client, server, user Coding // types of the agents
	query                bool   // about a question rather than about a resource
}

// patternOf finds the pattern of an action. Data that flows to the client makes
// it the destination; in a query it is the question that flows.
func patternOf(action string) pattern {
	switch action {
	case "read":
		return pattern{"Read", "R", destination(), sourceRole(), recipient(), false}
	case "search", "list":
		return pattern{"Query", "E", sourceRole(), destination(), recipient(), true}
	case "create":
		return pattern{"Create", "C", sourceRole(), destination(), author(), false}
	case "update":
		return pattern{"Update", "U", sourceRole(), destination(), author(), false}
	case "delete":
		return pattern{"Delete", "D", application(), custodian(), author(), false}
	}
	return pattern{"", "E", sourceRole(), destination(), recipient(), true}
}

// interaction is the FHIR interaction, or the nearest one for anything that is
// not FHIR. fhir is true only where the request itself shows that it is the
// plain FHIR interaction: BALP has no profile for operations, conditional
// requests, batches and pages. A search by POST is none either, since its
// parameters stand in the body, which is not recorded.
func (b *builder) interaction() (name string, fhir bool) {
	typed := isType(b.Resource) && b.Screen == ""
	one := typed && isID(b.ResourceID)
	kind := "/" + b.Resource
	id := kind + "/" + b.ResourceID
	is := func(method, path string) bool { return b.Method == method && strings.HasSuffix(b.Target, path) }
	version := id + "/_history/" + b.ResourceVersion
	switch b.Action {
	case "read":
		switch {
		case one && isID(b.ResourceVersion) && is(http.MethodGet, version):
			return "vread", true
		case one && is(http.MethodGet, id+"/_history"):
			return "history-instance", false
		}
		return "read", one && is(http.MethodGet, id)
	case "search", "list":
		if typed && is(http.MethodGet, kind+"/_history") {
			return "history-type", false
		}
		return "search-type", typed && is(http.MethodGet, kind)
	case "create":
		return "create", one && is(http.MethodPost, kind)
	case "update":
		if one && is(http.MethodPatch, id) {
			return "patch", true
		}
		return "update", one && is(http.MethodPut, id)
	case "delete":
		return "delete", one && is(http.MethodDelete, id)
	}
	return "", false
}
