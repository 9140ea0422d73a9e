package clickhouse_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/engine/enginetest"
)

// load ships records through a journal in memory and numbers them.
func load(t testing.TB, s *clickhouse.Store, records []audit.Record) {
	t.Helper()
	for i := range records {
		records[i].Source, records[i].Seq = "gw1", uint64(i)+1
		if records[i].Time.IsZero() {
			records[i].Time = start().Add(time.Duration(i) * time.Second)
		}
	}
	shipper, err := clickhouse.NewShipper(shipperConfig(s, &source{records: records, ended: errEnded}, new(failing), nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := shipper.Run(t.Context()); !errors.Is(err, errEnded) {
		t.Fatal(err)
	}
}

// fullRecord has every field set, to values that are hard to carry.
func fullRecord() audit.Record {
	var r audit.Record
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Interface().(type) {
		case time.Time:
			f.Set(reflect.ValueOf(time.Date(2026, 11, 22, 16, 0, 0, 987654000, time.UTC)))
		case [16]byte:
			f.Set(reflect.ValueOf([16]byte{0, 1, '\'', '\\', 0xff, 0xfe}))
		case []string:
			f.Set(reflect.ValueOf([]string{"", "a'b", v.Type().Field(i).Name, "\xff\x00"}))
		case uint64:
			f.SetUint(math.MaxUint64 - uint64(i))
		case bool:
			f.SetBool(true)
		default:
			f.SetString(v.Type().Field(i).Name + " '\"\\\t\n\x00\xff é")
		}
	}
	return r
}

// The canonical bytes come back from the columns, the nonce aside, over both
// protocols.
func TestCanonicalBytesComeBackFromColumns(t *testing.T) {
	for _, protocol := range []string{"http", "native"} {
		t.Run(protocol, func(t *testing.T) {
			cfg := enginetest.Config(t, t.TempDir())
			cfg.Native = protocol == "native"
			e := enginetest.Start(t, cfg)
			canonicalBytesComeBack(t, openStore(t, e, protocol), e)
		})
	}
}

func canonicalBytesComeBack(t *testing.T, s *clickhouse.Store, e *engine.Engine) {
	t.Helper()
	full := fullRecord()
	if v := reflect.ValueOf(full); !everyFieldSet(v) {
		t.Fatal("the sample leaves a field out")
	}
	epoch, odd := fullRecord(), fullRecord()
	epoch.AuthTime = time.Unix(0, 0).UTC()
	odd.AuthTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	want := []audit.Record{full, {Kind: audit.KindStart}, epoch, odd, {Kind: audit.KindDecision, Nonce: [16]byte{15: 7}}}
	for _, request := range []string{
		"01997e44-8f6c-7a31-b0c4-5d6e7f809100", "01997E44-8F6C-7A31-B0C4-5D6E7F809100", "00000000-0000-0000-0000-000000000000",
		"00000000-0000-0000-0000-000000000001", "ffffffff-ffff-ffff-ffff-ffffffffffff", "01997e44-8f6c-0000-0000-000000000000",
		"01997e448f6c7a31b0c45d6e7f809100", "01997e44-8f6c-7a31-b0c4-5d6e7f80910g", "01997e44_8f6c-7a31-b0c4-5d6e7f809100", "r1",
	} {
		want = append(want, audit.Record{Kind: audit.KindOutcome, Request: request, Decision: uint64(len(want)), Duration: 7, Upstream: 9})
	}
	for _, decision := range []uint64{uint64(len(want)) + 1, uint64(len(want)) + 3, 1, math.MaxUint64} {
		want = append(want, audit.Record{Kind: audit.KindPatient, Decision: decision, Upstream: math.MaxUint64})
	}
	load(t, s, want)
	got, err := s.Records(t.Context(), "gw1", 1, 100)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for i := range want {
		want[i].Nonce = [16]byte{}
		if a, b := string(want[i].MarshalCanonical()), string(got[i].MarshalCanonical()); a != b {
			t.Errorf("record %d: %s", i, cmp.Diff(want[i], got[i]))
		}
		// Whoever asks in SQL is told the same.
		sql(t, e, fmt.Sprintf("SELECT throwIf(count() != 1) FROM matron.records WHERE seq = %d AND hex(request) = '%X' AND decision = %d AND upstream = %d",
			want[i].Seq, want[i].Request, want[i].Decision, want[i].Upstream))
	}
}

func everyFieldSet(v reflect.Value) bool {
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			return false
		}
	}
	return true
}

