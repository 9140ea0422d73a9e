package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/engine"
)

// smallDisk is a file system of its own below the journal of a site.
type smallDisk struct {
	t      *testing.T
	dir    string
	filler *os.File
}

// newSmallDisk mounts one and moves the journal of s there. Only root may do
// that: a machine on which it is not possible cannot say that this works.
func newSmallDisk(t *testing.T, s *site, size string) *smallDisk {
	t.Helper()
	d := &smallDisk{t: t, dir: filepath.Join(s.dir, "disk")}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700,size="+size); err != nil {
		t.Fatalf("mount a small file system: %v: run this test as root, where file systems can be mounted", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(d.dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", d.dir, err)
		}
	})
	journal := filepath.Join(s.dir, "data", "journal")
	if err := os.CopyFS(filepath.Join(d.dir, "journal"), os.DirFS(journal)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(journal); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(d.dir, "journal"), journal); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(d.dir, "journal"), journal} {
		if err := os.Chmod(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if d.filler, err = os.Create(filepath.Join(d.dir, "filler")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.filler.Close() })
	return d
}

// fill makes the disk that full.
func (d *smallDisk) fill(percent int64) {
	d.t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(d.dir, &fs); err != nil {
		d.t.Fatal(err)
	}
	total, used := int64(fs.Blocks)*fs.Bsize, int64(fs.Blocks-fs.Bfree)*fs.Bsize
	info, err := d.filler.Stat()
	if err != nil {
		d.t.Fatal(err)
	}
	// In one move: what lies between would be measured.
	size := max(info.Size()+total*percent/100-used, 0)
	if size > info.Size() {
		err = unix.Fallocate(int(d.filler.Fd()), 0, 0, size)
	} else {
		err = d.filler.Truncate(size)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// TestDiskOfTheJournalFillsUp fills a real file system below a running gateway
// and empties it again: what can wait is refused step by step, care never, and
// everybody who looks is told.
// hazard:GW-12 control:C-50
// hazard:GW-12 control:C-52
func TestDiskOfTheJournalFillsUp(t *testing.T) {
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/fhir/Observation"):
			w.Header().Set("Content-Type", "application/fhir+json")
			_, _ = io.WriteString(w, `{"resourceType":"Bundle","type":"searchset","entry":[]}`)
			return
		case strings.Contains(r.URL.Path, "/wards/"):
			w.Header().Set("X-Patient", "P1")
		}
		_, _ = io.WriteString(w, "well")
	}))
	s := newSite(t, fmt.Sprintf("- {name: epr, prefix: /ui, upstream: %q, map: pages-map.yaml}\n- {name: fhir, prefix: /fhir, upstream: %q, map: fhir-r4}\n", upstream, upstream+"/fhir"))
	s.copyPagesMap()
	disk := newSmallDisk(t, s, "1g")
	s.start()
	doctor, analyst := s.as("doctor"), s.as("security-analyst")
	for _, row := range []struct {
		percent int64
		level   string
		word    string
		page    string   // what the health page says
		refused []string // what answers 503, of the three below
	}{
		{0, "0", "level ok", "Everything works", nil},
		{83, "1", "level no-bulk-export", "Exports and other bulk work are refused", []string{"export"}},
		{92, "2", "level no-other-search", "searches that are not about one patient, are refused", []string{"export", "search"}},
		{97, "3", "level care-only", "Everything but patient care is refused", []string{"export", "search", "live"}},
		{94, "3", "level care-only", "Everything but patient care is refused", []string{"export", "search", "live"}},
		{10, "0", "level ok", "Nothing", nil},
	} {
		disk.fill(row.percent)
		s.eventually(fmt.Sprintf("level %s at %d %%", row.level, row.percent), func() error {
			if got := s.metric("matron_journal_disk_level"); got != row.level {
				return fmt.Errorf("level %s", got)
			}
			used, err := strconv.ParseFloat(s.metric("matron_journal_disk_used_ratio"), 64)
			if err != nil {
				return err
			}
			if off := used*100 - float64(row.percent); row.percent > 80 && (off < -1 || off > 1) {
				return fmt.Errorf("used %v", used)
			}
			return nil
		})
		if status, body := s.ready(); status != http.StatusOK || !strings.Contains(body, row.word) {
			t.Errorf("%d %%: /readyz: %d %.300s", row.percent, status, body)
		}
		if row.level != "0" {
			if a := s.ask(analyst, http.MethodGet, "/.matron/health", asPerson, ""); a.status != http.StatusOK || !strings.Contains(a.body, row.page) {
				t.Errorf("%d %%: health page: %d %.300s", row.percent, a.status, a.body)
			}
		}
		for name, tried := range map[string]struct {
			client *http.Client
			path   string
			words  string
		}{
			"export": {doctor, "/fhir/Patient/P1/$everything", "Exports and other bulk work"},
			"search": {doctor, "/fhir/Observation?code=1", "Searches that are not about one patient"},
			"live":   {analyst, "/.matron/live", "everything else is refused"},
		} {
			a := s.ask(tried.client, http.MethodGet, tried.path, asPerson, "")
			if want := slices.Contains(row.refused, name); (a.status == http.StatusServiceUnavailable) != want || want && !strings.Contains(a.body, tried.words) {
				t.Errorf("%d %%: %s: %d %.300s", row.percent, name, a.status, a.body)
			}
		}
		for _, path := range []string{"/ui/patients", "/ui/wards/W1", "/ui/patients/P1", "/ui/patients/P1/results"} {
			if a := s.ask(doctor, http.MethodGet, path, asPerson, ""); a.status != http.StatusOK || a.body != "well" {
				t.Errorf("%d %%: care: %s: %d %.300s", row.percent, path, a.status, a.body)
			}
		}
		if a := s.ask(doctor, http.MethodPost, "/ui/patients/P1/notes", asPerson, "text=note"); a.status != http.StatusOK {
			t.Errorf("%d %%: a note: %d %.300s", row.percent, a.status, a.body)
		}
	}
	if n := len(s.log.with(`msg="disk of the journal" level=`)); n != 4 {
		t.Errorf("%d changes of level were logged, want 4", n)
	}
	s.stop()
	reasons := map[string]int{}
	for _, r := range s.records() {
		if r.Kind == audit.KindLimit {
			reasons[strings.Join(r.Reasons, " ")]++
		}
	}
	if reasons["disk-no-bulk"] != 4 || reasons["disk-no-search"] != 3 || reasons["disk-care-only"] != 2 {
		t.Errorf("recorded refusals %v", reasons)
	}
}

