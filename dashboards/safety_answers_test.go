package dashboards_test

import (
	"strings"
	"testing"

	"github.com/matron-epr/matron/dashboards/internal/fake"
	"github.com/matron-epr/matron/hazardlog"
)

// What each organisation answered to a transfer, in a pack that came back, stands under
// the transfer.
func TestAnswersOfOthersStandUnderTheirTransfer(t *testing.T) {
	l := fake.BusyLog()
	version := l.Approved()
	then, _, err := l.Version(version.Version)
	if err != nil || len(then.Transfers) == 0 {
		t.Fatalf("%d transfers, %v", len(then.Transfers), err)
	}
	answer := then.Transfers[0]
	answer.State, answer.By, answer.Reason = hazardlog.Declined, "Dr Bob Example (GMC 0000002)", "we have no bank staff"
	l, _, err = l.Record(fake.Now(), hazardlog.Actor{Issuer: "os", Account: "bob"}, func() string { return "answers" }, hazardlog.Change{
		Act: hazardlog.Raise, Value: hazardlog.Reply{
			ID: "A-01", From: "Example Trust", Log: "rba", Of: hazardlog.Origin{Log: l.ID, ID: "head", Version: version.Version, SHA256: version.SHA256},
			MadeAt: fake.Now(), Key: "trust+00000000", Pack: "pack", Answers: []hazardlog.Transfer{answer},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	b, book := newBench(), fake.NewBook(l)
	b.cfg.Hazards, b.cfg.Safety = book, book.Safety()
	page := b.get(t, "/.matron/hazards/"+answer.Hazard).Body.String()
	want := "Example Trust on 3 November 2026, on version " + version.Version + ": declined by Dr Bob Example (GMC 0000002): we have no bank staff"
	if !strings.Contains(page, want) {
		t.Errorf("the page lacks %q", want)
	}
}
