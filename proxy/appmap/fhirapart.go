package appmap

import (
	"slices"
	"strings"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// entryApart reads an entry as entry does and notes what it shows by itself, so that
// it can be left out.
func (w *fhirWalk) entryApart(node any, span proxy.Span, depth int) (matches bool, err error) {
	all := w.found
	w.found, w.part = found{}, proxy.Part{}
	matches, err = w.entry(node, depth)
	one := w.found
	w.found = all
	if err != nil {
		return false, err
	}
	for _, p := range one.patients {
		w.patients = addPatient(w.patients, p)
	}
	if len(w.patients) > maxPatients {
		return false, unreadable("too many patients are named")
	}
	w.nameless += one.nameless
	w.results += one.results
	for _, p := range one.parts {
		if !slices.Contains(w.parts, p) {
			w.parts = append(w.parts, p)
		}
	}
	s := proxy.Shown{Span: span}
	also(&s, one.patients, one.nameless > 0)
	if w.part != (proxy.Part{}) {
		s.Parts = []proxy.Part{w.part}
	}
	if matches {
		s.Results = 1
	}
	o, _ := node.(*object) // entry has read it
	s.Included, s.Empty = searchMode(o) == "include", o.child("resource") == nil
	w.apart = append(w.apart, s)
	return matches, nil
}

// also adds whom an entry shows.
func also(s *proxy.Shown, patients []proxy.Patient, unclear bool) {
	for _, p := range patients {
		s.Patients = addPatient(s.Patients, p)
	}
	s.Stranger = s.Stranger || unclear
	switch {
	case s.Stranger:
		s.Certainty = audit.Unknown
	case len(s.Patients) == 0:
		s.Certainty = audit.None
	default:
		s.Certainty = certaintyOf(s.Patients)
	}
}

// relation is what ties entries of a Bundle to each other: types and ids.
type relation struct {
	key  string
	refs []string
}

// relate says of entries what only the others tell: whose one without a resource is,
// as histories have them of what was deleted, and for which others something was
// included. Where there is neither, the answer is not read again.
func (w *fhirWalk) relate() error {
	if w.found.bundle == nil {
		return nil
	}
	w.found.bundle.Entries = w.apart
	if !slices.ContainsFunc(w.apart, func(s proxy.Shown) bool { return s.Included || s.Empty }) {
		return nil
	}
	all, err := w.relations()
	if err != nil {
		return err
	}
	at := map[string][]int{}
	for i, r := range all {
		if r.key != "" {
			at[r.key] = append(at[r.key], i)
		}
	}
	for i, r := range all {
		if w.apart[i].Empty {
			sameAs(w.apart, i, at[r.key])
		}
		for _, ref := range r.refs {
			for _, other := range at[ref] {
				if other != i {
					w.apart[i].With = append(w.apart[i].With, other)
					w.apart[other].With = append(w.apart[other].With, i)
				}
			}
		}
	}
	return nil
}

// relations reads the entries of the response again.
func (w *fhirWalk) relations() ([]relation, error) {
	all := make([]relation, 0, len(w.apart))
	err := w.json(func(s *jsonStream) error {
		return s.each(0, func(name string, _ int) error {
			if name != "entry" {
				return s.skip(1)
			}
			return s.each(1, func(string, int) error {
				v, err := s.whole(2)
				if err != nil {
					return err
				}
				o, _ := v.(*object)
				all = append(all, relationOf(o))
				return nil
			})
		})
	})
	if err == nil && len(all) != len(w.apart) {
		err = unreadable("the entries of the bundle")
	}
	return all, err
}

func relationOf(entry *object) relation {
	r := relation{key: strings.Clone(keyOf(entry))}
	res := entry.child("resource")
	if res == nil {
		return r
	}
	for _, ref := range references(nil, res) {
		if key := localKey(ref.text("reference")); key != "" {
			r.refs = append(r.refs, strings.Clone(key))
		}
	}
	return r
}

// sameAs names the patients of an entry without a resource by those about the same
// one. Without any, nobody can tell whose it is.
func sameAs(entries []proxy.Shown, i int, others []int) {
	e := &entries[i]
	known := false
	for _, other := range others {
		if o := &entries[other]; other != i && !o.Stranger && !o.Empty {
			known = true
			e.Parts = o.Parts
			also(e, o.Patients, false)
		}
	}
	also(e, nil, !known)
}

// keyOf is the type and id of what an entry is about, "" when it does not say.
func keyOf(entry *object) string {
	if res := entry.child("resource"); res != nil {
		kind, id := res.text("resourceType"), res.text("id")
		if kind == "" || id == "" {
			return ""
		}
		return kind + "/" + id
	}
	if key := localKey(entry.text("fullUrl")); key != "" {
		return key
	}
	if r := entry.child("request"); r != nil {
		return localKey(r.text("url"))
	}
	return ""
}

// localKey is the type and id at the end of an address, "" where it has none.
func localKey(address string) string {
	address, _, _ = strings.Cut(address, "/_history/")
	head, id, ok := cutLast(address)
	_, kind, _ := cutLast(head)
	if !ok || !isTypeName(kind) || !isFHIRID(id) {
		return ""
	}
	return kind + "/" + id
}

// cutLast cuts a path at its last slash; without one all of it is behind.
func cutLast(path string) (before, after string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}
