package appmap

import (
	"net/url"
	"strings"

	"github.com/matron-epr/matron/proxy"
)

// nhsSystem is the identifier system of NHS numbers in FHIR.
const nhsSystem = "https://fhir.nhs.uk/Id/nhs-number"

// isFHIRID reports whether text is a FHIR id. It never starts with the "_" or
// "$" of an operation.
func isFHIRID(text string) bool {
	if text == "" || len(text) > 64 || text == "." || text == ".." {
		return false
	}
	for i := range len(text) {
		c := text[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// scope is where a reference stands: what its parts refer to.
type scope struct {
	m         *Map
	host      string   // under which the application was asked
	bundle    *entries // of the transaction, nil outside
	contained []any    // resources within the resource
}

// target is what a reference points to.
type target uint8

const (
	unclear     target = iota // cannot be told
	aPatient                  // a patient, who may be without a name yet
	notAPatient               // something else
)

// reference resolves the text of a reference. A patient of another server is
// named by the whole address, never by the id alone: it is somebody else.
func (s *scope) reference(text string) (proxy.Patient, target) {
	if id, ok := strings.CutPrefix(text, "#"); ok {
		return s.containedPatient(id)
	}
	if s.bundle != nil {
		if p, t := s.bundle.resolve(text); t != unclear {
			return s.undisputed(text, p, t)
		}
	}
	return s.address(text)
}

// undisputed holds what an entry of the Bundle makes of a reference against what
// its text says. An application may follow either, so that where they are two
// different things it is unclear (GW-05, GW-08).
func (s *scope) undisputed(text string, p proxy.Patient, t target) (proxy.Patient, target) {
	said, what := s.address(text)
	switch {
	case what == unclear, t == aPatient && said.ID == text:
		return p, t
	case what != t || !p.Agree(said):
		return proxy.Patient{}, unclear
	}
	return p.Join(said), t
}

// address resolves a reference by its text alone.
func (s *scope) address(text string) (proxy.Patient, target) {
	if strings.HasPrefix(text, "urn:") || strings.ContainsAny(text, "#\\ \t\r\n") {
		return proxy.Patient{}, unclear
	}
	if kind, query, ok := strings.Cut(text, "?"); ok {
		return conditionalReference(kind, query)
	}
	if strings.Contains(text, "://") {
		rest, local := s.m.local(text, s.host)
		if !local {
			return remoteReference(text)
		}
		text = rest
	}
	return literalReference(text)
}

// literalReference reads Type/id or Type/id/_history/version.
func literalReference(text string) (proxy.Patient, target) {
	kind, rest, _ := strings.Cut(text, "/")
	id, version, versioned := strings.Cut(rest, "/")
	if !isTypeName(kind) || !isFHIRID(id) {
		return proxy.Patient{}, unclear
	}
	if version, ok := strings.CutPrefix(version, "_history/"); versioned && (!ok || !isFHIRID(version)) {
		return proxy.Patient{}, unclear
	}
	if kind != "Patient" {
		return proxy.Patient{}, notAPatient
	}
	return proxy.Patient{ID: id}, aPatient
}

func isTypeName(text string) bool {
	if text == "" || text[0] < 'A' || text[0] > 'Z' {
		return false
	}
	return only(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
}

func remoteReference(text string) (proxy.Patient, target) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return proxy.Patient{}, unclear
	}
	parts := splitPath(u.Path, nil)
	for i := len(parts) - 2; i >= 0; i-- {
		if isTypeName(parts[i]) && isFHIRID(parts[i+1]) {
			if parts[i] == "Patient" {
				return proxy.Patient{ID: text}, aPatient
			}
			return proxy.Patient{}, notAPatient
		}
	}
	return proxy.Patient{}, unclear
}

// conditionalReference reads Patient?identifier=system|value of a transaction.
func conditionalReference(kind, query string) (proxy.Patient, target) {
	if !isTypeName(kind) {
		return proxy.Patient{}, unclear
	}
	if kind != "Patient" {
		return proxy.Patient{}, notAPatient
	}
	q, err := url.ParseQuery(query)
	if err != nil || len(q) != 1 || len(q["identifier"]) != 1 {
		return proxy.Patient{}, unclear
	}
	system, number, _ := strings.Cut(q.Get("identifier"), "|")
	if nhs := nhsNumber(number); system == nhsSystem && nhs != "" {
		return proxy.Patient{NHSNumber: nhs}, aPatient
	}
	return proxy.Patient{}, unclear
}

func (s *scope) containedPatient(id string) (proxy.Patient, target) {
	for _, c := range s.contained {
		o, ok := c.(*object)
		if !ok || o.text("id") != id {
			continue
		}
		if o.text("resourceType") != "Patient" {
			return proxy.Patient{}, notAPatient
		}
		p := proxy.Patient{NHSNumber: nhsOf(o)}
		if p.NHSNumber == "" {
			return p, unclear
		}
		return p, aPatient
	}
	return proxy.Patient{}, unclear
}

// local cuts this application's own address off an absolute one. Somewhere else
// at the same host, or with a user in it, nothing is left of it: whose that is
// cannot be told.
func (m *Map) local(text, host string) (rest string, own bool) {
	u, err := url.Parse(text)
	if err != nil {
		return "", false
	}
	at := plainHost(u.Host)
	own = host != "" && at == plainHost(host)
	var bases []string
	for _, o := range m.origins {
		if origin, err := url.Parse(o); err == nil {
			own = own || at == plainHost(origin.Host)
			bases = append(bases, strings.TrimSuffix(origin.Path, "/"))
		}
	}
	if !own || u.User != nil {
		return "", own
	}
	if len(bases) == 0 {
		bases = []string{m.base}
	}
	for _, base := range bases {
		if rest, ok := strings.CutPrefix(u.Path, base+"/"); ok {
			return rest, true
		}
	}
	return "", true
}

// plainHost is a host in the form in which two of them are compared.
func plainHost(host string) string {
	host = strings.ToLower(host)
	return strings.TrimSuffix(strings.TrimSuffix(host, ":443"), ":80")
}

// nhsOf returns the NHS number among the identifiers of a Patient, "" when there
// is none or more than one.
func nhsOf(patient *object) string {
	number := ""
	for _, v := range patient.list("identifier") {
		i, ok := v.(*object)
		if !ok || i.text("system") != nhsSystem || i.text("use") == "old" {
			continue
		}
		n := nhsNumber(i.text("value"))
		if n != "" && number != "" && n != number {
			return ""
		}
		if n != "" {
			number = n
		}
	}
	return number
}

// referenceObject resolves a FHIR Reference: its literal, its identifier or both.
func (s *scope) referenceObject(o *object) (proxy.Patient, target) {
	var p proxy.Patient
	t := unclear
	if text := o.text("reference"); text != "" {
		if p, t = s.reference(text); t != aPatient {
			return p, t
		}
	}
	i := o.child("identifier")
	if i == nil {
		return p, t
	}
	kind, system, number := o.text("type"), i.text("system"), i.text("value")
	switch {
	case t == unclear && kind != "" && kind != "Patient":
		return p, notAPatient
	case system == nhsSystem && nhsNumber(number) != "":
		return p.Join(proxy.Patient{NHSNumber: nhsNumber(number)}), aPatient
	case t == unclear && kind == "Patient" && number != "":
		return proxy.Patient{ID: system + "|" + number}, aPatient
	}
	return p, t
}

// named are the patients of one resource.
type named struct {
	patients []proxy.Patient
	about    bool // it is about a patient, named or not
	unclear  bool // a subject cannot be told, or there is none
	open     bool // it is about something else that is about patients whom nothing here names
}

// patientsOf names the patients that a resource is about, by the table of
// subjects. A type that the map does not know is unclear.
func (s *scope) patientsOf(res *object) named {
	kind := res.text("resourceType")
	if kind == "Patient" {
		p := proxy.Patient{ID: res.text("id"), NHSNumber: nhsOf(res)}
		return named{patients: addPatient(nil, p), about: true, unclear: p == proxy.Patient{}}
	}
	paths, about := s.m.tables["subjects"][kind]
	if !about {
		_, known := s.m.tables["areas"][kind]
		return named{unclear: !known, open: s.mentions(res)}
	}
	inner := *s
	inner.contained = res.list("contained")
	n := named{about: true}
	others, indirect := 0, 0
	for path := range strings.FieldsSeq(paths) {
		path, every := strings.CutSuffix(path, "*")
		for _, node := range follow(nil, res, path) {
			ref, ok := node.(*object)
			if !ok {
				n.unclear = true
				continue
			}
			p, t := inner.referenceObject(ref)
			switch t {
			case aPatient:
				n.patients = addPatient(n.patients, p)
				others++
				if len(n.patients) > maxPatients {
					return named{about: true, unclear: true}
				}
			case notAPatient:
				others++
				if inner.aboutSomebody(ref) {
					indirect++
					n.open = n.open || every
				}
			case unclear:
				n.unclear = true
			}
		}
	}
	n.unclear = n.unclear || others == 0
	n.open = n.open || len(n.patients) == 0 && (indirect > 0 || inner.mentions(res))
	return n
}

// mentions reports whether a resource refers to a patient anywhere, or contains
// one: then it is not nobody's, whatever it is about.
func (s *scope) mentions(res *object) bool {
	for _, c := range res.list("contained") {
		if o, ok := c.(*object); ok && o.text("resourceType") == "Patient" {
			return true
		}
	}
	for _, ref := range references(nil, res) {
		if _, t := s.referenceObject(ref); t == aPatient {
			return true
		}
	}
	return false
}

// aboutSomebody reports whether a reference points to a resource that is itself
// about a patient, such as a group or somebody's specimen.
func (s *scope) aboutSomebody(ref *object) bool {
	text := ref.text("reference")
	kind := ref.text("type")
	if e, ok := s.entry(text); ok {
		text = e.url
	}
	path, _, _ := strings.Cut(text, "?")
	path, _, _ = strings.Cut(path, "/_history/")
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	switch id, within := strings.CutPrefix(text, "#"); {
	case within:
		for _, c := range s.contained {
			if o, ok := c.(*object); ok && o.text("id") == id {
				kind = o.text("resourceType")
			}
		}
	case len(parts) > 1:
		kind = parts[len(parts)-2]
	case isTypeName(parts[0]):
		kind = parts[0]
	}
	_, about := s.m.tables["subjects"][kind]
	return about
}

func (s *scope) entry(text string) (*entry, bool) {
	if s.bundle == nil {
		return nil, false
	}
	e, ok := s.bundle.byURL[text]
	return e, ok
}

// follow walks a dotted path through objects and through every element of arrays.
func follow(found []any, n any, path string) []any {
	if list, ok := n.([]any); ok {
		for _, e := range list {
			found = follow(found, e, path)
		}
		return found
	}
	if path == "" {
		return append(found, n)
	}
	name, rest, _ := strings.Cut(path, ".")
	if o, ok := n.(*object); ok {
		if v, ok := o.get(name); ok {
			return follow(found, v, rest)
		}
	}
	return found
}
