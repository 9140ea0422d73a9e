package appmap

import (
	"net/url"
	"strings"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// fhirRead reads the address of one resource: read, vread, history and delete.
// Of anything but a Patient only the response tells whose it is.
func fhirRead(x *exchange, a *proxy.Access) error {
	params, err := x.params()
	if err != nil {
		return err
	}
	if err := checkParams(params); err != nil {
		return err
	}
	for name := range params {
		if strings.HasPrefix(name, "_include") || strings.HasPrefix(name, "_revinclude") {
			return unmappedSince("%s belongs to a search", name)
		}
	}
	kind := x.capture("type")
	_, about := x.m.tables["subjects"][kind]
	switch {
	case kind == "Patient" && x.capture("id") != "":
		a.Patients = []proxy.Patient{{ID: x.capture("id")}}
		a.Certainty, a.Source = audit.Authoritative, audit.SourceURL
	case kind == "Patient", about:
		a.Certainty, a.Hold = audit.Unknown, true
	case a.Action.Writes():
		return errReferenceData(kind)
	default:
		a.Certainty, a.Source = audit.None, audit.SourceNone
	}
	return nil
}

// errReferenceData: what concerns no patient is not changed through this map.
func errReferenceData(kind string) error {
	return unmappedSince("%s is reference data, which this map does not let be changed", kind)
}

// fhirBinary holds every Binary: a scan says whose it is, or nobody knows.
func fhirBinary(_ *exchange, a *proxy.Access) error {
	a.Certainty, a.Hold = audit.Unknown, true
	return nil
}

// fhirEverything reads the whole record of the patient in the address.
func fhirEverything(x *exchange, a *proxy.Access) error {
	params, err := x.params()
	if err != nil {
		return err
	}
	if err := checkParams(params); err != nil {
		return err
	}
	a.Patients = []proxy.Patient{{ID: x.capture("id")}}
	a.Certainty, a.Source, a.Hold = audit.Authoritative, audit.SourceURL, true
	return nil
}

// resource returns the resource in the body. One that is not JSON cannot be
// read, so that the exchange is unmapped.
func (x *exchange) resource() (*object, error) {
	if !isJSONType(mediaType(x.header)) {
		return nil, unmappedSince("the body is not JSON by its Content-Type")
	}
	params, err := x.params()
	if err != nil {
		return nil, err
	}
	if err := checkParams(params); err != nil {
		return nil, err
	}
	doc, err := x.json()
	if err != nil {
		return nil, err
	}
	o, ok := doc.(*object)
	if !ok || o.text("resourceType") == "" {
		return nil, malformed("body is no FHIR resource")
	}
	return o, nil
}

// fhirWrite reads a create or an update. The response of one that creates a
// patient, or names none, is held.
func fhirWrite(x *exchange, a *proxy.Access) error {
	res, err := x.resource()
	if err != nil {
		return err
	}
	kind, id := x.capture("type"), x.capture("id")
	if res.text("resourceType") != kind {
		return malformed("the body is of another type than the address")
	}
	if v, given := res.get("id"); id != "" && given && v != id {
		return malformed("the body has another id than the address")
	}
	asked, err := x.ifNoneExist(kind)
	if err != nil {
		return err
	}
	if kind == "Patient" {
		p := proxy.Patient{ID: id, NHSNumber: nhsOf(res)} // the server chooses the id of a new patient
		a.Patients = addPatient(asked.patients, p)
		a.Certainty, a.Source, a.Hold = certaintyOf(a.Patients), audit.SourceBody, id == ""
		if id != "" {
			a.Source = audit.SourceURL
		}
		return nil
	}
	s := scope{m: x.m, host: x.host, bundle: x.entry}
	n := s.patientsOf(res)
	switch {
	case n.unclear && hasSubject(x.m, res):
		return malformed("the subject of the body cannot be told")
	case !n.about:
		return errReferenceData(kind)
	}
	for _, p := range asked.patients {
		n.patients = addPatient(n.patients, p)
	}
	a.Patients, a.Certainty, a.Source = n.patients, certaintyOf(n.patients), audit.SourceBody
	a.Hold = len(n.patients) == 0 || asked.about
	return nil
}

// hasSubject reports whether a resource says anything about whose it is.
func hasSubject(m *Map, res *object) bool {
	for path := range strings.FieldsSeq(m.tables["subjects"][res.text("resourceType")]) {
		if len(follow(nil, res, path)) > 0 {
			return true
		}
	}
	return false
}

// ifNoneExist reads the search of a conditional create. Its answer tells whether
// something exists, and may be that of somebody else than the body speaks of:
// it is held (GW-08).
func (x *exchange) ifNoneExist(kind string) (named, error) {
	texts := x.header.Values("If-None-Exist")
	if len(texts) == 0 {
		return named{}, nil
	}
	of, query, typed := strings.Cut(texts[0], "?")
	if !typed {
		of, query = "", texts[0]
	}
	params, err := url.ParseQuery(query)
	if err != nil || len(texts) > 1 || of != "" && of != kind {
		return named{}, malformed("If-None-Exist")
	}
	if err := checkParams(params); err != nil {
		return named{}, err
	}
	patients, err := x.searchPatients(kind, params)
	return named{patients: patients, about: true}, err
}

// fhirPatch reads a JSON Patch (RFC 6902). It shows at most whom the resource
// shall belong to, not whose it is: that takes the response.
func fhirPatch(x *exchange, a *proxy.Access) error {
	if mediaType(x.header) != "application/json-patch+json" {
		return unmappedSince("the body is no JSON Patch by its Content-Type")
	}
	if err := fhirRead(x, a); err != nil {
		return err
	}
	doc, err := x.json()
	if err != nil {
		return err
	}
	operations, ok := doc.([]any)
	if !ok {
		return malformed("body is no JSON Patch")
	}
	s := scope{m: x.m, host: x.host, bundle: x.entry}
	for _, node := range operations {
		op, ok := node.(*object)
		if !ok || !strings.HasPrefix(op.text("path"), "/") {
			return malformed("body is no JSON Patch")
		}
		for _, p := range s.patched(op) {
			a.Patients = addPatient(a.Patients, p)
		}
	}
	if len(a.Patients) == 0 {
		return nil
	}
	if a.Source == "" {
		a.Source = audit.SourceBody
	}
	if a.Hold {
		a.Certainty = audit.Unknown // the patient that it had before is not named
	} else {
		a.Certainty = certaintyOf(a.Patients)
	}
	return nil
}

// patched names the patients in the value of one operation.
func (s *scope) patched(op *object) []proxy.Patient {
	var list []proxy.Patient
	value, _ := op.get("value")
	if text, ok := value.(string); ok && strings.HasSuffix(op.text("path"), "/reference") {
		if p, t := s.reference(text); t == aPatient {
			list = addPatient(list, p)
		}
	}
	for _, ref := range references(nil, value) {
		if p, t := s.referenceObject(ref); t == aPatient {
			list = addPatient(list, p)
		}
	}
	return list
}

// references finds every FHIR Reference below a node.
func references(to []*object, n any) []*object {
	switch n := n.(type) {
	case *object:
		if n.text("reference") != "" {
			to = append(to, n)
		}
		for _, m := range n.members {
			to = references(to, m.value)
		}
	case []any:
		for _, e := range n {
			to = references(to, e)
		}
	}
	return to
}
