package host

import (
	"context"
	"sync/atomic"
	"time"
)

// ClockThreshold is how far the wall clock must move against the monotonic one
// to count as a step. Slewing by NTP moves both alike.
const ClockThreshold = 2 * time.Second

// Reading is one look at both clocks.
type Reading struct {
	Wall time.Time
	Mono time.Duration // since any fixed moment
}

// NewReader returns a function that reads both clocks of now.
func NewReader(now func() time.Time) func() Reading {
	start := now()
	return func() Reading {
		t := now()
		return Reading{Wall: t.Round(0), Mono: t.Sub(start)}
	}
}

// Step is one jump of the wall clock. Offsets are how far the wall clock is
// ahead of where it would be had it never been changed since the start.
type Step struct {
	At            time.Time // by the clock after the step; zero for none
	Before, After time.Duration
}

// By is how far the clock was put forward, below zero for back.
func (s Step) By() time.Duration { return s.After - s.Before }

// offset is how far the wall clock has moved against the monotonic one.
func offset(start, now Reading) time.Duration {
	return now.Wall.Sub(start.Wall) - (now.Mono - start.Mono)
}

// stepped reports whether an offset is another one than the last that was
// reported. Steps that are small each count once they add up.
func stepped(last, now time.Duration) bool {
	return (now - last).Abs() >= ClockThreshold
}

// ClockConfig is what a Clock needs. Fields without a stated default are
// required.
type ClockConfig struct {
	Every time.Duration // default 1 s
	Read  func() Reading
	// Stepped is told of every step, by the goroutine of Run.
	Stepped func(ctx context.Context, s Step)
}

// Clock notices that the wall clock was put forward or back: by NTP, by hand,
// or because a virtual machine went on after a rest (GW-14).
type Clock struct {
	cfg   ClockConfig
	start Reading
	last  atomic.Pointer[Step] // the newest step; one without a time for none
	count atomic.Uint64
}

// NewClock makes a Clock; it begins to compare now.
func NewClock(cfg ClockConfig) *Clock {
	if cfg.Every <= 0 {
		cfg.Every = time.Second
	}
	c := &Clock{cfg: cfg, start: cfg.Read()}
	c.last.Store(&Step{})
	return c
}

// Run compares until ctx ends.
func (c *Clock) Run(ctx context.Context) error {
	tick := time.NewTicker(c.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			c.look(ctx)
		}
	}
}

// Last returns the newest step; its time is zero when there was none.
func (c *Clock) Last() Step { return *c.last.Load() }

// Steps counts them since the start.
func (c *Clock) Steps() uint64 { return c.count.Load() }

func (c *Clock) look(ctx context.Context) {
	r := c.cfg.Read()
	last, now := c.Last().After, offset(c.start, r)
	if !stepped(last, now) {
		return
	}
	s := Step{At: r.Wall, Before: last, After: now}
	c.last.Store(&s)
	c.count.Add(1)
	c.cfg.Stepped(ctx, s)
}
