package staff

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"

	"golang.org/x/time/rate"
)

// Step is one thing that somebody does in a session.
type Step struct {
	Action  string // as in a file of accesses: read, search, list, create, update, print, export, break-glass
	Patient string // "" when it is about nobody, or about a list
	Ward    string // of a list
	Tab     string // part of the record, "" for its first page
}

// Sitting is one session of one person.
type Sitting struct {
	Person string
	Steps  []Step
}

// Play lets people sit down in the given order, several at a time, each doing
// their steps in order, as fast as cfg.Rate allows. done is told of each step sent.
func Play(ctx context.Context, cfg Config, sittings []Sitting, done func()) Counts {
	cfg = cfg.withDefaults()
	pace := rate.NewLimiter(rate.Limit(cfg.Rate), max(1, int(cfg.Rate)))
	c := &crew{cfg: cfg, counter: newCounter(), pace: pace, haste: pace, web: newWeb(cfg.CA)}
	next := make(chan Sitting)
	var group sync.WaitGroup
	for i := range cfg.People {
		rng := newRand(cfg.Seed, uint64(i))
		group.Go(func() {
			for s := range next {
				c.sit(ctx, s, rng, done)
			}
		})
	}
	for _, s := range sittings {
		if ctx.Err() != nil {
			break
		}
		next <- s
	}
	close(next)
	group.Wait()
	c.web.close()
	return c.counter.counts()
}

func (c *crew) sit(ctx context.Context, s Sitting, rng *rand.Rand, done func()) {
	p, known := c.cfg.Hospital.Person(s.Person)
	if !known {
		return // nobody that the sign-in service knows
	}
	w := c.newWorker(p, rng, c.pace)
	if !w.signIn(ctx) {
		return
	}
	for _, step := range s.Steps {
		if ctx.Err() != nil || w.lost {
			return
		}
		w.step(ctx, step)
		done()
	}
	w.leave(ctx)
}

// step does one step by the record's pages or by its interface.
func (w *worker) step(ctx context.Context, s Step) {
	record := w.cfg.UI + "/patients/" + url.PathEscape(s.Patient)
	switch s.Action {
	case "search":
		w.post(ctx, http.MethodPost, "/Patient/_search", "application/x-www-form-urlencoded", url.Values{"family": {w.family(s.Patient)}}.Encode(), nil)
	case "list":
		w.page(ctx, w.cfg.UI+"/wards/"+url.PathEscape(s.Ward))
	case "create", "update":
		w.write(ctx, "Observation", w.pulse(s.Patient))
	case "print", "export":
		w.fetch(ctx, "/DocumentReference?patient="+url.QueryEscape(s.Patient))
	default:
		if s.Tab != "" {
			record += "/" + s.Tab
		}
		w.page(ctx, record)
	}
}

// family is the surname to search by: of the patient who is opened next.
func (w *worker) family(patient string) string {
	if p, ok := w.cfg.Hospital.Patient(patient); ok {
		return p.Name.Family
	}
	return w.person.Name.Family
}
