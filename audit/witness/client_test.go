package witness

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func client(t testing.TB, p Peer) *Client {
	t.Helper()
	c, err := NewClient(p, time.Minute, at)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// never is a Prove that must not be called.
func never(t testing.TB) Prove {
	return func(_ context.Context, old, size int64) ([]tlog.Hash, error) {
		t.Errorf("asked to prove %d to %d", old, size)
		return nil, errors.New("no proof")
	}
}

func TestClientFollowsTheSizeOfTheWitness(t *testing.T) {
	s := newStand(t)
	tree := &grown{}
	tree.grow(t, 20, "leaf")
	peer := serve(t, s.server, s.own)
	c := client(t, peer)
	verify := func(size int64, prove Prove, c *Client) {
		t.Helper()
		signed := checkpoint(t, tree, size, origin, s.signer)
		sig, err := c.Cosign(t.Context(), signed, prove)
		if err != nil {
			t.Fatal(err)
		}
		n, err := note.Open(fmt.Appendf(signed, "— %s %s\n", sig.Name, sig.Base64), note.VerifierList(s.own))
		if err != nil || len(n.Sigs) != 1 {
			t.Fatalf("%v: %v", err, n)
		}
	}
	verify(0, never(t), c)
	verify(5, never(t), c)
	verify(5, never(t), c)
	verify(8, tree.prove, c)
	var proved atomic.Int64
	once := func(ctx context.Context, old, size int64) ([]tlog.Hash, error) {
		proved.Add(1)
		if old != 8 {
			t.Errorf("proof from %d", old)
		}
		return tree.prove(ctx, old, size)
	}
	verify(12, once, client(t, peer)) // a new process knows no size
	if proved.Load() != 1 {
		t.Errorf("%d proofs", proved.Load())
	}
	verify(13, tree.prove, c) // the old one thinks 8
}

func TestClientNamesWhatTheWitnessFound(t *testing.T) {
	s := newStand(t)
	tree, fork := &grown{}, &grown{}
	tree.grow(t, 20, "leaf")
	fork.grow(t, 20, "other")
	s.mustAdd(t, tree, 0, 10)
	other, _ := logKey(t, origin)
	stranger, _ := logKey(t, "matron/RBA/gw2")
	_, wrong := newWitnessKey(t, "example.org/witness")
	for _, c := range []struct {
		name   string
		signed []byte
		key    Verifier
		want   error
		text   string
	}{
		{"rolled back", checkpoint(t, tree, 9, origin, s.signer), s.own, ErrAhead, "10, and the checkpoint has 9"},
		{"forked at the same size", checkpoint(t, fork, 10, origin, s.signer), s.own, ErrInconsistent, "another root for size 10"},
		{"forked and grown", checkpoint(t, fork, 12, origin, s.signer), s.own, ErrInconsistent, "does not fit"},
		{"key unknown to the witness", checkpoint(t, tree, 12, origin, other), s.own, ErrRefused, "another key"},
		{"log unknown to the witness", checkpoint(t, tree, 12, "matron/RBA/gw2", stranger), s.own, ErrRefused, "must add the log's key"},
		{"witness with another key", checkpoint(t, tree, 10, origin, s.signer), wrong, ErrBadAnswer, "no verifiable signatures"},
		{"no note", []byte("hello"), s.own, ErrMalformed, "no signatures"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := tree
			if strings.HasPrefix(c.name, "forked") {
				g = fork
			}
			_, err := client(t, serve(t, s.server, c.key)).Cosign(t.Context(), c.signed, g.prove)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func newWitnessKey(t testing.TB, name string) (cosigner, Verifier) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if _, err := CreateKey(path, name, WitnessKey); err != nil {
		t.Fatal(err)
	}
	c, err := readCosigner(path)
	if err != nil {
		t.Fatal(err)
	}
	return c, c.v
}

// TestClientBelievesNoBadAnswer meets witnesses that are broken or hostile.
func TestClientBelievesNoBadAnswer(t *testing.T) {
	signer, _ := logKey(t, origin)
	own, key := newWitnessKey(t, "example.org/witness")
	tree := &grown{}
	tree.grow(t, 9, "leaf")
	signed := checkpoint(t, tree, 9, origin, signer)
	text := Checkpoint{Origin: origin, Size: 9, Root: tree.root(t, 9)}.text()
	lines := func(text string, s note.Signer) string {
		full := string(signText(t, text, s))
		return full[strings.LastIndex(full, "\n\n")+2:]
	}
	plain := noteSigner{own}
	answer := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	var bounce atomic.Int64
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		want error
	}{
		{"nothing", answer(200, "", ""), ErrBadAnswer},
		{"a page", answer(200, "text/html", "<html>"), ErrBadAnswer},
		{"cosignature of an older checkpoint", answer(200, "", lines(Checkpoint{Origin: origin, Size: 8, Root: tree.root(t, 8)}.text(), own.at(1))), ErrBadAnswer},
		{"cosignature of another log's checkpoint", answer(200, "", lines(Checkpoint{Origin: "x", Size: 9, Root: tree.root(t, 9)}.text(), own.at(1))), ErrBadAnswer},
		{"another checkpoint before its cosignature", answer(200, "", "x\n\n"+lines("x\n1\n"+tree.root(t, 1).String()+"\n", own.at(1))), ErrBadAnswer},
		{"cosignature of more than was sent", answer(200, "", "x\n\n"+lines(text+"\nx\n", cosignsAll{own})), ErrBadAnswer},
		{"a plain signature of the right key", answer(200, "", lines(text, plain)), ErrBadAnswer},
		{"time beyond 63 bits", answer(200, "", lines(text, own.at(1<<63))), ErrBadAnswer},
		{"the log's own signature", answer(200, "", lines(text, signer)), ErrBadAnswer},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			for range 2 * maxAnswer {
				_, _ = w.Write([]byte("— a b\n"))
			}
		}, ErrBadAnswer},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("— "))
		}, ErrUnavailable},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, ErrBadAnswer},
		{"409 without size", answer(409, "text/plain", "3\n"), ErrBadAnswer},
		{"409 with words", answer(409, sizeType, "three\n"), ErrBadAnswer},
		{"409 with the size that was given", answer(409, sizeType, "0\n"), ErrBadAnswer},
		{"409 for ever", func(w http.ResponseWriter, r *http.Request) {
			answer(409, sizeType, fmt.Sprintf("%d\n", 1+bounce.Add(1)%5))(w, r)
		}, ErrBadAnswer},
		{"busy", answer(503, "", ""), ErrUnavailable},
		{"too many", answer(429, "", ""), ErrUnavailable},
		{"bad request", answer(400, "", ""), ErrRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := client(t, serve(t, c.h, key)).Cosign(t.Context(), signed, tree.prove); !errors.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	// Signatures of others beside the right one do no harm.
	good := answer(200, "", lines(text, signer)+lines(text, own.at(7)))
	sig, err := client(t, serve(t, good, key)).Cosign(t.Context(), signed, tree.prove)
	if when, _ := CosignedAt(sig); err != nil || when.Unix() != 7 || sig.Hash != key.hash {
		t.Errorf("%v, %v", sig, err)
	}
}

