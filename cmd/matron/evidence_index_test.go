package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/verify"
)

// verifies runs "matron audit verify --json" and returns what it found and its
// exit code.
func verifies(t *testing.T, args ...string) (r verify.Report, code int) {
	t.Helper()
	c := command(t, append([]string{"audit", "verify", "--json"}, args...)...)
	c.Stderr = nil
	out, err := c.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		code = failed.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("exit code %d, %v: %s", code, err, out)
	}
	return r, code
}

// findings are what was found, each as "kind source/first-last".
func findings(r verify.Report) []string {
	var list []string
	for _, f := range r.Findings {
		list = append(list, fmt.Sprintf("%s %s/%d-%d", f.Kind, f.Source, f.First, f.Last))
	}
	slices.Sort(list)
	return list
}

// administer has the administrator of the embedded ClickHouse do something.
func (s *site) administer(statement string) {
	s.t.Helper()
	e, err := engine.Find(filepath.Join(s.settings().DataDir, "clickhouse"))
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+e.Addr+"/?mutations_sync=2", strings.NewReader(statement))
	if err != nil {
		s.t.Fatal(err)
	}
	r.SetBasicAuth(e.User, e.Password)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if text, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %d %v %s", statement, res.StatusCode, err, text)
	}
}

// TestAdministratorOfClickHouse: whatever somebody with every right in
// ClickHouse does to the rows is found beside the running gateway and named, and
// what is missing is put back from the journal.
func TestAdministratorOfClickHouse(t *testing.T) {
	t.Parallel()
	s := newRecordSite(t)
	s.unlimited()
	s.start()
	w := s.work(4)
	w.until(40)
	w.stop()
	s.stop() // before it ends it counts every row
	var read audit.Record
	records := s.records()
	for _, r := range records {
		if r.Kind == audit.KindDecision && r.Person != "" {
			read = r
		}
	}
	s.start()
	s.indexed()
	if r, code := verifies(t, "-c", s.config); code != exitOK || len(r.Findings) > 0 || r.Rows < uint64(len(records)) || r.Signed == 0 {
		t.Fatalf("untouched: exit code %d, %d rows, %d signed, %v", code, r.Rows, r.Signed, r.Findings)
	}
	n := read.Seq // counted before the stop
	var want []string
	for _, tt := range []struct{ statement, finds string }{
		{fmt.Sprintf("ALTER TABLE matron.records UPDATE person = 'S9999' WHERE seq = %d", n), fmt.Sprintf("altered gw1/%d-%[1]d", n)},
		{"DELETE FROM matron.records WHERE seq = 3", "missing gw1/3-3"},
		{"ALTER TABLE matron.records DELETE WHERE seq BETWEEN 5 AND 7", "missing gw1/5-7"},
		{"INSERT INTO matron.records SELECT * FROM matron.records WHERE seq = 9", "duplicated gw1/9-9"},
		{"INSERT INTO matron.records SELECT * REPLACE('S9999' AS person) FROM matron.records WHERE seq = 11", "altered gw1/11-11,duplicated gw1/11-11"},
		{"INSERT INTO matron.records (site, source, seq, time, kind, person, patient) VALUES ('RZZ', 'gw1', 1000000, now64(6), 'decision', 'S9999', 'P1')", "inserted gw1/1000000-1000000"},
		{"INSERT INTO matron.records SELECT * REPLACE('gw9' AS source) FROM matron.records WHERE seq = 13", "inserted gw9/13-13"},
	} {
		s.administer(tt.statement)
		want = append(want, strings.Split(tt.finds, ",")...)
		slices.Sort(want)
		r, code := verifies(t, "-c", s.config)
		if got := findings(r); code != exitIntegrity || !slices.Equal(got, want) {
			t.Errorf("%s: exit code %d, found %q, want %q", tt.statement, code, got, want)
		}
	}
	s.administer("ALTER TABLE matron.records DROP PARTITION ALL")
	r, code := verifies(t, "-c", s.config)
	if got := r.Findings; code != exitIntegrity || len(got) != 1 || got[0].Kind != verify.Missing || got[0].First != 1 || got[0].Last < n {
		t.Errorf("partition dropped: exit code %d, %v", code, got)
	}
	// What was shipped and not counted yet may still be on its way.
	if counted := r.Findings[0].Last; counted < r.Journal.Last && !slices.Contains(r.Notes, fmt.Sprintf("%d records are not in ClickHouse yet.", r.Journal.Last-counted)) {
		t.Errorf("of the records after %d nothing is said: %q", counted, r.Notes)
	}
	s.putBack(n)
	s.stop()
}

// putBack restarts ClickHouse, after which the gateway counts every row and puts
// back what is missing: nothing is wrong any more, and the alarm stays.
func (s *site) putBack(atLeast uint64) {
	s.t.Helper()
	if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	s.indexed()
	if r, code := verifies(s.t, "-c", s.config); code != exitOK {
		s.t.Errorf("after the rows were put back: exit code %d, %v", code, r.Findings)
	}
	var missing uint64
	if _, err := fmt.Sscan(s.metric("matron_index_missing_total"), &missing); err != nil || missing < atLeast {
		s.t.Errorf("%d rows were put back, want at least %d: %v", missing, atLeast, err)
	}
	if len(s.log.with("code=rows-missing")) == 0 {
		s.t.Error("the log has no alarm")
	}
}
