package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// alerting is a hospital whose staff do what they should not.
type alerting struct {
	*site
	owner, relative, secretary hospital.Staff
	vip                        string
	onlookers                  []hospital.Staff
}

func newAlerting(t *testing.T) *alerting {
	t.Helper()
	a := &alerting{site: newRecordSite(t)}
	if err := a.hospital.WriteFiles(a.dir); err != nil {
		t.Fatal(err)
	}
	a.unlimited()
	a.edit("applications:", "detection: {staff: staff.ndjson, patients: patients.ndjson, care: care.ndjson, every: 300ms}\napplications:")
	reads := func(p hospital.Staff) bool { return p.Role() == hospital.Nurse || p.Role() == hospital.Doctor }
	for _, p := range a.hospital.Staff {
		at := a.hospital.Households[p.Person]
		switch {
		case a.owner.Person == "" && reads(p) && p.PatientID != "":
			a.owner = p
		case a.relative.Person == "" && reads(p) && len(at) > 0:
			a.relative = p
		case a.secretary.Person == "" && p.Role() == hospital.MedicalSecretary:
			a.secretary = p
		}
	}
	i := slices.IndexFunc(a.hospital.Patients, func(p hospital.Patient) bool { return slices.Contains(p.Flags, "vip") })
	a.vip = a.hospital.Patients[i].ID
	departments := map[string]bool{}
	for _, p := range a.hospital.Staff {
		cared := slices.ContainsFunc(a.hospital.Care, func(c hospital.Care) bool { return c.Patient == a.vip && slices.Contains(p.Wards, c.Ward) })
		if reads(p) && len(p.Wards) > 0 && !cared && !departments[p.Wards[0]] && len(a.onlookers) < 4 && p.PatientID == "" {
			departments[p.Wards[0]] = true
			a.onlookers = append(a.onlookers, p)
		}
	}
	if a.owner.Person == "" || a.relative.Person == "" || a.secretary.Person == "" || len(a.onlookers) < 3 {
		t.Fatalf("nobody in the hospital fits: %+v", a)
	}
	return a
}

func (a *alerting) opens(c *http.Client, patient string) {
	a.t.Helper()
	if status, body := a.send(c, http.MethodGet, "/fhir/Patient/"+patient, "", nil); status != http.StatusOK {
		a.t.Fatalf("%d %s", status, body)
	}
}

// alerts are those that are stored.
func (a *alerting) alerts() []detect.Alert {
	a.t.Helper()
	var out []detect.Alert
	for text := range strings.Lines(a.run("alerts", "list", "-c", a.config, "--json")) {
		var one detect.Alert
		decode(a.t, []byte(text), &one)
		out = append(out, one)
	}
	return out
}

// asked waits for an alert.
func (a *alerting) asked(what string, match func(detect.Alert) bool) (found detect.Alert) {
	a.t.Helper()
	a.eventually(what, func() error {
		all := a.alerts()
		i := slices.IndexFunc(all, match)
		if i < 0 {
			return fmt.Errorf("%d alerts, none is about it", len(all))
		}
		found = all[i]
		return nil
	})
	return found
}

// TestMisuseIsAskedAboutWhileItHappens: through a real gateway and a real index, one's
// own record, somebody of the household, record after record, a crowd around somebody
// known; over a restart and a change of the staff list; each once, and on record with
// what it was judged by.
//
// hazard:GW-28 control:C-216
func TestMisuseIsAskedAboutWhileItHappens(t *testing.T) {
	t.Parallel()
	a := newAlerting(t)
	staff := a.read("staff.ndjson")
	var without []string
	for line := range strings.Lines(staff) {
		if !strings.Contains(line, `"`+a.owner.Person+`"`) {
			without = append(without, line)
		}
	}
	a.write("staff.ndjson", strings.Join(without, ""))
	a.start()
	a.opens(a.enter(a.relative.Person), a.hospital.Households[a.relative.Person][0])
	for _, p := range a.onlookers {
		a.opens(a.enter(p.Person), a.vip)
	}
	secretary := a.enter(a.secretary.Person)
	opened := 0
	for i := 0; opened < 22; i += 2 {
		if p := a.hospital.Patients[i]; !slices.Contains(p.Flags, "staff") && !slices.Contains(p.Flags, "vip") {
			a.opens(secretary, p.ID)
			time.Sleep(260 * time.Millisecond) // slower than a program that fetches a list
			opened++
		}
	}
	household := a.asked("household", func(d detect.Alert) bool { return d.Kind == "household" && d.Person == a.relative.Person })
	if household.Versions["household"] == 0 || len(household.Evidence) == 0 || len(household.Sentences) == 0 || household.Raised.Before(household.Made) {
		t.Errorf("%+v", household)
	}
	a.asked("bulk", func(d detect.Alert) bool { return d.Kind == "bulk" && d.Person == a.secretary.Person })
	a.asked("crowd", func(d detect.Alert) bool {
		return d.Kind == "vip-crowd" && d.Person == "" && slices.Equal(d.Patients, []string{a.vip}) && len(d.People) > 1
	})
	a.stop()
	before := a.alerts()

	a.start()
	a.write("staff.ndjson", staff)
	a.eventually("the staff list is taken in", func() error {
		if !slices.ContainsFunc(a.alerts(), func(d detect.Alert) bool { return d.Kind == "own-record" && d.Person == a.owner.Person }) {
			a.opens(a.enter(a.owner.Person), a.owner.PatientID)
			return errors.New("one's own record is not asked about")
		}
		return nil
	})
	fresh, kinds := 0, ""
	for _, d := range a.alerts() {
		if !slices.ContainsFunc(before, func(b detect.Alert) bool { return b.ID == d.ID }) {
			fresh++
			kinds += " " + d.Kind
		}
	}
	if fresh != 1 {
		t.Errorf("%d alerts after the restart, want the one about the own record:%s", fresh, kinds)
	}
	if n, err := strconv.Atoi(a.metric("matron_alert_delay_seconds_count")); n != fresh || err != nil {
		t.Errorf("the delay of %d alerts was measured, %v", n, err)
	}
	a.stop()
	var told []string
	for _, r := range a.records() {
		if r.Kind == audit.KindDetection {
			told = append(told, strings.Join(r.Detail, " "))
		}
	}
	if len(told) != 3 || strings.Count(told[2], "sha256=") != 3 || !strings.Contains(told[2], "state=feeds-read") || !strings.Contains(told[2], fmt.Sprintf("feed=staff rows=%d ", strings.Count(staff, "\n"))) {
		t.Errorf("on record: %q", told)
	}
}