// noteSigner signs the text itself, without a time, with a witness's key.
type noteSigner struct{ cosigner }

func (s noteSigner) Name() string    { return s.v.name }
func (s noteSigner) KeyHash() uint32 { return s.v.hash }
func (s noteSigner) Sign(msg []byte) ([]byte, error) {
	return ed25519.Sign(s.secret, msg), nil
}

// cosignsAll cosigns what is no checkpoint.
type cosignsAll struct{ cosigner }

func (s cosignsAll) Name() string    { return s.v.name }
func (s cosignsAll) KeyHash() uint32 { return s.v.hash }
func (s cosignsAll) Sign(msg []byte) ([]byte, error) {
	return s.at(7).Sign(msg)
}

func TestClientSeesAWitnessForget(t *testing.T) {
	s := newStand(t)
	tree := &grown{}
	tree.grow(t, 9, "leaf")
	c := client(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.server.ServeHTTP(w, r) }), s.own))
	backup := read(t, s.statePath())
	if _, err := c.Cosign(t.Context(), checkpoint(t, tree, 5, origin, s.signer), tree.prove); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.statePath(), []byte(backup), 0o600); err != nil {
		t.Fatal(err)
	}
	s.open(t, at)
	_, err := c.Cosign(t.Context(), checkpoint(t, tree, 9, origin, s.signer), tree.prove)
	if !errors.Is(err, ErrBadAnswer) || !strings.Contains(err.Error(), "has lost its state") {
		t.Errorf("got %v", err)
	}
}

