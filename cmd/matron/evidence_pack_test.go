package main

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/export/pack"
	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// asked is one request and what came back, as the client has it.
type asked struct {
	person, method, path string
	status               int
	receipt              string
	patients             []string // whom the request or the answer names
}

// seq is the number of the record that the receipt names.
func (a asked) seq(t *testing.T) uint64 {
	t.Helper()
	got, err := parseReceipt(a.receipt)
	if err != nil {
		t.Fatalf("%s %s: %d: %v", a.method, a.path, a.status, err)
	}
	return got.seq
}

// client keeps what it has asked.
type client struct {
	site   *site
	person string
	http   *http.Client
	kept   *[]asked
}

func (c client) ask(method, path, body string, patients ...string) asked {
	t := c.site.t
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.site.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/fhir+json")
	if !strings.HasPrefix(path, "/fhir") {
		r.Header.Set("Accept", asPerson)
	}
	r.Header.Set("Content-Type", "application/fhir+json")
	res, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := asked{c.person, method, path, res.StatusCode, res.Header.Get("Matron-Receipt"), patients}
	if strings.Contains(path, "?family=") && a.status == http.StatusOK {
		if a.patients, err = patientsIn(text); err != nil {
			t.Fatal(err)
		}
	}
	*c.kept = append(*c.kept, a)
	return a
}

// day is a hospital in which a few people have done a few things, and alerts have
// been raised.
type day struct {
	*site
	patient hospital.Patient
	doctor  client
	noon    time.Time // between the doctor's first and later requests
	owner   hospital.Staff
	asked   []asked
}

func newDay(t *testing.T) *day {
	t.Helper()
	d := &day{site: newRecordSite(t)}
	if err := d.hospital.WriteFiles(d.dir); err != nil {
		t.Fatal(err)
	}
	d.edit("applications:", "limits: {search: {per_second: 0.01, burst: 3}}\n"+
		"detection: {staff: staff.ndjson, patients: patients.ndjson, care: care.ndjson, every: 1s}\napplications:")
	d.start()
	as := func(p hospital.Staff) client { return client{d.site, p.Person, d.enter(p.Person), &d.asked} }
	is := func(role string) func(hospital.Staff) bool {
		return func(p hospital.Staff) bool { return p.Role() == role && p.PatientID == "" }
	}
	person := func(match func(hospital.Staff) bool) hospital.Staff {
		t.Helper()
		i := slices.IndexFunc(d.hospital.Staff, match)
		if i < 0 {
			t.Fatal("nobody in the hospital fits")
		}
		return d.hospital.Staff[i]
	}
	d.owner = person(func(p hospital.Staff) bool {
		return p.PatientID != "" && (p.Role() == hospital.Nurse || p.Role() == hospital.Doctor)
	})
	d.patient = d.hospital.Patients[len(d.hospital.Patients)-1]
	id := d.patient.ID
	d.doctor = as(person(is(hospital.Doctor)))
	desk := as(person(is(hospital.Receptionist)))

	d.doctor.ask(http.MethodGet, "/fhir/Patient/"+id, "", id)
	d.doctor.ask(http.MethodGet, "/ui/patients/"+id+"/results", "", id)
	d.noon = time.Now()
	d.doctor.ask(http.MethodPost, "/fhir/Observation", `{"resourceType":"Observation","status":"final","subject":{"reference":"Patient/`+id+`"},"code":{"text":"Heart rate"}}`, id)
	d.doctor.ask(http.MethodGet, "/fhir/Patient/"+d.hospital.Patients[9].ID, "", d.hospital.Patients[9].ID)
	desk.ask(http.MethodGet, "/ui/patients/"+id+"/prescriptions", "", id)
	as(d.owner).ask(http.MethodGet, "/fhir/Patient/"+d.owner.PatientID, "", d.owner.PatientID)
	client{d.site, "", d.stranger(), &d.asked}.ask(http.MethodGet, "/fhir/Patient/"+id, "") // refused before anything is known of it
	desk.ask(http.MethodGet, "/.matron/alerts", "")
	desk.ask(http.MethodGet, "/nowhere", "")
	as(person(is("privacy-officer"))).ask(http.MethodGet, "/.matron/", "")
	for range 5 { // until the limit
		d.doctor.ask(http.MethodGet, "/fhir/Patient?family="+d.patient.Name.Family, "")
	}
	return d
}

