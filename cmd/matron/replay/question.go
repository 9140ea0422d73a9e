// Package replay asks recorded questions again: of the rules in force, to explain
// an answer, or of others, to see what they would change. It changes nothing and
// keeps no patient.
package replay

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// Questions are what the rules were asked when r was recorded: one question, or
// one for each part of an exchange that did several things; none when r is not of
// a decision that the rules were asked for. A record names one patient: those of
// an exchange about several are asked about one by one.
func Questions(r *audit.Record) []policy.Request {
	if r.Kind != audit.KindDecision && r.Kind != audit.KindPatient || r.Route == "" || r.PolicyRev == "" {
		return nil
	}
	q := policy.Request{
		Subject: policy.Subject{
			Issuer: r.UserIssuer, Sub: r.UserSub, Person: r.Person, Name: r.UserName, Roles: r.Roles, Activities: r.Activities,
			Organisation: r.Org, RoleID: r.RoleID, ACR: r.ACR, AMR: r.AMR, Assurance: int(min(r.Assurance, 3)),
			AuthTime: r.AuthTime, Session: r.Session, Token: r.Token, Machine: slices.Contains(r.Detail, audit.DetailMachine),
		},
		Site: r.Site, App: r.App, Rule: r.Route, Action: policy.Action(r.Action), Area: policy.Area(r.Area), Resource: r.Resource,
		Certainty: string(r.Certainty), Held: slices.Contains(r.Detail, audit.DetailHeld), Purpose: r.Purpose, Method: r.Method, Time: r.Time,
		Sensitivity: sensitivity(r), Care: relationships(r),
	}
	if id, ok := strings.CutPrefix(r.Basis, audit.BasisBreakGlass); ok {
		q.Grant = id
	}
	if id := cmp.Or(r.Patient, r.NHSNumber); id != "" {
		q.Patients = []string{id}
	}
	var parts []policy.Request
	for _, d := range r.Detail {
		text, ok := strings.CutPrefix(d, audit.DetailPart)
		words := strings.SplitN(text, " ", 3)
		if !ok || len(words) != 3 {
			continue
		}
		part := q
		part.Action, part.Area, part.Resource = policy.Action(words[0]), policy.Area(words[1]), words[2]
		parts = append(parts, part)
	}
	if len(parts) > 0 {
		return parts
	}
	return []policy.Request{q}
}

// sensitivity is the patient's protection as the rules were told it: none where the
// record says nothing.
func sensitivity(r *audit.Record) policy.Sensitivity {
	for _, d := range r.Detail {
		text, ok := strings.CutPrefix(d, audit.DetailSensitivity)
		if !ok {
			continue
		}
		classes := strings.Split(text, ",")
		if classes[0] == audit.SensitivityUnknown {
			return policy.Sensitivity{Classes: classes[1:]}
		}
		return policy.Sensitivity{Known: true, Classes: classes}
	}
	return policy.Sensitivity{Known: true}
}

// relationships are the care relationships as the rules were told them: no register
// where the record says nothing.
func relationships(r *audit.Record) policy.Care {
	for _, d := range r.Detail {
		text, ok := strings.CutPrefix(d, audit.DetailCare)
		if !ok {
			continue
		}
		words := append(strings.Split(text, " "), "", "")
		c := policy.Care{Feed: policy.Feed(words[0])}
		c.AsOf, _ = time.Parse(time.RFC3339, words[1]) // "never" stays the zero time
		if words[2] != "" {
			c.Kinds = strings.Split(words[2], ",")
		}
		return c
	}
	return policy.Care{}
}

// Allowed reports what the rules answered when r was recorded, whatever the mode
// made of it. A limit is no answer of theirs.
func Allowed(r *audit.Record) bool {
	refused := r.WouldDeny && slices.ContainsFunc(r.Reasons, audit.OfRules)
	return r.Effect == policy.Allow.String() && !refused
}
