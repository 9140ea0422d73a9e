package appmap

import (
	"errors"
	"strings"

	"github.com/matron-epr/matron/proxy"
)

// maxBundleDepth bounds bundles within bundles, as batch responses have them.
const maxBundleDepth = 4

// errUndecided is wrapped when a response holds data of an area that the policy
// was not asked about, for example what an _include without a type fetched.
var errUndecided = errors.New("response holds areas that were not decided")

// fhirResponse names the patients in a FHIR response.
func fhirResponse(n *answer) (found, error) {
	w := fhirWalk{answer: n}
	err := w.read()
	return w.found, err
}

// fhirWholeRecord reads the response of an operation that returns every area.
func fhirWholeRecord(n *answer) (found, error) {
	w := fhirWalk{answer: n, everyArea: true}
	err := w.read()
	return w.found, err
}

// fhirBinaryResponse names the patient that a Binary says it belongs to. One in
// its own format says nothing.
func fhirBinaryResponse(n *answer) (found, error) {
	if len(n.raw) > 0 && !n.failed() && !isJSONType(mediaType(n.header)) {
		return found{nameless: 1, seen: true}, nil
	}
	return fhirResponse(n)
}

// fhirWalk gathers patients from a response.
type fhirWalk struct {
	*answer
	found
	everyArea bool
	attached  attached // to the documents of the Bundles around
}

func (w *fhirWalk) read() error {
	if !w.failed() {
		w.created(w.header.Get("Location"))
	}
	if len(w.raw) == 0 {
		return nil
	}
	doc, err := w.json()
	if err != nil {
		return err
	}
	res, ok := doc.(*object)
	if !ok || res.text("resourceType") == "" {
		return unreadable("the response is no FHIR resource")
	}
	w.seen = !w.failed()
	if res.text("resourceType") == "Bundle" && len(res.list("link")) > 0 {
		if w.links, err = bundleLinks(w.raw); err != nil {
			return unreadable("the links of the bundle: %w", err)
		}
	}
	return w.resource(res, "", 0)
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
	case "Binary":
		return w.binary(res, address)
	}
	s := scope{m: w.m, host: w.host}
	n := s.patientsOf(res)
	if n.about && !w.everyArea && !decided(&w.access, w.m.tables["areas"][kind]) {
		return unreadable("%s: %w", kind, errUndecided)
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

func (w *fhirWalk) bundle(res *object, depth int) error {
	if depth >= maxBundleDepth {
		return unreadable("bundles within bundles")
	}
	if v, given := res.get("entry"); given && !isList(v) {
		return unreadable("the entries of the bundle are no list")
	}
	counts := res.text("type") == "searchset" || res.text("type") == "history"
	w.noteAttached(res)
	for _, node := range res.list("entry") {
		o, ok := node.(*object)
		if !ok {
			return unreadable("an entry of the bundle cannot be read")
		}
		mode := ""
		if s := o.child("search"); s != nil {
			mode = s.text("mode")
		}
		if counts && mode != "include" && mode != "outcome" {
			w.results++
		}
		if r := o.child("response"); r != nil && strings.HasPrefix(r.text("status"), "2") {
			w.created(r.text("location"))
		}
		if r := o.child("response"); r != nil && r.child("outcome") != nil {
			if err := w.resource(r.child("outcome"), "", depth+1); err != nil {
				return err
			}
		}
		v, given := o.get("resource")
		inner, ok := v.(*object)
		if given && !ok {
			return unreadable("an entry of the bundle cannot be read")
		}
		if !given {
			continue
		}
		if err := w.resource(inner, o.text("fullUrl"), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// noteAttached reads the documents of a Bundle before anything that may be
// attached to them.
func (w *fhirWalk) noteAttached(bundle *object) {
	s := scope{m: w.m, host: w.host}
	for _, node := range bundle.list("entry") {
		o, ok := node.(*object)
		if !ok || o.child("resource") == nil {
			continue
		}
		if w.attached == nil {
			w.attached = attached{}
		}
		w.attached.note(&s, o.child("resource"))
	}
}