// TestReceiptsAndPacks: whoever has a receipt can prove the record that it names
// with other people's software, and an evidence pack holds what really happened,
// whatever was deleted from ClickHouse.
// hazard:GW-31 control:C-230
func TestReceiptsAndPacks(t *testing.T) {
	t.Parallel()
	d := newDay(t)
	dir := gateway.JournalDir(d.settings())
	d.receipts(dir)
	var alert struct{ ID, Person string }
	d.eventually("the alert about somebody's own record", func() error {
		for line := range strings.Lines(d.run("alerts", "list", "-c", d.config, "--json")) {
			var a struct{ ID, Kind, Person string }
			decode(t, []byte(line), &a)
			if a.Kind == "own-record" && a.Person == d.owner.Person {
				alert.ID, alert.Person = a.ID, a.Person
				return nil
			}
		}
		return errors.New("not raised")
	})
	d.indexed()
	d.administer("ALTER TABLE matron.records DELETE WHERE patient = '" + d.patient.ID + "' OR person = '" + d.owner.Person + "'")

	of := func(match func(asked) bool) (seqs []uint64) {
		for _, a := range d.asked {
			limited := a.status == http.StatusTooManyRequests // its receipt is of a limit event, not of an exchange
			if a.receipt != "" && !limited && match(a) {
				seqs = append(seqs, a.seq(t))
			}
		}
		return seqs
	}
	doctor := func(a asked) bool { return a.person == d.doctor.person }
	later := of(doctor)[2:]
	moment := d.noon.UTC().Format(time.RFC3339Nano)
	var path string
	for name, tt := range map[string]struct {
		args []string
		want []uint64
	}{
		"patient": {[]string{"--patient", d.patient.ID}, of(func(a asked) bool { return slices.Contains(a.patients, d.patient.ID) })},
		"user":    {[]string{"--user", d.doctor.person}, of(doctor)},
		"period":  {[]string{"--user", d.doctor.person, "--from", moment}, later},
		"case":    {[]string{"--case", alert.ID}, of(func(a asked) bool { return a.person == d.owner.Person })},
	} {
		path = filepath.Join(d.dir, name+".zip")
		d.run(append([]string{"audit", "export", "-c", d.config, "--out", path}, tt.args...)...)
		if got := exchangesIn(t, path); !slices.Equal(got, tt.want) || len(got) == 0 {
			t.Errorf("%s: the pack holds the exchanges %d, want %d", name, got, tt.want)
		}
	}
	d.checksPack(path, filepath.Join(dir, gateway.PublicKeyName))
	d.spoolEmpty()
	d.stop()
	var views int
	for _, r := range d.records() {
		if r.Kind == audit.KindAuditViewed && r.Action == "export" {
			views++
		}
	}
	if views != 4 {
		t.Errorf("%d exports are on record, want 4", views)
	}
}

// receipts checks that every answer names its record, and proves a few of them.
func (d *day) receipts(dir string) {
	d.t.Helper()
	statuses := map[int]int{}
	for _, a := range d.asked {
		statuses[a.status]++
		if a.status == http.StatusTooManyRequests { // counted, not recorded one by one
			continue
		}
		d.proved(a, dir)
	}
	for _, status := range []int{200, 201, 401, 403, 404, 429} {
		if statuses[status] == 0 {
			d.t.Errorf("no answer %d among %v", status, statuses)
		}
	}
}

