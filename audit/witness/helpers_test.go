package witness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

var noon = time.Date(2026, time.November, 3, 12, 0, 0, 0, time.UTC)

func at() time.Time { return noon }

// grown is a Merkle tree that only the tests hold.
type grown struct{ hashes []tlog.Hash }

func (g *grown) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, x := range at {
		out[i] = g.hashes[x]
	}
	return out, nil
}

func (g *grown) size() int64 {
	var n int64
	for tlog.StoredHashCount(n+1) <= int64(len(g.hashes)) {
		n++
	}
	return n
}

// grow appends n leaves whose content begins with label.
func (g *grown) grow(t testing.TB, n int, label string) {
	t.Helper()
	next := g.size()
	for range n {
		hs, err := tlog.StoredHashes(next, fmt.Appendf(nil, "%s %d", label, next), g)
		if err != nil {
			t.Fatal(err)
		}
		g.hashes = append(g.hashes, hs...)
		next++
	}
}

func (g *grown) branch() *grown { return &grown{hashes: slices.Clone(g.hashes)} }

func (g *grown) root(t testing.TB, size int64) tlog.Hash {
	t.Helper()
	h, err := tlog.TreeHash(size, g)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (g *grown) prove(_ context.Context, old, size int64) ([]tlog.Hash, error) {
	return tlog.ProveTree(size, old, g)
}

func (g *grown) mustProve(t testing.TB, old, size int64) tlog.TreeProof {
	t.Helper()
	if old == 0 {
		return nil
	}
	p, err := g.prove(t.Context(), old, size)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const origin = "matron/RBA/gw1"

// logKey makes a log's key in a folder of its own.
func logKey(t testing.TB, name string) (note.Signer, Verifier) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log.key")
	text, err := CreateKey(path, name, LogKey)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ReadLogSigner(path)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier(text, LogKey)
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

// checkpoint signs the tree at a size.
func checkpoint(t testing.TB, g *grown, size int64, name string, signers ...note.Signer) []byte {
	t.Helper()
	return signText(t, Checkpoint{Origin: name, Size: size, Root: g.root(t, size)}.text(), signers...)
}

func signText(t testing.TB, text string, signers ...note.Signer) []byte {
	t.Helper()
	b, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// stand is a witness that follows one log.
type stand struct {
	dir    string
	signer note.Signer
	key    Verifier // of the log
	own    Verifier // of the witness
	server *Server
	logged *bytes.Buffer
}

func newStand(t testing.TB) *stand {
	t.Helper()
	s := &stand{dir: filepath.Join(t.TempDir(), "w")}
	text, err := Create(s.dir, "example.org/witness")
	if err != nil {
		t.Fatal(err)
	}
	if s.own, err = NewVerifier(text, WitnessKey); err != nil {
		t.Fatal(err)
	}
	s.signer, s.key = logKey(t, origin)
	if err := AddLog(s.dir, s.key, false, noon); err != nil {
		t.Fatal(err)
	}
	s.open(t, at)
	return s
}

// open starts, or starts again, the server.
func (s *stand) open(t testing.TB, now func() time.Time) {
	t.Helper()
	if s.server != nil {
		if err := s.server.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s.logged = &bytes.Buffer{}
	server, err := Open(Config{Dir: s.dir, Now: now, Log: slog.New(slog.NewTextHandler(s.logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.server = server
	t.Cleanup(func() { _ = server.Close() })
}

func (s *stand) statePath() string { return filepath.Join(s.dir, "matron%2FRBA%2Fgw1.checkpoint") }

// post sends one request.
func post(t testing.TB, h http.Handler, body []byte) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/add-checkpoint", bytes.NewReader(body)))
	return w
}

// add asks for a cosignature of the tree at a size.
func (s *stand) add(t testing.TB, g *grown, old, size int64) *httptest.ResponseRecorder {
	t.Helper()
	r := request{old: old, proof: g.mustProve(t, old, size), note: checkpoint(t, g, size, origin, s.signer)}
	return post(t, s.server, r.body())
}

func (s *stand) mustAdd(t testing.TB, g *grown, old, size int64) note.Signature {
	t.Helper()
	w := s.add(t, g, old, size)
	if w.Code != http.StatusOK {
		t.Fatalf("%d to %d: status %d: %s", old, size, w.Code, w.Body)
	}
	text := Checkpoint{Origin: origin, Size: size, Root: g.root(t, size)}.text()
	n, err := note.Open([]byte(text+"\n"+w.Body.String()), note.VerifierList(s.own))
	if err != nil {
		t.Fatal(err)
	}
	return n.Sigs[0]
}

// serve puts a handler on a loopback port and returns a peer for it.
func serve(t testing.TB, h http.Handler, key Verifier) Peer {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	hc, err := NewHTTPClient("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hc.CloseIdleConnections)
	return Peer{URL: srv.URL, Key: key, HTTP: hc}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func contains(t testing.TB, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("%q is not in %q", p, got)
		}
	}
}

func body(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
