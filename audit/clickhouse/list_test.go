package clickhouse_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
)

// onlyListed is a whole record without what a list leaves out. It names what
// pages, detection and matron audit read of a list.
func onlyListed(r audit.Record) audit.Record {
	listed := strings.Fields(`Site Source Seq Time Kind Request Decision App Action Area Screen Resource Deliberate Patient NHSNumber
		PatientSource Certainty Person UserName Roles Purpose Basis ClientIP Device Effect Reasons WouldDeny Outcome Status`)
	return only(listed, r)
}

// only is r without the fields that are not named.
func only(named []string, r audit.Record) audit.Record {
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		if !slices.Contains(named, v.Type().Field(i).Name) {
			v.Field(i).SetZero()
		}
	}
	return r
}

// exchanges are decisions with every field set and their outcomes, which come
// late, twice, with the clock put back, or never, between those of other patients.
func exchanges(n int) []audit.Record {
	rnd := rand.New(rand.NewPCG(7, 7))
	var records, due []audit.Record
	for i := range n {
		d := fullRecord()
		d.Kind, d.Decision, d.Patient, d.NHSNumber = audit.KindDecision, 0, fmt.Sprint("P", i%3), fmt.Sprint("94P", i%3)
		d.Person, d.Effect, d.Site = fmt.Sprint("N", i%2), "allow", "RBA"
		d.Request = fmt.Sprintf("01997e44-8f6c-7a31-b0c4-5d6e7f%06d", i)
		d.Time = start().Add(time.Duration(i/4) * time.Second)
		records = append(records, d)
		o := outcome(d.Patient, uint64(len(records)), uint64(200+i), audit.Success)
		o.Time = d.Time.Add(time.Duration(rnd.IntN(20)-3) * time.Second)
		switch rnd.IntN(5) {
		case 0:
		case 1:
			due = append(due, o, o)
		default:
			due = append(due, o)
		}
		for len(due) > rnd.IntN(8) {
			records, due = append(records, due[0]), due[1:]
		}
	}
	return append(records, due...)
}

// decisionsAgree visits every decision of whole once, with all that the rules were
// asked and answered.
func decisionsAgree(t *testing.T, s *clickhouse.Store, whole map[uint64]audit.Access) {
	t.Helper()
	asked := strings.Fields(`Site Source Seq Time Kind App Method Route Action Area Resource Patient NHSNumber Certainty
		UserIssuer UserSub Person UserName Roles Activities Org RoleID ACR AMR Assurance AuthTime Session Token Purpose
		Effect Reasons Rules PolicyRev WouldDeny Mode Detail`)
	seen := map[uint64]bool{}
	q := audit.Query{From: start().Add(-10 * time.Hour), To: start().Add(10 * time.Hour)}
	err := s.Decisions(t.Context(), q, func(r *audit.Record) error {
		if seen[r.Seq] {
			t.Errorf("decision %d twice", r.Seq)
		}
		seen[r.Seq] = true
		if diff := cmp.Diff(only(asked, whole[r.Seq].Record), *r); diff != "" {
			t.Errorf("decision %d: %s", r.Seq, diff)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for seq, r := range whole {
		if r.Kind == audit.KindDecision && !seen[seq] {
			t.Errorf("decision %d is left out", seq)
		}
	}
	enough := errors.New("enough")
	if err := s.Decisions(t.Context(), q, func(*audit.Record) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a visitor's error: %v", err)
	}
}

// A list says what the whole records say, of the fields it has.
func TestListAgreesWithWholeRecords(t *testing.T) {
	s, e := newStore(t)
	records := exchanges(150)
	load(t, s, records)
	sql(t, e, "INSERT INTO matron.records SETTINGS insert_deduplicate = 0 SELECT * FROM matron.records WHERE seq % 3 = 0")
	fates := make(map[uint64]*audit.Record)
	for i := range records {
		if r := &records[i]; r.Kind == audit.KindOutcome {
			fates[r.Decision] = r
		}
	}
	found, err := s.Records(t.Context(), "gw1", 1, 2*len(records))
	if err != nil {
		t.Fatal(err)
	}
	whole := make(map[uint64]audit.Access)
	for _, r := range found {
		whole[r.Seq] = audit.Join(r, fates[r.Seq])
	}
	t.Run("decisions", func(t *testing.T) { decisionsAgree(t, s, whole) })
	for name, q := range map[string]audit.Query{
		"everything":        {},
		"patient":           {Patient: "P1"},
		"either number":     {Patient: "P1", NHSNumber: "94P2"},
		"NHS number":        {NHSNumber: "94P1"},
		"site":              {Patient: "P1", Site: "RBA"},
		"person":            {Person: "N1"},
		"person on patient": {Person: "N1", Patient: "P1"},
		"from, to":          {Patient: "P1", From: start().Add(9 * time.Second), To: start().Add(20 * time.Second)},
	} {
		for _, limit := range []int{7, 100} {
			t.Run(fmt.Sprint(name, limit), func(t *testing.T) {
				q.Limit = limit
				shown := make(map[uint64]bool)
				for q.Before = (audit.Place{}); ; {
					page, err := s.Accesses(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					events, err := s.Events(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					if len(page) != len(events) {
						t.Fatalf("%d accesses and %d events", len(page), len(events))
					}
					for i := range page {
						want := whole[page[i].Seq]
						if diff := cmp.Diff(want, events[i]); diff != "" {
							t.Fatalf("event %d: %s", want.Seq, diff)
						}
						want.Record = onlyListed(want.Record)
						if diff := cmp.Diff(want, page[i]); diff != "" {
							t.Fatalf("access %d: %s", want.Seq, diff)
						}
					}
					for i := range page {
						if shown[page[i].Seq] {
							t.Fatalf("access %d is listed twice", page[i].Seq)
						}
						shown[page[i].Seq] = true
					}
					if len(page) < limit || len(shown) > 20 {
						break
					}
					last := page[len(page)-1]
					q.Before = audit.Place{Time: last.Time, Source: last.Source, Seq: last.Seq}
				}
				if len(shown) == 0 {
					t.Error("nothing was compared")
				}
			})
		}
	}
}
