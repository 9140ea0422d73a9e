package main

import (
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/store/pgtest"
)

// smallLog is an exported log of one hazard that may be approved once it is
// assessed.
func smallLog(t *testing.T) string {
	t.Helper()
	raise := func(v hazardlog.Value) hazardlog.Change { return hazardlog.Change{Act: hazardlog.Raise, Value: v} }
	rating := func(l hazardlog.Likelihood) hazardlog.Rating {
		return hazardlog.Rating{Severity: "Major", Likelihood: l, Justification: "As reasoned.", State: hazardlog.RatingProposed}
	}
	n := 0
	l, _, err := hazardlog.Begin("small").Record(time.Now(), hazardlog.Actor{Issuer: "os", Account: "bob"}, func() string { n++; return fmt.Sprint("small-", n) },
		hazardlog.Change{Act: hazardlog.OpenLog, Value: hazardlog.Head{Title: "Small log", Role: hazardlog.Deployer, StandardID: "dcb0160-3.2"}},
		raise(hazardlog.Hazard{
			ID: "SM-01", Name: "The record is refused", Effect: "A request is refused", Hazard: "Care goes on without it", Harm: "A patient is given the wrong drug",
			Causes: []string{"A rule"}, Owner: "CSO", Status: hazardlog.Open, Initial: rating("Medium"), Residual: rating("Low"),
			Conditions: []hazardlog.Condition{hazardlog.Normal, hazardlog.Fault},
		}),
		raise(hazardlog.Control{
			ID: "C-01", Hazards: []string{"SM-01"}, Type: hazardlog.Design, Timing: hazardlog.Additional, Status: hazardlog.Proposed, Text: "A way through",
			NewHazards: hazardlog.NewHazards{Answer: hazardlog.NoNewHazards, Reason: "it only opens"},
		}))
	if err != nil {
		t.Fatal(err)
	}
	text, err := l.Export(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestHazardLogBesideARunningGateway assesses and approves a log by command while
// the gateway runs: each change is in the journal once, without its words, pages
// show what is approved and what changed since, and an altered database shows.
// hazard:GW-32 control:C-233
func TestHazardLogBesideARunningGateway(t *testing.T) {
	t.Parallel()
	s := newSite(t, fmt.Sprintf("- {name: fhir, prefix: /fhir, upstream: %q, map: fhir-r4}\n", serve(t, http.NotFoundHandler())))
	s.run("hazard", "key", "--name", "ann", "--out", filepath.Join(s.dir, "ann.key"))
	s.edit("applications:", "hazard_log: {officers: [{name: Dr Ann Example, body: GMC, number: '0000001', expires: 2099-03-31, key_file: ann.key.pub}]}\napplications:")
	s.write("small.json", smallLog(t))
	s.start()
	hazard := func(args ...string) string {
		t.Helper()
		return s.run(append(append([]string{"hazard"}, args...), "-c", s.config)...)
	}
	signed := func(args ...string) string {
		t.Helper()
		return hazard(append(args, "--officer", "Dr Ann Example", "--key", filepath.Join(s.dir, "ann.key"))...)
	}
	shows := func(want string) {
		t.Helper()
		for _, path := range []string{"/.matron/", "/.matron/hazards", "/.matron/hazards/SM-01"} {
			if status, body := s.send(s.as(hospital.SafetyOfficer), http.MethodGet, path, "", nil); status != http.StatusOK || !strings.Contains(string(body), want) {
				t.Errorf("%s: status %d, lacks %q", path, status, want)
			}
		}
	}
	hazard("import", filepath.Join(s.dir, "small.json"))
	shows("No version has been approved by a clinical safety officer.")
	signed("assess", "--all", "--why", "workshop")
	signed("accept", "SM-01", "--reason", "Going lower is impractical")
	approved := signed("approve", "1.0", "--statement", "The residual risk is acceptable.", "--reviewed", "--registered")
	if !strings.Contains(approved, "version 1.0 is new: approved by Dr Ann Example (GMC 0000001)") {
		t.Errorf("approve: %s", approved)
	}
	shows("Version 1.0, approved by Dr Ann Example (GMC 0000001)")
	if out := hazard("export"); !strings.Contains(out, `"evidence": {`) || !strings.Contains(out, "SPI-40") || !strings.Contains(approved, "of the evidence under it: ") {
		t.Errorf("no evidence under the approval: %s", approved)
	}
	if out := hazard("lint", "--issue"); strings.Contains(out, "error") {
		t.Errorf("lint: %s", out)
	}
	hazard("status", "SM-01", "Closed", "--why", "words that nobody else may read")
	shows("1 change since version 1.0 was approved")
	s.eventually("every change is recorded", func() error {
		out, err := exec.CommandContext(t.Context(), binary(t), "hazard", "verify", "-c", s.config).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Log small: 7 event(s) are as recorded; 0 wait") {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	lint := func(want bool) {
		t.Helper()
		if out := hazard("lint"); strings.Contains(out, "what runs is not what was approved: configuration ") != want {
			t.Errorf("another configuration: %v, lint: %s", want, out)
		}
	}
	lint(false)
	s.stop()
	s.edit("applications:", "# other\napplications:")
	s.start()
	lint(true)
	s.stop()
	checkHazardRecords(t, s.records())
	alterFrozenEvidence(t, s)
	alterHazards(t, s)
}

// TestTransferPacks hands versions of a log from its maker to a trust by command:
// the trust takes the first one over, answers what was transferred, and learns from
// the next which of what it accepted has changed.
// hazard:GW-32 control:C-237
// hazard:GW-32 control:C-238
func TestTransferPacks(t *testing.T) {
	t.Parallel()
	application := "- {name: fhir, prefix: /fhir, upstream: 'http://localhost:1', map: fhir-r4}\n"
	maker, trust := newSite(t, application), newSite(t, application)
	key := filepath.Join(maker.dir, "ann.key")
	maker.run("hazard", "key", "--name", "ann", "--out", key)
	for _, s := range []*site{maker, trust} {
		s.edit("applications:", fmt.Sprintf("hazard_log: {officers: [{name: Dr Ann Example, body: GMC, number: '0000001', expires: 2099-03-31, key_file: %q}]}\napplications:", key+".pub"))
	}
	signed := func(s *site, args ...string) string {
		return s.run(append(append([]string{"hazard"}, args...), "--officer", "Dr Ann Example", "--key", key, "-c", s.config)...)
	}
	packed := func(version string) string {
		t.Helper()
		signed(maker, "approve", version, "--statement", "Fine.", "--reviewed", "--registered")
		out := filepath.Join(maker.dir, version+".pack")
		maker.run("hazard", "pack", version, "--out", out, "--key", key, "-c", maker.config)
		return out
	}
	receive := func(pack string, more ...string) (string, int) {
		args := append([]string{"hazard", "receive", pack, "--from", key + ".pub", "-c", trust.config}, more...)
		out, err := exec.CommandContext(t.Context(), binary(t), args...).CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return string(out), exit.ExitCode()
		}
		return string(out), 0
	}
	expect := func(want string, code int, pack string, more ...string) {
		t.Helper()
		if out, got := receive(pack, more...); got != code || !strings.Contains(out, want) {
			t.Errorf("receive %v: code %d, lacks %q: %s", more, got, want, out)
		}
	}
	maker.write("small.json", smallLog(t))
	maker.run("hazard", "import", filepath.Join(maker.dir, "small.json"), "-c", maker.config)
	maker.run("hazard", "transfer", "SM-01", "--to", "whoever deploys it", "--condition", "Train staff", "-c", maker.config)
	signed(maker, "assess", "--all")
	first := packed("1.0")

	expect("--id and --organisation begin it", exitFailure, first)
	expect("Log rba: 1 hazards, every rating proposed; 1 transfers wait for an answer", exitOK, first, "--id", "rba", "--organisation", "Example Trust")
	expect("version 1.0 was taken in before", exitFailure, first)
	signed(trust, "answer", "T-01", "--reason", "ward managers do it")
	text, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	trust.write("altered.pack", strings.Replace(string(text), "Train staff", "Train nobody", 1))
	expect("transfers T-01 (bytes ", exitIntegrity, filepath.Join(trust.dir, "altered.pack"))

	if out := trust.run("hazard", "lint", first, "--from", key+".pub"); !strings.Contains(out, "1.0.pack:2:") || !strings.Contains(out, "SM-01 acceptance.reason: warning") {
		t.Errorf("lint of a pack: %s", out)
	}

	answers := filepath.Join(trust.dir, "rba-1.0.answers")
	trust.run("hazard", "reply", "--out", answers, "--key", key, "-c", trust.config)
	taken := maker.run("hazard", "receive", answers, "--from", key+".pub", "-c", maker.config)
	if !strings.Contains(taken, "Example Trust on version 1.0: 1 accepted, 0 declined, 0 not answered") {
		t.Errorf("answers: %s", taken)
	}
	if out := maker.run("hazard", "show", "SM-01", "-c", maker.config); !strings.Contains(out, "on version 1.0: accepted by Dr Ann Example (GMC 0000001): ward managers do it") {
		t.Errorf("the maker does not see the answer: %s", out)
	}
	for want, file := range map[string]string{"was taken in before, as A-01": answers, "is not signed by": "stranger"} {
		args := []string{"hazard", "receive", answers, "--from", key + ".pub", "-c", maker.config}
		if file == "stranger" {
			maker.run("hazard", "key", "--name", "bob", "--out", filepath.Join(maker.dir, "bob.key"))
			args[4] = filepath.Join(maker.dir, "bob.key.pub")
		}
		out, err := exec.CommandContext(t.Context(), binary(t), args...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitIntegrity || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v: %s", want, err, out)
		}
	}

	maker.run("hazard", "transfer", "SM-01", "--to", "whoever deploys it", "--condition", "Drill each quarter", "-c", maker.config)
	signed(maker, "rate", "SM-01", "--residual", "--severity", "Major", "--likelihood", "Very Low", "--justification", "Drills.")
	second := packed("1.1")
	news := "Version 1.1: 1 hazard you accepted has changed, 1 hazard in all; 1 entry is new."
	expect(news, exitOK, second, "--dry-run")
	expect(news, exitOK, second)
	expect("version 1.0 of log small does not come after version 1.1", exitFailure, first)
	again := filepath.Join(trust.dir, "rba-1.1.answers")
	trust.run("hazard", "reply", "--out", again, "--key", filepath.Join(maker.dir, "bob.key"), "-c", trust.config)
	args := []string{"hazard", "receive", again, "--from", filepath.Join(maker.dir, "bob.key.pub"), "-c", maker.config}
	out, err := exec.CommandContext(t.Context(), binary(t), args...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitIntegrity || !strings.Contains(string(out), "but Example Trust signed with ann+") {
		t.Errorf("in the name of the trust, with another key: %v: %s", err, out)
	}
	if out := maker.run(append(args, "--new-key")...); !strings.Contains(out, "Example Trust on version 1.1: 1 accepted") {
		t.Errorf("a key of which the maker has made sure: %s", out)
	}
	if out := trust.run("hazard", "show", "SM-01", "-c", trust.config); !strings.Contains(out, "Major x Low = 3, proposed") || !strings.Contains(out, "Drill each quarter (offered to Example Trust)") {
		t.Errorf("the trust's own: %s", out)
	}
	if out := trust.run("hazard", "history", "R-01", "-c", trust.config); !strings.Contains(out, "SM-01 residual likelihood: Low → Very Low (risk 3 → 2)") {
		t.Errorf("no review: %s", out)
	}
}

// TestEverythingRelationalOnPostgreSQL signs somebody in, changes the hazard log
// and starts again with PostgreSQL in the place of SQLite; no file of SQLite
// is made.
func TestEverythingRelationalOnPostgreSQL(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	dsn, err := server.Create(t.Context(), "matron")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, fmt.Sprintf("- {name: fhir, prefix: /fhir, upstream: %q, map: fhir-r4}\n", serve(t, http.NotFoundHandler())))
	s.write("db.url", dsn+"\n")
	s.edit("applications:", "database: {url_file: db.url}\napplications:")
	if err := os.Remove(filepath.Join(s.dir, "data/matron.db")); err != nil { // of SQLite, as newSite began
		t.Fatal(err)
	}
	s.run("init", "-c", s.config)
	s.start()
	doctor := s.as("doctor")
	if status, body := s.send(doctor, http.MethodGet, "/.matron/", "", nil); status != http.StatusOK {
		t.Errorf("home: %d %s", status, body)
	}
	s.run("hazard", "status", "GW-01", "Transferred", "--why", "tried", "-c", s.config)
	if status, body := s.send(s.as(hospital.SafetyOfficer), http.MethodGet, "/.matron/hazards/GW-01", "", nil); status != http.StatusOK || !strings.Contains(string(body), "Transferred") {
		t.Errorf("hazard page: %d", status)
	}
	s.eventually("every change is recorded", func() error {
		if out := s.run("hazard", "verify", "-c", s.config); !strings.Contains(out, "; 0 wait") {
			return errors.New(out)
		}
		return nil
	})
	s.stop()
	if _, err := os.Stat(filepath.Join(s.dir, "data/matron.db")); err == nil {
		t.Error("a database of SQLite was made")
	}
	s.start()
	if status, _ := s.send(doctor, http.MethodGet, "/.matron/", "", nil); status != http.StatusOK {
		t.Errorf("the session did not live through a restart: %d", status)
	}
	s.stop()
}

// checkHazardRecords holds what the journal says of the log, and what it does not.
func checkHazardRecords(t *testing.T, records []audit.Record) {
	t.Helper()
	var got []string
	for _, r := range records {
		if r.Kind != audit.KindHazard || detail(&r, "log=") != "small" {
			continue
		}
		got = append(got, r.Action+" "+r.Resource+" "+r.ResourceID)
		if text := fmt.Sprint(r); strings.Contains(text, "nobody else may read") || strings.Contains(text, "impractical") || r.UserSub == "" {
			t.Errorf("record %d: %+v", r.Seq, r)
		}
		if r.Action == "approve" && (detail(&r, "version=") != "1.0" || len(detail(&r, "snapshot_sha256=")) != 64 || detail(&r, "officer=") == "") {
			t.Errorf("approval: %v", r.Detail)
		}
	}
	want := []string{
		"open log head", "raise hazard SM-01", "raise control C-01", "rate hazard SM-01", "rate hazard SM-01", "approve version 1.0", "move hazard SM-01",
	}
	if !slices.Equal(got, want) {
		t.Errorf("recorded %q", got)
	}
}

// alterFrozenEvidence changes what an officer saw when approving, and puts it back.
func alterFrozenEvidence(t *testing.T, s *site) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(s.dir, "data/matron.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	swap := func(from, to string) {
		t.Helper()
		done, err := db.ExecContext(t.Context(), `UPDATE hazard_event SET body = replace(body, ?, ?) WHERE log = 'small' AND kind = 'version' AND instr(body, ?) > 0`, from, to, from)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := done.RowsAffected(); err != nil || n != 1 {
			t.Fatalf("%d approvals hold %q: %v", n, from, err)
		}
	}
	swap("SPI-40", "SPI-4X")
	out, err := exec.CommandContext(t.Context(), binary(t), "hazard", "verify", "-c", s.config).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitIntegrity || !strings.Contains(string(out), "event 6 is not what was written") {
		t.Errorf("frozen evidence was altered: %v: %s", err, out)
	}
	swap("SPI-4X", "SPI-40")
}

// alterHazards takes the last event out of the database, as an old copy would.
func alterHazards(t *testing.T, s *site) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(s.dir, "data/matron.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, q := range []string{
		`DELETE FROM hazard_journal WHERE event IN (SELECT id FROM hazard_event WHERE log = 'small' AND seq = 7)`,
		`DELETE FROM hazard_event WHERE log = 'small' AND seq = 7`,
	} {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), binary(t), "hazard", "verify", "-c", s.config).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitIntegrity || !strings.Contains(string(out), "1 event(s) are in the journal and not in the log") {
		t.Errorf("an event was taken out: %v: %s", err, out)
	}
}