// TestWitnessInTroubleIsLeftAlone counts how often a witness that is down is
// asked in a minute of one checkpoint a second.
func TestWitnessInTroubleIsLeftAlone(t *testing.T) {
	signer, _ := logKey(t, origin)
	_, key := newWitnessKey(t, "example.org/witness")
	tree := &grown{}
	tree.grow(t, 1, "leaf")
	signed := checkpoint(t, tree, 1, origin, signer)
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		hc := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			asked++
			return nil, errors.New("refused")
		})}
		c, err := NewClient(Peer{URL: "http://127.0.0.1:1", Key: key, HTTP: hc}, 0, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		for range 60 {
			if _, err := c.Cosign(t.Context(), signed, tree.prove); !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if asked != 6 { // at 0, 1, 3, 7, 15 and 31 seconds
			t.Errorf("asked %d times", asked)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAHangingWitnessIsGivenUp(t *testing.T) {
	signer, _ := logKey(t, origin)
	_, key := newWitnessKey(t, "example.org/witness")
	hanging := make(chan struct{})
	p := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hanging }), key)
	defer close(hanging)
	c, err := NewClient(p, 20*time.Millisecond, at)
	if err != nil {
		t.Fatal(err)
	}
	tree := &grown{}
	tree.grow(t, 1, "leaf")
	_, err = c.Cosign(t.Context(), checkpoint(t, tree, 1, origin, signer), tree.prove)
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestSetCountsTheQuorum asks three witnesses, of which one is out of order.
// hazard:GW-13 control:C-53
func TestSetCountsTheQuorum(t *testing.T) {
	a, b := newStand(t), newStand(t)
	if err := AddLog(b.dir, a.key, true, noon); err != nil { // both follow the log of a
		t.Fatal(err)
	}
	b.open(t, at)
	_, key := newWitnessKey(t, "example.net/third")
	third := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }), key)
	peers := []Peer{serve(t, a.server, a.own), serve(t, b.server, b.own), third}
	tree := &grown{}
	tree.grow(t, 30, "leaf")
	for need := range 4 {
		policy, err := Quorum([]Verifier{a.key}, []Verifier{a.own, b.own, key}, need)
		if err != nil {
			t.Fatal(err)
		}
		set := newSet(t, policy, peers)
		size := int64(5 + need)
		signed := checkpoint(t, tree, size, origin, a.signer)
		got, err := set.Cosign(t.Context(), signed, tree.prove)
		if err != nil {
			t.Fatal(err)
		}
		if got.Met != (need <= 2) {
			t.Errorf("quorum of %d: %v", need, got.Met)
		}
		o := got.Outcomes
		if o[0].Err != nil || o[1].Err != nil || !errors.Is(o[2].Err, ErrUnavailable) || !o[0].At.Equal(noon) || got.Alarm() != nil {
			t.Errorf("outcomes %+v", o)
		}
		_, sigs, err := policy.Verify(got.Note)
		if len(sigs) != 3 || (err == nil) != (need <= 2) || err != nil && !errors.Is(err, ErrQuorum) {
			t.Errorf("verify: %v, %v", sigs, err)
		}
		if _, _, err := policy.Verify(signed); (err == nil) != (need == 0) {
			t.Errorf("without cosignatures: %v", err)
		}
	}
	fork := &grown{}
	fork.grow(t, 30, "other")
	policy, _ := Quorum([]Verifier{a.key}, []Verifier{a.own, b.own}, 1)
	got, err := newSet(t, policy, peers[:2]).Cosign(t.Context(), checkpoint(t, fork, 20, origin, a.signer), fork.prove)
	if err != nil || got.Met || !errors.Is(got.Alarm(), ErrInconsistent) {
		t.Errorf("a fork: %v, %+v", err, got)
	}
}