// a is a decision record.
func a(person, patient, effect string, change func(*audit.Record)) audit.Record {
	r := audit.Record{
		Kind: audit.KindDecision, Site: "RBA", Person: person, UserName: "Name of " + person, Roles: []string{"nurse"}, Org: "RBA",
		Patient: patient, NHSNumber: "94" + patient, Effect: effect, Area: "notes", Basis: "ward:A", Purpose: "TREAT",
	}
	if change != nil {
		change(&r)
	}
	return r
}

func outcome(patient string, decision, status uint64, code audit.Outcome) audit.Record {
	return audit.Record{Kind: audit.KindOutcome, Patient: patient, Decision: decision, Status: status, Outcome: code, Duration: status * 10, Results: 3, UpstreamTo: "epr"}
}

const nasty = `P'; DROP TABLE matron.records; --\`

func hospital() []audit.Record {
	return []audit.Record{
		a("N1", "P1", "allow", nil),               // 1
		outcome("P1", 1, 200, audit.Success),      // 2
		a("N2", "P1", "deny", nil),                // 3
		outcome("P1", 3, 403, audit.MinorFailure), // 4
		a("N1", "", "allow", nil),                 // 5: a search
		{Kind: audit.KindPatient, Site: "RBA", Decision: 5, Person: "N1", UserName: "Renamed", Roles: []string{"doctor"}, Org: "RBB", Patient: "P1", NHSNumber: "94P1", Effect: "allow", Area: "results"}, // 6
		{Kind: audit.KindPatient, Site: "RBA", Decision: 5, Person: "N1", Patient: "P2", Effect: "allow"},                                                                                                 // 7
		outcome("", 5, 500, audit.SeriousFailure), // 8
		a("N3", nasty, "challenge", nil),          // 9: no outcome known
		{Kind: audit.KindLimit, Person: "N1"},     // 10
		a("N1", "P1", "allow", func(r *audit.Record) { r.Site = "RBC"; r.Time = start().Add(400 * 24 * time.Hour) }), // 11
	}
}

func TestAccesses(t *testing.T) {
	s, e := newStore(t)
	load(t, s, hospital())
	at := func(seq int) time.Time { return start().Add(time.Duration(seq-1) * time.Second) }
	for name, c := range map[string]struct {
		query audit.Query
		want  []uint64
	}{
		"everything":        {audit.Query{}, []uint64{11, 9, 7, 6, 5, 3, 1}},
		"two newest":        {audit.Query{Limit: 2}, []uint64{11, 9}},
		"patient":           {audit.Query{Patient: "P1"}, []uint64{11, 6, 3, 1}},
		"NHS number":        {audit.Query{NHSNumber: "94P1"}, []uint64{11, 6, 3, 1}},
		"either number":     {audit.Query{Patient: "P2", NHSNumber: "94P1"}, []uint64{11, 7, 6, 3, 1}},
		"somebody known":    {audit.Query{Identified: true}, []uint64{11, 9, 7, 6, 5, 3, 1}},
		"person":            {audit.Query{Person: "N1"}, []uint64{11, 7, 6, 5, 1}},
		"person on patient": {audit.Query{Person: "N2", Patient: "P1"}, []uint64{3}},
		"site":              {audit.Query{Patient: "P1", Site: "RBC"}, []uint64{11}},
		"effect":            {audit.Query{Effect: "deny"}, []uint64{3}},
		"from, to":          {audit.Query{From: at(3), To: at(6)}, []uint64{5, 3}},
		"next page":         {audit.Query{Patient: "P1", Before: audit.Place{Time: at(6), Source: "gw1", Seq: 6}}, []uint64{3, 1}},
		"hostile":           {audit.Query{Patient: nasty}, []uint64{9}},
		"hostile person":    {audit.Query{Person: "N1' OR '1'='1"}, nil},
		"nobody":            {audit.Query{Person: "N9"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.Accesses(t.Context(), c.query)
			if err != nil {
				t.Fatal(err)
			}
			var seqs []uint64
			for i := range got {
				seqs = append(seqs, got[i].Seq)
			}
			if diff := cmp.Diff(c.want, seqs); diff != "" {
				t.Error(diff)
			}
		})
	}
	// A row that is there twice is listed once.
	sql(t, e, "INSERT INTO matron.records SETTINGS insert_deduplicate = 0 SELECT * FROM matron.records WHERE seq <= 4")
	got, err := s.Accesses(t.Context(), audit.Query{Patient: "P1"})
	if err != nil {
		t.Fatal(err)
	}
	type fate struct {
		Seq     uint64
		Settled bool
		Status  uint64
		Outcome audit.Outcome
	}
	var fates []fate
	for _, x := range got {
		fates = append(fates, fate{x.Seq, x.Settled, x.Status, x.Outcome})
	}
	want := []fate{
		{Seq: 11},
		{6, true, 500, audit.SeriousFailure},
		{3, true, 403, audit.MinorFailure},
		{1, true, 200, audit.Success},
	}
	if diff := cmp.Diff(want, fates); diff != "" {
		t.Error(diff)
	}
}

// Paging through a list shows each row once, equal times included.
func TestPagesShowEachRowOnce(t *testing.T) {
	s, _ := newStore(t)
	records := make([]audit.Record, 95)
	for i := range records {
		records[i] = a("N1", "P1", "allow", func(r *audit.Record) { r.Time = start().Add(time.Duration(i/10) * time.Second) })
	}
	load(t, s, records)
	var seqs []uint64
	q := audit.Query{Patient: "P1", Limit: 7}
	for {
		page, err := s.Accesses(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for i := range page {
			seqs = append(seqs, page[i].Seq)
		}
		last := page[len(page)-1]
		q.Before = audit.Place{Time: last.Time, Source: last.Source, Seq: last.Seq}
	}
	var want []uint64
	for seq := uint64(95); seq > 0; seq-- {
		want = append(want, seq)
	}
	if diff := cmp.Diff(want, seqs); diff != "" {
		t.Error(diff)
	}
}

func TestPeople(t *testing.T) {
	s, _ := newStore(t)
	load(t, s, hospital())
	got, err := s.People(t.Context(), audit.Query{Patient: "P1", To: start().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	want := []audit.PersonSummary{
		{
			Person: "N1", Name: "Renamed", Roles: []string{"doctor", "nurse"}, Org: "RBB", First: start(), Last: start().Add(5 * time.Second),
			Accesses: 2, Bases: []string{"ward:A"}, Areas: []string{"notes", "results"}, Purposes: []string{"TREAT"},
		},
		{
			Person: "N2", Name: "Name of N2", Roles: []string{"nurse"}, Org: "RBA", First: start().Add(2 * time.Second), Last: start().Add(2 * time.Second),
			Accesses: 1, Denied: 1, Bases: []string{"ward:A"}, Areas: []string{"notes"}, Purposes: []string{"TREAT"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A browser that is sent to sign in is no person who was refused.
func TestNobodyKnownIsToldApart(t *testing.T) {
	s, _ := newStore(t)
	load(t, s, []audit.Record{
		a("", "", "deny", func(r *audit.Record) { r.UserSub = "" }),
		a("", "", "deny", func(r *audit.Record) { r.UserSub = "api" }),
		a("N1", "", "deny", nil),
	})
	rates, err := s.Rates(t.Context(), start(), start().Add(time.Minute), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]audit.Rate{{Start: start(), Requests: 3, Denials: 3, Nobody: 1}}, rates); diff != "" {
		t.Error(diff)
	}
	known, err := s.Accesses(t.Context(), audit.Query{Effect: "deny", Identified: true})
	if err != nil || len(known) != 2 {
		t.Errorf("%d of known people, error %v", len(known), err)
	}
}

func TestRatesAndCounts(t *testing.T) {
	s, _ := newStore(t)
	load(t, s, hospital())
	got, err := s.Rates(t.Context(), start().Add(-5*time.Second), start().Add(15*time.Second), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	at := func(s int) time.Time { return start().Add(time.Duration(s) * time.Second) }
	want := []audit.Rate{
		{Start: at(-5)},
		{Start: at(0), Requests: 3, Denials: 1, P50: 3015 * time.Microsecond, P99: 4009700 * time.Nanosecond},
		{Start: at(5), Requests: 1, Denials: 1, Limited: 1, Failures: 1, P50: 5 * time.Millisecond, P99: 5 * time.Millisecond},
		{Start: at(10)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Rates(t.Context(), start(), start().Add(time.Hour), time.Microsecond); !errors.Is(err, clickhouse.ErrConfig) {
		t.Errorf("too many intervals: %v", err)
	}
	counts, err := s.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[audit.Kind]uint64{audit.KindDecision: 5, audit.KindOutcome: 3, audit.KindPatient: 2, audit.KindLimit: 1}, counts); diff != "" {
		t.Error(diff)
	}
}

func TestMigrateRefusesASchemaItDoesNotKnow(t *testing.T) {
	s, e := newStore(t)
	if err := s.Migrate(t.Context()); err != nil {
		t.Errorf("second time: %v", err)
	}
	sql(t, e, "INSERT INTO matron.migrations VALUES (99, 'x', repeat('0', 64), now64(3))")
	if err := s.Migrate(t.Context()); !errors.Is(err, clickhouse.ErrSchemaNewer) {
		t.Errorf("newer: %v", err)
	}
	sql(t, e, "TRUNCATE TABLE matron.migrations")
	sql(t, e, "INSERT INTO matron.migrations VALUES (1, '0001_records.sql', repeat('0', 64), now64(3))")
	if err := s.Migrate(t.Context()); !errors.Is(err, clickhouse.ErrSchemaChanged) {
		t.Errorf("changed: %v", err)
	}
}

func TestOpenRefusesNonsense(t *testing.T) {
	good := clickhouse.Config{Addr: []string{"localhost:1"}, Log: discard()}
	for name, change := range map[string]func(*clickhouse.Config){
		"no address": func(c *clickhouse.Config) { c.Addr = nil },
		"no log":     func(c *clickhouse.Config) { c.Log = nil },
		"protocol":   func(c *clickhouse.Config) { c.Protocol = "grpc" },
		"database":   func(c *clickhouse.Config) { c.Database = "x; DROP DATABASE y" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			change(&cfg)
			if _, err := clickhouse.Open(t.Context(), cfg); !errors.Is(err, clickhouse.ErrConfig) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Neither user may change or delete a row.
// hazard:GW-18 control:C-73
func TestGrants(t *testing.T) {
	got, err := clickhouse.Grants("trust_a")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"DELETE", "ALTER", "DROP", "*.*", "{{"} {
		for _, line := range strings.Split(got, "\n") {
			if strings.HasPrefix(line, "GRANT") && strings.Contains(line, word) && !strings.HasPrefix(line, "GRANT CREATE TEMPORARY TABLE ") {
				t.Errorf("%s", line)
			}
		}
	}
	if !strings.Contains(got, "GRANT SELECT, INSERT ON trust_a.records TO matron_shipper;") {
		t.Error(got)
	}
	if _, err := clickhouse.Grants("a b"); !errors.Is(err, clickhouse.ErrConfig) {
		t.Errorf("got %v", err)
	}
}

// What exactly once and power cuts rest on is a property of the table.
func TestTableIsDurableAndKnowsDuplicates(t *testing.T) {
	s, e := newStore(t)
	load(t, s, hospital())
	for _, condition := range []string{
		"engine = 'MergeTree'",
		"engine_full LIKE '%non_replicated_deduplication_window = 10000%'",
		"engine_full LIKE '%fsync_after_insert = 1%'",
		"engine_full LIKE '%fsync_part_directory = 1%'",
		"partition_key = 'toYYYYMM(time)'",
		"sorting_key = 'patient, time, source, seq'",
	} {
		sql(t, e, "SELECT throwIf(count() = 0) FROM system.tables WHERE database = 'matron' AND name = 'records' AND "+condition)
	}
	// A block in one partition is one part: all of it is there or nothing.
	sql(t, e, "SELECT throwIf(max(n) > 1) FROM (SELECT count() AS n FROM system.parts WHERE database = 'matron' AND table = 'records' GROUP BY partition)")
}
