package main

import (
	"slices"
	"time"

	"github.com/matron-epr/matron/audit"
)

// twinWithin is how far apart the gateway and another system write down one access.
const twinWithin = 2 * time.Second

// look is what two accounts of one access have in common besides the time.
type look struct{ person, patient, action string }

// witnessed is when the gateway saw each look of one day, in the order of time.
type witnessed map[look][]int64

func (w witnessed) add(r *audit.Record) {
	l := look{r.Person, r.Patient, r.Action}
	if (l.action == "search" || l.action == "list") && r.PatientSource != audit.SourceResponse {
		l.action = "read" // of one patient, whom the request names
	}
	w[l] = append(w[l], r.Time.UnixMicro())
}

// has says whether the gateway saw an imported access itself: the same person,
// patient and action at the same time. It then counts as that.
func (w witnessed) has(r *audit.Imported) bool {
	at, within := r.Time.UnixMicro(), twinWithin.Microseconds()
	times := w[look{r.Person, r.Patient, r.Action}]
	i, _ := slices.BinarySearch(times, at-within)
	return i < len(times) && times[i] <= at+within
}