func newSet(t testing.TB, policy Policy, peers []Peer) *Set {
	t.Helper()
	cfg := SetConfig{Policy: policy, Timeout: time.Minute, Now: at}
	cfg.Policy.Witnesses = append([]PolicyWitness(nil), policy.Witnesses...)
	for i, p := range peers {
		cfg.Policy.Witnesses[i].URL = p.URL
		cfg.HTTP = append(cfg.HTTP, p.HTTP)
	}
	set, err := NewSet(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestOnlyTheNamedRootsAreTrusted(t *testing.T) {
	s := newStand(t)
	srv := httptest.NewTLSServer(s.server)
	defer srv.Close()
	tree := &grown{}
	tree.grow(t, 3, "leaf")
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]error{root: nil, "": ErrUnavailable} {
		hc, err := NewHTTPClient(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client(t, Peer{URL: srv.URL + "/", Key: s.own, HTTP: hc}).Cosign(t.Context(), checkpoint(t, tree, 3, origin, s.signer), tree.prove)
		if !errors.Is(err, want) {
			t.Errorf("roots %q: %v", file, err)
		}
		hc.CloseIdleConnections()
	}
	if _, err := NewHTTPClient(filepath.Join(s.dir, keyName)); err == nil || !strings.Contains(err.Error(), "no PEM certificate") {
		t.Errorf("got %v", err)
	}
}

func TestKeysAreStrict(t *testing.T) {
	_, log := logKey(t, origin)
	own, key := newWitnessKey(t, "example.org/w")
	text := key.String()
	raw, _ := base64.StdEncoding.DecodeString(strings.SplitN(text, "+", 3)[2])
	pq := append([]byte{0x06}, make([]byte, 1312)...)
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "NAME+HASH+KEY"},
		{"a log's key", log.String(), "it is a log's key"},
		{"ML-DSA-44", fmt.Sprintf("w+%08x+%s", keyHash("w", pq), base64.StdEncoding.EncodeToString(pq)), "type 6, which is not supported"},
		{"another name", "x" + text, "a character was changed"},
		{"another hash", strings.Replace(text, "+", "+0", 1), "NAME+HASH+KEY"},
		{"space in the name", strings.Replace(text, "org", "org ", 1), "without space"},
		{"short", fmt.Sprintf("w+%08x+%s", keyHash("w", raw[:9]), base64.StdEncoding.EncodeToString(raw[:9])), "8 bytes"},
	} {
		if _, err := NewVerifier(c.text, WitnessKey); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	if got, err := NewVerifier(text, WitnessKey); err != nil || got.String() != text {
		t.Errorf("%v, %v", got, err)
	}
	if (Verifier{}).Verify(nil, nil) {
		t.Error("the zero key verifies")
	}
	path := filepath.Join(t.TempDir(), "key")
	secret := fmt.Sprintf("PRIVATE+KEY+%s+00000000+%s\n", key.name, base64.StdEncoding.EncodeToString(append([]byte{4}, own.secret.Seed()...)))
	for content, want := range map[string]string{"": "PRIVATE+KEY+", secret: "a character was changed", text: "PRIVATE+KEY+"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readCosigner(path); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "PRIVATE+KEY+example") {
			t.Errorf("%q: got %v", content, err)
		}
	}
}