// TestDerivedLogIsUpdated begins a trust's log from the one beside it, without a pack,
// and takes an update of the maker in by pack.
func TestDerivedLogIsUpdated(t *testing.T) {
	t.Parallel()
	s := newSite(t, "- {name: fhir, prefix: /fhir, upstream: 'http://localhost:1', map: fhir-r4}\n")
	key := filepath.Join(s.dir, "ann.key")
	s.run("hazard", "key", "--name", "ann", "--out", key)
	s.edit("applications:", fmt.Sprintf("hazard_log: {officers: [{name: Dr Ann Example, body: GMC, number: '0000001', expires: 2099-03-31, key_file: %q}]}\napplications:", key+".pub"))
	hazard := func(args ...string) string {
		t.Helper()
		return s.run(append(append([]string{"hazard"}, args...), "-c", s.config)...)
	}
	officer := []string{"--officer", "Dr Ann Example", "--key", key}
	hazard("derive", "--id", "rba", "--organisation", "Example Trust")
	hazard("add", "--name", "A letter goes to an old address", "--effect", "It is sent there", "--hazard", "Nobody reads it in time", "--harm", "A patient is treated late", "--cause", "An old list", "--owner", "CSO")
	hazard(append([]string{"answer", "T-01", "T-02"}, officer...)...)
	hazard("status", "GW-02", "Transferred", "--why", "agreed", "--log", "matron")
	hazard(append([]string{"assess", "--all", "--why", "workshop", "--log", "matron"}, officer...)...)
	hazard(append([]string{"approve", "1.0", "--log", "matron", "--statement", "Fine.", "--reviewed", "--registered"}, officer...)...)
	pack := filepath.Join(s.dir, "1.0.pack")
	hazard("pack", "1.0", "--log", "matron", "--out", pack, "--key", key)
	if out := hazard("receive", pack, "--from", key+".pub"); !strings.Contains(out, "Version 1.0: 2 hazards you accepted have changed, ") || !strings.Contains(out, "GW-02 status: Open → Transferred") {
		t.Errorf("update: %s", out)
	}
	list := hazard("list")
	if !strings.Contains(list, "GW-5001") || !strings.Contains(list, "log rba") {
		t.Errorf("what the trust adds has numbers of its own: %s", list)
	}
	if out := hazard("reply", "--out", filepath.Join(s.dir, "rba.answers"), "--key", key); !strings.Contains(out, "Example Trust on version 1.0: 2 accepted") {
		t.Errorf("reply: %s", out)
	}
}
