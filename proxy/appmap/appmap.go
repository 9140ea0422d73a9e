package appmap

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"

	"github.com/matron-epr/matron/proxy"
)

//go:embed maps/*.yaml
var builtin embed.FS

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of the format, for editors. It
// knows words and shapes; what refers to something else in the file only Parse
// checks.
func Schema() []byte { return bytes.Clone(schema) }

// Map classifies the exchanges of one application.
type Map struct {
	app     string
	base    string   // path prefix under which the application is mounted, "" or "/x"
	origins []string // scheme://host[:port]/path of absolute references that mean this application
	tables  map[string]table
	redact  []string // query parameters that are secret, whatever the rule
	rules   []*rule
	byID    map[string]*rule
	byFirst map[string][]*rule // by literal first segment, in order
	others  []*rule            // those that may match any other first segment
	follow  *following         // nil where the application's sessions say nothing
}

var _ proxy.Follower = (*Map)(nil)

// index sorts rules by their first segment, so that a request is compared with
// few of them.
func (m *Map) index() {
	m.byID, m.byFirst = map[string]*rule{}, map[string][]*rule{}
	for _, r := range m.rules {
		m.byID[r.id] = r
		if first, ok := r.pattern.first(); ok {
			m.byFirst[first] = nil
		}
	}
	for _, r := range m.rules {
		first, literal := r.pattern.first()
		if !literal {
			m.others = append(m.others, r)
		}
		for key := range m.byFirst {
			if !literal || key == first {
				m.byFirst[key] = append(m.byFirst[key], r)
			}
		}
	}
}

// Names returns the names of the maps that are built in.
func Names() []string {
	files, err := fs.Glob(builtin, "maps/*.yaml")
	if err != nil {
		return nil
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(path.Base(f), ".yaml")
	}
	return names
}

// Builtin returns an embedded map, one of Names. In "generic" everything is
// unmapped.
func Builtin(name string) (*Map, error) {
	src, err := builtin.ReadFile("maps/" + name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("map %q: %w (there are %s)", name, ErrUnknownMap, strings.Join(Names(), ", "))
	}
	return Parse(name+".yaml", src)
}

// Load returns the built-in map of that name, or else the map in that file.
func Load(nameOrPath string) (*Map, error) {
	m, err := Builtin(nameOrPath)
	if err == nil || !errors.Is(err, ErrUnknownMap) {
		return m, err
	}
	src, readErr := os.ReadFile(nameOrPath) //nolint:gosec // the path is the operator's own configuration
	if readErr != nil {
		return nil, fmt.Errorf("%w; nor a file: %w", err, readErr)
	}
	return Parse(nameOrPath, src)
}

// App returns the name of the application that the map describes.
func (m *Map) App() string { return m.app }

// RuleIDs returns the ids of the rules in the order in which they are tried.
func (m *Map) RuleIDs() []string {
	ids := make([]string, len(m.rules))
	for i, r := range m.rules {
		ids[i] = r.id
	}
	return ids
}

// Words returns the parts of paths that the rules name: literals, and the keys of
// tables that a part must be in.
func (m *Map) Words() []string {
	all := map[string]bool{}
	for _, r := range m.rules {
		for _, s := range r.pattern.segments {
			if s.capture == "" {
				all[s.literal] = true
			}
			for _, key := range keys(s.table) {
				all[key] = true
			}
		}
	}
	return keys(all)
}

// WithBase returns a copy of the map for an application that is mounted at
// base, e.g. "/fhir" or "" for the root. Classify gets the path as the client
// sent it and cuts base off; a path outside base is unmapped. origins are the
// "https://host[:port]/path" under which the application is known in absolute
// references, besides the host that the request names.
func (m *Map) WithBase(base string, origins ...string) *Map {
	c := *m
	c.base = strings.TrimSuffix(base, "/")
	c.origins = append([]string(nil), origins...)
	if m.follow != nil {
		own := *m.follow
		c.follow = &own
	}
	return &c
}

// Classify implements proxy.Map.
func (m *Map) Classify(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
	a, err := m.classifyIn(nil, r, body)
	if errors.Is(err, errUnmapped) {
		u := m.unmapped()
		u.Deny, u.Reply, u.Reason = a.Deny, a.Reply, err.Error()
		return u, nil
	}
	return a, err
}

// classifyIn is Classify for an exchange of a followed session, nil for none,
// except that its error says why a rule that matched gave the exchange up.
func (m *Map) classifyIn(t *turn, r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
	x, err := m.open(r, body)
	if err != nil || x == nil {
		return m.unmapped(), err
	}
	x.turn = t
	return m.classify(x)
}

// open prepares a request for the rules; nil means that it is outside the base.
func (m *Map) open(r *http.Request, body func() ([]byte, error)) (*exchange, error) {
	if err := checkPath(r.URL); err != nil {
		return nil, err
	}
	path, ok := m.below(r.URL.Path)
	if !ok {
		return nil, nil
	}
	x := &exchange{
		m: m, method: r.Method, rawQuery: r.URL.RawQuery,
		header: r.Header, host: r.Host, fetch: body,
	}
	x.segments = splitPath(path, x.room[:0])
	return x, nil
}

// unmapped is what no rule describes. Its secrets are secret all the same.
func (m *Map) unmapped() proxy.Access { return proxy.Access{Redact: m.redact} }

// below cuts the base off a path.
func (m *Map) below(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, m.base)
	return rest, ok && (rest == "" || rest[0] == '/')
}

func (m *Map) classify(x *exchange) (proxy.Access, error) {
	candidates := m.others
	if len(x.segments) > 0 {
		if list, ok := m.byFirst[x.segments[0]]; ok {
			candidates = list
		}
	}
	for _, r := range candidates {
		x.rule = r
		ok, err := r.matches(x)
		if err != nil {
			return proxy.Access{}, err
		}
		if ok {
			return r.access(x)
		}
	}
	return m.unmapped(), nil
}

// Settle implements proxy.Map.
func (m *Map) Settle(a proxy.Access, res *http.Response, body proxy.Body) (proxy.Settlement, error) {
	return m.settleIn(nil, a, res, body)
}

// settleIn reads the response of an exchange of a followed session, nil for none.
func (m *Map) settleIn(t *turn, a proxy.Access, res *http.Response, body proxy.Body) (proxy.Settlement, error) {
	r, ok := m.byID[a.Rule]
	if !ok || !r.holds() {
		return proxy.Settlement{}, unreadable("no rule says how to read this response")
	}
	n, err := newAnswer(m, a, res, body)
	if err != nil {
		return proxy.Settlement{}, err
	}
	n.turn = t
	if r.response == nil && r.extractor.settle != nil {
		s, err := r.extractor.settle(n)
		if errors.Is(err, errTooLong) {
			return (&found{}).tooLong(), nil
		}
		return s, err
	}
	read := r.settle
	if r.response == nil {
		read = r.extractor.response
	}
	f, err := read(n)
	if errors.Is(err, errTooLong) {
		return f.tooLong(), nil
	}
	if err != nil {
		return proxy.Settlement{}, err
	}
	return f.settlement(a), nil
}
