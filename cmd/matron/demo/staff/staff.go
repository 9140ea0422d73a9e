// Package staff makes the demonstration hospital's staff work: they sign in
// through the real gateway over real HTTPS, look patients up, read, write and
// search, mostly on their own ward, with some misuse among it.
//
// It knows nothing of the gateway's inside: it sends requests as browsers and
// applications do and counts what it sent and what came back. Run may be called
// by several goroutines.
package staff

import (
	"context"
	"crypto/x509"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// Class says what a request must leave behind in the record.
type Class string

// The classes.
const (
	// Application requests reached the gateway under an application's prefix:
	// each must have exactly one decision.
	Application Class = "application"
	// Dashboard requests asked for Matron's own pages: each must have exactly one
	// decision too.
	Dashboard Class = "dashboard"
	// SignIn requests went to the gateway's own sign-in routes: they leave
	// sign-in and sign-out records, not decisions.
	SignIn Class = "sign-in"
	// Provider requests went to the sign-in service and not to the gateway.
	Provider Class = "provider"
)

// Kinds of misuse that are acted out.
const (
	OwnRecord   = "own-record"
	Household   = "household"
	Bulk        = "bulk-opening"
	Prescribing = "receptionist-prescribing" // tried, and refused
)

// bulkPatients is how many records one bulk opening goes through.
const bulkPatients = 32

// Config is what Run needs.
type Config struct {
	Gateway  string         // e.g. https://localhost:8443
	CA       *x509.CertPool // whom to trust; nil trusts the system
	Hospital *hospital.Hospital
	Rate     float64 // application requests a second over everybody; 0 means 5
	People   int     // how many work at the same time; 0 means 12
	Seed     uint64
	// FHIR and UI are the prefixes of the applications; "" means /fhir and /ui.
	FHIR, UI string
	// Dashboards are pages under Internal that privacy officers, security
	// analysts and safety officers open now and then.
	Dashboards []string
	// Internal is the prefix of the gateway's own routes; "" means /.matron.
	// Every path under it that is not in Dashboards counts as SignIn.
	Internal string
	// SignOut is asked for at the end of a stint; "" means that people just leave.
	SignOut string
	// TokenURL, ClientID and ClientSecret are the API client's; an empty TokenURL
	// leaves the API client out.
	TokenURL, ClientID, ClientSecret string
	Now                              func() time.Time
	Log                              *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Rate <= 0 {
		c.Rate = 5
	}
	if c.People <= 0 {
		c.People = 12
	}
	if c.FHIR == "" {
		c.FHIR = "/fhir"
	}
	if c.UI == "" {
		c.UI = "/ui"
	}
	if c.Internal == "" {
		c.Internal = "/.matron"
	}
	return c
}

// classify says which class a request to target is of.
func (c Config) classify(target *url.URL) Class {
	gateway, err := url.Parse(c.Gateway)
	if err != nil || target.Host != gateway.Host {
		return Provider
	}
	if slices.Contains(c.Dashboards, target.Path) {
		return Dashboard
	}
	if target.Path == c.Internal || strings.HasPrefix(target.Path, c.Internal+"/") {
		return SignIn
	}
	return Application
}

// crew is everything that one Run shares.
type crew struct {
	cfg     Config
	counter *counter
	pace    *rate.Limiter // of ordinary work
	haste   *rate.Limiter // of misuse, so that it does not wait behind the others
	web     *web
}

// Run lets the staff work until ctx ends, lets requests in flight finish, and
// returns what was counted.
func Run(ctx context.Context, cfg Config) Counts {
	cfg = cfg.withDefaults()
	burst := max(1, int(cfg.Rate))
	c := &crew{
		cfg: cfg, counter: newCounter(), web: newWeb(cfg.CA),
		pace: rate.NewLimiter(rate.Limit(cfg.Rate), burst), haste: rate.NewLimiter(rate.Limit(cfg.Rate), burst),
	}
	var group sync.WaitGroup
	roster := make(chan hospital.Staff)
	group.Go(func() { c.callUp(ctx, roster) })
	for i := range cfg.People {
		rng := newRand(cfg.Seed, uint64(i))
		group.Go(func() { c.work(ctx, roster, rng) })
	}
	group.Go(func() { c.misbehave(ctx, newRand(cfg.Seed, 1<<32)) })
	if cfg.TokenURL != "" {
		group.Go(func() { c.machine(ctx, newRand(cfg.Seed, 1<<33)) })
	}
	group.Wait()
	c.web.close()
	return c.counter.counts()
}

func newRand(seed, stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, stream)) //nolint:gosec // simulated work, nothing secret
}

// callUp hands out the staff in turn, everybody once before anybody twice.
func (c *crew) callUp(ctx context.Context, roster chan<- hospital.Staff) {
	rng := newRand(c.cfg.Seed, 1<<34)
	for {
		people := slices.DeleteFunc(slices.Clone(c.cfg.Hospital.Staff), hospital.Staff.Machine)
		rng.Shuffle(len(people), func(i, j int) { people[i], people[j] = people[j], people[i] })
		for _, p := range people {
			select {
			case roster <- p:
			case <-ctx.Done():
				return
			}
		}
	}
}

// work takes one stint after another: sign in, see some patients, leave.
func (c *crew) work(ctx context.Context, roster <-chan hospital.Staff, rng *rand.Rand) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-roster:
			if !c.stint(ctx, p, rng) {
				idle(ctx, time.Second) // the gateway is not there: do not hammer it
			}
		}
	}
}

func (c *crew) stint(ctx context.Context, p hospital.Staff, rng *rand.Rand) bool {
	w := c.newWorker(p, rng, c.pace)
	if !w.signIn(ctx) {
		return false
	}
	for range 4 + rng.IntN(5) {
		if ctx.Err() != nil || w.lost {
			break
		}
		w.task(ctx)
	}
	w.leave(ctx)
	return !w.lost
}

func idle(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
