// Package simulate makes up months of a hospital's life: who works where, who
// lies where, who looks at which record and why, and, hidden in it, people who
// look where they have no business. It writes the files that detection reads,
// and the labels that say what was misuse, so that detection can be measured.
//
// The same Config gives the same bytes. Nobody in it exists (see package
// hospital). It reads no clock.
//
// Where figures come from: 20 to 60 opens a person and working day, as Mackenzie
// Health and Helse Sør-Øst report; about a hundredth of the accesses without any
// recorded reason, as the systems in production in Ontario leave; misuse on about
// one person-day in a hundred. The kinds of misuse are the known cases
// (see misuse.go).
package simulate

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Config says what to make up. The shares tune how hard it is to tell misuse
// from work.
type Config struct {
	Seed  uint64
	Staff int       // people on the staff list, from 60
	Days  int       // from 7
	Start time.Time // first day, midnight in the hospital's time zone

	// Misuse multiplies how much misuse there is; 1 is the rate of the known
	// cases, 0 is none.
	Misuse float64
	// Stealth is the share of misuse that is done on duty, at the usual
	// workstation, without a search by name and without a second look.
	Stealth float64
	// Noise is the share of visits to a record that work gave a reason for which
	// no feed knows: an enquiry by telephone, a slip, an opinion, a late result.
	Noise float64
	// CareLoss and RotaLoss are the shares of care events and of shifts that
	// never reach their feed.
	CareLoss float64
	RotaLoss float64
}

// Default is the hospital that figures are given for.
func Default(seed uint64, start time.Time) Config {
	return Config{Seed: seed, Staff: 1200, Days: 60, Start: start, Misuse: 1, Stealth: 0.5, Noise: 0.012, CareLoss: 0.008, RotaLoss: 0.02}
}

// Validate says what cannot be made up.
func (c Config) Validate() error {
	var errs []error
	if c.Staff < 60 || c.Staff > 50_000 {
		errs = append(errs, fmt.Errorf("staff: %d is not between 60 and 50000", c.Staff))
	}
	if c.Days < 7 || c.Days > 1000 {
		errs = append(errs, fmt.Errorf("days: %d is not between 7 and 1000", c.Days))
	}
	for _, share := range []struct {
		name  string
		value float64
	}{{"stealth", c.Stealth}, {"noise", c.Noise}, {"care loss", c.CareLoss}, {"rota loss", c.RotaLoss}} {
		if share.value < 0 || share.value > 1 {
			errs = append(errs, fmt.Errorf("%s: %g is not between 0 and 1", share.name, share.value))
		}
	}
	if c.Misuse < 0 || c.Misuse > 100 {
		errs = append(errs, fmt.Errorf("misuse: %g is not between 0 and 100", c.Misuse))
	}
	return errors.Join(errs...)
}

// Summary is what came of it.
type Summary struct {
	Staff    int `json:"staff"`
	Patients int `json:"patients"`
	Care     int `json:"care"`
	Rota     int `json:"rota"`
	Devices  int `json:"devices"`
	Accesses int `json:"accesses"`
	Labels   int `json:"labels"`
}

// Run writes accesses.ndjson.zst, staff, rota, patients, care, devices and labels
// into dir, which must exist. days counts the days that are done. When ctx ends
// it stops and no half of a file is left in place.
func Run(ctx context.Context, c Config, dir string, day func(done int)) (Summary, error) {
	if err := c.Validate(); err != nil {
		return Summary{}, err
	}
	w := newWorld(c)
	out, err := newOutput(dir)
	if err != nil {
		return Summary{}, err
	}
	defer out.abandon()
	for d := range c.Days {
		if ctx.Err() != nil {
			return Summary{}, ctx.Err()
		}
		if err := out.accesses(w, w.live(d)); err != nil {
			return Summary{}, err
		}
		day(d + 1)
	}
	return out.finish(w)
}
