package detect

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit/feeds"
)

// maxAtAddress is how many patients may share an address before it says nothing:
// a hall of residence is no household.
const maxAtAddress = 6

func ownDetector() Detector       { return Detector{"own-record", 1} }
func householdDetector() Detector { return Detector{"household", 1} }
func bulkDetector() Detector      { return Detector{"bulk-opening", 1} }

// incident is what one person did to one patient on one day.
type incident struct {
	site, person, patient, day string
}

// group collects accesses that keep accepts, in the order of their first one.
func (r *run) group(accesses []access, keep func(access) bool) (order []incident, groups map[incident][]access) {
	groups = map[incident][]access{}
	for _, a := range accesses {
		if !keep(a) {
			continue
		}
		k := incident{a.site, a.person, a.patient, r.day(a.at)}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], a)
	}
	return order, groups
}

func (r *run) day(t time.Time) string { return t.In(r.cfg.Location).Format(time.DateOnly) }

// own finds people in their own record. It is always put to a reviewer, with
// whatever explains it: some hospitals allow it and only want to know.
func (r *run) own(accesses []access) []Alert {
	order, groups := r.group(accesses, r.isOwn)
	var out []Alert
	for _, k := range order {
		out = append(out, r.alert(OwnRecord, ownDetector(), k, groups[k],
			"The NHS number of the record is the person's own.",
			r.viewed(groups[k])))
	}
	return out
}

func (r *run) isOwn(a access) bool {
	p := r.patients[a.patient]
	return slices.ContainsFunc(r.staff[a.person], func(s feeds.Staff) bool { return s.NHS.Same(p.NHS) })
}

// household finds people in the record of somebody they live with, or of the
// same surname at the same postcode, where no work explains it.
func (r *run) household(accesses []access) []Alert {
	order, groups := r.group(accesses, func(a access) bool {
		return len(a.why) == 0 && !r.isOwn(a) && r.relation(a) != ""
	})
	var out []Alert
	for _, k := range order {
		out = append(out, r.alert(Household, householdDetector(), k, groups[k],
			r.relation(groups[k][0]), r.viewed(groups[k]), r.unexplained()))
	}
	return out
}

// relation says how person and patient are related by the lists, or nothing.
func (r *run) relation(a access) string {
	p := r.patients[a.patient]
	var name, home, unit bool
	for _, s := range r.staff[a.person] {
		name = name || s.Family.Same(p.Family)
		home = home || s.Address.Same(p.Address) && r.crowds[p.Address] <= maxAtAddress
		unit = unit || s.Unit.Same(p.Unit)
	}
	switch {
	case name && home:
		return "The person and the patient have the same surname and address."
	case home:
		return "The person and the patient have the same address."
	case name && unit:
		return "The person and the patient have the same surname and postcode."
	}
	return ""
}

// bulk finds people who open many records that nothing explains within minutes:
// one question a person and day.
func (r *run) bulk(accesses []access) []Alert {
	order, groups := r.group(accesses, func(a access) bool { return len(a.why) == 0 })
	days := map[incident][]access{}
	var people []incident
	for _, k := range order {
		one := incident{k.site, k.person, "", k.day}
		if days[one] == nil {
			people = append(people, one)
		}
		days[one] = append(days[one], groups[k]...)
	}
	var out []Alert
	for _, k := range people {
		all := days[k]
		slices.SortStableFunc(all, func(a, b access) int { return a.at.Compare(b.at) })
		limit := r.cfg.limit(all[0].roles)
		found, most := r.crowded(all, limit)
		if found == nil {
			continue
		}
		out = append(out, r.alert(Bulk, bulkDetector(), k, found,
			fmt.Sprintf("%d different patients' records were viewed within %s; the usual limit for the role is %d.", most, minutes(r.cfg.BulkWindow), limit),
			r.unexplained()))
	}
	return out
}

// crowded returns the accesses of every window with more than limit patients, and
// the most patients in one window. Accesses are in the order of time.
func (r *run) crowded(all []access, limit int) (found []access, most int) {
	within := map[string]int{}
	marked := -1 // last access taken into found
	first := 0
	for i, a := range all {
		within[a.patient]++
		for all[first].at.Before(a.at.Add(-r.cfg.BulkWindow)) {
			leave(within, all[first].patient)
			first++
		}
		if len(within) <= limit {
			continue
		}
		most = max(most, len(within))
		for j := max(first, marked+1); j <= i; j++ {
			found = append(found, all[j])
		}
		marked = i
	}
	return found, most
}

func leave(within map[string]int, patient string) {
	within[patient]--
	if within[patient] == 0 {
		delete(within, patient)
	}
}

func minutes(d time.Duration) string { return strconv.Itoa(int(d.Minutes())) + " minutes" }

// viewed says how often and when, in the hospital's time.
func (r *run) viewed(all []access) string {
	first := all[0].at.In(r.cfg.Location)
	times := "once"
	if len(all) > 1 {
		times = strconv.Itoa(len(all)) + " times"
	}
	return fmt.Sprintf("It was viewed %s on %s, first at %s.", times, first.Format("2 January 2006"), first.Format("15:04:05"))
}

// unexplained says what was looked for and not found.
func (r *run) unexplained() string {
	if r.context.Care == nil || r.context.Staff == nil {
		return "Not yet explained: there is no care feed or no staff list to look in."
	}
	return "Not yet explained: no stay, list, referral, result, letter or task that leads to the person is known."
}

func (r *run) alert(kind Kind, d Detector, k incident, all []access, sentences ...string) Alert {
	a := Alert{
		ID: k.id(d), Made: all[len(all)-1].at, Kind: kind, Detector: d, Site: k.site, Person: k.person,
		Days: []string{k.day}, Sentences: sentences, Explanations: []Explanation{},
	}
	for _, one := range all {
		if !slices.Contains(a.Patients, one.patient) {
			a.Patients = append(a.Patients, one.patient)
		}
		a.Evidence = append(a.Evidence, one.ref)
		for _, e := range one.why {
			if !slices.Contains(a.Explanations, e) {
				a.Explanations = append(a.Explanations, e)
			}
		}
	}
	slices.Sort(a.Patients)
	return a
}

// id is the same for the same finding, whatever else is in the input, and tells
// nothing about the patient.
func (k incident) id(d Detector) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{d.ID, strconv.Itoa(d.Version), k.site, k.person, k.patient, k.day}, "\x00")))
	return hex.EncodeToString(sum[:12])
}
