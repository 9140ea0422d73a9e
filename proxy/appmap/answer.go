package appmap

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// answer is one held response while it is read. It is used by one goroutine.
type answer struct {
	m      *Map
	access proxy.Access
	status int
	header http.Header
	host   string // of the request that was forwarded, "" when not known
	body   proxy.Body
	texts  map[*source][]string // that were read in its JSON
	turn   *turn                // in a followed session, nil for none
}

func unreadable(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrUnreadable)...)
}

// refuse implements reader.
func (n *answer) refuse(why string) error { return unreadable("%s", why) }

// newAnswer refuses what is not the whole response in plain bytes.
func newAnswer(m *Map, a proxy.Access, res *http.Response, body proxy.Body) (*answer, error) {
	n := &answer{m: m, access: a, status: res.StatusCode, header: res.Header, body: body}
	if res.Request != nil {
		n.host = res.Request.Host
		if n.host == "" && res.Request.URL != nil {
			n.host = res.Request.URL.Host
		}
	}
	if e := res.Header.Get("Content-Encoding"); e != "" && e != "identity" && body.Len() > 0 {
		return nil, unreadable("the response is encoded")
	}
	if res.StatusCode == http.StatusPartialContent {
		return nil, unreadable("the response is part of a larger one")
	}
	return n, nil
}

// failed reports whether the application refused or failed.
func (n *answer) failed() bool { return n.status >= 400 }

// read implements reader.
func (n *answer) read(s *source) ([]string, error) {
	switch s.kind {
	case fromHeader:
		return distinct(n.header.Values(s.name)), nil
	case fromJSON:
		if _, done := n.texts[s]; !done {
			if err := n.pick(s); err != nil {
				return nil, err
			}
		}
		return n.texts[s], nil
	case fromDICOM:
		if n.failed() {
			return nil, nil
		}
		ids, err := dicomPatientIDs(n.header.Get("Content-Type"), n.body.Open())
		if err != nil {
			return nil, unreadable("response: %w", err)
		}
		return ids.texts, nil
	case fromPath, fromQuery, fromForm, fromContent:
	}
	return nil, nil
}

// whole is the answer where only all of it at once can be read.
func (n *answer) whole() ([]byte, error) {
	b, ok := n.body.Bytes()
	if !ok {
		return nil, fmt.Errorf("the response: %w", errTooLong)
	}
	return b, nil
}

// json has the answer read as JSON, from its first byte to its last.
func (n *answer) json(read func(s *jsonStream) error) error {
	s, err := openJSON(n.body)
	if err == nil {
		err = read(s)
	}
	if err == nil {
		err = s.end()
	}
	if err != nil && !errors.Is(err, ErrUnreadable) {
		err = unreadable("response: %w", err)
	}
	return err
}

// document is the answer as JSON, where only all of it at once can be read.
func (n *answer) document() (doc any, err error) {
	err = n.json(func(s *jsonStream) (err error) {
		doc, err = s.whole(0)
		return err
	})
	return doc, err
}

// pick reads the texts at all of the sources in JSON, once.
func (n *answer) pick(sources ...*source) error {
	leads := make([]lead, len(sources))
	seen := make([]map[string]bool, len(sources))
	n.texts = make(map[*source][]string, len(sources))
	for i, s := range sources {
		leads[i], seen[i], n.texts[s] = lead{i, s.pointer}, map[string]bool{}, nil
	}
	return n.json(func(s *jsonStream) error {
		return s.pick(leads, 0, func(i int, v any) error {
			text, ok := scalarText(v)
			if !ok || seen[i][text] {
				return nil
			}
			if len(seen[i]) > maxPatients {
				return n.refuse("too many different texts in one place")
			}
			text = strings.Clone(text) // and not the part of the answer around it
			seen[i][text], n.texts[sources[i]] = true, append(n.texts[sources[i]], text)
			return nil
		})
	})
}

// element is one result of an answer that has several.
type element struct {
	*answer
	node any
}

// read implements reader: pointers start at the element.
func (e element) read(s *source) ([]string, error) {
	if s.kind == fromJSON {
		return s.pointer.texts(nil, e.node), nil
	}
	return e.answer.read(s)
}

