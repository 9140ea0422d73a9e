package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// TestSurplusOfAnAnswerReachesNobody: an application that sends more than its
// answer, as one does that counts letters for bytes, must not answer the next
// request with it, and net/http must not quote it in a log.
func TestSurplusOfAnAnswerReachesNobody(t *testing.T) {
	var quoted lockedBuilder
	log.SetOutput(&quoted)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	const surplus = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\npatient 4711"
	for name, answer := range map[string]string{
		"GET":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"POST":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
		"HEAD":   "HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\n",
		"PUT":    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
		"DELETE": "HTTP/1.1 304 Not Modified\r\n\r\n",
	} {
		app := &rawApp{answer: func(string) string { return answer + surplus }}
		w := build(t, nil, func(c *proxy.Config) { c.Apps[0].Upstream = app.serve(t) })
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 10 {
					body := map[string]string{"POST": "x", "PUT": "x"}[name]
					if a := w.do(name, "/patient/1", body); a.status >= 400 || a.err != nil || a.tells("4711") {
						t.Errorf("%s: %d %q %v", name, a.status, a.body, a.err)
					}
				}
			})
		}
		wg.Wait()
		if n := strings.Count(w.logged.String(), "sends more than its answer"); n != 1 {
			t.Errorf("%s: said %d times in the log", name, n)
		}
		app.check(w)
	}
	if quoted.String() != "" {
		t.Errorf("net/http quotes the application: %s", quoted.String())
	}
}

const (
	people   = 32
	requests = 50
)

// TestEveryoneGetsTheirOwn: many people at once, over HTTP/1.1 and HTTP/2, who read,
// search, write, go away in the middle and are broken off: each answer holds what
// its own person asked for, and every record names that person and that patient.
// hazard:GW-08 control:C-34
func TestEveryoneGetsTheirOwn(t *testing.T) {
	w := build(t, ownMarker, func(c *proxy.Config) {
		c.Apps[0].Map = mixedMap()
		c.MaxKept = 64 << 20
	})
	clients := [...]*http.Client{w.newClient(false), w.newClient(true)}
	for _, c := range clients { // keep-alive for everybody
		c.Transport.(*http.Transport).MaxIdleConnsPerHost = people
	}
	var wg sync.WaitGroup
	for p := range people {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(p)))
			for n := range requests {
				w.ask(clients[p%2], random, fmt.Sprintf("u%d", p), fmt.Sprintf("u%d-n%d", p, n))
			}
		})
	}
	wg.Wait()
	if err := w.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d, o := w.log.kinds(audit.KindDecision), w.log.kinds(audit.KindOutcome); len(d) != len(o) {
		t.Errorf("%d decisions, %d outcomes", len(d), len(o))
	}
	asked := map[string]int{}
	for _, kind := range [...]audit.Kind{audit.KindDecision, audit.KindPatient} {
		for _, r := range w.log.kinds(kind) {
			if r.Patient == "" {
				continue
			}
			owner, _, _ := strings.Cut(r.Patient, "-")
			if r.UserSub != owner || r.Person != "p-"+owner {
				t.Errorf("%s of %s names %s", kind, r.UserSub, r.Patient)
			}
			asked[r.Patient]++
		}
	}
	for p := range people {
		for n := range requests {
			if id := fmt.Sprintf("u%d-n%d", p, n); asked[id] == 0 && n%5 != abandoned {
				t.Errorf("no record names %s", id)
			}
		}
	}
}

// abandoned is the fifth of the requests whose client goes away, at any time.
const abandoned = 3

// ask sends one request of a person about a patient of that name and checks the
// answer.
func (w *world) ask(client *http.Client, random *rand.Rand, person, patient string) {
	kind := [...]string{"/read/", "/search/", "/stream/", "/read/", "/broken/"}
	n := strings.LastIndexByte(patient, 'n')
	var of int
	_, _ = fmt.Sscan(patient[n+1:], &of)
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	method := [...]string{"GET", "POST"}[random.IntN(2)]
	r, err := http.NewRequestWithContext(ctx, method, w.url+kind[of%5]+patient, strings.NewReader("by "+patient))
	if err != nil {
		w.t.Error(err)
		return
	}
	r.Header.Set("Cookie", "__Host-matron="+person)
	if of%5 == abandoned {
		go cancel()
	}
	res, err := client.Do(r)
	if err != nil {
		if of%5 != abandoned && of%5 != 4 {
			w.t.Errorf("%s: %v", patient, err)
		}
		return
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	seen := 0
	for lines.Scan() {
		if lines.Text() == "patient "+patient {
			seen++
		} else if line := lines.Text(); strings.HasPrefix(line, "patient u") && !strings.HasPrefix("patient "+patient, line) {
			w.t.Errorf("%s got %s", patient, line)
		}
	}
	if of%5 < abandoned && (res.StatusCode != http.StatusOK || seen == 0 || lines.Err() != nil) {
		w.t.Errorf("%s: %d, seen %d times, %v", patient, res.StatusCode, seen, lines.Err())
	}
}

// ownMarker is an application that answers with the patient asked for, provided
// that its body and the token say the same.
func ownMarker(rw http.ResponseWriter, r *http.Request) {
	patient := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	owner, _, _ := strings.Cut(patient, "-")
	if r.Header.Get("Matron-Identity") != "voucher-for-"+owner {
		_, _ = io.WriteString(rw, "patient ustranger\n")
		return
	}
	line := "patient " + patient + "\n"
	switch {
	case strings.HasPrefix(r.URL.Path, "/stream/"):
		for range 20 {
			_, _ = io.WriteString(rw, line)
			_ = http.NewResponseController(rw).Flush()
		}
	case strings.HasPrefix(r.URL.Path, "/broken/"):
		_, _ = io.WriteString(rw, line)
		_ = http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	default:
		_, _ = io.WriteString(rw, strings.Repeat(line, 50))
	}
}

// mixedMap holds searches and reads the patient of everything else in its path; it
// reads the body of what is written.
func mixedMap() testMap {
	m := heldMap()
	hold, settle := m.classify, m.settle
	m.classify = func(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
		if strings.HasPrefix(r.URL.Path, "/search/") {
			return hold(r, body)
		}
		a, err := readPatient(r, body)
		if err == nil && a.Action != policy.Read {
			var text []byte
			text, err = body()
			if err == nil && string(text) != "by "+a.ID {
				err = errors.New("the body of somebody else")
			}
		}
		return a, err
	}
	m.settle = func(a proxy.Access, res *http.Response, body []byte) (proxy.Settlement, error) {
		s, err := settle(a, res, body)
		if len(s.Patients) > 1 {
			s.Patients = s.Patients[:1]
		}
		return s, err
	}
	return m
}
