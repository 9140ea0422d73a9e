package appmap

import (
	"errors"
	"net/http"
	"strings"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// batch classifies each entry of a batch on its own (FHIR R4, 3.1.0.11): one that
// nobody may do, or that no rule describes, does not hinder the others. The whole is
// nobody's: its entries say whose they are.
func (x *exchange) batch(a *proxy.Access, list []entry, all *entries) error {
	alone := &entries{attached: all.attached}
	sum := bundleSum{}
	for i := range list {
		e := &list[i]
		part, err := x.classifyEntry(e, alone)
		switch {
		case errors.Is(err, errUnmapped):
			part = x.m.unmapped()
			part.Certainty, part.Reason = audit.Unknown, err.Error()
		case err != nil:
			return entryError(i, err)
		default:
			sum.add(&part)
		}
		if all.relies(e) {
			part.Block, part.Because = true, reliance()
		}
		part.Hold, part.Deny = true, a.Deny
		a.Entries = append(a.Entries, proxy.Entry{
			Span: e.span, Access: part, Method: e.method, Address: "/" + strings.TrimPrefix(e.url, "/"),
		})
	}
	sum.into(a)
	a.Patients, a.Certainty, a.Source, a.Reason = nil, audit.None, audit.SourceNone, ""
	return nil
}

// relies reports whether an entry refers to another one by its place in the Bundle,
// or to what a search finds. In a batch neither means anything: the application
// would store a reference that leads nowhere.
func (e *entries) relies(on *entry) bool {
	if on.resource == nil {
		return false
	}
	for _, ref := range references(nil, on.resource) {
		text := ref.text("reference")
		if e.byURL[text] != nil && e.byURL[text] != on && strings.HasPrefix(text, "urn:") {
			return true
		}
		if kind, _, asks := strings.Cut(text, "?"); asks && isTypeName(kind) {
			return true
		}
	}
	return false
}

func reliance() *policy.Reason {
	return &policy.Reason{
		Code:   "batch-reference",
		Text:   "In a batch an entry may refer neither to another entry nor to what a search finds, since each is done on its own.",
		Remedy: "Send entries that belong together as a transaction.",
	}
}

// fhirBundleResponse reads the answer of a batch or transaction.
func fhirBundleResponse(n *answer) (found, error) {
	if len(n.access.Entries) == 0 || n.failed() {
		return fhirResponse(n)
	}
	f := found{seen: true, bundle: &proxy.Bundle{}}
	kind, links := "", []proxy.Link(nil)
	err := n.json(func(s *jsonStream) error {
		if !s.begins('{') {
			return unreadable("the response is no FHIR resource")
		}
		return s.each(0, func(name string, _ int) (err error) {
			if name == "entry" && s.begins('[') {
				return s.each(1, func(_ string, i int) error { return n.answered(&f, s, i) })
			}
			at := s.at()
			v, err := s.whole(1)
			switch {
			case err != nil:
				return err
			case name == "resourceType":
				kind, _ = v.(string)
			case name == "link":
				links, err = bundleLinks(s.last, at)
			}
			return err
		})
	})
	f.links = append(links, f.links...)
	if err == nil && (kind != "Bundle" || len(f.bundle.Entries) != len(n.access.Entries)) {
		err = unreadable("the answer of a batch has not one entry for each that was sent")
	}
	return f, err
}

// answered reads the answer to one entry.
func (n *answer) answered(f *found, stream *jsonStream, i int) error {
	at := stream.at()
	v, err := stream.whole(2)
	if err != nil {
		return err
	}
	o, ok := v.(*object)
	if !ok || o.child("response") == nil || i >= len(n.access.Entries) {
		return unreadable("an entry of the answer of a batch says no response")
	}
	s, err := n.asAlone(&n.access.Entries[i].Access, o, stream.last)
	if err != nil {
		return err
	}
	s.Span = proxy.Span{From: at, To: stream.at()}
	if res := o.child("resource"); res != nil {
		moved(&s.Settlement, at+int64(res.from-o.from))
	}
	for _, p := range s.Patients {
		f.patients = addPatient(f.patients, p)
	}
	if s.Stranger || s.Certainty == audit.Unknown {
		f.nameless++
	}
	f.results += s.Results
	f.links = append(f.links, s.Links...)
	f.bundle.Entries = append(f.bundle.Entries, s)
	return nil
}

// asAlone reads the answer to one entry, text, as the answer to a request of its own.
// What cannot be understood shows somebody whom nobody can name.
func (n *answer) asAlone(a *proxy.Access, o *object, text string) (proxy.Shown, error) {
	r := o.child("response")
	status, ok := statusOf(r.text("status"))
	if !ok {
		return proxy.Shown{}, unreadable("an entry of the answer of a batch has no status")
	}
	s := proxy.Shown{Status: status, Response: strings.Clone(text[r.from-o.from : r.to-o.from])}
	if outcome := r.child("outcome"); outcome != nil && outcome.text("resourceType") != "OperationOutcome" {
		s.Stranger = true
		return s, nil
	}
	one := &answer{
		m: n.m, access: *a, status: status, host: n.host,
		header: http.Header{"Location": {strings.Clone(r.text("location"))}, "Content-Type": {"application/fhir+json"}},
	}
	f, err := found{seen: true}, error(nil)
	if res, given := o.get("resource"); given {
		inner, ok := res.(*object)
		if ok {
			one.body = proxy.Short([]byte(text[inner.from-o.from : inner.to-o.from]))
			f, err = n.m.readEntry(one)
		}
		if !ok || err != nil {
			s.Stranger = true
			return s, nil
		}
	} else if !one.failed() {
		w := fhirWalk{answer: one}
		w.created(one.header.Get("Location"))
		f.patients = w.patients
	}
	if o.child("resource") == nil {
		f.bare = true
	}
	s.Settlement = f.settlement(*a)
	return s, nil
}

// moved is where everything stands when what it was read from begins at a place.
func moved(s *proxy.Settlement, at int64) {
	for i := range s.Links {
		s.Links[i].From, s.Links[i].To = s.Links[i].From+at, s.Links[i].To+at
	}
	if s.Bundle == nil {
		return
	}
	move := func(to *proxy.Span) { to.From, to.To = to.From+at, to.To+at }
	move(&s.Bundle.Span)
	move(&s.Bundle.List)
	for i := range s.Bundle.Members {
		move(&s.Bundle.Members[i])
	}
	for i := range s.Bundle.Entries {
		move(&s.Bundle.Entries[i].Span)
	}
}

// readEntry reads an answer as the rule of its request says.
func (m *Map) readEntry(n *answer) (found, error) {
	r := m.byID[n.access.Rule]
	switch {
	case r == nil:
		return found{}, unreadable("no rule says how to read this response")
	case r.response != nil:
		return r.settle(n)
	case r.extractor != nil && r.extractor.response != nil:
		return r.extractor.response(n)
	}
	return found{seen: true}, nil
}

// statusOf reads the status of an entry: three digits and perhaps words.
func statusOf(text string) (int, bool) {
	digits, _, _ := strings.Cut(text, " ")
	if len(digits) != 3 || !only(digits, "0123456789") || digits[0] == '0' {
		return 0, false
	}
	return int(digits[0]-'0')*100 + int(digits[1]-'0')*10 + int(digits[2]-'0'), true
}