// found gathers what a response shows.
type found struct {
	patients []proxy.Patient
	nameless uint64 // pieces of patient data that name nobody
	results  uint64
	seen     bool // the response was read and holds no failure
	links    []proxy.Link
	bundle   *proxy.Bundle // whose entries may be left out one by one
	parts    []proxy.Part  // that were not decided
	bare     bool          // nothing of a record is shown
}

// tooLong is a response that was read in part: whom the rest shows nobody can tell
// (GW-08).
func (f *found) tooLong() proxy.Settlement {
	return proxy.Settlement{
		Patients: f.patients, Results: f.results, Certainty: audit.Unknown, Stranger: true,
		Reason: "the answer, or a part of it, is too long to be read",
	}
}

// settlement says no more than the response shows: a piece of data that names
// nobody makes the whole unknown, unless the request said for certain whose it is
// (GW-08).
func (f *found) settlement(a proxy.Access) proxy.Settlement {
	s := proxy.Settlement{Patients: f.patients, Results: f.results, Certainty: certaintyOf(f.patients), Links: f.links, Bundle: f.bundle, Bare: f.bare}
	if len(f.parts) > 0 {
		s.Parts = append(partsOf(&a), f.parts...)
	}
	switch {
	case f.nameless > 0 && (len(a.Patients) == 0 || a.Certainty == audit.Unknown):
		s.Certainty = audit.Unknown
	case len(f.patients) > 0 && a.Certainty == audit.Unknown && reads(a.Action):
		// Everything that is shown names somebody, and nothing else was done.
	case len(f.patients) > 0 && everyIn(f.patients, a.Patients):
		s.Certainty = a.Certainty
	case len(f.patients) == 0 && len(a.Patients) > 0:
		s.Certainty = a.Certainty
	case len(f.patients) == 0 && f.nameless == 0 && (f.seen || a.Certainty == audit.None):
		s.Certainty = audit.None
	}
	return s
}

func reads(a policy.Action) bool {
	return a == policy.Read || a == policy.Search || a == policy.List
}

// settle reads a response as the rule declares. An empty one shows nothing.
func (r *rule) settle(n *answer) (found, error) {
	if n.body.Len() == 0 {
		return found{}, nil
	}
	return r.response.settle(n)
}

func (r *responseRule) settle(n *answer) (found, error) {
	if r.counted {
		return r.settleEach(n)
	}
	// An error answer in JSON is read like any other; anything else is not
	// released, since it may quote a record (GW-08).
	if places := r.inJSON(); n.failed() || len(places) > 0 {
		if err := n.pick(places...); err != nil {
			return found{}, err
		}
	}
	list, err := collect(r.patients, n)
	f := found{patients: list, seen: r.complete && !n.failed()}
	if len(list) == 0 && !n.failed() && !r.complete {
		f.nameless = 1
	}
	return f, err
}

// inJSON are the places in JSON that name patients.
func (r *responseRule) inJSON() []*source {
	var places []*source
	for i := range r.patients {
		if r.patients[i].from.kind == fromJSON {
			places = append(places, r.patients[i].from)
		}
	}
	return places
}

// settleEach reads an answer that has several results, one after the other.
func (r *responseRule) settleEach(n *answer) (found, error) {
	f := found{seen: !n.failed()}
	listed := false
	err := n.json(func(s *jsonStream) (err error) {
		listed, err = s.elements(r.each, 0, func(node any) error {
			named, err := collect(r.patients, element{n, node})
			f.results++
			if len(named) == 0 && r.shows(node) {
				f.nameless++
			}
			for _, p := range named {
				f.patients = addPatient(f.patients, p)
			}
			if len(f.patients) > maxPatients {
				return n.refuse("too many patients are named")
			}
			return err
		})
		return err
	})
	if err == nil && !listed && !n.failed() {
		// Another shape than the map knows: it may well hold patients (GW-08).
		err = unreadable("the response holds no list where the map expects one")
	}
	return f, err
}

// shows reports whether an element that names nobody may still show something of
// somebody.
func (r *responseRule) shows(node any) bool {
	_, text := node.(string)
	return !r.complete && (!r.handles || !text)
}
