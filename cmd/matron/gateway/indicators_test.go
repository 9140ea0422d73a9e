package gateway

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/engine/enginetest"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

func TestMain(m *testing.M) {
	if enginetest.IsChild() {
		os.Exit(engine.Child(os.Stdin, os.Stderr))
	}
	m.Run()
}

// heap is a journal in memory.
type heap []audit.Record

var errShipped = errors.New("all is shipped")

func (heap) Source() string      { return "gw1" }
func (h heap) Committed() uint64 { return uint64(len(h)) }
func (heap) Oldest() uint64      { return 1 }

func (h heap) Walk(from uint64, limit int, visit func(*audit.Record, []byte) bool) error {
	for i := from - 1; i < min(from-1+uint64(limit), h.Committed()); i++ {
		if !visit(&h[i], h[i].MarshalCanonical()) {
			break
		}
	}
	return nil
}

func (h heap) Wait(_ context.Context, after uint64) error {
	if h.Committed() > after {
		return nil
	}
	return errShipped
}

type noLedger struct{}

func (noLedger) Append([]byte) error { return nil }

// shipped puts records into a real ClickHouse.
func shipped(t *testing.T, records heap) *clickhouse.Store {
	t.Helper()
	e := enginetest.Start(t, enginetest.Config(t, t.TempDir()))
	s, err := clickhouse.Open(t.Context(), clickhouse.Config{
		Addr: []string{e.Addr()}, User: e.User(), Password: e.Password(), DialTimeout: 30 * time.Second, QueryTimeout: time.Minute,
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range records {
		records[i].Source, records[i].Seq = "gw1", uint64(i)+1
	}
	shipper, err := clickhouse.NewShipper(clickhouse.ShipperConfig{
		Store: s, Source: records, Ledger: noLedger{}, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		MaxDelay: time.Millisecond, BackOff: 5 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := shipper.Run(t.Context()); !errors.Is(err, errShipped) {
		t.Fatal(err)
	}
	return s
}

// day is a made-up working day before `to`, on which each indicator finds something.
type day struct {
	to      time.Time
	records heap
}

func (d *day) add(before time.Duration, r audit.Record) uint64 {
	r.Time = d.to.Add(-before)
	d.records = append(d.records, r)
	return uint64(len(d.records))
}

// access is a decision about a request of somebody, and its outcome.
func (d *day) access(before time.Duration, r audit.Record, outcome audit.Record) {
	r.Kind = audit.KindDecision
	if r.Effect == "" {
		r.Effect = "allow"
	}
	outcome.Kind, outcome.Decision = audit.KindOutcome, d.add(before, r)
	if outcome.Outcome == "" {
		outcome.Outcome, outcome.Status = audit.Success, 200
	}
	d.add(before, outcome)
}

func nurse(patient string) audit.Record {
	return audit.Record{
		UserIssuer: "https://id", UserSub: "n1", Person: "N1", Patient: patient, Action: "read", Method: "GET", PolicyRev: "r1",
		Certainty: audit.Authoritative,
	}
}

func workingDay(to time.Time) *day {
	d := &day{to: to}
	forwarded := audit.Record{UpstreamTo: "epr:443", Duration: 5000, Upstream: 4000, BytesOut: 900}
	for i := range 18 { // the window before: all certain
		d.access(8*24*time.Hour+time.Duration(i)*time.Minute, nurse("P1"), forwarded)
	}
	// Refused, then let through by emergency access 20 s later; and refused for good.
	refused := nurse("P2")
	refused.Effect, refused.Request, refused.Reasons = "deny", "ref-1", []string{"no-care-relationship"}
	d.access(5*time.Hour, refused, audit.Record{Status: 403, Outcome: audit.MinorFailure})
	begun := nurse("P2")
	begun.Kind, begun.Request, begun.Basis = audit.KindBreakGlassStart, "ref-1", audit.BasisBreakGlass+"BG-1"
	d.add(5*time.Hour-15*time.Second, begun)
	opened := nurse("P2")
	opened.Basis = begun.Basis
	d.access(5*time.Hour-20*time.Second, opened, forwarded)
	for _, patient := range []string{"P3", "P4", "P5"} {
		refused.Patient, refused.Request = patient, "ref-"+patient
		d.access(4*time.Hour, refused, audit.Record{Status: 403, Outcome: audit.MinorFailure})
	}
	// A heartbeat each minute of the last hour, but for ten minutes.
	for m := range 60 {
		if m < 20 || m >= 30 {
			d.add(time.Duration(m)*time.Minute+time.Second, audit.Record{Kind: audit.KindHeartbeat})
		}
	}
	for i, result := range []string{"ok", "ok", "failed: granted", "ok"} {
		d.add(time.Duration(i)*5*time.Minute+2*time.Second, audit.Record{Kind: audit.KindHeartbeat, Detail: []string{"break_glass_probe=" + result}})
	}
	d.add(48*time.Hour, audit.Record{Kind: audit.KindBypass, Action: "end"})
	// Limits: one refusal, one long and one short delay.
	limited := nurse("P6")
	limited.Kind, limited.Effect, limited.Reasons = audit.KindLimit, "deny", []string{"rate-limited"}
	d.add(3*time.Hour, limited)
	slow := nurse("P6")
	slow.Detail = []string{"slowed=1.5s"}
	d.access(3*time.Hour, slow, forwarded)
	slow.Detail = []string{"slowed=250ms"}
	d.access(3*time.Hour, slow, forwarded)
	// Writes: one well, one without an outcome, one that the application never answered,
	// one whose session had ended, one that was refused for its form.
	write := nurse("P7")
	write.Action, write.Method = "update", "PUT"
	d.access(2*time.Hour, write, forwarded)
	lost := write
	lost.Kind, lost.Effect = audit.KindDecision, "allow"
	d.add(2*time.Hour, lost)
	d.access(2*time.Hour, write, audit.Record{UpstreamTo: "epr:443", Status: 504, Outcome: audit.SeriousFailure, Error: "application-timeout"})
	for _, reason := range []string{"session-expired", "unclassifiable"} {
		bad := write
		bad.Effect, bad.Reasons = "deny", []string{reason}
		if reason == "session-expired" {
			bad.UserIssuer, bad.UserSub, bad.Person = "", "", ""
		}
		d.access(2*time.Hour, bad, audit.Record{Status: 401, Outcome: audit.MinorFailure})
	}
	// The gateway gave up on an application that had begun to answer, and once called a broken answer whole.
	d.access(2*time.Hour, nurse("P7"), audit.Record{UpstreamTo: "epr:443", Upstream: 100, Duration: 200, Status: 504, Outcome: audit.SeriousFailure, Error: "busy"})
	d.access(2*time.Hour, nurse("P7"), audit.Record{UpstreamTo: "epr:443", Upstream: 100, Duration: 200, Status: 200, Outcome: audit.Success, Error: "response-broken-off"})
	// A restart: one session goes on, another person signs in anew.
	d.add(90*time.Minute, audit.Record{Kind: audit.KindStart})
	for _, sub := range []string{"stays", "lost"} {
		who := audit.Record{UserIssuer: "https://id", UserSub: sub, Action: "read", Method: "GET", PolicyRev: "r1", Certainty: audit.None}
		d.access(95*time.Minute, who, audit.Record{})
		if sub == "lost" {
			d.add(85*time.Minute, audit.Record{Kind: audit.KindSignIn, Outcome: audit.Success, UserIssuer: "https://id", UserSub: sub})
		}
	}
	// Rules changed, and two revisions decided in one minute.
	d.add(3*time.Hour, audit.Record{Kind: audit.KindPolicyChange, Detail: []string{"policy_before=r0"}})
	for _, rev := range []string{"r1", "r2"} {
		one := nurse("P8")
		one.PolicyRev, one.Certainty = rev, audit.Unknown
		one.Detail = []string{"care=" + map[string]string{"r1": "current 2026-11-26T09:00:00Z ward", "r2": "silent never"}[rev]}
		d.access(70*time.Minute, one, audit.Record{})
	}
	machine := audit.Record{UserIssuer: "https://id", UserSub: "lab", Effect: "deny", Reasons: []string{"machine-network"}, Detail: []string{audit.DetailMachine}}
	d.access(time.Hour, machine, audit.Record{Status: 403, Outcome: audit.MinorFailure})
	for session, level := range map[string]uint64{"one": 1, "two": 2} {
		d.add(time.Hour, audit.Record{Kind: audit.KindAuditViewed, UserIssuer: "https://id", UserSub: "ig", Session: session, Assurance: level})
	}
	return d
}

// Every query of an indicator is put to a real ClickHouse with a day on which
// something happened, and with nothing in it at all.
func TestEveryQueryOfAnIndicatorCountsWhatItSays(t *testing.T) {
	to := time.Date(2026, 11, 26, 18, 0, 0, 0, time.UTC)
	d := workingDay(to)
	s := shipped(t, d.records)
	all, err := evidence.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"SPI-01": 20, "SPI-02": 20, "SPI-03": 100 * 49.0 / 59, "SPI-04": 2, "SPI-06": 1, "SPI-07": 100.0 / 13, "SPI-08": 5, "SPI-09": 1e5 / 36,
		"SPI-10": 5e4 * 2 / 3, "SPI-12": 2e4 / 3, "SPI-13": 1, "SPI-17": 20, "SPI-20": 1000.0 / 5, "SPI-22": 75, "SPI-24": 50, "SPI-25": 1,
		"SPI-33": 1, "SPI-34": 1, "SPI-36": 1, "SPI-40": 1,
	}
	for _, one := range all {
		if one.Query == "" {
			continue
		}
		value, sample, err := s.Measure(t.Context(), one.Query, to.Add(-one.Window()), to)
		if err != nil {
			t.Errorf("%s: %v", one.ID, err)
			continue
		}
		if value == nil {
			t.Errorf("%s: no value of %d", one.ID, sample)
			continue
		}
		if w, ok := want[one.ID]; !ok || *value-w > 1e-6 || w-*value > 1e-6 {
			t.Errorf("%s (%s): %g, want %g", one.ID, one.Definition, *value, w)
		}
		value, sample, err = s.Measure(t.Context(), one.Query, to.AddDate(10, 0, 0), to.AddDate(10, 0, 7))
		if err != nil || sample != 0 || value != nil && *value != 0 {
			t.Errorf("%s of nothing: %v of %d, %v", one.ID, value, sample, err)
		}
	}
}

// Every reading that an indicator names is there, and none is for nothing.
func TestEveryReadingOfAnIndicatorIsThere(t *testing.T) {
	all, err := evidence.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	there := new(indicators).readings()
	for _, d := range all {
		if d.Reading == "" || d.Reading == "baseline" || d.Reading == "reviews-overdue" { // those follow from the log
			continue
		}
		if there[d.Reading] == nil {
			t.Errorf("%s: nothing reads %q", d.ID, d.Reading)
		}
		delete(there, d.Reading)
	}
	for name := range there {
		t.Errorf("no indicator is made of %q", name)
	}
}

func TestDiskIsFullWhereItsGrowthLeads(t *testing.T) {
	at := func(hours int, used float64) look {
		return look{At: time.Date(2026, 11, 20, hours, 0, 0, 0, time.UTC), DiskUsed: used, DiskKnown: true}
	}
	for name, c := range map[string]struct {
		looks []look
		days  float64
		n     int
	}{
		"grows":       {[]look{at(0, 0.50), at(24, 0.51), at(48, 0.52)}, 48, 3},
		"does not":    {[]look{at(0, 0.50), at(24, 0.50)}, neverFull, 2},
		"shrinks":     {[]look{at(0, 0.50), at(24, 0.40)}, neverFull, 2},
		"one look":    {[]look{at(0, 0.50)}, 0, 1},
		"unknown":     {[]look{{}, at(0, 0.50), {}}, 0, 1},
		"one instant": {[]look{at(0, 0.50), at(0, 0.60)}, 0, 2},
	} {
		days, n := fullIn(c.looks)
		if n != c.n || days-c.days > 0.01 || c.days-days > 0.01 {
			t.Errorf("%s: %g days of %d looks, want %g of %d", name, days, n, c.days, c.n)
		}
	}
}

func TestMeasurementsThatCannotBeReadAreMeasuredAgain(t *testing.T) {
	path := t.TempDir() + "/measurements.json"
	if k, err := readKept(path); err != nil || len(k.Measured) != 0 {
		t.Errorf("none: %+v, %v", k, err)
	}
	value := 2.0
	written := kept{Format: keptFormat, Measured: map[string]evidence.Measurement{"SPI-04": {Value: &value, Sample: 1, At: time.Now().UTC()}}}
	if err := written.write(path); err != nil {
		t.Fatal(err)
	}
	if k, err := readKept(path); err != nil || *k.Measured["SPI-04"].Value != 2 {
		t.Errorf("as written: %+v, %v", k, err)
	}
	if err := os.WriteFile(path, []byte(`{"format": "torn`), 0o600); err != nil {
		t.Fatal(err)
	}
	if k, err := readKept(path); err == nil || k.Measured == nil || len(k.Measured) != 0 {
		t.Errorf("torn: %+v, %v", k, err)
	}
}
