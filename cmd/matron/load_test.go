package main

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/demo/fhirepr"
	"github.com/matron-epr/matron/cmd/matron/gateway"
	gatewaysignin "github.com/matron-epr/matron/proxy/signin"
)

// newRecordSite is a site with the demonstration's patient record behind it.
func newRecordSite(t *testing.T) *site {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	s := newSite(t, fmt.Sprintf(`- {name: fhir, prefix: /fhir, upstream: "http://%[1]s/fhir", map: fhir-r4}
- {name: epr, prefix: /ui, upstream: "http://%[1]s/ui", map: pages-map.yaml}
`, server.Listener.Addr()))
	s.copyPagesMap()
	key, err := gatewaysignin.LoadKey(filepath.Join(s.dir, "data/keys/voucher.pem"))
	if err != nil {
		t.Fatal(err)
	}
	epr, err := fhirepr.New(fhirepr.Config{
		Hospital: s.hospital, Dir: s.dir, Keys: []crypto.PublicKey{key.Public()}, Issuer: s.url, Public: s.url,
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = epr
	server.Start()
	t.Cleanup(func() {
		server.Close()
		if err := epr.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// copyPagesMap puts the map of the record's pages beside the configuration.
func (s *site) copyPagesMap() {
	s.t.Helper()
	text, err := os.ReadFile("demo/pages-map.yaml")
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("pages-map.yaml", string(text))
}

// edit replaces one text of the configuration by another.
func (s *site) edit(old, fresh string) {
	s.t.Helper()
	text, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		s.t.Fatalf("%q is not in\n%s", old, text)
	}
	s.write(filepath.Base(s.config), strings.Replace(string(text), old, fresh, 1))
}

// unlimited lets the load of a test through.
func (s *site) unlimited() {
	s.edit("applications:", "limits: {interactive: {per_second: 1000, burst: 1000}, search: {per_second: 1000, burst: 1000}}\napplications:")
}

// settings reads the configuration as the gateway does.
func (s *site) settings() config.Config {
	s.t.Helper()
	c, _, err := config.Load(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// verify reads the journal beside the running gateway, as "matron audit verify"
// does, and fails on any gap or damage.
func (s *site) verify() journal.Report {
	s.t.Helper()
	report, err := journal.Verify(journal.VerifyOptions{Dirs: gateway.JournalDirs(s.settings())})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := report.Err(); err != nil {
		s.t.Fatal(err)
	}
	return report
}

// records reads the whole journal of a gateway that has stopped.
func (s *site) records() []audit.Record {
	s.t.Helper()
	c := s.settings()
	j, err := journal.Open(journal.Config{Dir: gateway.JournalDir(c), Source: c.Source, Site: c.Site, Now: time.Now})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	records, err := j.Read(1, int(j.Committed()))
	if err != nil {
		s.t.Fatal(err)
	}
	return records
}

// indexed waits until ClickHouse has exactly one row for each record, and as
// many of each kind.
func (s *site) indexed() {
	s.t.Helper()
	c := s.settings()
	s.eventually("one row for each record", func() error {
		report := s.verify()
		rows, err := gateway.CountRows(s.t.Context(), c, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		if err != nil {
			return err
		}
		if rows.Duplicates > 0 {
			s.t.Fatalf("rows more than once: %+v", rows)
		}
		if rows.Count != report.Last || rows.Missing > 0 {
			return fmt.Errorf("rows %+v, last record %d", rows, report.Last)
		}
		return s.sameKinds(c, report.Kinds)
	})
}

func (s *site) sameKinds(c config.Config, want map[audit.Kind]uint64) error {
	store, err := gateway.OpenIndex(s.t.Context(), c)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	got, err := store.Counts(s.t.Context())
	if err != nil {
		return err
	}
	for kind, n := range want {
		if got[kind] != n {
			return fmt.Errorf("%d rows of kind %s, %d records", got[kind], kind, n)
		}
	}
	return nil
}

// ready asks /readyz.
func (s *site) ready() (status int, body string) {
	s.t.Helper()
	status, text := s.send(&http.Client{}, http.MethodGet, s.admin+"/readyz", "", nil)
	return status, string(text)
}

// metric reads one value of /metrics without labels.
func (s *site) metric(name string) string {
	s.t.Helper()
	_, text := s.send(&http.Client{}, http.MethodGet, s.admin+"/metrics", "", nil)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	s.t.Fatalf("no metric %s", name)
	return ""
}

// receipt is the header Matron-Receipt of one answer, with the patients that
// the answer names.
type receipt struct {
	seq      uint64
	leaf     string
	patients []string
	refusal  string // instead: why nothing was shown
}

// shift is staff at work: readers and writers over real HTTPS until they are
// told to stop.
type shift struct {
	site *site
	end  context.CancelFunc
	wg   sync.WaitGroup

	acknowledged atomic.Uint64 // answers with a receipt

	mu       sync.Mutex
	receipts []receipt      // guarded by mu
	answers  map[string]int // guarded by mu: by method and status
	refusals map[int]string // guarded by mu: the first of each status
	broken   []error        // guarded by mu: requests without a whole answer
}

// work puts doctors and nurses to work.
func (s *site) work(people int) *shift {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	w := &shift{site: s, end: cancel, answers: map[string]int{}, refusals: map[int]string{}}
	s.t.Cleanup(w.stop)
	team := append(s.hospital.WithRole("doctor")[:people/2], s.hospital.WithRole("nurse")[:people-people/2]...)
	for i, person := range team {
		client := s.enter(person.Person)
		w.wg.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				w.task(ctx, client, n)
			}
		})
	}
	return w
}

// stop ends the shift; what is in flight is finished.
func (w *shift) stop() {
	w.end()
	w.wg.Wait()
}

// task is one request: mostly reads, some searches, some writes.
func (w *shift) task(ctx context.Context, client *http.Client, n int) {
	patients := w.site.hospital.Patients
	p := patients[n%len(patients)]
	method, path, body := http.MethodGet, "/fhir/Patient/"+p.ID, ""
	switch n % 4 {
	case 1:
		path = "/fhir/Patient?_count=3&family=" + p.Name.Family
	case 2:
		method, path = http.MethodPost, "/fhir/Observation"
		body = `{"resourceType":"Observation","status":"final","subject":{"reference":"Patient/` + p.ID + `"},"code":{"text":"Heart rate"}}`
	}
	// Once begun a request is finished, so that nothing is in flight that nobody
	// waits for.
	r, err := http.NewRequestWithContext(context.WithoutCancel(ctx), method, w.site.url+path, strings.NewReader(body))
	if err != nil {
		w.note(method, 0, receipt{}, err)
		return
	}
	r.Header.Set("Accept", "application/fhir+json")
	r.Header.Set("Content-Type", "application/fhir+json")
	status, got, err := exchange(client, r)
	w.note(method, status, got, err)
	if err != nil {
		select { // the gateway is away: do not ask in a tight loop
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// exchange sends a request and reads the whole answer.
func exchange(client *http.Client, r *http.Request) (status int, got receipt, err error) {
	res, err := client.Do(r)
	if err != nil {
		return 0, receipt{}, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode >= http.StatusBadRequest { // nothing is shown; asUsual judges
		text, err := io.ReadAll(res.Body)
		return res.StatusCode, receipt{refusal: string(text)}, err
	}
	// The header alone is an acknowledgement, whatever becomes of the body.
	got, err = parseReceipt(res.Header.Get("Matron-Receipt"))
	if err != nil {
		return res.StatusCode, got, err
	}
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode == http.StatusOK {
		got.patients, err = patientsIn(body)
	}
	return res.StatusCode, got, err
}

func parseReceipt(header string) (receipt, error) {
	place, leaf, _ := strings.Cut(header, ";leaf=")
	source, number, ok := strings.Cut(place, "/")
	seq, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil || source != "gw1" || leaf == "" {
		return receipt{}, fmt.Errorf("receipt %q", header)
	}
	return receipt{seq: seq, leaf: leaf}, nil
}

// patientsIn lists the Patient resources of an answer.
func patientsIn(body []byte) ([]string, error) {
	type resource struct {
		ResourceType, ID string
	}
	var answer struct {
		resource
		Entry []struct{ Resource resource }
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&answer); err != nil {
		return nil, err
	}
	var ids []string
	if answer.ResourceType == "Patient" {
		ids = append(ids, answer.ID)
	}
	for _, e := range answer.Entry {
		if e.Resource.ResourceType == "Patient" {
			ids = append(ids, e.Resource.ID)
		}
	}
	return ids, nil
}

func (w *shift) note(method string, status int, got receipt, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[fmt.Sprintf("%s %d", method, status)]++
	if err != nil {
		w.broken = append(w.broken, err)
	}
	if got.refusal != "" && w.refusals[status] == "" {
		w.refusals[status] = got.refusal
	}
	if got.seq > 0 {
		w.receipts = append(w.receipts, got)
		w.acknowledged.Add(1)
	}
}

// until waits until n more answers have been acknowledged.
func (w *shift) until(n int) {
	w.site.t.Helper()
	want := w.acknowledged.Load() + uint64(n)
	w.site.eventually("staff get answers", func() error {
		if got := w.acknowledged.Load(); got < want {
			return fmt.Errorf("%d answers of %d", got, want)
		}
		return nil
	})
}

// undisturbed fails unless every request of the shift was answered as it should
// be.
func (w *shift) undisturbed() {
	w.site.t.Helper()
	w.mu.Lock()
	for _, err := range w.broken {
		w.site.t.Errorf("a request was dropped: %v", err)
	}
	w.mu.Unlock()
	w.asUsual()
}

// asUsual fails on any answer that staff do not get on a good day. A machine
// that others keep busy may be too slow for a record or a decision: that is
// refused, and the log says so each time.
func (w *shift) asUsual() {
	w.site.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	slow := len(w.site.log.with("record not durable"))
	starved := len(w.site.log.with("policy evaluation failed"))
	for answer, n := range w.answers {
		switch {
		case answer == "GET 200", answer == "POST 201", strings.HasSuffix(answer, " 0"):
		case strings.HasSuffix(answer, " 503") && n <= slow:
		case strings.HasSuffix(answer, " 403") && n <= starved:
		default:
			w.site.t.Errorf("%d answers %s", n, answer)
		}
	}
	if w.site.t.Failed() {
		w.site.t.Logf("refusals: %v", w.refusals)
	}
	w.site.t.Logf("answers: %v", w.answers)
}

// compare checks every receipt against the journal: the record it names is
// there, is the one it names, and every patient that was shown is on record.
func (w *shift) compare(records []audit.Record) {
	w.site.t.Helper()
	named := map[uint64]map[string]bool{}
	leaves := make([]string, len(records))
	for i, r := range records {
		leaf := audit.Leaf(r.AppendCanonical(nil))
		leaves[i] = hex.EncodeToString(leaf[:])
		decision := r.Seq
		if r.Kind == audit.KindPatient {
			decision = r.Decision
		}
		if named[decision] == nil {
			named[decision] = map[string]bool{}
		}
		named[decision][r.Patient] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, got := range w.receipts {
		if got.seq > uint64(len(leaves)) || leaves[got.seq-1] != got.leaf {
			w.site.t.Errorf("record %d is lost or not the one that was acknowledged", got.seq)
			continue
		}
		for _, p := range got.patients {
			if !named[got.seq][p] {
				w.site.t.Errorf("record %d: a patient was shown and not recorded", got.seq)
			}
		}
	}
	w.site.t.Logf("%d receipts, %d requests without an answer, %d records", len(w.receipts), len(w.broken), len(records))
}
