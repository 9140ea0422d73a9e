package openmaxims

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/matron-epr/matron/cmd/matron/demo/openmaxims/attack"
)

// safeBuffer is a log that is read while it is written.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// browser is a fresh browser.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

// target is a bare emulator as an attack sees it.
func target(t *testing.T) *attack.Target {
	t.Helper()
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := io.WriteString(w, "hidden-inside"); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(inside.Close)
	log := &safeBuffer{}
	b := start(t, func(c *Config) {
		c.ServerLog, c.Client = log, inside.Client()
		c.Files = fstest.MapFS{"srv/secret.txt": {Data: []byte("content-of-the-file")}}
	})
	p := b.h.Patients[30]
	return &attack.Target{
		Base: b.base, Browser: func(string) *http.Client { return browser(t) },
		User: b.nurse("ASH"), Victim: b.nurse("BEECH"), Password: password,
		Patient: p.ID, PatientID: strconv.Itoa(31), Surname: p.Name.Family,
		File: "file:///srv/secret.txt", Content: "content-of-the-file",
		Inside: inside.URL, Hidden: "hidden-inside",
		ServerLog: log.String, Workstations: b.srv.Workstations,
	}
}

// Every weak spot of the published source is there: against the bare emulator
// every abuse goes through.
// hazard:GW-27 control:C-208
func TestAbuseGoesThrough(t *testing.T) {
	weaknesses := map[string]bool{}
	for _, a := range attack.Table() {
		weaknesses[a.Weakness] = true
		t.Run(strings.TrimPrefix(a.Weakness+"-"+a.ID, "-"), func(t *testing.T) {
			t.Parallel()
			got, err := a.Run(t.Context(), target(t))
			if err != nil {
				t.Fatalf("%s: %v", a.Title, err)
			}
			if !got.Through || got.Evidence == "" {
				t.Errorf("%s: did not go through: %+v", a.Title, got)
			}
		})
	}
	for i := range 14 {
		if !weaknesses["S"+strconv.Itoa(i+1)] {
			t.Errorf("no attack on S%d", i+1)
		}
	}
}

// An application that gives in to nothing is told apart from one that does:
// against blank pages no attack goes through, whether or not it can tell.
func TestAttacksAreNotThroughByThemselves(t *testing.T) {
	blank := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Frame-Options", "DENY")
		w.WriteHeader(http.StatusForbidden)
	}))
	defer blank.Close()
	tg := target(t)
	tg.Base = blank.URL + Base
	for _, a := range attack.Table() {
		if got, err := a.Run(t.Context(), tg); got.Through {
			t.Errorf("%s went through against nothing: %+v, %v", a.ID, got, err)
		}
	}
}
