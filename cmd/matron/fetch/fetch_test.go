package fetch_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matron-epr/matron/cmd/matron/fetch"
	"github.com/matron-epr/matron/policy/rego"
	"github.com/matron-epr/matron/policy/rego/regotest"
)

// server offers one bundle over TLS, with an ETag.
type server struct {
	*httptest.Server
	handler atomic.Pointer[http.HandlerFunc] // an answer that nobody waits for may still be read when it changes
	text    []byte
	etag    string
	served  int // whole bundles
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	s.answer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", s.etag)
		if r.Header.Get("If-None-Match") == s.etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		s.served++
		_, _ = w.Write(s.text)
	})
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*s.handler.Load())(w, r) }))
	t.Cleanup(s.Close)
	return s
}

func (s *server) answer(h http.HandlerFunc) { s.handler.Store(&h) }

func (s *server) offer(text []byte, etag string) { s.text, s.etag = text, etag }

// rules are the smallest that can be signed.
func rules(more string) map[string]string {
	return map[string]string{"rules.rego": "package matron\n" + more}
}

type bench struct {
	t      *testing.T
	server *server
	keys   []string
	key    regotest.Key
	cache  string
	f      *fetch.Fetcher
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, server: newServer(t), key: regotest.NewKey(t), cache: filepath.Join(t.TempDir(), "policy", "fetched.tar.gz")}
	b.keys = []string{b.key.Public}
	b.restart()
	return b
}

func (b *bench) restart() {
	client := b.server.Client()
	client.Timeout = 500 * time.Millisecond
	b.f = fetch.New(fetch.Config{
		URL: b.server.URL + "/bundle.tar.gz", Client: client, Cache: b.cache,
		Signing: func() (rego.Signing, error) { return rego.Signing{Keys: b.keys, Algorithm: "RS256"}, nil },
	})
}

// gets fetches and checks which revision comes, "" for nothing new, or which error.
func (b *bench) gets(revision string, want error) {
	b.t.Helper()
	got, err := b.f.Fetch(b.t.Context())
	switch {
	case !errors.Is(err, want):
		b.t.Errorf("%v, want %v", err, want)
	case got == nil && revision != "" || got != nil && got.Revision != revision:
		b.t.Errorf("%+v, want revision %q", got, revision)
	case got != nil:
		if err := b.f.Good(got); err != nil {
			b.t.Error(err)
		}
	}
}

// A bundle is fetched once, a newer one comes, an older one and another with the same
// revision do not; and a restart needs no server.
func TestNewerBundlesCome(t *testing.T) {
	b := newBench(t)
	if _, err := b.f.Cached(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing was fetched yet: %v", err)
	}
	six, seven := regotest.Sign(t, rules(""), "6", "", b.key), regotest.Sign(t, rules("a := 1\n"), "7", "", b.key)
	b.server.offer(six, `"6"`)
	b.gets("6", nil)
	b.gets("", nil)
	b.gets("", nil)
	if b.server.served != 1 {
		t.Errorf("the bundle was sent %d times", b.server.served)
	}
	b.server.offer(seven, `"7"`)
	b.gets("7", nil)
	b.server.offer(six, `"6 again"`)
	b.gets("", fetch.ErrOlder)
	b.server.offer(regotest.Sign(t, rules("a := 2\n"), "7", "", b.key), `"other 7"`)
	b.gets("", fetch.ErrOlder)
	b.restart()
	b.gets("", fetch.ErrOlder) // also after a restart
	b.server.offer(seven, `"7"`)
	b.gets("", nil)
	b.server.Close()
	b.restart()
	b.gets("", fetch.ErrUnreachable)
	if cached, err := b.f.Cached(); err != nil || cached.Revision != "7" {
		t.Errorf("without the server: %+v %v", cached, err)
	}
}

// What is not signed, or was altered on the way or on the disk, does not count.
// hazard:GW-11 control:C-89
func TestOnlySignedBundlesCount(t *testing.T) {
	b := newBench(t)
	good := regotest.Sign(t, rules(""), "6", "", b.key)
	b.server.offer(regotest.Pack(t, rules("")), `"unsigned"`)
	b.gets("", rego.ErrUnsigned)
	b.server.offer(regotest.Sign(t, rules(""), "6", "", regotest.NewKey(t)), `"other"`)
	b.gets("", rego.ErrUnsigned)
	if _, err := b.f.Cached(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something that does not count was kept: %v", err)
	}
	b.server.offer(good, `"6"`)
	b.gets("6", nil)

	// The keys are exchanged: first both count, then the new one.
	next := regotest.NewKey(t)
	b.keys = []string{next.Public, b.key.Public}
	b.server.offer(regotest.Sign(t, rules("b := 1\n"), "7", "", next), `"7"`)
	b.gets("7", nil)
	b.keys = []string{next.Public}
	b.server.offer(regotest.Sign(t, rules("b := 2\n"), "8", "", b.key), `"8"`)
	b.gets("", rego.ErrUnsigned)
	if cached, err := b.f.Cached(); err != nil || cached.Revision != "7" {
		t.Errorf("%+v %v", cached, err)
	}
	b.keys = []string{b.key.Public}
	if _, err := b.f.Cached(); !errors.Is(err, rego.ErrUnsigned) {
		t.Errorf("signed with a key that does not count any more: %v", err)
	}
	text, err := os.ReadFile(b.cache)
	if err != nil {
		t.Fatal(err)
	}
	b.keys = []string{next.Public}
	if err := os.WriteFile(b.cache, append(text[:len(text)/2:len(text)/2], text[len(text)/2+1:]...), 0o600); err != nil {
		t.Fatal(err)
	}
	if cached, err := b.f.Cached(); err == nil {
		t.Errorf("altered on the disk: %+v", cached)
	}
}

// A server that is slow, sends no end or an error does not hold anything up.
// hazard:GW-11 control:C-89
func TestServersThatFail(t *testing.T) {
	b := newBench(t)
	b.server.answer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	b.gets("", fetch.ErrUnreachable)
	b.server.answer(http.NotFound)
	b.gets("", fetch.ErrUnreachable)
	b.server.answer(func(w http.ResponseWriter, _ *http.Request) { // half of it
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("half"))
	})
	b.gets("", fetch.ErrUnreachable)
	b.server.Client().Timeout = time.Minute
	b.server.answer(func(w http.ResponseWriter, _ *http.Request) {
		for chunk := bytes.Repeat([]byte("a"), 1<<20); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	if _, err := b.f.Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "larger than 32 MiB") {
		t.Errorf("a bundle without an end: %v", err)
	}
	stranger := fetch.New(fetch.Config{URL: b.server.URL, Client: &http.Client{Timeout: time.Second}, Cache: b.cache})
	if _, err := stranger.Fetch(t.Context()); !errors.Is(err, fetch.ErrUnreachable) {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
}
