package fake

import (
	"context"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/policy"
)

// Decisions explains every record in the same way.
type Decisions struct {
	Why     dashboards.Explanation
	Today   bool
	Allowed bool // as it was recorded
	Unasked string
	Err     error
	Read    func() // told when a decision is read; nil for nobody
}

// Decision implements dashboards.DecisionReader.
func (f Decisions) Decision(_ context.Context, source string, seq uint64) (dashboards.Decision, error) {
	if f.Read != nil {
		f.Read()
	}
	r := audit.Record{
		Source: source, Seq: seq, Kind: audit.KindDecision, Time: Now(), Site: Site, App: "fhir", Route: "fhir-create", Action: "create",
		Area: "prescribing", Resource: "MedicationRequest", NHSNumber: Patient, Person: Nurse, UserName: "Sam Nightshift",
		Roles: []string{"nurse"}, Effect: "deny", Reasons: []string{"role-not-permitted"}, PolicyRev: "2f0c1d9e8b7a6f5e4d3c2b1a09f8e7d6",
	}
	if f.Allowed {
		r.Effect, r.Reasons = "allow", nil
	}
	return dashboards.Decision{Record: r, Why: f.Why, Today: f.Today, Unasked: f.Unasked}, f.Err
}

// Refusal is how rules come to refuse a nurse who prescribes.
func Refusal() dashboards.Explanation {
	return dashboards.Explanation{
		Effect: "deny", Revision: "2f0c1d9e8b7a6f5e4d3c2b1a09f8e7d6", DecidedBy: []string{"role-not-permitted@explain.rego:61"},
		Reasons: []policy.Reason{{
			Code: "role-not-permitted", Text: "Your role (nurse) may not add to prescriptions.",
			Remedy: "Ask somebody who may: doctor, pharmacist. If your role is wrong, ring the service desk and read out the reference.",
		}},
		Rules: []dashboards.ConsideredRule{
			{Name: "known", Place: "access.rego:12", Reached: true, Held: true},
			{Name: "basis role-table", Place: "access.rego:48", Reached: true, Stopped: "access.rego:52"},
			{Name: "basis everyone", Place: "access.rego:88", Reached: false},
			{Name: "reasons role-not-permitted", Place: "explain.rego:61", Reached: true, Held: true},
		},
		Facts: []dashboards.Fact{
			{Name: "subject.roles", Value: `["nurse"]`},
			{Name: "patients", Value: `["` + Patient + `"]`},
			{Name: "subject.auth_time", Value: `"2026-11-03T09:58:00Z"`, Age: 4 * time.Hour},
		},
		Changes: [][]string{{"with the role doctor"}, {"with the role pharmacist"}},
	}
}

// RuleBook remembers what it was asked.
type RuleBook struct {
	State dashboards.RulesState
	Asked []dashboards.RulesChange
	Err   error
}

// Rules implements dashboards.RuleBook.
func (f *RuleBook) Rules(context.Context) (dashboards.RulesState, error) { return f.State, nil }

// Change implements dashboards.RuleBook.
func (f *RuleBook) Change(_ context.Context, c dashboards.RulesChange) error {
	f.Asked = append(f.Asked, c)
	return f.Err
}

// Promoting is a hospital in which two candidates wait.
func Promoting() dashboards.RulesState {
	act := func(by, reason string, ago time.Duration) *dashboards.RulesAct {
		return &dashboards.RulesAct{By: by, Reason: reason, At: Now().Add(-ago)}
	}
	replayed := dashboards.RulesProposal{
		ID: "P0a1b2c3d", Revision: "7d3b5c0e91aa42f0b1c2d3e4f5061728", Staged: *act("account ops", "ward clerks no longer search", 3*time.Hour),
		Proposed: act("Alex Okafor", "agreed by the board on 2 November", 2*time.Hour), NeedsMark: true,
		Missing: []string{"the mark of a clinical safety officer", "somebody else who approves it"},
		From:    Now().AddDate(0, 0, -7), To: Now(), MadeAt: Now().Add(-3 * time.Hour), MadeBy: "ops",
		Decisions: 1_204_311, Denied: 17, Care: 12, People: 4, Allowed: 3,
		DeniedRoles:  []dashboards.RulesCount{{Name: "ward-clerk", Count: 15}, {Name: "receptionist", Count: 2}},
		DeniedWards:  []dashboards.RulesCount{{Name: "Ash", Count: 12}, {Count: 5}},
		DeniedRoutes: []dashboards.RulesCount{{Name: "fhir fhir-search", Count: 17}},
		Changes: []dashboards.RulesEffect{
			{Was: "allow", Now: "deny", Roles: "ward-clerk", Ward: "Ash", App: "fhir", Route: "fhir-search", Action: "search", Area: "demographics", Because: "role-not-permitted", Requests: 12, People: 2, Examples: []string{"gw1/41", "gw1/97"}},
			{Was: "deny", Now: "allow", Roles: "pharmacist", App: "fhir", Route: "fhir-read", Action: "read", Area: "theatres", Because: "role-table@access.rego:48", Requests: 3, People: 1, Examples: []string{"gw1/1204"}},
		},
	}
	fresh := replayed
	fresh.ID, fresh.Revision, fresh.Proposed, fresh.NeedsMark = "P9f8e7d6c", "c4d5e6f708192a3b4c5d6e7f80910213", nil, false
	fresh.Denied, fresh.Care, fresh.People, fresh.DeniedRoles, fresh.DeniedWards, fresh.DeniedRoutes = 0, 0, 0, nil, nil, nil
	fresh.Changes, fresh.Missing = replayed.Changes[1:], []string{"somebody who proposes it", "somebody else who approves it"}
	return dashboards.RulesState{
		Previous: "a0b1c2d3e4f5061728394a5b6c7d8e9f", Proposals: []dashboards.RulesProposal{replayed, fresh},
		History: []dashboards.RulesInForce{
			{Revision: "2f0c1d9e8b7a6f5e4d3c2b1a09f8e7d6", How: "promote", By: "Jo Adebayo", Reason: "tested with the wards", At: Now().AddDate(0, 0, -9)},
			{Revision: "a0b1c2d3e4f5061728394a5b6c7d8e9f", How: "adopt", By: "the gateway", Reason: "configured when promotion was first demanded", At: Now().AddDate(0, -2, 0)},
		},
	}
}
