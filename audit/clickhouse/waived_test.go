package clickhouse_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
)

// TestWaivedAgreesWithTheTally: both count the same in the same records.
func TestWaivedAgreesWithTheTally(t *testing.T) {
	s, _ := newStore(t)
	var records []audit.Record
	for i := range 400 {
		r := audit.Record{
			Kind: audit.KindDecision, Site: []string{"RBA", "RZZ"}[i%7/6], App: []string{"fhir", "ui"}[i%3/2],
			Mode: []string{"observe", "enforce", "bypass"}[i%5/2], Route: []string{"read", "search", "it's"}[i%11/5],
			Method: []string{"GET", "PUT"}[i%2], Target: fmt.Sprintf("/Thing/%c/%d", 'a'+i%3, i),
			Roles: [][]string{{"nurse"}, {"doctor", "tutor"}, nil}[i%13/5], UserSub: fmt.Sprintf("s%d", i%17),
			Patient: "P1", NHSNumber: "9990000018",
		}
		if i%4 > 0 {
			r.Person = fmt.Sprintf("p%d", i%19)
		}
		if i%4 < 2 {
			r.WouldDeny, r.Reasons = true, []string{"role-not-permitted", "rate-limited"}[:1+i%2]
		}
		if i%9 == 0 {
			r.Route, r.WouldDeny, r.Reasons = "", true, []string{audit.ReasonUnmapped}
		}
		if i%10 == 9 {
			r.Kind, r.Decision = audit.KindPatient, uint64(i-i%3) // its number counts from 1
		}
		records = append(records, r)
	}
	load(t, s, records)
	for _, q := range []audit.WaivedQuery{
		{},
		{Site: "RBA"},
		{App: "ui"},
		{From: start().Add(100 * time.Second), To: start().Add(300 * time.Second)},
		{App: "nobody"},
	} {
		tally := audit.NewWaivedTally(q)
		for i := range records {
			tally.Add(&records[i])
		}
		want := tally.Waived()
		got, err := s.Waived(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || q.App != "nobody" && len(got.Rows) < 2 {
			t.Errorf("%+v (-tally +ClickHouse):\n%s", q, diff)
		}
	}
}
