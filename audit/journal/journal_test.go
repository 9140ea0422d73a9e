package journal

import (
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
)

var _ audit.Log = (*Journal)(nil)

// at is the clock of most tests.
func at() time.Time { return time.Date(2026, 3, 29, 1, 30, 0, 123456789, time.UTC) }

func config(t testing.TB) Config {
	t.Helper()
	return Config{Dir: t.TempDir(), Source: "gw1", Site: "RBA", Now: at, AppendTimeout: time.Minute}
}

func mustCreate(t testing.TB, cfg Config) {
	t.Helper()
	if err := Create(cfg); err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t testing.TB, cfg Config) *Journal {
	t.Helper()
	j, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func mustClose(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustAppend(t testing.TB, j *Journal, records ...*audit.Record) audit.Receipt {
	t.Helper()
	receipt, err := j.Append(t.Context(), records...)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

func mustRead(t testing.TB, j *Journal, from uint64, limit int) []audit.Record {
	t.Helper()
	records, err := j.Read(from, limit)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// sample is a record of realistic size.
func sample(patient string) *audit.Record {
	return &audit.Record{
		Kind: audit.KindDecision, Request: "01JQ8Z6W3T5V9K2M4N6P8R0S2T", App: "openmaxims", Method: "GET",
		Target: "/fhir/r4/Observation", Query: "patient=" + patient + "&category=laboratory", Route: "fhir-search",
		Action: "search", Area: "results", Resource: "Observation", Deliberate: "true",
		Patient: patient, NHSNumber: "9434765919", PatientSource: audit.SourceURL, Certainty: audit.Authoritative,
		UserIssuer: "https://cis2.example.nhs.uk/openam/oauth2", UserSub: "555036632103", Person: "p-10442",
		UserName: "WALSH, Orla", Roles: []string{"nurse", "R8001"}, Activities: []string{"B0360", "B0380"},
		Org: "RBA", RoleID: "555036633104", ACR: "AAL3_ANY", AMR: []string{"N3_SMARTCARD"}, Assurance: 3,
		AuthTime: time.Date(2026, 3, 29, 0, 58, 1, 0, time.UTC), Session: "c1f4b3d96a2e4f60", Purpose: "TREAT",
		Basis: "ward:OBS1", ClientIP: "10.20.30.40", Device: "OBS1-WS04",
		UserAgent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/141.0.0.0 Safari/537.36",
		Effect:    "allow", Rules: []string{"role", "care-relationship"}, PolicyRev: "2026.03.1", Mode: "enforce",
	}
}

func TestRestartContinues(t *testing.T) {
	cfg := config(t)
	mustCreate(t, cfg)
	for start := range uint64(4) {
		j := mustOpen(t, cfg)
		if got := j.Committed(); got != 2*start {
			t.Fatalf("committed at start %d: %d", start, got)
		}
		if got := mustAppend(t, j, sample("1"), sample("2")).Seq; got != 2*start+1 {
			t.Fatalf("start %d: receipt for %d", start, got)
		}
		mustClose(t, j)
	}
	j := mustOpen(t, cfg)
	if got := mustRead(t, j, 1, 100); len(got) != 8 || got[7].Seq != 8 {
		t.Fatalf("read %d records", len(got))
	}
}

func TestFurtherPatientsBelongToTheDecisionOfTheirCall(t *testing.T) {
	cfg := config(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	first := &audit.Record{Kind: audit.KindDecision}
	further := &audit.Record{Kind: audit.KindPatient}
	settled := &audit.Record{Kind: audit.KindPatient, Decision: 7}
	mustAppend(t, j, &audit.Record{Kind: audit.KindStart}, first, further, settled)
	if further.Decision != first.Seq || settled.Decision != 7 {
		t.Errorf("decisions %d and %d, want %d and 7", further.Decision, settled.Decision, first.Seq)
	}
}
