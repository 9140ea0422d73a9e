package appmap

import (
	"slices"
	"strings"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// maxBundleDepth bounds bundles within bundles, as batch responses have them.
const maxBundleDepth = 4

// fhirResponse names the patients in a FHIR response.
func fhirResponse(n *answer) (found, error) {
	w := fhirWalk{answer: n, attached: attached{}}
	err := w.read()
	return w.found, err
}

// fhirWholeRecord reads the response of an operation that returns every area.
func fhirWholeRecord(n *answer) (found, error) {
	w := fhirWalk{answer: n, attached: attached{}, everyArea: true}
	err := w.read()
	return w.found, err
}

// fhirBinaryResponse names the patient that a Binary says it belongs to. One in
// its own format says nothing.
func fhirBinaryResponse(n *answer) (found, error) {
	if n.body.Len() > 0 && !n.failed() && !isJSONType(mediaType(n.header)) {
		return found{nameless: 1, seen: true}, nil
	}
	return fhirResponse(n)
}

// fhirWalk gathers patients from a response.
type fhirWalk struct {
	*answer
	found
	everyArea bool
	shown     bool     // something else than an OperationOutcome
	matches   uint64   // entries of the outermost Bundle, but for what is there besides
	attached  attached // to the documents of the response
	binaries  []loose
	part      proxy.Part    // of the resource about patients that was read last
	apart     []proxy.Shown // the entries of the outermost Bundle, where nobody was asked for
	shift     int64         // where that begins which entries were read from that came before it was known of what
}

func (w *fhirWalk) read() error {
	if !w.failed() {
		w.created(w.header.Get("Location"))
	}
	if w.body.Len() == 0 {
		return nil
	}
	w.seen = !w.failed()
	if err := w.json(w.outermost); err != nil {
		return err
	}
	w.bare = !w.shown
	w.attach()
	return w.relate()
}

// outermost reads the resource that the response is. Where it says that it is a
// Bundle before its entries come, as servers write it, they are read one after
// the other and need not be in memory together.
func (w *fhirWalk) outermost(s *jsonStream) error {
	res, links, begin := &object{}, "", int64(0)
	if !s.begins('{') {
		if _, err := s.whole(0); err != nil {
			return err
		}
		return unreadable("the response is no FHIR resource")
	}
	around := proxy.Bundle{Span: proxy.Span{From: s.at()}, Name: "entry"}
	err := s.each(0, func(name string, _ int) error {
		span := proxy.Span{From: s.begun}
		if name == "entry" && res.text("resourceType") == "Bundle" {
			if err := w.entries(s); err != nil {
				return err
			}
		} else {
			at := s.at()
			v, err := s.whole(1)
			if err != nil {
				return err
			}
			switch name {
			case "link":
				links, begin = s.last, at
			case "entry":
				w.shift = s.base
			}
			res.members = append(res.members, member{name, v})
		}
		if span.To = s.at(); name == "entry" {
			around.List = span
		}
		if !telling(name) {
			around.Members = append(around.Members, span)
		}
		return nil
	})
	if err != nil {
		return err
	}
	around.To = s.at()
	kind := res.text("resourceType")
	if kind == "" {
		return unreadable("the response is no FHIR resource")
	}
	if kind == "Bundle" {
		if w.links, err = bundleLinks(links, begin); err != nil {
			return unreadable("the links of the bundle: %w", err)
		}
	}
	if err := w.resource(res, "", 0); err != nil {
		return err
	}
	if kind == "Bundle" {
		w.around(&around, res)
	}
	return nil
}

// around notes where the entries of the Bundle stand that the response is, if nobody
// was named in asking for it, and how many of them are results.
func (w *fhirWalk) around(b *proxy.Bundle, res *object) {
	if counts(res) {
		w.results += w.matches
	}
	if !w.open() || strings.HasSuffix(res.text("type"), "-response") {
		return
	}
	for i := range w.apart {
		if !counts(res) {
			w.apart[i].Results = 0
		}
	}
	w.found.bundle = b
}

// open reports whether nobody was named in asking for the response.
func (w *fhirWalk) open() bool { return len(w.access.Patients) == 0 }

// telling reports whether a member of a Bundle may say something about entries
// beside them, as its total does.
func telling(member string) bool {
	switch member {
	case "resourceType", "id", "meta", "implicitRules", "language", "identifier", "type", "timestamp", "link", "entry":
		return false
	}
	return true
}

// entries reads those of the outermost Bundle.
func (w *fhirWalk) entries(s *jsonStream) error {
	if !s.begins('[') {
		return unreadable("the entries of the bundle are no list")
	}
	return s.each(1, func(string, int) error {
		span := proxy.Span{From: s.at()}
		v, err := s.whole(2)
		if err != nil {
			return err
		}
		span.To = s.at()
		return w.outerEntry(v, span)
	})
}

// outerEntry reads an entry of the outermost Bundle.
func (w *fhirWalk) outerEntry(node any, span proxy.Span) error {
	read := w.entry
	if w.open() {
		read = func(node any, depth int) (bool, error) { return w.entryApart(node, span, depth) }
	}
	matches, err := read(node, 1)
	if matches {
		w.matches++
	}
	return err
}

// counts reports whether the entries of a Bundle are results.
func counts(bundle *object) bool {
	return bundle.text("type") == "searchset" || bundle.text("type") == "history"
}

// created names the patient at the address of something that the server made.
func (w *fhirWalk) created(location string) {
	if location == "" {
		return
	}
	parts := strings.Split(location, "/")
	for i := len(parts) - 2; i >= 0; i-- {
		if parts[i] == "Patient" && isFHIRID(parts[i+1]) {
			w.patients = addPatient(w.patients, proxy.Patient{ID: parts[i+1]})
			return
		}
	}
}

// resource reads one resource; address is where the Bundle around says that it is.
func (w *fhirWalk) resource(res *object, address string, depth int) error {
	kind := res.text("resourceType")
	switch kind {
	case "OperationOutcome":
		return nil
	case "Bundle":
		return w.bundle(res, depth)
	}
	w.shown = true
	if kind == "Binary" {
		return w.binary(res, address)
	}
	s := scope{m: w.m, host: w.host}
	n := s.patientsOf(res)
	if n.about {
		if err := w.shows(w.m.tables["areas"][kind], kind); err != nil {
			return err
		}
	}
	for _, p := range n.patients {
		w.patients = addPatient(w.patients, p)
	}
	if len(w.patients) > maxPatients {
		return unreadable("too many patients are named")
	}
	if n.unclear || n.open {
		w.nameless++
	}
	return nil
}

// shows notes what is shown: of an area that was not decided it still has to be
// (GW-08), such as what an _include without a type fetched. A type of no area cannot be.
func (w *fhirWalk) shows(area, kind string) error {
	if area == "" {
		return unreadable("%s is of no area", kind)
	}
	part := proxy.Part{Action: w.access.Action, Area: policy.Area(area), Resource: strings.Clone(kind)}
	if part.Action == "" || part.Action.Writes() { // whoever changes one thing is shown another
		part.Action = policy.Read
	}
	w.part = part
	if !w.everyArea && !decided(&w.access, area) && !slices.Contains(w.parts, part) {
		w.parts = append(w.parts, part)
	}
	return nil
}

func (w *fhirWalk) bundle(res *object, depth int) error {
	if depth >= maxBundleDepth {
		return unreadable("bundles within bundles")
	}
	if v, given := res.get("entry"); given && !isList(v) {
		return unreadable("the entries of the bundle are no list")
	}
	for _, node := range res.list("entry") {
		if o, ok := node.(*object); ok && depth == 0 {
			if err := w.outerEntry(o, proxy.Span{From: w.shift + int64(o.from), To: w.shift + int64(o.to)}); err != nil {
				return err
			}
			continue
		}
		matches, err := w.entry(node, depth+1)
		if err != nil {
			return err
		}
		if matches && counts(res) {
			w.results++
		}
	}
	return nil
}

// entry reads one entry of a Bundle. It matches unless the server says that it is
// there for the sake of another.
func (w *fhirWalk) entry(node any, depth int) (matches bool, err error) {
	o, ok := node.(*object)
	if !ok {
		return false, unreadable("an entry of the bundle cannot be read")
	}
	mode := searchMode(o)
	matches = mode != "include" && mode != "outcome"
	if r := o.child("response"); r != nil && strings.HasPrefix(r.text("status"), "2") {
		w.created(r.text("location"))
	}
	if r := o.child("response"); r != nil && r.child("outcome") != nil {
		if err := w.resource(r.child("outcome"), "", depth); err != nil {
			return false, err
		}
	}
	v, given := o.get("resource")
	inner, ok := v.(*object)
	switch {
	case !given:
		return matches, nil
	case !ok:
		return false, unreadable("an entry of the bundle cannot be read")
	}
	w.attached.note(&scope{m: w.m, host: w.host}, inner)
	return matches, w.resource(inner, o.text("fullUrl"), depth)
}

func searchMode(entry *object) string {
	if s := entry.child("search"); s != nil {
		return s.text("mode")
	}
	return ""
}
