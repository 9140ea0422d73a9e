package rego_test

import (
	"testing"
	"time"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/policy/rego"
)

func nurseReads() policy.Request {
	return policy.Request{
		Subject: policy.Subject{
			Issuer: "https://id.example", Sub: "u-1", Person: "p-1", Name: "A Nurse",
			Roles: []string{"nurse"}, Activities: []string{"B0360"}, Organisation: "RBA", Assurance: 2, Session: "s",
			AuthTime: time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC),
		},
		Site: "RBA", App: "fhir", Rule: "fhir.read", Action: policy.Read, Area: policy.Notes, Resource: "DocumentReference",
		Patients: []string{"1001"}, Certainty: "authoritative", Method: "GET",
		Time: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC),
	}
}

func TestX(t *testing.T) {
	e, err := rego.New(t.Context(), rego.Config{})
	if err != nil {
		t.Fatal(err)
	}
	q := nurseReads()
	t.Logf("%+v", e.Decide(t.Context(), q))
	q.Area = "theatres"
	q.Action = "delete"
	t.Logf("%+v", e.Decide(t.Context(), q))
	q = nurseReads()
	q.Action = "create"
	q.Area = "prescribing"
	t.Logf("%+v", e.Decide(t.Context(), q))
	q.Subject.Roles = nil
	t.Logf("%+v", e.Decide(t.Context(), q))
	q.Subject.Sub = ""
	t.Logf("%+v", e.Decide(t.Context(), q))
}
