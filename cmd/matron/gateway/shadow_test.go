package gateway

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy/rego"
)

// The candidate is asked about every decision once, also after ClickHouse was away,
// and each kind of change is told once.
// hazard:GW-01 control:C-03
func TestShadowAsksAboutEachDecisionOnce(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, rego.Default()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "roles.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const notes = "notes: [read, search, list, create]"
	if err := os.WriteFile(path, bytes.Replace(text, []byte(notes), []byte("notes: [read, search, list]"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	rules, err := rego.New(t.Context(), rego.Config{Dir: dir, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	var log bytes.Buffer
	var away error
	now := start
	s := &shadow{
		wards: wardsOf(nil), site: "RBA", metrics: newMetrics(), log: slog.New(slog.NewTextHandler(&log, nil)),
		now: func() time.Time { return now }, known: map[string]bool{},
		decisions: func(_ context.Context, q audit.Query, visit func(*audit.Record) error) error {
			for at := start; at.Before(q.To); at = at.Add(time.Second) { // one decision a second
				if at.Before(q.From) {
					continue
				}
				r := audit.Record{
					Kind: audit.KindDecision, Site: "RBA", Route: "fhir-create", Action: "create", Area: "notes", PolicyRev: "before", Effect: "allow",
					Patient: "P1", Certainty: audit.Authoritative, UserIssuer: "i", UserSub: "u", Roles: []string{"pharmacist"}, Time: at,
				}
				if err := visit(&r); err != nil {
					return err
				}
			}
			return away
		},
	}
	s.candidate.Store(&candidate{rules, start})
	for _, step := range []struct {
		after time.Duration
		err   error
		asked float64
	}{
		{20 * time.Second, nil, 0}, // it may not be in the index yet
		{90 * time.Second, nil, 60},
		{150 * time.Second, errors.New("away"), 60},
		{210 * time.Second, nil, 180},
		{210 * time.Second, nil, 180},
	} {
		now, away = start.Add(step.after), step.err
		if err := s.ask(t.Context()); !errors.Is(err, step.err) {
			t.Fatalf("after %s: %v", step.after, err)
		}
		for _, what := range []string{"asked", "newly_denied"} {
			if got := counted(t, s.metrics, what); got != step.asked {
				t.Errorf("after %s: %v %s, want %v", step.after, got, what, step.asked)
			}
		}
	}
	if n := strings.Count(log.String(), "would decide otherwise"); n != 1 || strings.Contains(log.String(), "P1") {
		t.Errorf("told %d times: %s", n, log.String())
	}
}

// counted is what /metrics says of the candidate.
func counted(t *testing.T, m *metrics, answer string) float64 {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if labels := metric.GetLabel(); family.GetName() == "matron_policy_candidate_total" && labels[0].GetValue() == answer {
				return metric.GetCounter().GetValue()
			}
		}
	}
	return 0
}