// proved has "matron audit proof" prove the record of a receipt, and checks that
// proof without any code of Matron's.
func (d *day) proved(a asked, dir string) {
	d.t.Helper()
	seq := a.seq(d.t)
	var text string
	d.eventually("a checkpoint covers the record", func() error {
		c := command(d.t, "audit", "proof", fmt.Sprintf("gw1/%d", seq), dir)
		c.Stderr = nil
		out, err := c.CombinedOutput()
		text = string(out)
		return err
	})
	head, checkpoint, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	key, err := note.NewVerifier(strings.TrimSpace(d.read("data/journal/checkpoint.pub")))
	if err != nil {
		d.t.Fatal(err)
	}
	n, err := note.Open([]byte(checkpoint), note.VerifierList(key))
	if err != nil {
		d.t.Fatal(err)
	}
	said := strings.Split(n.Text, "\n") // origin, size, root
	size, err := strconv.ParseUint(said[1], 10, 64)
	root, err2 := base64.StdEncoding.DecodeString(said[2])
	_, leafText, _ := strings.Cut(a.receipt, ";leaf=")
	leaf, err3 := hex.DecodeString(leafText)
	if err := errors.Join(err, err2, err3); err != nil || lines[0] != "c2sp.org/tlog-proof@v1" || lines[1] != fmt.Sprintf("index %d", seq-1) {
		d.t.Fatalf("%v in %s", err, text)
	}
	var hashes [][]byte
	for _, line := range lines[2:] {
		h, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			d.t.Fatal(err)
		}
		hashes = append(hashes, h)
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, seq-1, size, leaf, hashes, root); err != nil {
		d.t.Errorf("%s %s, receipt %s: %v", a.method, a.path, a.receipt, err)
	}
	leaf[0] ^= 1
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, seq-1, size, leaf, hashes, root); err == nil {
		d.t.Error("another record is proved as well")
	}
}

// exchangesIn lists the exchanges with applications whose records are in a pack,
// by the number of their decision.
func exchangesIn(t *testing.T, path string) []uint64 {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = z.Close() }()
	found := map[uint64]bool{}
	for _, f := range z.File {
		if !strings.HasSuffix(f.Name, ".record") {
			continue
		}
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		r, err := audit.UnmarshalCanonical(text)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case r.App == "matron": // the page on which a sign-in ends
		case r.Kind == audit.KindDecision:
			found[r.Seq] = true
		case r.Kind == audit.KindPatient, r.Kind == audit.KindOutcome:
			found[r.Decision] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// checksPack verifies a pack in a folder where there is nothing but the program
// and the pack: with the right key, with none, with another, and with a byte
// changed at 200 places.
func (d *day) checksPack(path, key string) {
	t := d.t
	t.Helper()
	dir := t.TempDir()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	right, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other.pub")
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "matron"), program, 0o700),
		os.WriteFile(filepath.Join(dir, "pack.zip"), whole, 0o600),
		merkle.GenerateKey(merkle.Origin("RZZ", "gw1"), filepath.Join(t.TempDir(), "other.key"), other),
	); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args  []string
		code  int
		given bool
	}{{[]string{"--key", key}, exitOK, true}, {nil, exitOK, false}, {[]string{"--key", other}, exitIntegrity, true}} {
		c := exec.CommandContext(t.Context(), "./matron", append([]string{"audit", "verify", "pack.zip", "--json"}, tt.args...)...)
		c.Dir, c.Env = dir, []string{}
		out, _ := c.Output()
		var r pack.Report
		if err := json.Unmarshal(out, &r); err != nil || c.ProcessState.ExitCode() != tt.code || r.KeyGiven != tt.given || (len(r.Problems) == 0) != (tt.code == exitOK) {
			t.Errorf("%q: exit code %d, %v: %s", tt.args, c.ProcessState.ExitCode(), err, out)
		}
	}
	altered := filepath.Join(t.TempDir(), "altered.zip")
	for range 200 {
		at, bit := rand.IntN(len(whole)), byte(1)<<rand.IntN(8)
		bad := bytes.Clone(whole)
		bad[at] ^= bit
		if err := os.WriteFile(altered, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := pack.Verify(altered, string(right)); err == nil && r.Err() == nil {
			t.Errorf("bit %d of byte %d of %d was changed and is not found", bit, at, len(whole))
		}
	}
}

// spoolEmpty waits until the gateway has recorded what commands have left.
func (s *site) spoolEmpty() {
	s.t.Helper()
	s.eventually("the spool is empty", func() error {
		left, err := os.ReadDir(gateway.SpoolDir(s.settings()))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%d records wait", len(left))
		}
		return err
	})
}