// TestIndexVanishes drops the database, and then the table alone, below a
// running gateway: care goes on, it is said, and the index comes back whole
// without a restart.
func TestIndexVanishes(t *testing.T) {
	t.Parallel()
	server, err := engine.Start(t.Context(), engine.Config{
		Dir: t.TempDir(), Library: libchdb, Executable: binary(t), Args: []string{engineChildName}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	app := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = io.WriteString(w, `{"resourceType":"Patient","id":"P1"}`)
	}))
	s := newSite(t, fmt.Sprintf(`- {name: fhir, prefix: /fhir, upstream: %q, map: fhir-r4}
clickhouse:
  address: [%q]
  protocol: http
  user: %s
  password_file: clickhouse.secret
`, app, server.Addr(), server.User()))
	s.write("clickhouse.secret", server.Password())
	s.start()
	nurse := s.as("nurse")
	read := func() {
		t.Helper()
		if status, body := s.send(nurse, http.MethodGet, "/fhir/Patient/P1", "", nil); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
	}
	read()
	s.indexed()
	for i, statement := range []string{"DROP DATABASE matron", "DROP TABLE matron.records"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+server.Addr()+"/", strings.NewReader(statement+" SYNC"))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(server.User(), server.Password())
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d", statement, res.StatusCode)
		}
		read()
		s.eventually("the loss is noticed", func() error {
			if got := len(s.log.with("the tables of the index are gone")); got != i+1 {
				return fmt.Errorf("noticed %d times", got)
			}
			return nil
		})
		if codes := s.log.with("code=clickhouse-81", "code=clickhouse-60"); len(codes) <= i {
			t.Errorf("%s: the shipper reports no code", statement)
		}
		if status, _ := s.ready(); status != http.StatusOK {
			t.Errorf("%s: /readyz: %d", statement, status)
		}
		read()
		s.indexed() // every record, those of before the loss too
		s.eventually("the index counts as healthy", func() error {
			var told struct{ Checks []struct{ Name, Note string } }
			_, body := s.ready()
			if err := json.Unmarshal([]byte(body), &told); err != nil {
				return err
			}
			if got := s.metric("matron_index_healthy"); got != "1" {
				return fmt.Errorf("matron_index_healthy %s: %s", got, body)
			}
			return nil
		})
	}
	if got := s.accesses(5, "who", "--patient", "P1"); len(got) != 5 {
		t.Errorf("%d accesses, want 5", len(got))
	}
	s.stop()
}
