package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matron-epr/matron/audit"
)

// faulty is an application in which every patient is a fault of its own.
func faulty(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	switch {
	case strings.Contains(r.URL.Path, "/slow"):
		<-r.Context().Done()
	case strings.Contains(r.URL.Path, "/early"):
		hangUp(w, "")
	case strings.Contains(r.URL.Path, "/garbage"):
		hangUp(w, "\x00\xff\x15this is no answer\r\n\r\n")
	case strings.Contains(r.URL.Path, "/broken-off"):
		hangUp(w, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\nhalf an")
	case strings.Contains(r.URL.Path, "/stalled"):
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "half an")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case strings.Contains(r.URL.Path, "/wards/"):
		w.Header().Set("X-Patient", "P1")
		_, _ = io.WriteString(w, strings.Repeat("a long list of patients ", 1000))
	default:
		_, _ = io.WriteString(w, "well")
	}
}

// hangUp sends bytes and closes the connection.
func hangUp(w http.ResponseWriter, bytes string) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = buffered.WriteString(bytes)
	_ = buffered.Flush()
	_ = conn.Close()
}

// answer is what one request came to.
type answer struct {
	status      int
	contentType string
	request     string // the reference
	body        string
}

// ask sends one request as a browser that navigates, or as software.
func (s *site) ask(c *http.Client, method, path, accept, body string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := c.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header.Get("Content-Type"), res.Header.Get("Matron-Request"), string(text)}
}

// whole reports whether an answer arrives as if nothing had gone wrong.
func (s *site) whole(c *http.Client, path string) bool {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := c.Do(r)
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(io.Discard, res.Body)
	return err == nil
}

const (
	asPerson   = "text/html,application/xhtml+xml"
	asSoftware = "application/json"
)

// TestApplicationFails puts an application behind the gateway that is down,
// slow, ends early or talks nonsense: a person gets a page, software a problem,
// the record says what happened, and nothing hangs.
// hazard:GW-05 control:C-21
// hazard:GW-15 control:C-63
func TestApplicationFails(t *testing.T) {
	t.Parallel()
	nobody := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	upstream := serve(t, http.HandlerFunc(faulty))
	s := newSite(t, fmt.Sprintf(`- {name: epr, prefix: /ui, upstream: %q, map: pages-map.yaml, timeout: 500ms, max_held: 1024, max_spooled: 4096}
- {name: down, prefix: /down, upstream: %q, map: pages-map.yaml}
`, upstream, nobody))
	s.copyPagesMap()
	s.start()
	doctor := s.as("doctor")
	wants := map[string]string{} // error of the outcome by request or path
	for _, tt := range []struct {
		path    string
		status  int
		code    string
		unknown bool // of a write nobody knows whether it happened
	}{
		{"/down/patients/P1/notes", 502, "application-unreachable", false},
		{"/ui/patients/slow/notes", 504, "application-timeout", true},
		{"/ui/patients/early/notes", 502, "application-failed", true},
		{"/ui/patients/garbage/notes", 502, "application-failed", true},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			body, unknown := "", false
			if method == http.MethodPost {
				body, unknown = "text=note", tt.unknown
			}
			page := s.ask(doctor, method, tt.path, asPerson, body)
			told := strings.Contains(page.body, "not known whether")
			if page.status != tt.status || !strings.HasPrefix(page.contentType, "text/html") ||
				!strings.Contains(page.body, page.request) || told != unknown {
				t.Errorf("%s %s: page %+v, want status %d, the reference, unknown %v", method, tt.path, page, tt.status, unknown)
			}
			problem := s.ask(doctor, method, tt.path, asSoftware, body)
			checkProblem(t, method+" "+tt.path, problem, tt.status, tt.code, unknown)
			wants[page.request], wants[problem.request] = tt.code, tt.code
		}
	}
	held := s.ask(doctor, http.MethodGet, "/ui/wards/W1", asSoftware, "")
	checkProblem(t, "held", held, http.StatusBadGateway, "response-too-large", false)
	wants[held.request] = "response-too-large"
	for path, code := range map[string]string{"broken-off": "response-broken-off", "stalled": "application-timeout"} {
		if s.whole(doctor, "/ui/patients/"+path) {
			t.Errorf("%s: the answer looks whole", path)
		}
		wants["/ui/patients/"+path] = code
	}
	if got := s.ask(doctor, http.MethodGet, "/ui/patients/P1", asPerson, ""); got.body != "well" {
		t.Errorf("afterwards: %+v", got)
	}
	s.stop()
	outcomes, targets := map[string]string{}, map[string]string{}
	for _, r := range s.records() {
		if r.Kind == audit.KindDecision {
			targets[r.Request] = r.Target
		}
		if r.Kind == audit.KindOutcome {
			outcomes[r.Request], outcomes[targets[r.Request]] = r.Error, r.Error
		}
	}
	for request, want := range wants {
		if got := outcomes[request]; got != want {
			t.Errorf("request %s: outcome %q, want %q", request, got, want)
		}
	}
}

