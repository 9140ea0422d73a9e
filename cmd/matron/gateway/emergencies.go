package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy/breakglass"
)

const (
	// explainEach is how often it is asked whether care explains an emergency access.
	explainEach = 10 * time.Second
	// everybody is more people than a hospital has.
	everybody = 100_000
)

// emergencyReader shows emergency accesses in the words of the pages.
type emergencyReader struct{ g *Gateway }

// Emergencies implements dashboards.EmergencyReader.
func (r emergencyReader) Emergencies(ctx context.Context) ([]dashboards.Emergency, error) {
	found, err := r.g.emergency.Queue(ctx)
	return r.pages(found), err
}

// Emergency implements dashboards.EmergencyReader.
func (r emergencyReader) Emergency(ctx context.Context, id string) (dashboards.Emergency, error) {
	found, reviews, err := r.g.emergency.Find(ctx, id)
	if errors.Is(err, breakglass.ErrNoGrant) {
		return dashboards.Emergency{}, dashboards.ErrNoEmergency
	}
	e := r.page(found)
	for _, v := range reviews {
		e.Reviews = append(e.Reviews, dashboards.EmergencyReview{Made: v.Made, Name: v.Name, Verdict: string(v.Verdict), Note: v.Note})
	}
	return e, err
}

// Tally implements dashboards.EmergencyReader.
func (r emergencyReader) Tally(ctx context.Context, since time.Time) (roles, wards []dashboards.EmergencyTally, err error) {
	found, err := r.g.emergency.Since(ctx, since)
	if err != nil {
		return nil, nil, err
	}
	people, err := index{r.g.office}.People(ctx, audit.Query{Site: r.g.cfg.Site, From: since, Identified: true, Limit: everybody})
	if err != nil {
		return nil, nil, err
	}
	roles, wards = dashboards.EmergencyGroups(people, r.pages(found), r.g.wardOf)
	return roles, wards, nil
}

// Judge implements dashboards.EmergencyReader.
func (r emergencyReader) Judge(ctx context.Context, who policy.Subject, id, verdict, note string) error {
	err := r.g.emergency.Judge(ctx, who, id, breakglass.Verdict(verdict), note)
	switch {
	case errors.Is(err, breakglass.ErrNoGrant):
		return dashboards.ErrNoEmergency
	case errors.Is(err, breakglass.ErrOwnGrant), errors.Is(err, breakglass.ErrJudgedElse):
		return dashboards.ErrNotYours
	}
	return err
}

func (r emergencyReader) pages(found []breakglass.Grant) []dashboards.Emergency {
	list := make([]dashboards.Emergency, len(found))
	for i, g := range found {
		list[i] = r.page(g)
	}
	return list
}

func (r emergencyReader) page(g breakglass.Grant) dashboards.Emergency {
	e := dashboards.Emergency{
		ID: g.ID, Began: g.Began, Ended: g.Ended, Due: workingDays(g.Began, r.g.cfg.BreakGlass.ReviewDays, r.g.detection.location),
		Issuer: g.Issuer, Sub: g.Sub, Person: g.Person, PersonName: g.Name, Roles: g.Roles, Ward: r.g.wardOf(g.Person),
		Patient: g.Patient.ID, NHSNumber: g.Patient.NHSNumber, Area: string(g.Area), Refused: g.Refused,
		Reason: r.g.emergency.ReasonText(g.Reason), Note: g.Note, Unproved: g.Again == breakglass.AgainUnavailable,
		Explained: g.Explained, Evidence: g.Evidence, Verdict: string(g.Verdict), Judged: g.Judged, Receipt: g.Receipt,
	}
	if e.Ended.IsZero() {
		e.Ended = g.Until
	}
	return e
}

// workingDays is the same time of day that many working days later, Monday to Friday:
// the gateway knows no bank holidays.
func workingDays(from time.Time, days int, where *time.Location) time.Time {
	day := from.In(where)
	for n := 0; n < days; {
		day = day.AddDate(0, 0, 1)
		if w := day.Weekday(); w != time.Saturday && w != time.Sunday {
			n++
		}
	}
	return day
}

// wardOf is where a person works first of all, as the staff list says; "" unknown.
func (g *Gateway) wardOf(person string) string { return g.detection.told.Load().wards[person] }

// explainEmergencies asks again and again whether care explains an emergency access.
func (g *Gateway) explainEmergencies(ctx context.Context) error {
	if g.care == nil {
		return nil
	}
	tick := time.NewTicker(explainEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, err := g.emergency.Explain(ctx, g.cared); err != nil && ctx.Err() == nil {
			g.log.LogAttrs(ctx, slog.LevelError, "whether care explains emergency accesses is not known", slog.Any("error", err))
		}
	}
}

// cared reports whether the register knows by now that the person of an emergency
// access cared for its patient at a time.
func (g *Gateway) cared(e breakglass.Grant, at time.Time) (evidence string, ok bool) {
	since, ok := g.CareSince(e.Person, e.App, e.Patient, at)
	if !ok || since.After(at) { // a plan explains nothing yet
		return "", false
	}
	return "The register of care relationships: since " + since.In(g.detection.location).Format("2 January 2006, 15:04"), true
}
