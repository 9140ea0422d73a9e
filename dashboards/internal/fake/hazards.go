package fake

import (
	"context"
	"time"

	"github.com/matron-epr/matron/hazardlog"
)

// Hazards is a reader of one hazard log.
type Hazards struct {
	Log hazardlog.Log
	Err error
}

// Hazards implements dashboards.HazardReader.
func (h Hazards) Hazards(context.Context) (hazardlog.Log, error) { return h.Log, h.Err }

// HazardLog is a small hazard log: one rated hazard, one graver one, and one
// that nobody has rated.
func HazardLog() hazardlog.Log {
	const owner = "Clinical safety officer"
	raise := func(v hazardlog.Value) hazardlog.Change { return hazardlog.Change{Act: hazardlog.Raise, Value: v} }
	l, _, err := hazardlog.Begin("example").Record(Now(), hazardlog.Actor{Issuer: "os", Account: "engineer"}, func() string { return Now().Format(time.RFC3339) },
		hazardlog.Change{Act: hazardlog.OpenLog, Value: hazardlog.Head{
			Title: "Example gateway hazard log", Role: hazardlog.Manufacturer, StandardID: "dcb0129-4.2",
		}},
		raise(hazardlog.Hazard{
			ID: "GW-01", Name: "Access refused when the record is needed urgently", Effect: "The gateway refuses a clinician who may see the record.",
			Hazard: "The clinician treats without the record.", Harm: "A known allergen is given.",
			Causes:   []string{"The care relationship is not known yet", "A rule refuses more than was meant"},
			Initial:  proposed("Major", "Medium", "A default of refusing will refuse wrongly at times."),
			Residual: proposed("Major", "Low", "Break-glass is one step away."),
			Owner:    owner, Status: hazardlog.Open,
		}),
		raise(hazardlog.Hazard{
			ID: "GW-02", Name: "The gateway fails and nobody reaches the record", Effect: "No request passes.",
			Hazard: "Care goes on without the record.", Harm: "Treatment is delayed.", Causes: []string{"Hardware fails"},
			Initial:  proposed("Catastrophic", "Low", "Every ward at once."),
			Residual: proposed("Catastrophic", "Very Low", "A second gateway takes over."),
			Owner:    "Head of infrastructure", Status: hazardlog.Transferred,
		}),
		raise(hazardlog.Hazard{
			ID: "GW-03", Name: "A rate limit stops a busy ward", Effect: "Requests are refused as too many.",
			Hazard: "Results are not seen in time.", Harm: "Deterioration is missed.", Causes: []string{"A shared workstation"},
			Owner: owner, Status: hazardlog.Open,
		}),
		raise(hazardlog.Control{
			ID: "C-01", Hazards: []string{"GW-01"}, Type: hazardlog.Design, Timing: hazardlog.Additional, Status: hazardlog.Proposed,
			Text: "Every refusal offers break-glass in two steps or fewer.",
		}),
		raise(hazardlog.Control{
			ID: "C-02", Hazards: []string{"GW-01"}, Type: hazardlog.BusinessProcess, Timing: hazardlog.Existing, Status: hazardlog.InPlace,
			Text: "Ask a colleague who has the record open.",
		}),
		raise(hazardlog.Control{
			ID: "C-08", Hazards: []string{"GW-02"}, Type: hazardlog.Design, Timing: hazardlog.Additional, Status: hazardlog.Verified,
			Text: "A bypass that two people switch on.",
		}),
		raise(hazardlog.Transfer{
			ID: "T-01", Hazard: "GW-01", Condition: "Name the wards in which refusals are turned into warnings.", To: "Example Hospital", State: hazardlog.Offered,
		}),
	)
	if err != nil {
		panic(err) // a mistake in the lines above
	}
	return l
}

func proposed(severity hazardlog.Severity, likelihood hazardlog.Likelihood, why string) hazardlog.Rating {
	return hazardlog.Rating{Severity: severity, Likelihood: likelihood, Justification: why, State: hazardlog.RatingProposed}
}
