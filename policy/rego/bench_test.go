package rego

import (
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/matron-epr/matron/policy"
)

func benchQ() policy.Request {
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

func BenchmarkAllow(b *testing.B) {
	c, err := load(b.Context(), "")
	if err != nil {
		b.Fatal(err)
	}
	q := benchQ()
	b.ReportAllocs()
	for b.Loop() {
		d, err := c.decide(b.Context(), &q, time.Second)
		if !d.Allowed() {
			b.Fatal(d, err)
		}
	}
}

func BenchmarkAllowNoTracker(b *testing.B) {
	c, err := load(b.Context(), "")
	if err != nil {
		b.Fatal(err)
	}
	q := benchQ()
	b.ReportAllocs()
	cancel := topdown.NewCancel()
	for b.Loop() {
		_, ok, err := c.ask(b.Context(), c.allow, question(c.words, c.reads, &q), cancel, nil)
		if !ok {
			b.Fatal(err)
		}
	}
}

func BenchmarkInput(b *testing.B) {
	c, err := load(b.Context(), "")
	if err != nil {
		b.Fatal(err)
	}
	q := benchQ()
	b.ReportAllocs()
	for b.Loop() {
		question(c.words, c.reads, &q)
	}
}

func BenchmarkExplain(b *testing.B) {
	c, err := load(b.Context(), "")
	if err != nil {
		b.Fatal(err)
	}
	q := benchQ()
	q.Area = "administration"
	b.ReportAllocs()
	for b.Loop() {
		d, err := c.decide(b.Context(), &q, time.Second)
		if d.Allowed() || err != nil {
			b.Fatal(d, err)
		}
	}
}

func BenchmarkCached(b *testing.B) {
	e, err := New(b.Context(), Config{})
	if err != nil {
		b.Fatal(err)
	}
	q := benchQ()
	b.ReportAllocs()
	for b.Loop() {
		if !e.Decide(b.Context(), q).Allowed() {
			b.Fatal()
		}
	}
}
