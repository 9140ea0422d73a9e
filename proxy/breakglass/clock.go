package breakglass

import (
	"context"
	"fmt"
	"time"
)

// A grant ends by whichever of two clocks comes first: at its time by the wall clock,
// and when it has lasted by the monotonic one, which no step of the wall clock changes
// and which stands still while a virtual machine rests. So a step forward may end it
// early and nothing makes it longer.

// seenEvery is how often it is noted that grants are in force: a clock that is put back
// while the gateway is down makes them longer by no more than that.
const seenEvery = 10 * time.Second

// reading is one look at both clocks.
type reading struct {
	wall time.Time
	mono time.Duration // since any fixed moment
}

func (s *Service) read() reading { return reading{s.cfg.Now(), s.cfg.Mono()} }

// monotonic reads a monotonic clock off the readings of now, where they have one.
func monotonic(now func() time.Time) func() time.Duration {
	start := now()
	return func() time.Duration { return now().Sub(start) }
}

// inForce reports whether g lets its person in.
func (g Grant) inForce(r reading) bool {
	return g.Ended.IsZero() && r.wall.Before(g.Until) && r.mono < g.lease
}

// ends is when g ends as far as is known now.
func (g Grant) ends(r reading) time.Time {
	if left := r.wall.Add(g.lease - r.mono); left.Before(g.Until) {
		return left.UTC()
	}
	return g.Until
}

// lend gives a grant that was read from the database its lease: the one that it has
// here, or what is left of it by whichever is later, this clock or when it was last
// known to be in force. mu is held.
func (s *Service) lend(g *Grant, r reading) {
	lease, known := s.leases[g.ID]
	if !known {
		now := r.wall
		if now.Before(g.seen) {
			now = g.seen
		}
		lease = r.mono + g.Until.Sub(now)
	}
	g.lease = lease
}

// noteSeen notes that the grants here are in force, now and then.
func (s *Service) noteSeen(ctx context.Context, r reading) error {
	s.mu.Lock()
	due := len(s.grants) > 0 && r.mono >= s.seenNext
	if due {
		s.seenNext = r.mono + seenEvery
	}
	s.mu.Unlock()
	if !due {
		return nil
	}
	if _, err := s.cfg.DB.ExecContext(ctx, `UPDATE breakglass_grant SET seen = $1 WHERE ended = 0 AND seen < $2`,
		r.wall.UnixMicro(), r.wall.UnixMicro()); err != nil {
		return fmt.Errorf("note grants: %w", err)
	}
	return nil
}
