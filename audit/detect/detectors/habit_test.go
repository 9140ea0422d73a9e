package detectors_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/feeds"
)

// habits are a few porters who look at where a patient is to go, nurses who read
// results too, and what one porter, who is the last, looks at besides.
func habits(porters, nurses, results int, profession string) (feeds.Context, []look) {
	c := world()
	c.Staff = nil
	var looks []look
	add := func(role string, n, looksEach int, screens ...string) {
		for i := range n {
			p := fmt.Sprint(role, i)
			c.Staff = append(c.Staff, feeds.Staff{Person: p, Roles: []string{role}, Profession: profession})
			for k := range looksEach {
				looks = append(looks, look{
					person: p, patient: fmt.Sprint(p, "-", k), at: at(k%20, k/20), strong: true, more: audit.Imported{Screen: screens[k%len(screens)]},
				})
			}
		}
	}
	add("porter", porters, 200, "where")
	add("nurse", nurses, 200, "where", "results")
	last := fmt.Sprint("porter", porters-1)
	looks = append(looks, many(results, look{person: last, at: at(3, 30), strong: true, more: audit.Imported{Screen: "results"}}, time.Minute, "r-")...)
	return c, looks
}

// TestRoleMismatch: a porter who reads results, which no porter does.
func TestRoleMismatch(t *testing.T) {
	for name, row := range map[string]struct {
		porters, nurses, results int
		tells                    bool
	}{
		"three results":                     {16, 0, 3, true},
		"fourteen others are few":           {15, 0, 3, false},
		"two may be a slip":                 {16, 0, 2, false},
		"a small role and everybody":        {6, 0, 3, false}, // who are no more than the role
		"a small role, nurses do it":        {6, 20, 3, false},
		"nobody to compare with":            {5, 0, 3, false},
		"a small role unlike anybody":       {6, -20, 3, true},
		"smaller ones are not compared":     {5, -20, 3, false},
		"others of the hospital do, a role": {16, 20, 3, true},
	} {
		c, looks := habits(row.porters, max(row.nurses, 0), row.results, "")
		if row.nurses < 0 { // nurses who do not read results
			for i := range -row.nurses {
				p := fmt.Sprint("nurse", i)
				c.Staff = append(c.Staff, feeds.Staff{Person: p, Roles: []string{"nurse"}})
				looks = append(looks, many(200, look{person: p, at: at(2, 0), strong: true, more: audit.Imported{Screen: "where"}}, time.Second, p)...)
			}
		}
		got := says(run(c, looks), "role-mismatch")
		if len(got) > 0 != row.tells || row.tells && got[0] != float64(row.results) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestRoleMismatchNeedsLooksOfPeers: fifteen people who hardly look at anything have
// no habits.
func TestRoleMismatchNeedsLooksOfPeers(t *testing.T) {
	c, looks := habits(16, 0, 3, "")
	few := slices.DeleteFunc(looks, func(l look) bool { return l.more.Screen == "where" && l.at.Before(at(8, 0)) })
	if got := says(run(c, few), "role-mismatch"); len(got) > 0 {
		t.Errorf("%v", got)
	}
}

// TestRoleMismatchIsByPeers: what one in twenty of the others did is no mismatch,
// however rarely they do it, nor what they do often.
func TestRoleMismatchIsByPeers(t *testing.T) {
	for others, tells := range map[int]bool{1: true, 2: false} {
		c, looks := habits(21, 0, 3, "") // twenty others
		for i := range others {
			p := fmt.Sprint("porter", i)
			looks = append(looks, look{person: p, patient: "x", at: at(1, 0), strong: true, more: audit.Imported{Screen: "results"}})
		}
		if got := says(run(c, looks), "role-mismatch"); len(got) > 0 != tells {
			t.Errorf("%d of the others did it: %v", others, got)
		}
	}
	c, looks := habits(21, 0, 3, "")
	looks = append(looks, many(5, look{person: "porter0", at: at(1, 0), strong: true, more: audit.Imported{Screen: "results"}}, 24*time.Hour, "x")...)
	if got := says(run(c, looks), "role-mismatch"); len(got) > 0 {
		t.Errorf("one of the others does it often: %v", got)
	}
}

// TestRoleMismatchOfSmallRolesIsByProfession before it is by everybody.
func TestRoleMismatchOfSmallRolesIsByProfession(t *testing.T) {
	c, looks := habits(6, 20, 3, "support") // nurses read results
	for i := range c.Staff {
		if c.Staff[i].Roles[0] == "nurse" {
			c.Staff[i].Profession = "nursing"
		}
	}
	for i := range 20 { // cleaners of the porters' profession do not
		p := fmt.Sprint("cleaner", i)
		c.Staff = append(c.Staff, feeds.Staff{Person: p, Roles: []string{"cleaner"}, Profession: "support"})
		looks = append(looks, many(200, look{person: p, at: at(2, 0), strong: true, more: audit.Imported{Screen: "where"}}, time.Second, p)...)
	}
	if got := says(run(c, slices.Clone(looks)), "role-mismatch"); len(got) != 1 {
		t.Errorf("%v", got)
	}
	looks = append(looks, look{person: "porter0", patient: "x", at: at(1, 0), strong: true, more: audit.Imported{Screen: "results"}})
	if got := says(run(c, looks), "role-mismatch"); len(got) > 0 {
		t.Errorf("one of six did it too: %v", got)
	}
}
