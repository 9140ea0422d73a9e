package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/breakglass"
)

// probeWithin bounds one trial.
const probeWithin = 30 * time.Second

// probe tries emergency access on a made-up patient, through all that a person's
// request goes through, so that it is known to work before somebody needs it (GW-10,
// C-41). It is who it is by its context alone: nothing that comes from outside can
// be it.
type probe struct {
	path    string
	host    string
	gateway http.Handler
	who     policy.Subject
	state   atomic.Pointer[dashboards.Probe]
}

type probeKey struct{}

// identities knows the probe, and asks the sign-in service about everybody else.
type identities struct{ proxy.Identifier }

// Identify implements proxy.Identifier.
func (i identities) Identify(r *http.Request) (policy.Subject, error) {
	if who, ok := r.Context().Value(probeKey{}).(policy.Subject); ok {
		return who, nil
	}
	return i.Identifier.Identify(r)
}

// newProbe makes a probe; nil where none is configured.
func (g *Gateway) newProbe() *probe {
	c := g.cfg.BreakGlass.Probe
	if c.Path == "" {
		return nil
	}
	p := &probe{
		path: c.Path, host: mustParse(g.cfg.ExternalURL).Host, gateway: g.proxy,
		who: policy.Subject{
			Issuer: policy.ProbeIssuer, Sub: "probe of " + g.cfg.Source, Name: "Probe of emergency access",
			Roles: []string{"break-glass-probe"}, Machine: true,
		},
	}
	p.state.Store(&dashboards.Probe{Set: true})
	return p
}

