package detectors_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/feeds"
)

// seat is a workstation and the address that it has.
type seat struct{ device, ip string }

// between has an account look from each of the seats in turn.
func between(person string, n int, gap time.Duration, seats ...seat) (out []look) {
	for i := range n {
		s := seats[i%len(seats)]
		out = append(out, look{
			person: person, patient: fmt.Sprint("p", i), at: at(3, 0).Add(time.Duration(i) * gap), strong: i%2 == 0,
			more: audit.Imported{Device: s.device, IP: s.ip},
		})
	}
	return out
}

// TestImpossibleTravel: an account is where one person cannot be, and not merely
// where people go.
func TestImpossibleTravel(t *testing.T) {
	ash, oak, trolley := seat{"PC-ASH", "10.1.1.1"}, seat{"PC-OAK", "10.1.1.2"}, seat{"COW-OAK", "10.1.1.3"}
	home, nhs := seat{"", "81.2.69.142"}, seat{"", "100.64.3.4"}
	onCall := between("ann", 20, 20*time.Second, ash, oak)
	for i := range onCall {
		onCall[i].strong = true
	}
	for name, row := range map[string]struct {
		looks []look
		tells bool
	}{
		"there and back within seconds":         {between("ann", 6, 20*time.Second, ash, oak), true},
		"four times may be a shared corridor":   {between("ann", 5, 20*time.Second, ash, oak), false},
		"as fast as one walks":                  {between("ann", 20, time.Minute, ash, oak), false},
		"a trolley is where it is pushed":       {between("ann", 20, 20*time.Second, ash, trolley), false},
		"on call, and all is explained":         {onCall, false},
		"one ward":                              {between("ann", 20, 20*time.Second, oak, seat{"PC-OAK", ""}), false},
		"a workstation that nobody lists":       {between("ann", 20, 20*time.Second, ash, seat{"VDI-7", "10.1.1.9"}), false},
		"at work and on the internet at once":   {between("ann", 2, 30*time.Second, ash, home), true},
		"home after work":                       {between("ann", 2, time.Minute, ash, home), false},
		"all from home":                         {between("ann", 20, time.Second, home, seat{"", "81.2.69.143"}), false},
		"another network within":                {between("ann", 20, 30*time.Second, ash, nhs), false},
		"the hospital's own addresses are such": {append(between("bob", 1, 0, seat{"PC-ASH", "81.2.69.1"}), between("ann", 2, time.Second, ash, home)...), false},
	} {
		if got := says(run(world(), row.looks), "impossible-travel"); len(got) > 0 != row.tells {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestImpossibleTravelBetweenSites takes one move, where the staff list says which
// ward is where.
func TestImpossibleTravelBetweenSites(t *testing.T) {
	ash, oak := seat{"PC-ASH", ""}, seat{"PC-OAK", ""}
	for name, row := range map[string]struct {
		sites [3]string // of ann and bob on ASH, of cat on OAK
		gap   time.Duration
		tells bool
	}{
		"two sites":                    {[3]string{"north", "north", "south"}, 9 * time.Minute, true},
		"time to drive":                {[3]string{"north", "north", "south"}, 10 * time.Minute, false},
		"one site":                     {[3]string{"north", "north", "north"}, 9 * time.Minute, false},
		"nobody knows":                 {[3]string{"north", "north", ""}, 9 * time.Minute, false},
		"who works there do not agree": {[3]string{"south", "north", "south"}, 9 * time.Minute, false},
	} {
		c := world()
		for i, site := range row.sites {
			c.Staff[i].Site = site
		}
		if got := says(run(c, between("dan", 2, row.gap, ash, oak)), "impossible-travel"); len(got) > 0 != row.tells {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestImpossibleTravelTrustsNoTerminalServer: what many accounts use at once, or
// what has stood on two wards, is nowhere.
func TestImpossibleTravelTrustsNoTerminalServer(t *testing.T) {
	oak := seat{"PC-OAK", ""}
	looks := between("ann", 6, 20*time.Second, seat{"PC-ASH", ""}, oak)
	desk := slices.Concat(looks, between("bob", 1, 0, oak), between("cat", 1, 0, oak))
	if got := says(run(world(), slices.Clone(desk)), "impossible-travel"); len(got) != 1 {
		t.Errorf("three at a desk: %v", got)
	}
	if got := says(run(world(), append(desk, between("dan", 1, 0, oak)...)), "impossible-travel"); len(got) > 0 {
		t.Errorf("a terminal server: %v", got)
	}
	c := world()
	c.Devices = append(c.Devices, feeds.Device{Device: "PC-OAK", Ward: "ELM"})
	if got := says(run(c, looks), "impossible-travel"); len(got) > 0 {
		t.Errorf("a workstation that was moved: %v", got)
	}
}
