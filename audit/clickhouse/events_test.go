package clickhouse_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
)

// Everything that happened around a patient or a person is listed, each access
// with its outcome, and a patient whom the answer named with the query that
// found them.
func TestEvents(t *testing.T) {
	s, _ := newStore(t)
	records := hospital()
	records[4].Query = "name=smith"
	records = append(records,
		audit.Record{Kind: audit.KindAuditViewed, Site: "RBA", Person: "IG1", Patient: "P1", Outcome: audit.Success}, // 12
		audit.Record{Kind: audit.KindSignIn, Site: "RBA", Person: "N1", Outcome: audit.Success},                      // 13
		audit.Record{Kind: audit.KindHeartbeat, Site: "RBA"},                                                         // 14
		audit.Record{Kind: audit.KindStart, Site: "RBA"},                                                             // 15
	)
	load(t, s, records)
	type seen struct {
		Seq     uint64
		Kind    audit.Kind
		Settled bool
		Outcome audit.Outcome
		Query   string
	}
	for name, c := range map[string]struct {
		query audit.Query
		want  []seen
	}{
		"patient": {audit.Query{Site: "RBA", Patient: "P1"}, []seen{
			{12, audit.KindAuditViewed, false, audit.Success, ""},
			{6, audit.KindPatient, true, audit.SeriousFailure, "name=smith"},
			{3, audit.KindDecision, true, audit.MinorFailure, ""},
			{1, audit.KindDecision, true, audit.Success, ""},
		}},
		"person": {audit.Query{Site: "RBA", Person: "N1", Limit: 2}, []seen{
			{13, audit.KindSignIn, false, audit.Success, ""},
			{7, audit.KindPatient, true, audit.SeriousFailure, "name=smith"},
		}},
		"everything": {audit.Query{Site: "RBA", Limit: 2}, []seen{
			{15, audit.KindStart, false, "", ""},
			{13, audit.KindSignIn, false, audit.Success, ""},
		}},
		"the rest of it": {audit.Query{Site: "RBA", Person: "N1", Before: audit.Place{Time: records[4].Time, Source: "gw1", Seq: 5}}, []seen{
			{1, audit.KindDecision, true, audit.Success, ""},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			events, err := s.Events(t.Context(), c.query)
			if err != nil {
				t.Fatal(err)
			}
			var got []seen
			for _, e := range events {
				got = append(got, seen{e.Seq, e.Kind, e.Settled, e.Outcome, e.Query})
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	one, err := s.Event(t.Context(), "gw1", 6)
	if err != nil {
		t.Fatal(err)
	}
	if got := (seen{one.Seq, one.Kind, one.Settled, one.Outcome, one.Query}); got != (seen{6, audit.KindPatient, true, audit.SeriousFailure, "name=smith"}) {
		t.Errorf("record 6: %+v", got)
	}
	for _, seq := range []uint64{2, 14, 99} { // an outcome, a heartbeat, nothing
		if _, err := s.Event(t.Context(), "gw1", seq); !errors.Is(err, clickhouse.ErrNoRecord) {
			t.Errorf("record %d: %v, want %v", seq, err, clickhouse.ErrNoRecord)
		}
	}
}
