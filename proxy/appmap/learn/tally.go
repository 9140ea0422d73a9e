package learn

import (
	"cmp"
	"hash/maphash"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
)

const (
	maxRoutes     = 2000  // told apart; requests of any further one are only counted
	maxSegments   = 24    // of a path; what follows is any rest
	maxParameters = 64    // of a route
	maxDistinct   = 1000  // values counted at one place
	maxOpen       = 1e6   // exchanges whose outcome has not come
	otherMethod   = "..." // one that no map can name
)

// Request is one request that no rule described.
type Request struct {
	Method  string
	Path    string // as received
	Query   string // as received
	Content string // media type of the body, "" when not known
	Person  string
	Time    time.Time
	Status  string // class of the answer, for example 2xx; "" when not known
	// Guessed says that the method is concluded from what the request did.
	Guessed bool
}

// Tally gathers requests.
type Tally struct {
	query audit.WaivedQuery
	base  string
	words *words
	seed  maphash.Seed

	routes   map[string]*route
	people   map[string]bool
	requests uint64
	overflow uint64
	outside  uint64
	open     map[exchange]*route // whose outcome has not come
}

// exchange is one of them by its decision.
type exchange struct {
	source string
	seq    uint64
}

// route is what is known of requests of one method and path pattern.
type route struct {
	method   string
	segments []segment
	open     bool // any rest follows
	slash    bool // the path ends with a slash

	requests    uint64
	guessed     bool
	people      map[string]bool
	first, last time.Time
	status      map[string]uint64
	contents    map[string]uint64
	parameters  map[string]*shape
	hidden      map[uint64]bool // names of parameters that are not shown
	values      []*shape        // of each segment, nil for a literal
}

// New begins to gather what an application was asked. base is the path under which
// it is mounted; known are words besides the built-in ones that may be shown.
func New(q audit.WaivedQuery, base string, known ...string) *Tally {
	return &Tally{
		query: q, base: strings.TrimSuffix(base, "/"), words: newWords(known), seed: maphash.MakeSeed(),
		routes: map[string]*route{}, people: map[string]bool{}, open: map[exchange]*route{},
	}
}

// AddRecord takes in one record: a decision on a route that the map does not know
// and that was not enforced, or the outcome of one. Others say nothing here.
func (t *Tally) AddRecord(r *audit.Record) {
	switch {
	case r.Kind == audit.KindOutcome:
		if at, ok := t.open[exchange{r.Source, r.Decision}]; ok {
			at.status[statusClass(r.Status)]++
			delete(t.open, exchange{r.Source, r.Decision})
		}
	case r.Kind == audit.KindDecision && t.query.Holds(r) && slices.Contains(r.Reasons, audit.ReasonUnmapped):
		at := t.add(&Request{
			Method: r.Method, Path: r.Target, Query: r.Query, Content: contentOf(r.Detail),
			Person: cmp.Or(r.Person, r.UserSub), Time: r.Time,
		})
		if at != nil && len(t.open) < maxOpen {
			t.open[exchange{r.Source, r.Seq}] = at
		}
	}
}

func contentOf(detail []string) string {
	for _, d := range detail {
		if c, ok := strings.CutPrefix(d, "content="); ok {
			return c
		}
	}
	return ""
}

func statusClass(status uint64) string {
	if status < 100 || status > 599 {
		return "other"
	}
	return string(rune('0'+status/100)) + "xx"
}

// Add takes in one request.
func (t *Tally) Add(r Request) { t.add(&r) }

// add returns the route that a request belongs to, nil when it is none of the
// application's or there are too many.
func (t *Tally) add(r *Request) *route {
	rest, below := strings.CutPrefix(r.Path, t.base)
	if !below || rest != "" && rest[0] != '/' {
		t.outside++
		return nil
	}
	t.requests++
	t.people[r.Person] = true
	parts := strings.Split(strings.TrimPrefix(rest, "/"), "/")
	at, texts := t.shapeOf(parts)
	at.method = methodOf(r.Method)
	key := at.method + " " + at.pattern()
	known := t.routes[key]
	if known == nil {
		if len(t.routes) >= maxRoutes {
			t.overflow++
			return nil
		}
		at.begin()
		known = at
		t.routes[key] = at
	}
	known.add(t, r, texts)
	return known
}

// shapeOf is the pattern of a path, and what its segments are.
func (t *Tally) shapeOf(parts []string) (*route, []string) {
	at := &route{}
	if n := len(parts); parts[n-1] == "" {
		at.slash = n > 1
		parts = parts[:n-1]
	}
	if len(parts) > maxSegments {
		parts, at.open = parts[:maxSegments], true
	}
	texts := make([]string, len(parts))
	before := segment{}
	for i, part := range parts {
		texts[i] = part
		if plain, err := url.PathUnescape(part); err == nil {
			texts[i] = plain
		}
		before = t.words.segment(texts[i], before)
		at.segments = append(at.segments, before)
	}
	nameVariables(at.segments)
	return at, texts
}

func (r *route) begin() {
	r.people, r.status, r.contents = map[string]bool{}, map[string]uint64{}, map[string]uint64{}
	r.parameters, r.hidden = map[string]*shape{}, map[uint64]bool{}
	r.values = make([]*shape, len(r.segments))
	for i := range r.segments {
		if r.segments[i].variable() {
			r.values[i] = newShape()
		}
	}
}

func (r *route) add(t *Tally, q *Request, texts []string) {
	r.requests++
	r.guessed = r.guessed || q.Guessed
	r.people[q.Person] = true
	if r.first.IsZero() || q.Time.Before(r.first) {
		r.first = q.Time
	}
	if q.Time.After(r.last) {
		r.last = q.Time
	}
	if q.Status != "" {
		r.status[q.Status]++
	}
	if q.Content != "" && shownContent(q.Content) {
		r.contents[q.Content]++
	}
	for i, text := range texts {
		if r.values[i] != nil {
			r.values[i].add(text, t.seed)
		}
	}
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(q.Query, "&") {
		r.addParameter(t, pair, seen)
	}
}

// addParameter counts a parameter of a query. Its name is shown only if it is a
// word of applications: a query may be a value and nothing else.
func (r *route) addParameter(t *Tally, pair string, seen map[string]bool) {
	rawName, rawValue, valued := strings.Cut(pair, "=")
	name, err := url.QueryUnescape(rawName)
	if err != nil || name == "" {
		return
	}
	s := r.parameters[name]
	if s == nil || !valued {
		if !t.words.parameter(name, valued) || s == nil && len(r.parameters) >= maxParameters {
			if len(r.hidden) < maxDistinct {
				r.hidden[maphash.String(t.seed, name)] = true
			}
			return
		}
	}
	if s == nil {
		s = newShape()
		r.parameters[name] = s
	}
	value, err := url.QueryUnescape(rawValue)
	if err != nil {
		value = rawValue
	}
	if !seen[name] {
		s.requests++
	}
	seen[name] = true
	s.add(value, t.seed)
}

// methodOf is a method that a map may name. A HEAD asks for the header of the same
// thing.
func methodOf(method string) string {
	switch method {
	case http.MethodHead:
		return http.MethodGet
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return otherMethod
}

// pattern is the path as a map has it. A slash at the end can only be said with
// any rest.
func (r *route) pattern() string {
	var b strings.Builder
	for i := range r.segments {
		b.WriteString("/" + r.segments[i].text())
	}
	if r.open || r.slash {
		b.WriteString("/**")
	}
	return cmp.Or(b.String(), "/")
}
