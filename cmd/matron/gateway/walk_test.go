package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/proxy/appmap/learn"
)

// TestRulesAreLearnedFromTheJournal: what is observed on routes that no map knows is
// found there with its outcome, and reading it can be broken off.
func TestRulesAreLearnedFromTheJournal(t *testing.T) {
	c := config.Defaults()
	c.DataDir, c.Site, c.Source = t.TempDir(), "RZZ", "gw1"
	if err := journal.Create(journalConfig(c)); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journalConfig(c))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	at := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	for i, target := range []string{"/ward/patients/4711/notes", "/ward/patients/4712/notes", "/ward/patients/Smith/notes"} {
		receipt, err := j.Append(t.Context(), &audit.Record{
			Kind: audit.KindDecision, Time: at.AddDate(0, 0, i), App: "wardbook", Mode: "observe", WouldDeny: true, Method: "GET",
			Target: target, Person: "S1", Reasons: []string{audit.ReasonUnmapped},
		})
		if err == nil {
			_, err = j.Append(t.Context(), &audit.Record{Kind: audit.KindOutcome, Decision: receipt.Seq, Time: at.AddDate(0, 0, i), Status: 200})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	q := audit.WaivedQuery{App: "wardbook", From: at, To: at.AddDate(0, 0, 2)}
	tally, told := learn.New(q, "/ward"), int64(0)
	if err := Walk(t.Context(), c, q.From, q.To, func(_, total int64) { told = total }, tally.AddRecord); err != nil {
		t.Fatal(err)
	}
	p := tally.Proposal()
	if len(p.Rules) != 1 || p.Rules[0].Path != "/patients/{patient:number}/notes" || p.Rules[0].Status["2xx"] != 2 || told != 6 {
		t.Errorf("%+v, of %d records", p.Rules, told)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Walk(cancelled, c, q.From, q.To, nil, tally.AddRecord); !errors.Is(err, context.Canceled) {
		t.Errorf("broken off: %v", err)
	}
}