// probeEmergency tries at once and then every few minutes until ctx ends.
func (g *Gateway) probeEmergency(ctx context.Context) error {
	if g.probe == nil {
		return nil
	}
	tick := time.NewTicker(g.cfg.BreakGlass.Probe.Every)
	defer tick.Stop()
	for {
		g.probeOnce(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// probeOnce tries once and notes what came of it: for the health page, in the metrics
// and in the record.
func (g *Gateway) probeOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	step, err := g.probe.try(ctx)
	if errors.Is(err, context.Canceled) {
		return
	}
	next := dashboards.Probe{Set: true, State: dashboards.StateOK, At: g.now()}
	result := "ok"
	if err != nil {
		next.State, next.Step, next.Failed = dashboards.StateFailed, step, g.probe.state.Load().Failed+1
		result = "failed: " + step
		g.log.LogAttrs(ctx, slog.LevelError, "emergency access does not work", slog.String("step", step), slog.Uint64("in_a_row", next.Failed), slog.Any("error", err))
	}
	g.probe.state.Store(&next)
	if err := g.journal.Add(&audit.Record{Time: g.now(), Kind: audit.KindHeartbeat, Detail: []string{"break_glass_probe=" + result}}); err != nil {
		g.log.LogAttrs(ctx, slog.LevelError, "result of the probe not recorded", slog.String("error", err.Error()))
	}
}

// try is the whole of it. step is the last that was begun.
func (p *probe) try(ctx context.Context) (step string, err error) {
	p.endAll(ctx) // what a trial left open that broke off: else nothing would be refused
	step = "refused and offered"
	page := p.send(ctx, http.MethodGet, p.path, nil)
	form := regexp.MustCompile(`action="(` + regexp.QuoteMeta(breakglass.Path) + `/[a-z0-9]+)"`).FindStringSubmatch(page.text())
	if page.status != http.StatusForbidden || form == nil {
		return step, fmt.Errorf("answered with %d and no offer", page.status)
	}
	step = "granted"
	done := p.send(ctx, http.MethodPost, form[1], url.Values{"reason": {p.reason(page)}, "note": {"probe"}})
	if done.status != http.StatusSeeOther {
		return step, fmt.Errorf("answered with %d", done.status)
	}
	step = "let through"
	if open := p.send(ctx, http.MethodGet, p.path, nil); open.status == http.StatusForbidden || open.header.Get("Matron-Break-Glass-Until") == "" {
		return step, fmt.Errorf("answered with %d", open.status)
	}
	step = "ended"
	p.endAll(ctx)
	if shut := p.send(ctx, http.MethodGet, p.path, nil); shut.status != http.StatusForbidden {
		return step, fmt.Errorf("answered with %d afterwards", shut.status)
	}
	return "", ctx.Err()
}

// endAll ends what is open to the probe.
func (p *probe) endAll(ctx context.Context) {
	list := p.send(ctx, http.MethodGet, breakglass.Path, nil)
	for _, grant := range regexp.MustCompile(`name="grant" value="([A-Z0-9-]+)"`).FindAllStringSubmatch(list.text(), -1) {
		p.send(ctx, http.MethodPost, breakglass.Path+"/end", url.Values{"grant": {grant[1]}})
	}
}

// reason is the first that the page lets people choose.
func (p *probe) reason(page *noted) string {
	if m := regexp.MustCompile(`name="reason" type="radio" value="([^"]+)"`).FindStringSubmatch(page.text()); m != nil {
		return m[1]
	}
	return ""
}

// send has the gateway answer a request as it answers everybody's.
func (p *probe) send(ctx context.Context, method, path string, form url.Values) *noted {
	answer := &noted{header: http.Header{}}
	r, err := http.NewRequestWithContext(context.WithValue(ctx, probeKey{}, p.who), method, "https://"+p.host+path, strings.NewReader(form.Encode()))
	if err != nil {
		return answer
	}
	r.RequestURI, r.RemoteAddr = path, "127.0.0.1:0"
	r.URL.Scheme, r.URL.Host = "", ""
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("User-Agent", "matron-probe")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	defer func() { _ = recover() }() // a connection that is broken off ends in a panic: the answer has no status
	p.gateway.ServeHTTP(answer, r)
	return answer
}

// noted is an http.ResponseWriter that keeps the beginning of an answer.
type noted struct {
	status int
	header http.Header
	body   bytes.Buffer
}

// maxNoted is more than a page of our own has.
const maxNoted = 64 << 10

func (n *noted) text() string { return n.body.String() }

// Header implements http.ResponseWriter.
func (n *noted) Header() http.Header { return n.header }

// WriteHeader implements http.ResponseWriter.
func (n *noted) WriteHeader(status int) {
	if n.status == 0 {
		n.status = status
	}
}

// Write implements http.ResponseWriter.
func (n *noted) Write(b []byte) (int, error) {
	n.WriteHeader(http.StatusOK)
	n.body.Write(b[:min(len(b), maxNoted-n.body.Len())])
	return len(b), nil
}

// health says what the last trial found.
func (p *probe) health() dashboards.Probe {
	if p == nil {
		return dashboards.Probe{}
	}
	return *p.state.Load()
}

// watchEmergency shows emergency access on /metrics.
func (g *Gateway) watchEmergency() {
	if g.probe != nil {
		g.metrics.watch("matron_break_glass_probe_ok", "1 when the last trial of emergency access worked.", func() float64 { return truth(g.probe.health().State == dashboards.StateOK) })
		g.metrics.watch("matron_break_glass_probe_failures", "Trials of emergency access in a row that did not work.", func() float64 { return float64(g.probe.health().Failed) })
		g.metrics.watch("matron_break_glass_probe_timestamp_seconds", "When emergency access was last tried.", func() float64 {
			if at := g.probe.health().At; !at.IsZero() {
				return float64(at.Unix())
			}
			return 0
		})
	}
	if g.mailer != nil {
		g.metrics.watch("matron_break_glass_notices_waiting", "Messages about emergency access that wait to go out.", func() float64 { return float64(g.mailer.health().Waiting) })
		g.metrics.watch("matron_break_glass_notices_oldest_seconds", "For how long the oldest of them has waited.", func() float64 { return g.mailer.health().Behind.Seconds() })
	}
}
