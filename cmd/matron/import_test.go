package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
)

// pastAccesses writes an accesses file of n lines and, after good bytes, two bad
// ones.
func (s *site) pastAccesses(name string, n int) (path string, good int64) {
	s.t.Helper()
	var b strings.Builder
	begin := time.Now().AddDate(0, -1, 0)
	for i := range n {
		fmt.Fprintf(&b, `{"id":"e%07d","time":%q,"person":"S%04d","action":"read","source":"pas","patient":"P%05d","nhs_number":"9990000018"}`+"\n",
			i, begin.Add(time.Duration(i)*time.Second).Format(time.RFC3339), i%50, i/5)
	}
	good = int64(b.Len())
	b.WriteString("{\"id\":\"x\"}\nnot JSON\n")
	s.write(name, b.String())
	return filepath.Join(s.dir, name), good
}

// importing runs "matron audit import" and returns its summary and exit code.
func (s *site) importing(args ...string) (o outcome, code int, stderr string) {
	s.t.Helper()
	c := command(s.t, append([]string{"audit", "import", "-c", s.config, "--json"}, args...)...)
	var says strings.Builder
	c.Stderr = &says
	out, err := c.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		s.t.Fatal(err)
	}
	if len(out) > 0 {
		if err := json.Unmarshal(out, &o); err != nil {
			s.t.Fatalf("%v\n%s", err, out)
		}
	}
	return o, code, says.String()
}

// TestImport takes in a file beside a running gateway: by a dry run, killed in
// the middle, stopped by Ctrl-C, and to its end. The gateway's journal tells of
// each run, and the gateway's own accesses stay apart.
func TestImport(t *testing.T) {
	t.Parallel()
	s := newSite(t, `- {name: fhir, prefix: /fhir, upstream: "http://127.0.0.1:9", map: fhir-r4}`)
	const many = 250_000 // five blocks
	file, good := s.pastAccesses("past.ndjson", many)
	if _, code, stderr := s.importing(file); code != exitFailure || !strings.Contains(stderr, "is \"matron serve\" running?") {
		t.Errorf("without a gateway: exit code %d, %s", code, stderr)
	}
	s.start()
	s.accesses(0, "who", "--patient", "P00001")

	if o, code, stderr := s.importing(file, "--dry-run"); code != exitFailure || o.Imported != many || o.Rejected != 2 || o.Known != 0 {
		t.Errorf("dry run: exit code %d, %+v, %s", code, o, stderr)
	}
	s.killed(file)
	s.interrupted(file, good)
	o, code, stderr := s.importing(file, "--keep-lines")
	if code != exitFailure || o.Imported+o.Known != many || o.Known < 100_000 || o.Rejected != 2 || !o.Complete || o.Rejects != file+".rejects.ndjson" {
		t.Errorf("exit code %d, %+v, %s", code, o, stderr)
	}
	rejects, err := os.ReadFile(o.Rejects)
	if want := `{"line":250001,"reason":"person: required and not there","text":"{\"id\":\"x\"}"}`; err != nil || !strings.HasPrefix(string(rejects), want+"\n") {
		t.Errorf("rejects %s, %v, want %s", rejects, err, want)
	}
	if info, err := os.Stat(o.Rejects); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("rejects: %v, %v", info.Mode(), err)
	}
	if err := os.Truncate(file, good); err != nil {
		t.Fatal(err)
	}
	if o, code, stderr := s.importing(file); code != exitOK || o.Known != many || o.Imported != 0 {
		t.Errorf("without the bad lines: exit code %d, %+v, %s", code, o, stderr)
	}
	if _, err := os.Stat(o.Rejects); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a reject file of an earlier run is still there: %v", err)
	}

	if out := s.run("audit", "user", "S0001", "-c", s.config); !strings.Contains(out, "No access is recorded.") {
		t.Errorf("witnessed accesses of somebody who was never there:\n%s", out)
	}
	if out := s.run("audit", "who", "--nhs-number", "999 000 0018", "--imported", "-c", s.config, "--limit", "3", "--json"); strings.Count(out, `"origin":"imported:accesses"`) != 3 {
		t.Errorf("by NHS number:\n%s", out)
	}
	if status, _ := s.send(s.stranger(), http.MethodGet, "/.matron/", "", nil); status == 0 {
		t.Error("the gateway does not answer")
	}
	s.eventually("the spool is empty", func() error {
		left, err := os.ReadDir(filepath.Join(s.dir, "data/spool"))
		if err != nil || len(left) > 0 {
			return fmt.Errorf("%d files left, %w", len(left), err)
		}
		return nil
	})
	s.stop()
	report, err := journal.Verify(journal.VerifyOptions{Dirs: []string{filepath.Join(s.dir, "data/journal")}})
	// Each run but the dry one leaves two records, the killed one its first.
	if err != nil || report.Err() != nil || report.Kinds[audit.KindImport] != 7 {
		t.Errorf("%+v, %v", report, err)
	}
	if lines := s.log.with("spool", "level=ERROR"); len(lines) > 0 {
		t.Errorf("%v", lines)
	}
}

