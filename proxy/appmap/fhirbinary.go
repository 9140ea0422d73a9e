package appmap

import (
	"strings"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// A Binary says at most in its securityContext whose it is. Otherwise it is a
// document's, and only a document in the same Bundle tells whose.

// attached holds the patients of the documents of one Bundle by the address of
// what is attached to them.
type attached map[string]named

// note adds what a resource has attached.
func (b attached) note(s *scope, res *object) {
	path := ""
	switch res.text("resourceType") {
	case "DocumentReference":
		path = "content.attachment.url"
	case "DiagnosticReport":
		path = "presentedForm.url"
	case "Media":
		path = "content.url"
	default:
		return
	}
	var n named
	for i, node := range follow(nil, res, path) {
		if i == 0 {
			n = s.patientsOf(res)
		}
		text, _ := node.(string)
		if rest, local := s.m.local(text, s.host); local {
			text = rest
		}
		all := b[text]
		for _, p := range n.patients {
			all.patients = addPatient(all.patients, p)
		}
		all.unclear = all.unclear || n.unclear || n.open || len(n.patients) == 0
		b[strings.Clone(text)] = all
	}
}

// of names the patients of the Binary at any of its addresses; unclear when a
// document does not say whose it is, or when there is none.
func (b attached) of(addresses ...string) named {
	var all named
	known := false
	for _, a := range addresses {
		n, ok := b[a]
		if !ok || a == "" {
			continue
		}
		known = true
		all.unclear = all.unclear || n.unclear
		for _, p := range n.patients {
			all.patients = addPatient(all.patients, p)
		}
	}
	all.unclear = all.unclear || !known
	return all
}

// fhirBinary reads a Binary or what is to become one. It is always held: the
// answer may say whose it is.
func fhirBinary(x *exchange, a *proxy.Access) error {
	params, err := x.params()
	if err != nil {
		return err
	}
	if err := checkParams(params); err != nil {
		return err
	}
	a.Certainty, a.Hold = audit.Unknown, true
	if a.Action != policy.Create && a.Action != policy.Update {
		return nil
	}
	n, err := x.binary()
	if err != nil {
		return err
	}
	if len(n.patients) == 0 {
		return nil
	}
	a.Patients, a.Certainty, a.Source = n.patients, certaintyOf(n.patients), audit.SourceBody
	if n.unclear {
		a.Certainty = audit.Unknown
	}
	return nil
}

// binary names the patients of a Binary that is sent: by its securityContext, by
// the header that stands for it beside other formats, and by the documents of
// its transaction.
func (x *exchange) binary() (named, error) {
	s := scope{m: x.m, host: x.host, bundle: x.entry}
	var list []proxy.Patient
	contexts := x.header.Values("X-Security-Context")
	if len(contexts) > 1 {
		return named{}, malformed("X-Security-Context is given more than once")
	}
	for _, text := range contexts {
		if p, t := s.reference(text); t == aPatient {
			list = addPatient(list, p)
		}
	}
	if isJSONType(mediaType(x.header)) {
		doc, err := x.json()
		if err != nil {
			return named{}, err
		}
		if o, ok := doc.(*object); ok && o.text("resourceType") == "Binary" {
			if p, t := s.patientOf(o.child("securityContext")); t == aPatient {
				list = addPatient(list, p)
			}
		}
	}
	if len(list) > 1 {
		return named{}, malformed("two different patients are named")
	}
	if x.entry == nil {
		return named{patients: list}, nil
	}
	n := x.entry.attached.of(x.address, "Binary/"+x.capture("id"))
	n.unclear = n.unclear && len(list) == 0
	for _, p := range list {
		n.patients = addPatient(n.patients, p)
	}
	return n, nil
}

// loose is a Binary in a response, of which the documents are to tell whose it is:
// they may come behind it.
type loose struct {
	addresses [2]string
	named     bool // it says so itself
	entry     int  // of fhirWalk.apart
}

// attach names the patients of the Binaries once all documents have been read.
func (w *fhirWalk) attach() {
	for _, b := range w.binaries {
		n := w.attached.of(b.addresses[:]...)
		for _, p := range n.patients {
			w.patients = addPatient(w.patients, p)
		}
		unclear := n.unclear && !b.named
		if unclear {
			w.nameless++
		}
		if b.entry < len(w.apart) {
			also(&w.apart[b.entry], n.patients, unclear)
		}
	}
}

// binary names the patient whom a Binary in a response says that it belongs to.
func (w *fhirWalk) binary(res *object, address string) error {
	if err := w.shows(string(policy.Documents), "Binary"); err != nil {
		return err
	}
	s := scope{m: w.m, host: w.host}
	p, t := s.patientOf(res.child("securityContext"))
	if t == aPatient {
		w.patients = addPatient(w.patients, p)
	}
	w.binaries = append(w.binaries, loose{
		addresses: [2]string{strings.Clone(address), "Binary/" + res.text("id")}, named: t == aPatient, entry: len(w.apart),
	})
	return nil
}
