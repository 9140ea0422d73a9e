package intake

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	errClock    = errors.New("time: does not fit the layout of the mapping")
	errNoMoment = errors.New("time: in the hour that the clocks left out")
)

// Clock says how times are written.
type Clock struct {
	// Layout is made of YYYY, MM, DD, hh, mm, ss and ZZ (an offset such as
	// +01:00), for example DD/MM/YYYY hh:mm:ss. Default: RFC 3339.
	Layout string `yaml:"layout"`
	// Zone is the time zone of times without an offset. Default: Europe/London.
	// Of the hour that the clocks repeat in autumn the first one is taken.
	Zone string `yaml:"zone"`
}

// Moments makes ready what reads the times.
func (c Clock) Moments() (Moments, error) {
	if c.Layout == "" {
		return Moments{}, nil
	}
	layout := strings.NewReplacer("YYYY", "2006", "MM", "01", "DD", "02", "hh", "15", "mm", "04", "ss", "05", "ZZ", "Z07:00").Replace(c.Layout)
	for _, part := range []string{"2006", "01", "02", "15", "04"} {
		if !strings.Contains(layout, part) {
			return Moments{}, fmt.Errorf("layout %q must have YYYY, MM, DD, hh and mm", c.Layout)
		}
	}
	if c.Zone == "" {
		c.Zone = "Europe/London"
	}
	zone, err := time.LoadLocation(c.Zone)
	if err != nil {
		return Moments{}, fmt.Errorf("zone %q is not known: write for example Europe/London", c.Zone)
	}
	return Moments{layout, zone}, nil
}

// Moments reads times that are written in another way than RFC 3339.
type Moments struct {
	layout string // as package time has it; "" is RFC 3339
	zone   *time.Location
}

// Read returns the time in RFC 3339. In the hour that the clocks repeat, the
// first one is taken, since nobody can tell.
func (c Moments) Read(value string) (string, error) {
	if c.layout == "" {
		return value, nil
	}
	at, err := time.ParseInLocation(c.layout, value, c.zone)
	if err != nil {
		return "", errClock
	}
	if written, err := time.Parse(c.layout, value); err == nil && written.Minute()+60*written.Hour() != at.Minute()+60*at.Hour() {
		return "", errNoMoment
	}
	if first := at.Add(-time.Hour); first.Format(c.layout) == at.Format(c.layout) {
		at = first
	}
	return at.Format(time.RFC3339Nano), nil
}
