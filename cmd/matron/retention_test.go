package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/retention"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// TestRetentionBesideARunningGateway disposes of records of 2012 with the
// commands that an operator has, beside a gateway that goes on: it raises no
// alarm, verify knows why the records are gone, and an evidence pack about a
// patient under a hold has what was kept.
// hazard:GW-31 control:C-229
func TestRetentionBesideARunningGateway(t *testing.T) {
	t.Parallel()
	upstream := serve(t, http.NotFoundHandler())
	s := newSite(t, fmt.Sprintf("- {name: fhir, prefix: /fhir, upstream: %q, map: fhir-r4}\n", upstream))
	old := s.recordsOf2012(t)
	in := func(name string) string { return filepath.Join(s.dir, name) }
	for _, name := range []string{"ann", "bob"} {
		if got := s.run("audit", "retention", "key", "--name", name, "--out", in(name+".key")); !strings.HasPrefix(got, name+"+") {
			t.Fatalf("key: %q", got)
		}
	}
	s.edit("applications:", "retention: {approvers: [{name: ann, key_file: ann.key.pub}, {name: bob, key_file: bob.key.pub}]}\napplications:")
	s.start()
	s.run("audit", "retention", "hold", "-c", s.config, "--patient", "P3", "--nhs-number", "999 000 0018", "--reason", "claim 2026/17")
	if got := s.run("audit", "retention", "holds", "-c", s.config); !strings.Contains(got, "claim 2026/17") {
		t.Errorf("holds: %q", got)
	}
	var plan string
	s.eventually("everything old is counted", func() error {
		out, err := command(t, "audit", "retention", "plan", "-c", s.config).Output()
		plan = string(out)
		if err == nil && !strings.Contains(plan, fmt.Sprintf("records 1 to %d,", old)) {
			err = fmt.Errorf("plan: %s", out)
		}
		return err
	})
	s.run("audit", "retention", "plan", "-c", s.config, "--out", in("plan.json"))
	for _, name := range []string{"ann", "bob"} {
		if got := s.run("audit", "retention", "approve", in("plan.json"), "--name", name, "--key", in(name+".key")); !strings.Contains(got, "claim 2026/17") {
			t.Errorf("what was approved: %s", got)
		}
	}
	if got := s.run("audit", "retention", "apply", in("plan.json"), "-c", s.config); !strings.Contains(got, fmt.Sprintf("Records 1 to %d were disposed of", old)) {
		t.Errorf("apply: %s", got)
	}
	check := func() {
		t.Helper()
		s.eventually("verify finds nothing wrong", func() error {
			out, err := command(t, "audit", "verify", "-c", s.config).Output()
			if err == nil && !strings.Contains(string(out), "were disposed of, ") {
				err = fmt.Errorf("verify: %s", out)
			}
			return err
		})
	}
	check()
	s.eventually("the disposal is recorded", func() error {
		if n := s.verify().Kinds[audit.KindDisposal]; n != 1 {
			return fmt.Errorf("%d records", n)
		}
		return nil
	})
	s.run("audit", "export", "--format", "pack", "-c", s.config, "--patient", "P3", "--out", in("pack.zip"))
	var report struct {
		Records  int
		Manifest struct{ Disposed []struct{ Last, Kept uint64 } }
	}
	if err := json.Unmarshal([]byte(s.run("audit", "verify", in("pack.zip"), "--json")), &report); err != nil {
		t.Fatal(err)
	}
	if d := report.Manifest.Disposed; len(d) != 1 || d[0].Last != old || d[0].Kept == 0 || uint64(report.Records) < d[0].Kept {
		t.Errorf("pack: %+v", report)
	}
	s.stop()
	s.start() // which counts every row
	s.eventually("everything is counted", func() error {
		if status, body := s.ready(); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	check()
	s.stop()
	if alarms := s.log.with("does not hold what was shipped", "cannot be signed", "not believed"); len(alarms) > 0 {
		t.Errorf("alarms: %v", alarms)
	}
	if err := os.RemoveAll(gateway.HoldsFile(s.settings())); err != nil {
		t.Fatal(err)
	}
	if _, err := retention.ReadHolds(gateway.HoldsFile(s.settings()), "gw1"); err == nil {
		t.Error("holds that are gone are not missed")
	}
}

// recordsOf2012 fills the journal before the gateway first starts, and archives
// all but the last segments. It returns the last record that is archived.
func (s *site) recordsOf2012(t *testing.T) uint64 {
	t.Helper()
	c := s.settings()
	signer, verifier, err := gateway.CheckpointKeys(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(gateway.ArchiveDir(c), 0o700); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journal.Config{
		Dir: gateway.JournalDir(c), Archive: gateway.ArchiveDir(c), Source: c.Source, Site: c.Site, Now: time.Now, SegmentBytes: 4096,
		Signer: signer, Verifier: verifier,
	})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2012, 5, 1, 0, 0, 0, 0, time.UTC)
	for n := range 400 {
		at = at.Add(time.Minute)
		r, err := j.Append(t.Context(), &audit.Record{Kind: audit.KindDecision, Time: at, Patient: fmt.Sprint("P", n%50), Person: "S1", Effect: "allow"})
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Add(&audit.Record{Kind: audit.KindOutcome, Time: at, Decision: r.Seq, Outcome: audit.Success, Status: 200}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Archive(1 << 40); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	segments, err := journal.Segments(gateway.JournalDirs(c)...)
	if err != nil {
		t.Fatal(err)
	}
	var last uint64
	for _, seg := range segments {
		if seg.Packed {
			last = seg.Last
		}
	}
	return last
}
