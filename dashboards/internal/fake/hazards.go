package fake

import "github.com/matron-epr/matron/hazardlog"

// Hazards is a small hazard log: one rated hazard, one graver one, and one that
// nobody has rated.
func Hazards() hazardlog.Log {
	return hazardlog.Log{
		Title:    "Example gateway hazard log",
		Approval: hazardlog.Approval{State: "draft", Note: "Proposed by engineers; no clinical safety officer has approved it."},
		Hazards: []hazardlog.Hazard{
			{
				ID: "GW-01", Name: "Access refused when the record is needed urgently", Effect: "The gateway refuses a clinician who may see the record.",
				Hazard: "The clinician treats without the record.", Harm: "A known allergen is given.",
				Causes:   []string{"The care relationship is not known yet", "A rule refuses more than was meant"},
				Initial:  hazardlog.Rating{Severity: hazardlog.Major, Likelihood: hazardlog.Medium, Justification: "A default of refusing will refuse wrongly at times."},
				Residual: hazardlog.Rating{Severity: hazardlog.Major, Likelihood: hazardlog.Low, Justification: "Break-glass is one step away."},
				Controls: []hazardlog.Control{
					{Type: hazardlog.BusinessProcess, Timing: hazardlog.Existing, Status: hazardlog.InPlace, Text: "Ask a colleague who has the record open."},
					{ID: "C-01", Type: hazardlog.Design, Timing: hazardlog.Additional, Status: hazardlog.Proposed, Text: "Every refusal offers break-glass in two steps or fewer."},
				},
				Owner: "Clinical safety officer", Status: hazardlog.Open, Transfer: "Name the wards in which refusals are turned into warnings.",
			},
			{
				ID: "GW-02", Name: "The gateway fails and nobody reaches the record", Effect: "No request passes.",
				Hazard: "Care goes on without the record.", Harm: "Treatment is delayed.", Causes: []string{"Hardware fails"},
				Initial:  hazardlog.Rating{Severity: hazardlog.Catastrophic, Likelihood: hazardlog.Low, Justification: "Every ward at once."},
				Residual: hazardlog.Rating{Severity: hazardlog.Catastrophic, Likelihood: hazardlog.VeryLow, Justification: "A second gateway takes over."},
				Controls: []hazardlog.Control{{ID: "C-08", Type: hazardlog.Design, Timing: hazardlog.Additional, Status: hazardlog.Verified, Text: "A bypass that two people switch on."}},
				Owner:    "Head of infrastructure", Status: hazardlog.Transferred,
			},
			{
				ID: "GW-03", Name: "A rate limit stops a busy ward", Effect: "Requests are refused as too many.",
				Hazard: "Results are not seen in time.", Harm: "Deterioration is missed.", Causes: []string{"A shared workstation"},
				Owner: "Clinical safety officer", Status: hazardlog.Open,
			},
		},
	}
}
