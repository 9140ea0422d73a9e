package appmap

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// maxEntries bounds what one transaction may do.
const maxEntries = 1000

// entries are those of one batch or transaction, by full URL, so that they can
// refer to each other.
type entries struct {
	byURL    map[string]*entry
	attached attached
}

type entry struct {
	span     proxy.Span
	full     string // its full URL
	resource *object
	method   string
	url      string
	unless   string // the search of a conditional create
}

// resolve finds what an entry of the same Bundle is. A patient that the
// transaction creates has no id yet and is named by NHS number alone, if it has
// one.
func (e *entries) resolve(text string) (proxy.Patient, target) {
	found, ok := e.byURL[text]
	if !ok {
		return proxy.Patient{}, unclear
	}
	kind, id, _ := strings.Cut(strings.TrimPrefix(found.url, "/"), "/")
	kind, _, _ = strings.Cut(kind, "?")
	if kind != "Patient" {
		return proxy.Patient{}, notAPatient
	}
	var p proxy.Patient
	if found.method == http.MethodPut && isFHIRID(id) {
		p.ID = id
	}
	if found.resource != nil {
		p.NHSNumber = nhsOf(found.resource)
	}
	return p, aPatient
}

// fhirBundle reads a batch or transaction. One that cannot be read says why.
func fhirBundle(x *exchange, a *proxy.Access) error {
	err := x.readBundle(a)
	if errors.Is(err, ErrMalformed) {
		a.Because = &policy.Reason{
			Code:   "unclassifiable",
			Text:   "Nothing of the Bundle was done: " + strings.TrimSuffix(err.Error(), ": "+ErrMalformed.Error()) + ".",
			Remedy: "Correct the program that sent it. Whoever looks after it can find out more with the reference below.",
		}
	}
	return err
}

// readBundle classifies every entry by the same rules as a request of its own. A
// transaction is done whole or not at all: it is the sum of what they do, and one
// entry that no rule describes makes it unmapped.
func (x *exchange) readBundle(a *proxy.Access) error {
	res, err := x.resource()
	if err != nil {
		return err
	}
	kind := res.text("type")
	if res.text("resourceType") != "Bundle" || kind != "batch" && kind != "transaction" {
		return unmappedSince("the body is no Bundle of the type batch or transaction")
	}
	list, all, err := readEntries(res)
	if err != nil {
		return err
	}
	s := scope{m: x.m, host: x.host, bundle: all}
	for i := range list {
		if list[i].resource != nil {
			all.attached.note(&s, list[i].resource)
		}
	}
	if kind == "batch" && len(list) > 0 {
		return x.batch(a, list, all)
	}
	sum := bundleSum{}
	for i := range list {
		part, err := x.classifyEntry(&list[i], all)
		if err == nil && part.Block {
			err = unmappedSince("no rule allows it")
		}
		if err != nil {
			return entryError(i, err)
		}
		if sum.add(&part); len(sum.patients) > maxPatients {
			return malformed("too many patients are named")
		}
	}
	sum.into(a)
	a.Actions = len(list) // done as one, and no less for that
	return nil
}

// entryError says which entry of a Bundle an error is about.
func entryError(i int, err error) error { return fmt.Errorf("entry %d: %w", i+1, err) }

func readEntries(bundle *object) ([]entry, *entries, error) {
	if v, given := bundle.get("entry"); given && !isList(v) {
		return nil, nil, malformed("the entries of the bundle are no list")
	}
	nodes := bundle.list("entry")
	if len(nodes) > maxEntries {
		return nil, nil, malformed("a bundle of more than %d entries", maxEntries)
	}
	list := make([]entry, len(nodes))
	all := &entries{byURL: map[string]*entry{}, attached: attached{}}
	for i, node := range nodes {
		o, ok := node.(*object)
		if !ok || o.child("request") == nil {
			return nil, nil, malformed("an entry of the bundle says no request")
		}
		r := o.child("request")
		list[i] = entry{span: proxy.Span{From: int64(o.from), To: int64(o.to)}, resource: o.child("resource"), method: r.text("method"), url: r.text("url"), unless: r.text("ifNoneExist")}
		full := o.text("fullUrl")
		list[i].full = full
		if full == "" {
			continue
		}
		if _, twice := all.byURL[full]; twice {
			return nil, nil, malformed("two entries of the bundle have one address")
		}
		all.byURL[full] = &list[i]
	}
	return list, all, nil
}

