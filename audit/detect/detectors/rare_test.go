package detectors_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/feeds"
)

// TestSensitivePart: a part of the record that the role hardly ever opens.
func TestSensitivePart(t *testing.T) {
	looks := many(2500, look{person: "bob", at: at(1, 0), strong: true, more: audit.Imported{Screen: "notes"}}, time.Second, "p-")
	rare := look{person: "ann", patient: "x", at: at(3, 0), more: audit.Imported{Screen: "psychiatry"}}
	if got := says(run(world(), append(looks, rare)), "sensitive"); len(got) != 1 {
		t.Errorf("%v", got)
	}
	rare.more.Screen = "notes"
	if got := says(run(world(), append(looks, rare)), "sensitive"); len(got) > 0 {
		t.Errorf("what all open: %v", got)
	}
}

// TestManySearches and few records opened.
func TestManySearches(t *testing.T) {
	for n, want := range map[int]int{12: 1, 9: 0} {
		looks := []look{{person: "ann", patient: "x", at: at(3, 30)}}
		for i := range n {
			looks = append(looks, look{person: "ann", action: "search", at: at(3, i)})
		}
		if got := says(run(world(), looks), "search-only"); len(got) != want {
			t.Errorf("%d searches: %v", n, got)
		}
	}
}

// TestDemographicSkew: nine young women in a role that sees old men, not nine of them.
func TestDemographicSkew(t *testing.T) {
	c := world()
	for i := range 60 {
		c.Patients = append(c.Patients, feeds.Patient{ID: fmt.Sprint("man", i), Sex: "male", Born: at(0, 0).AddDate(-70, 0, 0)})
	}
	for i := range 9 {
		c.Patients = append(c.Patients, feeds.Patient{ID: fmt.Sprint("woman", i), Sex: "female", Born: at(0, 0).AddDate(-30, 0, 0)})
	}
	for name, want := range map[string]int{"woman": 1, "man": 0} {
		looks := many(60, look{person: "bob", at: at(1, 0), strong: true}, time.Minute, "man")
		looks = append(looks, many(9, look{person: "ann", at: at(3, 0)}, time.Minute, name)...)
		if got := says(run(c, looks), "demographic-skew"); len(got) != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
