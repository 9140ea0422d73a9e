package proxy

import (
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Gateway is the http.Handler that lets nobody past without an identity, a
// decision and a record. It is safe for concurrent use.
type Gateway struct {
	cfg     Config
	routes  atomic.Pointer[[]*route] // longest prefix first; replaced whole by Swap
	origins *http.CrossOriginProtection
	floods  floods
	streams streams
	kept    atomic.Int64 // bytes in memory, see Config.MaxKept
	page    *template.Template
	strict  []string // of strictHeader, nil where it is not sent
}

// route is one application made ready to answer. It never changes.
type route struct {
	App
	trimmed string // Prefix without its trailing slash
	base    string // path of Upstream, "" or "/x"
	handler http.Handler
}

// New makes a Gateway. It opens nothing and starts nothing.
func New(cfg Config) (*Gateway, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.MaxHeader <= 0 {
		cfg.MaxHeader = defaultHeader
	}
	if cfg.MaxKept <= 0 {
		cfg.MaxKept = defaultMaxKept
	}
	if cfg.SessionCookie == "" {
		cfg.SessionCookie = defaultCookie
	}
	if cfg.Service == "" {
		cfg.Service = "Matron"
	}
	if cfg.Location == nil {
		cfg.Location = time.UTC
	}
	page, err := parsePage()
	if err != nil {
		return nil, fmt.Errorf("proxy: refusal page: %w", err)
	}
	g := &Gateway{cfg: cfg, origins: http.NewCrossOriginProtection(), page: page}
	if cfg.StrictTransport {
		g.strict = []string{"max-age=31536000"}
	}
	if err := g.Swap(cfg.Apps); err != nil {
		return nil, err
	}
	return g, nil
}

// Swap replaces the applications at once. Requests in flight keep those they
// began with, and streams stay open as far as Review leaves them; on error nothing
// changes.
func (g *Gateway) Swap(apps []App) error {
	routes := make([]*route, 0, len(apps))
	seen := map[string]string{}
	for _, a := range apps {
		if err := a.validate(); err != nil {
			return err
		}
		r := g.newRoute(a)
		if other, ok := seen[r.trimmed]; ok {
			return fmt.Errorf("proxy: applications %s and %s share the prefix %q", other, a.Name, a.Prefix)
		}
		seen[r.trimmed] = a.Name
		routes = append(routes, r)
	}
	if old := g.routes.Load(); old != nil {
		for _, r := range routes {
			r.inherit(*old)
		}
	}
	slices.SortStableFunc(routes, func(a, b *route) int { return len(b.trimmed) - len(a.trimmed) })
	if old := g.routes.Swap(&routes); old != nil {
		for _, r := range *old {
			r.rest()
		}
		g.Review()
	}
	return nil
}

// Close records the limit events that are counted and not yet recorded, and
// lets go of idle connections. Requests must have ended by then.
func (g *Gateway) Close() error {
	err := g.flushFloods()
	for _, r := range *g.routes.Load() {
		r.rest()
	}
	return err
}

// rest lets go of idle connections; those in use are let go of after use.
func (r *route) rest() {
	if f, ok := r.handler.(*forwarder); ok {
		f.pool.CloseIdleConnections()
		f.direct.rest()
	}
}

// newRoute fills in the defaults of a and builds its handler.
func (g *Gateway) newRoute(a App) *route {
	if a.MaxBody <= 0 {
		a.MaxBody = defaultMaxBody
	}
	if a.MaxRead <= 0 {
		a.MaxRead = defaultMaxRead
	}
	if a.MaxHeld <= 0 {
		a.MaxHeld = defaultMaxHeld
	}
	if a.MaxSpooled <= 0 {
		a.MaxSpooled = defaultSpooled
	}
	if a.Timeout <= 0 {
		a.Timeout = defaultTimeout
	}
	r := &route{App: a, trimmed: strings.TrimSuffix(a.Prefix, "/")}
	if a.Upstream != nil {
		if base := strings.Trim(a.Upstream.Path, "/"); base != "" {
			r.base = "/" + base
		}
	}
	if a.Handler != nil {
		r.handler = inProcess(r)
	} else {
		r.handler = newForwarder(g, r)
	}
	return r
}

// find returns the application whose prefix is the longest one of path, or nil.
func (g *Gateway) find(path string) *route {
	for _, r := range *g.routes.Load() {
		rest, ok := strings.CutPrefix(path, r.trimmed)
		if ok && (rest == "" || rest[0] == '/') {
			return r
		}
	}
	return nil
}

// modeOf is the mode that holds for r now. Matron's own pages are never
// bypassed, whatever anybody says: they show the record itself (GW-19).
func (g *Gateway) modeOf(r *route) Mode {
	if g.cfg.Bypassed != nil && r.Handler == nil && g.cfg.Bypassed(r.Name) {
		return Bypass
	}
	return r.Mode
}

// public reports whether path is answered to anybody.
func (g *Gateway) public(path string) bool {
	for _, p := range g.cfg.PublicPaths {
		if path == p || strings.HasSuffix(p, "/") && strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}

// strip takes the prefix of r off path.
func (r *route) strip(path string) string {
	rest := strings.TrimPrefix(path, r.trimmed)
	if rest == "" {
		return "/"
	}
	return rest
}