// classifyEntry classifies one entry as if it were a request.
func (x *exchange) classifyEntry(e *entry, all *entries) (proxy.Access, error) {
	u, err := url.Parse("/" + strings.TrimPrefix(e.url, "/"))
	if err != nil || strings.Contains(e.url, "://") || u.Fragment != "" || u.Host != "" {
		return proxy.Access{}, malformed("the address of an entry cannot be read")
	}
	if err := checkPath(u); err != nil {
		return proxy.Access{}, err
	}
	sub := &exchange{
		m: x.m, method: e.method, rawQuery: u.RawQuery, host: x.host, entry: all, address: e.full,
		header: http.Header{"Content-Type": {"application/fhir+json"}},
	}
	if e.unless != "" {
		sub.header.Set("If-None-Exist", e.unless)
	}
	if e.resource != nil {
		sub.doc, sub.hasDoc = e.resource, true
	}
	if e.method == http.MethodPatch && e.resource != nil && e.resource.text("resourceType") == "Binary" {
		if err := sub.patchIn(e.resource); err != nil {
			return proxy.Access{}, err
		}
	}
	sub.segments = splitPath(u.Path, sub.room[:0])
	if len(sub.segments) == 0 {
		return proxy.Access{}, malformed("a bundle within a bundle")
	}
	a, err := x.m.classify(sub)
	if err == nil && a.Rule == "" {
		err = unmappedSince("no rule allows %s %s", e.method, u.Path)
	}
	return a, err
}

// patchIn takes the JSON Patch out of the Binary that carries it in an entry.
func (x *exchange) patchIn(carrier *object) error {
	raw, err := base64.StdEncoding.DecodeString(carrier.text("data"))
	if err != nil {
		return malformed("the patch of an entry is not base64")
	}
	x.header.Set("Content-Type", carrier.text("contentType"))
	x.doc, x.hasDoc, x.raw, x.have = nil, false, raw, true
	return nil
}

// bundleSum adds up the accesses of entries.
type bundleSum struct {
	parts    []proxy.Part
	patients []proxy.Patient
	unknown  bool // a change of something whose patient is not named
	open     bool // the response will name more patients
	reads    bool
	bulk     bool // a whole record or more is read, which is no less in a bundle
}

func (s *bundleSum) add(a *proxy.Access) {
	own := partsOf(a)
	s.bulk = s.bulk || a.Kind == proxy.Bulk && !a.Action.Writes()
	for _, p := range own {
		s.reads = s.reads || !p.Action.Writes()
	}
	s.parts = append(s.parts, own...)
	for _, p := range a.Patients {
		s.patients = addPatient(s.patients, p)
	}
	if a.Certainty == audit.Unknown {
		changes := a.Action == policy.Update || a.Action == policy.Delete
		s.unknown, s.open = s.unknown || changes, s.open || !changes
	}
}

// into writes the sum. The response is always held, since it names the patients
// that were created and those that were read. A transaction that only writes is
// somebody saving their work, which no limit may refuse (GW-03).
func (s *bundleSum) into(a *proxy.Access) {
	setParts(a, slices.Clip(s.parts))
	a.Patients, a.Certainty, a.Source, a.Hold = s.patients, certaintyOf(s.patients), audit.SourceBody, true
	switch {
	case s.unknown:
		a.Certainty, a.Reason = audit.Unknown, "an entry changes something without saying whose it is"
	case s.open && len(s.patients) > 0:
		a.Certainty = audit.Several
	case !s.open && len(s.patients) == 0:
		a.Certainty, a.Source = audit.None, audit.SourceNone
	}
	switch {
	case s.bulk:
		a.Kind = proxy.Bulk
	case !s.reads:
		a.Kind = proxy.Interactive
	}
}
