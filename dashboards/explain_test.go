package dashboards_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/dashboards/internal/fake"
)

// A record is found by either number when the hospital's list knows both.
// hazard:GW-29 control:C-221
func TestLookupByNHSNumberFindsViewsByHospitalNumber(t *testing.T) {
	b := newBench()
	b.cfg.HospitalNumber = func(number string) string {
		if number == fake.Patient {
			return "H7"
		}
		return ""
	}
	page := b.find(t, "nhs", fake.Patient)
	var asked []audit.Query
	b.cfg.Accesses = spy{b.reader, &asked}
	if w := b.get(t, page); w.Code != http.StatusOK {
		t.Fatalf("status %d", w.Code)
	}
	if len(asked) == 0 || asked[0].NHSNumber != fake.Patient || asked[0].Patient != "H7" {
		t.Errorf("asked for %+v", asked)
	}
	for _, r := range b.journal.Records() {
		if r.NHSNumber != fake.Patient || r.Patient != "H7" {
			t.Errorf("the record of %s names %q and %q", r.Screen, r.NHSNumber, r.Patient)
		}
	}
}

// What explains an access is shown, and what nothing explains is "not yet
// explained" and no more.
func TestExplanationsAreShown(t *testing.T) {
	const sentence = "The patient was cared for on ward Q."
	b := newBench()
	b.reader.Rows = []audit.Access{
		{Record: audit.Record{Site: fake.Site, Time: fake.Now(), Person: "N1", UserName: "Nora", Patient: "H7", Effect: "allow", Certainty: audit.Authoritative}},
		{Record: audit.Record{Site: fake.Site, Time: fake.Now(), Person: "N2", UserName: "Noel", Patient: "H7", Effect: "allow", Certainty: audit.Authoritative}},
	}
	for i := range b.reader.Rows {
		b.reader.Rows[i].Settled = true
	}
	b.cfg.Explain = func(l dashboards.Look) []dashboards.Ground {
		if l.Person == "N1" && l.Patient == "H7" {
			return []dashboards.Ground{{Reviewer: sentence, Patient: "You were on ward Q."}}
		}
		return nil
	}
	page := b.find(t, "hospital", "H7")
	for _, address := range []string{page, page + "&view=events"} {
		body := b.get(t, address).Body.String()
		if strings.Count(body, sentence) != 1 || !strings.Contains(body, "Not yet explained") {
			t.Errorf("%s: the sentence is there %d times", address, strings.Count(body, sentence))
		}
	}
	if body := b.get(t, page).Body.String(); !strings.Contains(body, "1 person") {
		t.Error("people who are not yet explained are not counted")
	}
}

// spy notes what is asked of a reader.
type spy struct {
	*fake.Reader
	asked *[]audit.Query
}

func (s spy) People(ctx context.Context, q audit.Query) ([]audit.PersonSummary, error) {
	*s.asked = append(*s.asked, q)
	return s.Reader.People(ctx, q)
}