// killed ends an import of file without a warning, once a block is in.
func (s *site) killed(file string) {
	s.t.Helper()
	c := command(s.t, "audit", "import", "-c", s.config, file)
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.imported("P00000")
	if err := c.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	if err := c.Wait(); err == nil {
		s.t.Error("it ended well before it could be killed")
	}
}

// interrupted stops an import of a file that comes in slowly, by Ctrl-C.
func (s *site) interrupted(file string, until int64) {
	s.t.Helper()
	f, err := os.Open(file)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	c := command(s.t, "audit", "import", "-c", s.config, "-")
	var says strings.Builder
	c.Stderr = &says
	c.Dir = s.dir
	stdin, err := c.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.CopyN(stdin, f, until/2); err != nil { // two blocks and a half
		s.t.Fatal(err)
	}
	s.imported("P10001")
	if err := c.Process.Signal(os.Interrupt); err != nil {
		s.t.Fatal(err)
	}
	if err := c.Wait(); c.ProcessState.ExitCode() != exitFailure || !strings.Contains(says.String(), "Stopped.") {
		s.t.Errorf("%v\n%s", err, says.String())
	}
}

// imported waits until an imported access to this patient is found.
func (s *site) imported(patient string) {
	s.t.Helper()
	s.eventually("a block is in", func() error {
		if !strings.Contains(s.run("audit", "who", "--patient", patient, "--imported", "-c", s.config), "imported:accesses") {
			return errors.New("not yet")
		}
		return nil
	})
}

// TestImportRefuses: what is wrong with how it is called is said before anything
// is done.
func TestImportRefuses(t *testing.T) {
	s := newSite(t, `- {name: fhir, prefix: /fhir, upstream: "http://127.0.0.1:9", map: fhir-r4}`)
	file, _ := s.pastAccesses("past.ndjson", 1)
	s.write("bad.yaml", "columns: {id: A, time: B, person: C, action: D, colour: E, patient: A}\nactions: {VIEW: look}\ndelimeter: ;\ntime: {zone: Atlantis, layout: YYYY}\n")
	bad := filepath.Join(s.dir, "bad.yaml")
	_, code, stderr := s.importing(file, "--mapping", bad)
	if code != exitConfig {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{
		bad + ":1:57: columns.colour: is no field of an access", `columns.patient: column "A" is id already`, bad + ":2:17: actions.VIEW: \"look\" must be one of",
		bad + ":3:1: delimeter: unknown setting", bad + ":4:1: time: layout \"YYYY\" must have",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("want %s in\n%s", want, stderr)
		}
	}
	if _, code, stderr := s.importing(file, "--format", "xml"); code != exitUsage || !strings.Contains(stderr, "none of accesses, fhir, csv") {
		t.Errorf("format: exit code %d, %s", code, stderr)
	}
	lock, err := os.OpenFile(filepath.Join(s.dir, "data/import.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, code, stderr := s.importing(file, "--dry-run"); code != exitFailure || !strings.Contains(stderr, "another import is running") {
		t.Errorf("beside another one: exit code %d, %s", code, stderr)
	}
	if schema := s.run("audit", "import", "--schema"); !strings.HasPrefix(schema, "{") || !json.Valid([]byte(schema)) {
		t.Errorf("schema %s", schema)
	}
}
