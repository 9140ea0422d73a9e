package fake

import (
	"context"
	"fmt"
	"time"

	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/policy"
)

// Emergencies is a dashboards.EmergencyReader in memory.
type Emergencies struct {
	Found    []dashboards.Emergency
	Judged   []string // what was made of them
	Err      error    // what every question is answered with
	TallyErr error
}

// NewEmergencies has one of each kind: waiting too long, waiting, to be talked about,
// the viewer's own, and done.
func NewEmergencies() *Emergencies {
	now := Now()
	made := func(id, name string, ago, due time.Duration) dashboards.Emergency {
		return dashboards.Emergency{
			ID: id, Began: now.Add(-ago), Ended: now.Add(time.Hour - ago), Due: now.Add(due), Issuer: "https://id.example", Sub: name,
			Person: "S-" + name, PersonName: name, Roles: []string{"doctor"}, Ward: "ED", Patient: "1001", NHSNumber: "9990000018", Area: "notes",
			Refused: []string{"no-relationship"}, Reason: "An emergency: the patient needs care now", Receipt: "gw1/1234",
		}
	}
	late := made("BG-OLD1", "Ada Example", 9*24*time.Hour, -24*time.Hour)
	late.Note, late.Unproved = "Handed over by phone.", true
	fresh := made("BG-NEW2", "Ben Example", 3*time.Hour, 5*24*time.Hour)
	fresh.Explained, fresh.Evidence = now.Add(-time.Hour), "The register of care relationships: since 3 November 2026, 13:40"
	talk := made("BG-TALK", "Cat Example", 2*time.Hour, 5*24*time.Hour)
	talk.Verdict, talk.Reviews = "needs-talk", []dashboards.EmergencyReview{{Made: now.Add(-time.Hour), Name: "Pat Officer", Verdict: "needs-talk", Note: "Asked their manager."}}
	mine := made("BG-MINE", "Me", time.Hour, 5*24*time.Hour)
	me := Subject()
	mine.Issuer, mine.Sub, mine.Person, mine.PersonName = me.Issuer, me.Sub, me.Person, me.Name
	done := made("BG-DONE", "Dan Example", 20*24*time.Hour, -13*24*time.Hour)
	done.Verdict, done.Judged = "justified", now.Add(-15*24*time.Hour)
	return &Emergencies{Found: []dashboards.Emergency{late, fresh, talk, mine, done}}
}

// Emergencies implements dashboards.EmergencyReader.
func (f *Emergencies) Emergencies(context.Context) ([]dashboards.Emergency, error) {
	return f.Found, f.Err
}

// Emergency implements dashboards.EmergencyReader.
func (f *Emergencies) Emergency(_ context.Context, id string) (dashboards.Emergency, error) {
	for _, e := range f.Found {
		if e.ID == id {
			return e, f.Err
		}
	}
	return dashboards.Emergency{}, dashboards.ErrNoEmergency
}

// Tally implements dashboards.EmergencyReader.
func (f *Emergencies) Tally(context.Context, time.Time) (roles, wards []dashboards.EmergencyTally, err error) {
	if f.TallyErr != nil || len(f.Found) == 0 {
		return nil, nil, f.TallyErr
	}
	return []dashboards.EmergencyTally{{Group: "doctor", Accesses: 12_345, Count: 5, Explained: 1, Judged: 1, InTime: 1}},
		[]dashboards.EmergencyTally{{Group: "ED", Accesses: 845, Count: 4, Explained: 1}, {Group: "", Count: 1, Judged: 1, InTime: 1}}, nil
}

// Judge implements dashboards.EmergencyReader.
func (f *Emergencies) Judge(_ context.Context, who policy.Subject, id, verdict, note string) error {
	f.Judged = append(f.Judged, fmt.Sprintf("%s %s %s %s", who.Person, id, verdict, note))
	return f.Err
}
