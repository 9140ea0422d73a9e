package detectors

import (
	"slices"

	"github.com/matron-epr/matron/audit/detect/table"
	"github.com/matron-epr/matron/audit/feeds"
)

const (
	// toWard and toSite are times in which nobody walks to another ward and signs in,
	// or drives to another site; atOnce is too short for leaving the hospital.
	toWard, toSite, atOnce = 60 * micros, 600 * micros, 60 * micros
	// leapsFrom is how many moves to another ward are no chance. A move to another
	// site counts for as many.
	leapsFrom = 5
	// sharedBy accounts at a workstation within sharedFor are more than sit at a desk.
	// Where that is so more than once in sharedOften stretches, it is a terminal server.
	sharedBy, sharedFor, sharedOften = 4, 600 * micros, 20
)

// addDevices notes where workstations stand, and which of them surely stay there:
// of a kind that stands, and never listed on another ward.
func (x *index) addDevices(c *feeds.Context) {
	x.devices = make([]uint32, x.t.Devices.Len())
	x.fixed = make([]uint32, len(x.devices))
	for i := range c.Devices {
		d := &c.Devices[i]
		n, ok := x.t.Devices.Find(d.Device)
		if !ok {
			continue
		}
		ward := x.wards.Number(d.Ward)
		stays := stands(d.Kind) && (x.devices[n] == 0 || x.fixed[n] == ward)
		x.devices[n], x.fixed[n] = ward, 0
		if stays {
			x.fixed[n] = ward
		}
	}
}

// stands says whether workstations of a kind stay in their place. A kind that is
// not known may be moved.
func stands(kind string) bool {
	return slices.Contains([]string{"", "desk", "desktop", "fixed", "pc", "workstation"}, kind)
}

// addSites takes the site of a ward from those who work there, where they agree.
func (x *index) addSites(c *feeds.Context) {
	sites := map[uint32]string{}
	split := map[uint32]bool{}
	for i := range c.Staff {
		s := &c.Staff[i]
		if s.Site == "" {
			continue
		}
		for _, name := range s.Wards {
			ward := x.wards.Number(name)
			if before, ok := sites[ward]; ok && before != s.Site {
				split[ward] = true
			}
			sites[ward] = s.Site
		}
	}
	x.sites = make([]string, x.wards.Len())
	for ward, site := range sites {
		if !split[ward] {
			x.sites[ward] = site
		}
	}
}

// use is how a workstation that stays is used.
type use struct {
	stretch          int64
	people           []uint32
	stretches, crowd int
}

// leaveShared takes workstations that many accounts use at once out of those that
// stay: they are terminal servers, whatever their kind says.
func (x *index) leaveShared() {
	x.uses = make([]use, len(x.fixed))
	for row := range x.t.At {
		x.used(uint32(row))
	}
	for n := range x.uses {
		x.leave(uint32(n))
	}
}

// used notes who used a workstation in a row.
func (x *index) used(row uint32) {
	n := x.t.Device[row]
	if x.fixed[n] == 0 || !x.t.Counts(int(row)) {
		return
	}
	x.public = x.public || x.t.Flags[row]&table.Outside != 0
	u := &x.uses[n]
	if s := x.t.At[row] / sharedFor; s != u.stretch {
		u.stretch, u.people = s, u.people[:0]
		u.stretches++
	}
	if len(u.people) < sharedBy && !slices.Contains(u.people, x.t.Person[row]) {
		if u.people = append(u.people, x.t.Person[row]); len(u.people) == sharedBy {
			u.crowd++
		}
	}
}

// leave takes one out when it is shared.
func (x *index) leave(device uint32) {
	if u := &x.uses[device]; sharedOften*u.crowd > u.stretches {
		x.fixed[device] = 0
	}
}

// spot is where an account was used.
type spot struct {
	ward    uint32
	outside bool // of the hospital
	row     uint32
	at      int64
	doubt   bool // nothing explains the look
	gone    bool // the row is not kept
}

// travel counts a move of an account that one person cannot make.
func (w *walker) travel(d *today, row uint32) {
	device := w.t.Device[row]
	here := spot{w.fixed[device], w.devices[device] == 0 && !w.public && w.t.Flags[row]&table.Outside != 0, row, w.t.At[row], w.explained[row] == Unexplained, false}
	if here.ward == 0 && !here.outside {
		return
	}
	before := d.last
	d.last = here
	if before.ward == 0 && !before.outside {
		return
	}
	if n := w.leap(before, here); n > 0 {
		d.leaps += n
		if !before.gone {
			d.rows = append(d.rows, before.row)
		}
		d.rows = append(d.rows, row)
	}
}

// leap is how much a move counts for: 0 when one person can make it. Between wards,
// which may be neighbours, it counts only where one of the looks is not explained:
// who is on call works on several.
func (x *index) leap(from, to spot) int32 {
	took := to.at - from.at
	switch {
	case from.outside && to.outside || !from.outside && !to.outside && from.ward == to.ward:
		return 0
	case from.outside != to.outside:
		return leapsFrom * int32(yes(took < atOnce))
	case x.sites[from.ward] != "" && x.sites[to.ward] != "" && x.sites[from.ward] != x.sites[to.ward]:
		return leapsFrom * int32(yes(took < toSite))
	}
	return int32(yes((from.doubt || to.doubt) && took < toWard))
}
