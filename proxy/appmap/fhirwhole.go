package appmap

import (
	"net/http"
	"strings"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// fhirEverything reads the whole record of the patient in the address. Without
// one, only the response tells whose records it holds.
func fhirEverything(x *exchange, a *proxy.Access) error {
	params, err := x.params()
	if err != nil {
		return err
	}
	if err := checkParams(params); err != nil {
		return err
	}
	a.Certainty, a.Hold = audit.Unknown, true
	if id := x.capture("id"); id != "" && x.segments[0] == "Patient" {
		a.Patients = []proxy.Patient{{ID: id}}
		a.Certainty, a.Source = audit.Authoritative, audit.SourceURL
	}
	return nil
}

// fhirSystem reads what concerns every type: the history of the whole server,
// and searches at the base. Only the response tells whose data it holds.
func fhirSystem(x *exchange, a *proxy.Access) error {
	params, err := x.searchParams()
	if err != nil {
		return err
	}
	if err := checkParams(params); err != nil {
		return err
	}
	types := params["_type"]
	history := len(x.segments) > 0 && x.segments[0] == "_history"
	if len(types) == 0 && !history {
		return unmappedSince("a search of every type: name those that are meant with _type")
	}
	parts, err := x.m.ofTypes(a.Action, strings.Join(types, ","))
	if err != nil {
		return err
	}
	included, err := x.m.included(nil, params)
	if err != nil {
		return err
	}
	setParts(a, append(parts, included...))
	a.Certainty, a.Hold = audit.Unknown, true
	return nil
}

// ofTypes is one part for each type of a list that commas part, or for each area
// of the map when it is empty.
func (m *Map) ofTypes(action policy.Action, list string) ([]proxy.Part, error) {
	var parts []proxy.Part
	if list == "" {
		var areas []string
		for _, kind := range keys(m.tables["areas"]) {
			areas = appendNew(areas, m.tables["areas"][kind])
		}
		for _, area := range areas {
			parts = append(parts, proxy.Part{Action: action, Area: policy.Area(area)})
		}
		return parts, nil
	}
	for kind := range strings.SplitSeq(list, ",") {
		area, known := m.tables["areas"][kind]
		if !known {
			return nil, unmappedSince("_type names %q, which the map does not know", kind)
		}
		parts = append(parts, proxy.Part{Action: action, Area: policy.Area(area), Resource: kind})
	}
	return parts, nil
}

// fhirExport reads the start of a bulk export. Whose records it takes is unknown
// unless it names them; it shows nobody's yet.
func fhirExport(x *exchange, a *proxy.Access) error {
	params, err := x.params()
	if err != nil {
		return err
	}
	types := params["_type"]
	for name := range params {
		if !exportParam(name) {
			return unmappedSince("the map cannot follow the parameter %s of an export", name)
		}
	}
	s := scope{m: x.m, host: x.host}
	if x.method == http.MethodPost {
		body, err := x.resource()
		if err != nil {
			return err
		}
		if body.text("resourceType") != "Parameters" {
			return malformed("body is no Parameters")
		}
		for _, node := range body.list("parameter") {
			o, ok := node.(*object)
			if !ok || !exportParam(o.text("name")) {
				return unmappedSince("the map cannot follow a parameter of an export")
			}
			if o.text("name") == "_type" {
				types = append(types, o.text("valueString"))
			}
			if o.text("name") != "patient" {
				continue
			}
			p, t := s.patientOf(o.child("valueReference"))
			if t != aPatient {
				return malformed("a patient parameter names nobody")
			}
			if a.Patients = addPatient(a.Patients, p); len(a.Patients) > maxPatients {
				return malformed("too many patients are named")
			}
		}
	}
	parts, err := x.m.ofTypes(a.Action, strings.Join(types, ","))
	if err != nil {
		return err
	}
	setParts(a, parts)
	if params.Has("patient") {
		return unmappedSince("patient belongs into the body of an export")
	}
	a.Certainty, a.Hold = certaintyOf(a.Patients), true
	if len(a.Patients) > 0 {
		a.Source = audit.SourceBody
	}
	return nil
}

// patientOf is referenceObject for one that may be absent.
func (s *scope) patientOf(o *object) (proxy.Patient, target) {
	if o == nil {
		return proxy.Patient{}, unclear
	}
	return s.referenceObject(o)
}

func exportParam(name string) bool {
	switch name {
	case "_outputFormat", "_since", "_type", "_elements", "_typeFilter", "includeAssociatedData", "patient":
		return true
	}
	return false
}

// fhirExportResponse: an accepted export is fetched later, under addresses that
// the server chooses. Anything else is read as a record.
func fhirExportResponse(n *answer) (found, error) {
	if n.status == http.StatusAccepted && n.body.Len() == 0 {
		return found{seen: true}, nil
	}
	return fhirWholeRecord(n)
}

// fhirGraphQL is unmapped unless the map says graphql: unknown. Even then nobody
// but the patient in the address is named: the shape of the answer is the
// client's.
func fhirGraphQL(x *exchange, a *proxy.Access) error {
	if x.m.tables["options"]["graphql"] != "unknown" {
		return unmappedSince("GraphQL chooses what it returns, which the map cannot follow")
	}
	parts, err := x.m.ofTypes(a.Action, "")
	if err != nil {
		return err
	}
	setParts(a, parts)
	a.Certainty, a.Hold = audit.Unknown, true
	if id := x.capture("id"); id != "" && x.capture("type") == "Patient" {
		a.Patients, a.Source = []proxy.Patient{{ID: id}}, audit.SourceURL
	}
	return nil
}

func fhirGraphQLResponse(n *answer) (found, error) {
	if n.body.Len() == 0 {
		return found{}, nil
	}
	err := n.pick()
	return found{nameless: 1, seen: !n.failed()}, err
}

// fhirOptions lists the settings of a map that uses the FHIR extractors, with
// the values that each may have; the first is what holds without it.
func fhirOptions() map[string][]string {
	return map[string][]string{"chains": {"refuse", "narrow"}, "graphql": {"refuse", "unknown"}}
}
