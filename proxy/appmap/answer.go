package appmap

import (
	"fmt"
	"net/http"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// answer is one held response while it is read. It is used by one goroutine.
type answer struct {
	m      *Map
	access proxy.Access
	status int
	header http.Header
	host   string // of the request that was forwarded, "" when not known
	raw    []byte
	doc    any
	hasDoc bool
	turn   *turn // in a followed session, nil for none
}

func unreadable(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrUnreadable)...)
}

// refuse implements reader.
func (n *answer) refuse(why string) error { return unreadable("%s", why) }

// newAnswer refuses what is not the whole response in plain bytes.
func newAnswer(m *Map, a proxy.Access, res *http.Response, body []byte) (*answer, error) {
	n := &answer{m: m, access: a, status: res.StatusCode, header: res.Header, raw: body}
	if res.Request != nil {
		n.host = res.Request.Host
		if n.host == "" && res.Request.URL != nil {
			n.host = res.Request.URL.Host
		}
	}
	if e := res.Header.Get("Content-Encoding"); e != "" && e != "identity" && len(body) > 0 {
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
		doc, err := n.json()
		if err != nil {
			return nil, err
		}
		return s.pointer.texts(nil, doc), nil
	case fromDICOM:
		if n.failed() {
			return nil, nil
		}
		ids, err := dicomPatientIDs(n.header.Get("Content-Type"), n.raw)
		if err != nil {
			return nil, unreadable("response: %w", err)
		}
		return ids.texts, nil
	case fromPath, fromQuery, fromForm, fromContent:
	}
	return nil, nil
}

func (n *answer) json() (any, error) {
	if n.hasDoc {
		return n.doc, nil
	}
	doc, err := parseJSON(n.raw)
	if err != nil {
		return nil, unreadable("response: %w", err)
	}
	n.doc, n.hasDoc = doc, true
	return doc, nil
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
}

// settlement says no more than the response shows: a piece of data that names
// nobody makes the whole unknown, unless the request named whose it is (GW-08).
func (f *found) settlement(a proxy.Access) proxy.Settlement {
	s := proxy.Settlement{Patients: f.patients, Results: f.results, Certainty: certaintyOf(f.patients), Links: f.links}
	switch {
	case f.nameless > 0 && len(a.Patients) == 0:
		s.Certainty = audit.Unknown
	case len(f.patients) > 0 && everyIn(f.patients, a.Patients):
		s.Certainty = a.Certainty
	case len(f.patients) == 0 && len(a.Patients) > 0:
		s.Certainty = a.Certainty
	case len(f.patients) == 0 && f.nameless == 0 && (f.seen || a.Certainty == audit.None):
		s.Certainty = audit.None
	}
	return s
}

// settle reads a response as the rule declares. An empty one shows nothing.
func (r *rule) settle(n *answer) (found, error) {
	if len(n.raw) == 0 {
		return found{}, nil
	}
	return r.response.settle(n)
}

func (r *responseRule) settle(n *answer) (found, error) {
	if n.failed() {
		// An error answer in JSON is read like any other; anything else is not
		// released, since it may quote a record (GW-08).
		if _, err := n.json(); err != nil {
			return found{}, err
		}
	}
	if !r.counted {
		list, err := collect(r.patients, n)
		f := found{patients: list, seen: r.complete && !n.failed()}
		if len(list) == 0 && !n.failed() && !r.complete {
			f.nameless = 1
		}
		return f, err
	}
	doc, err := n.json()
	if err != nil {
		return found{}, err
	}
	list, ok := r.elements(doc)
	if !ok && !n.failed() {
		// Another shape than the map knows: it may well hold patients (GW-08).
		return found{}, unreadable("the response holds no list where the map expects one")
	}
	f := found{seen: !n.failed()}
	for _, node := range list {
		named, err := collect(r.patients, element{n, node})
		if err != nil {
			return found{}, err
		}
		f.results++
		if len(named) == 0 && r.shows(node) {
			f.nameless++
		}
		for _, p := range named {
			f.patients = addPatient(f.patients, p)
		}
		if len(f.patients) > maxPatients {
			return found{}, n.refuse("too many patients are named")
		}
	}
	return f, nil
}

// shows reports whether an element that names nobody may still show something of
// somebody.
func (r *responseRule) shows(node any) bool {
	_, text := node.(string)
	return !r.complete && (!r.handles || !text)
}

// elements returns the members of the arrays that each points to, and whether
// there was any array.
func (r *responseRule) elements(doc any) (all []any, ok bool) {
	for _, n := range r.each.nodes(nil, doc) {
		if list, is := n.([]any); is {
			all, ok = append(all, list...), true
		}
	}
	return all, ok
}