// checkProblem checks an answer for software.
func checkProblem(t *testing.T, what string, a answer, status int, code string, unknown bool) {
	t.Helper()
	var p struct{ Type, Reference, Outcome string }
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Errorf("%s: %v in %q", what, err, a.body)
		return
	}
	outcome := ""
	if unknown {
		outcome = "unknown"
	}
	if a.status != status || a.contentType != "application/problem+json" || p.Type != "urn:matron:problem:"+code ||
		p.Reference != a.request || p.Outcome != outcome {
		t.Errorf("%s: problem %+v, want status %d, code %s, outcome %q", what, a, status, code, outcome)
	}
}

// TestJournalCannotBeWritten takes the disk away from a running gateway: nothing
// is forwarded, staff get a page, readiness and the log say why, and once the
// disk is back a start goes on without a gap.
func TestJournalCannotBeWritten(t *testing.T) {
	reached := make(chan string, 100)
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached <- r.URL.Path
		_, _ = io.WriteString(w, "well")
	}))
	s := newSite(t, fmt.Sprintf("- {name: epr, prefix: /ui, upstream: %q, map: pages-map.yaml}\n", upstream))
	s.copyPagesMap()
	s.start()
	doctor := s.as("doctor")
	if got := s.ask(doctor, http.MethodGet, "/ui/patients/P1", asPerson, ""); got.body != "well" || len(reached) != 1 {
		t.Fatalf("before: %+v", got)
	}
	s.indexed()
	// No byte more can be written to any file, as on a full disk.
	if err := unix.Prlimit(s.process.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1, Max: unix.RLIM_INFINITY}, nil); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		page := s.ask(doctor, http.MethodGet, "/ui/patients/P2", asPerson, "")
		if page.status != http.StatusServiceUnavailable || !strings.HasPrefix(page.contentType, "text/html") || !strings.Contains(page.body, page.request) {
			t.Errorf("page %+v", page)
		}
		checkProblem(t, "write", s.ask(doctor, http.MethodPost, "/ui/patients/P2/notes", asSoftware, "text=note"), http.StatusServiceUnavailable, "not-recorded", false)
	}
	if len(reached) != 1 {
		t.Errorf("%d requests were forwarded without a record", len(reached)-1)
	}
	if status, body := s.ready(); status != http.StatusServiceUnavailable || !strings.Contains(body, "journal") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if got := s.metric("matron_journal_healthy"); got != "0" {
		t.Errorf("matron_journal_healthy %s", got)
	}
	if len(s.log.with("journal: sealed after a failed write")) != 1 {
		t.Error("the log does not say why")
	}
	if status, _ := s.send(&http.Client{}, http.MethodGet, s.admin+"/healthz", "", nil); status != http.StatusOK {
		t.Errorf("/healthz: %d", status)
	}
	s.kill() // an operator restarts it when the disk is back
	before := s.verify()
	s.start()
	if got := s.ask(doctor, http.MethodGet, "/ui/patients/P1", asPerson, ""); got.body != "well" {
		t.Errorf("afterwards: %+v", got)
	}
	s.indexed()
	s.stop()
	if next := s.records()[before.Last]; next.Kind != audit.KindStart {
		t.Errorf("record %d is %s", next.Seq, next.Kind)
	}
}

// TestNoRoomNoStart starts the gateway where there is no room for a segment of
// the journal: it refuses, and says why.
func TestNoRoomNoStart(t *testing.T) {
	t.Parallel()
	s := newSite(t, "- {name: epr, prefix: /ui, upstream: \"http://127.0.0.1:9\", map: pages-map.yaml}\n")
	s.copyPagesMap()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "/bin/sh", "-c", "ulimit -f 1024; exec \"$0\" serve -c \"$1\"", binary(t), s.config)
	said, err := c.CombinedOutput()
	if c.ProcessState.ExitCode() != exitFailure || !strings.Contains(string(said), "open journal") {
		t.Errorf("%v, said %q", err, said)
	}
}
