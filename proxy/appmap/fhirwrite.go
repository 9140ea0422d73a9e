package appmap

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// conditionOfAnybody is why nobody can tell whose the change of a conditional
// request is.
const conditionOfAnybody = "the search that the change depends on names no patient"

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
	if x.rule.pattern.index("id") >= 0 || x.method == http.MethodPost {
		err = checkParams(params) // those of a condition are a search's
	}
	if err != nil {
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
	asked, err := x.conditions(kind)
	if err != nil {
		return err
	}
	if v, given := res.get("id"); id != "" && given && v != id {
		return malformed("the body has another id than the address")
	}
	if kind == "Patient" {
		p := proxy.Patient{ID: id, NHSNumber: nhsOf(res)} // the server chooses the id of a new patient
		a.Patients = addPatient(asked.patients, p)
		a.Certainty, a.Source, a.Hold = certaintyOf(a.Patients), audit.SourceBody, id == ""
		a.Conditional = asked.about && x.method == http.MethodPost
		if id != "" {
			a.Source = audit.SourceURL
		}
		if asked.unclear {
			a.Certainty, a.Reason = audit.Unknown, conditionOfAnybody
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
	a.Hold = len(n.patients) == 0 || asked.about || n.open
	a.Conditional = asked.about && x.method == http.MethodPost
	if n.open {
		a.Certainty, a.Reason = audit.Unknown, "the body is about another record, whose patients only the application knows"
	}
	if asked.unclear {
		a.Certainty, a.Reason = audit.Unknown, conditionOfAnybody
	}
	return nil
}

// hasSubject reports whether a resource says anything about whose it is.
func hasSubject(m *Map, res *object) bool {
	for path := range strings.FieldsSeq(m.tables["subjects"][res.text("resourceType")]) {
		if len(follow(nil, res, strings.TrimSuffix(path, "*"))) > 0 {
			return true
		}
	}
	return false
}

// conditions reads the search that a create or update depends on. What it finds
// may be that of somebody else than the body speaks of: the answer is held, and
// whose it is is unclear unless the search says so (GW-08).
func (x *exchange) conditions(kind string) (named, error) {
	texts := x.header.Values("If-None-Exist")
	switch {
	case len(texts) > 1 || len(texts) > 0 && x.method != http.MethodPost:
		return named{}, malformed("If-None-Exist")
	case len(texts) == 0 && (x.method == http.MethodPost || x.capture("id") != ""):
		return named{}, nil
	case len(texts) == 0:
		params, err := x.params()
		if err != nil {
			return named{}, err
		}
		return x.condition(kind, params)
	}
	of, query, typed := strings.Cut(texts[0], "?")
	if !typed {
		of, query = "", texts[0]
	}
	params, err := url.ParseQuery(query)
	if err != nil || of != "" && of != kind {
		return named{}, malformed("If-None-Exist")
	}
	return x.condition(kind, params)
}

// condition reads a search that is to find what is changed. One that asks for
// nothing would find anything.
func (x *exchange) condition(kind string, params url.Values) (named, error) {
	asks := false
	for name := range params {
		switch base, _, _ := strings.Cut(name, ":"); base {
		case "_format", "_pretty", "_summary", "_elements", "_count", "_sort", "_total":
		case "_include", "_revinclude":
			return named{}, unmappedSince("%s belongs to a search", name)
		default:
			asks = true
		}
	}
	if !asks {
		return named{}, malformed("a condition that asks for nothing")
	}
	wanted, err := x.ask(kind, params)
	if err == nil && len(wanted.parts) > 0 {
		err = unmappedSince("a chain in a condition asks about resources that nobody has decided")
	}
	return named{patients: wanted.patients, about: true, unclear: len(wanted.patients) == 0}, err
}

// fhirConditional reads a deletion of whatever a search finds.
func fhirConditional(x *exchange, a *proxy.Access) error {
	params, err := x.searchParams()
	if err != nil {
		return err
	}
	kind := x.capture("type")
	if _, about := x.m.tables["subjects"][kind]; !about && kind != "Patient" {
		return errReferenceData(kind)
	}
	n, err := x.condition(kind, params)
	if err != nil {
		return err
	}
	a.Patients, a.Certainty, a.Hold = n.patients, certaintyOf(n.patients), true
	if len(n.patients) > 0 {
		a.Source = audit.SourceURL
	}
	return nil
}

// fhirPatch reads a JSON Patch (RFC 6902) or a FHIRPath Patch. It shows at most
// whom the resource shall belong to, not whose it is: that takes the response, which
// shows what the client has not sent.
func fhirPatch(x *exchange, a *proxy.Access) error {
	media := mediaType(x.header)
	fhirPath := media == "application/fhir+json" || media == "application/json"
	if media != "application/json-patch+json" && !fhirPath {
		return unmappedSince("the body is neither a JSON Patch nor a FHIRPath Patch in JSON by its Content-Type")
	}
	address := fhirRead
	if x.capture("id") == "" {
		address = fhirConditional
	}
	if err := address(x, a); err != nil {
		return err
	}
	a.Hold = true
	doc, err := x.json()
	if err != nil {
		return err
	}
	s := scope{m: x.m, host: x.host, bundle: x.entry}
	read := s.jsonPatch
	if fhirPath {
		read = s.fhirPathPatch
	}
	named, err := read(doc)
	if err != nil {
		return err
	}
	before := len(a.Patients)
	for _, p := range named {
		if a.Patients = addPatient(a.Patients, p); len(a.Patients) > maxPatients {
			return malformed("too many patients are named")
		}
	}
	if len(a.Patients) == 0 {
		return nil
	}
	if a.Source == "" {
		a.Source = audit.SourceBody
	}
	a.Certainty = certaintyOf(a.Patients)
	if before == 0 {
		a.Certainty, a.Reason = audit.Unknown, "the patch says whose it becomes and not whose it was"
	}
	return nil
}

// jsonPatch names the patients in a JSON Patch.
func (s *scope) jsonPatch(doc any) ([]proxy.Patient, error) {
	operations, ok := doc.([]any)
	if !ok {
		return nil, malformed("body is no JSON Patch")
	}
	var list []proxy.Patient
	for _, node := range operations {
		op, ok := node.(*object)
		if !ok || !strings.HasPrefix(op.text("path"), "/") {
			return nil, malformed("body is no JSON Patch")
		}
		value, _ := op.get("value")
		list = s.patched(list, value, strings.HasSuffix(op.text("path"), "/reference"))
	}
	return list, nil
}

// fhirPathPatch names the patients in a FHIRPath Patch.
func (s *scope) fhirPathPatch(doc any) ([]proxy.Patient, error) {
	o, ok := doc.(*object)
	if !ok || o.text("resourceType") != "Parameters" || len(o.list("parameter")) == 0 {
		return nil, malformed("body is no FHIRPath Patch")
	}
	var list []proxy.Patient
	for _, node := range o.list("parameter") {
		op, ok := node.(*object)
		if !ok || op.text("name") != "operation" || len(op.list("part")) == 0 {
			return nil, malformed("body is no FHIRPath Patch")
		}
		for _, node := range op.list("part") {
			part, ok := node.(*object)
			if !ok {
				return nil, malformed("body is no FHIRPath Patch")
			}
			if part.text("name") != "value" {
				continue
			}
			list = s.patched(list, part, false)
			for _, m := range part.members {
				_, text := m.value.(string)
				list = s.patched(list, m.value, text && m.key != "name")
			}
		}
	}
	return list, nil
}

// patched adds the patients in the value of one operation. literal says that a
// text there is a reference.
func (s *scope) patched(list []proxy.Patient, value any, literal bool) []proxy.Patient {
	if text, ok := value.(string); ok && literal {
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
