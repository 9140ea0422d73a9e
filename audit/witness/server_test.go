package witness

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// TestEveryStatusOfTheSpecification asks a witness that has cosigned size 5.
func TestEveryStatusOfTheSpecification(t *testing.T) {
	s := newStand(t)
	tree, fork := &grown{}, &grown{}
	tree.grow(t, 3, "leaf")
	fork.hashes = tree.branch().hashes
	tree.grow(t, 9, "leaf")
	fork.grow(t, 9, "other")
	s.mustAdd(t, tree, 0, 5)
	other, _ := logKey(t, origin)
	unknown, _ := logKey(t, "matron/RBA/gw9")
	good := func(size int64) []byte { return checkpoint(t, tree, size, origin, s.signer) }
	proof := tree.mustProve(t, 5, 8)
	garbled := bytes.Replace(good(8), []byte("\n8\n"), []byte("\n9\n"), 1)
	long := request{old: 5, note: good(8)}
	for range 64 {
		long.proof = append(long.proof, tree.root(t, 1))
	}
	emptyLie := signText(t, origin+"\n0\n"+tree.root(t, 1).String()+"\n", s.signer)
	for _, c := range []struct {
		name   string
		body   []byte
		status int
		answer string
	}{
		{"no body", nil, 400, "no empty line"},
		{"no old line", append([]byte("new 5\n\n"), good(8)...), 400, "line 1"},
		{"leading zero", append([]byte("old 05\n\n"), good(8)...), 400, "line 1 holds no tree size"},
		{"negative", append([]byte("old -1\n\n"), good(8)...), 400, "line 1 holds no tree size"},
		{"beyond 63 bits", append([]byte("old 9223372036854775808\n\n"), good(8)...), 400, "line 1"},
		{"proof line is no hash", append([]byte("old 5\nAAAA\n\n"), good(8)...), 400, "line 2 is no hash"},
		{"64 proof lines", long.body(), 400, "more than 63"},
		{"no signature", []byte("old 5\n\n" + origin + "\n8\n" + tree.root(t, 8).String() + "\n"), 400, "not a signed note"},
		{"size with leading zero", request{old: 5, note: signText(t, origin+"\n08\n"+tree.root(t, 8).String()+"\n", s.signer)}.body(), 400, "line 2"},
		{"empty extension line", request{old: 5, note: signText(t, origin+"\n8\n"+tree.root(t, 8).String()+"\n\nx\n", s.signer)}.body(), 400, "empty"},
		{"old above new", request{old: 8, note: good(5)}.body(), 400, "larger"},
		{"unknown origin", request{old: 5, proof: proof, note: checkpoint(t, tree, 8, "matron/RBA/gw9", unknown)}.body(), 404, "does not follow"},
		{"known origin, key of another log", request{old: 5, proof: proof, note: checkpoint(t, tree, 8, origin, unknown)}.body(), 403, "no signature"},
		{"key of the same name", request{old: 5, proof: proof, note: checkpoint(t, tree, 8, origin, other)}.body(), 403, "no signature"},
		{"text changed after signing", request{old: 5, proof: proof, note: garbled}.body(), 403, "does not verify"},
		{"old size too small", request{old: 3, proof: tree.mustProve(t, 3, 8), note: good(8)}.body(), 409, "5\n"},
		{"old size zero", request{old: 0, note: good(8)}.body(), 409, "5\n"},
		{"replay of the first checkpoint", request{old: 0, note: good(5)}.body(), 409, "5\n"},
		{"rollback", request{old: 3, proof: tree.mustProve(t, 3, 4), note: good(4)}.body(), 409, "5\n"},
		{"rollback to nothing", request{old: 0, note: signText(t, Checkpoint{Origin: origin, Root: emptyRoot()}.text(), s.signer)}.body(), 409, "5\n"},
		{"fork of the same size", request{old: 5, note: checkpoint(t, fork, 5, origin, s.signer)}.body(), 409, "another root"},
		{"fork that grew", request{old: 5, proof: fork.mustProve(t, 5, 8), note: checkpoint(t, fork, 8, origin, s.signer)}.body(), 422, "does not show"},
		{"proof of another tree", request{old: 5, proof: fork.mustProve(t, 5, 8), note: good(8)}.body(), 422, "does not show"},
		{"proof missing", request{old: 5, note: good(8)}.body(), 422, "does not show"},
		{"proof too long", request{old: 5, proof: append(tree.mustProve(t, 5, 8), tree.root(t, 1)), note: good(8)}.body(), 422, "does not show"},
		{"proof for an equal size", request{old: 5, proof: proof, note: good(5)}.body(), 422, "does not show"},
		{"empty tree with a root", request{old: 0, note: emptyLie}.body(), 422, "another root"},
		{"too large", bytes.Repeat([]byte("old 5\n"), maxBody), 413, "at most"},
		{"the same again", request{old: 5, note: good(5)}.body(), 200, "— example.org/witness "},
		{"grown", request{old: 5, proof: proof, note: good(8)}.body(), 200, "— example.org/witness "},
		{"grown, with a signature of somebody else", request{old: 8, proof: tree.mustProve(t, 8, 9), note: checkpoint(t, tree, 9, origin, other, s.signer)}.body(), 200, "— example.org/witness "},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := read(t, s.statePath())
			w := post(t, s.server, c.body)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.answer) {
				t.Errorf("status %d, want %d: %q", w.Code, c.status, w.Body)
			}
			wantType := "text/plain; charset=utf-8"
			if c.status == 409 && c.answer == "5\n" {
				wantType = "text/x.tlog.size"
				if w.Body.String() != c.answer {
					t.Errorf("body %q, want the size alone", w.Body)
				}
			}
			if got := w.Header().Get("Content-Type"); got != wantType {
				t.Errorf("type %q, want %q", got, wantType)
			}
			if after := read(t, s.statePath()); c.status != 200 && after != before {
				t.Error("a refusal changed the state")
			}
		})
	}
	w := httptest.NewRecorder()
	s.server.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/add-checkpoint", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: status %d", w.Code)
	}
}

func TestAForkIsKeptAsProof(t *testing.T) {
	s := newStand(t)
	tree, fork := &grown{}, &grown{}
	tree.grow(t, 5, "leaf")
	fork.grow(t, 5, "other")
	s.mustAdd(t, tree, 0, 5)
	if w := s.add(t, fork, 5, 5); w.Code != http.StatusConflict {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	contains(t, s.logged.String(), "A LOG HAS SIGNED TWO HISTORIES", origin)
	_, logs, err := Show(s.dir)
	if err != nil || logs[0].Fork == "" {
		t.Fatalf("show: %v, %+v", err, logs)
	}
	// Both notes verify with the log's key alone.
	proof := read(t, logs[0].Fork)
	for _, g := range []*grown{tree, fork} {
		at := strings.Index(proof, Checkpoint{Origin: origin, Size: 5, Root: g.root(t, 5)}.text())
		if at < 0 {
			t.Fatalf("a side is missing:\n%s", proof)
		}
		end := strings.Index(proof[at:], "=\n\n") + 3
		rest, _, _ := strings.Cut(proof[at+end:], "\n\n")
		if _, err := note.Open([]byte(proof[at:at+end]+strings.TrimSpace(rest)+"\n"), note.VerifierList(s.key)); err != nil {
			t.Errorf("%v in\n%s", err, proof)
		}
	}
	first := proof
	fork.grow(t, 1, "third")
	s.add(t, fork, 5, 5)
	if read(t, logs[0].Fork) != first {
		t.Error("the first proof was replaced")
	}
}

// onDisk is a ResponseWriter that looks at the state file when the answer
// begins.
type onDisk struct {
	*httptest.ResponseRecorder
	path string
	seen []byte
}

func (w *onDisk) WriteHeader(status int) {
	w.seen, _ = os.ReadFile(w.path)
	w.ResponseRecorder.WriteHeader(status)
}

func TestStateIsOnDiskBeforeTheAnswer(t *testing.T) {
	s := newStand(t)
	tree := &grown{}
	tree.grow(t, 4, "leaf")
	var order []string
	s.server.dir.fsync = func(f *os.File) error {
		order = append(order, "sync "+f.Name())
		if info, err := f.Stat(); err == nil && info.IsDir() && !strings.Contains(read(t, s.statePath()), "\n4\n") {
			t.Error("the folder was synced before the file had its name")
		}
		return f.Sync()
	}
	w := &onDisk{ResponseRecorder: httptest.NewRecorder(), path: s.statePath()}
	b := request{note: checkpoint(t, tree, 4, origin, s.signer)}.body()
	s.server.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/add-checkpoint", bytes.NewReader(b)))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	contains(t, string(w.seen), "\n4\n", w.Body.String())
	if len(order) != 2 || !strings.HasSuffix(order[0], nextSuffix) {
		t.Errorf("synced %v, want the new file and then the folder", order)
	}
}

func TestAFailedSyncStopsSigning(t *testing.T) {
	for _, c := range []struct {
		name   string
		folder bool
	}{{"of the file", false}, {"of the folder", true}} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t)
			tree := &grown{}
			tree.grow(t, 9, "leaf")
			s.mustAdd(t, tree, 0, 4)
			s.server.dir.fsync = func(f *os.File) error {
				if info, err := f.Stat(); err == nil && info.IsDir() == c.folder {
					return errors.New("no disk")
				}
				return f.Sync()
			}
			if w := s.add(t, tree, 4, 6); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "—") {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
			s.server.dir.fsync = (*os.File).Sync
			for _, old := range []int64{4, 6} {
				if w := s.add(t, tree, old, 7); w.Code != http.StatusServiceUnavailable {
					t.Errorf("from %d: status %d: %s", old, w.Code, w.Body)
				}
			}
			contains(t, s.logged.String(), "no disk")
			s.open(t, at)
			old := int64(4)
			if c.folder {
				old = 6 // the file has its name; nobody has seen the cosignature
			}
			s.mustAdd(t, tree, old, 7)
		})
	}
}

func TestConcurrentRequestsAdvanceOnce(t *testing.T) {
	s := newStand(t)
	base := &grown{}
	base.grow(t, 10, "leaf")
	s.mustAdd(t, base, 0, 10)
	const rivals = 16
	trees := make([]*grown, rivals)
	bodies := make([][]byte, rivals)
	for i := range rivals {
		trees[i] = base.branch()
		trees[i].grow(t, 1+i%3, fmt.Sprintf("rival %d", i))
		size := trees[i].size()
		bodies[i] = request{old: 10, proof: trees[i].mustProve(t, 10, size), note: checkpoint(t, trees[i], size, origin, s.signer)}.body()
	}
	codes := make([]int, rivals)
	var all sync.WaitGroup
	for i := range rivals {
		all.Go(func() { codes[i] = post(t, s.server, bodies[i]).Code })
	}
	all.Wait()
	won := 0
	for i, code := range codes {
		switch code {
		case http.StatusOK:
			won++
			contains(t, read(t, s.statePath()), trees[i].root(t, trees[i].size()).String())
		case http.StatusConflict:
		default:
			t.Errorf("status %d", code)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d histories were cosigned, want 1", won, rivals)
	}
}

func TestStateOutlivesARestart(t *testing.T) {
	s := newStand(t)
	tree, fork := &grown{}, &grown{}
	tree.grow(t, 9, "leaf")
	fork.grow(t, 9, "other")
	s.mustAdd(t, tree, 0, 5)
	s.open(t, at)
	if w := s.add(t, fork, 0, 5); w.Code != http.StatusConflict || w.Body.String() != "5\n" {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	if w := s.add(t, fork, 5, 5); w.Code != http.StatusConflict {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	s.mustAdd(t, tree, 5, 9)
}

func TestTimeNeverGoesBack(t *testing.T) {
	s := newStand(t)
	tree := &grown{}
	tree.grow(t, 9, "leaf")
	s.open(t, func() time.Time { return noon.Add(time.Hour) })
	s.mustAdd(t, tree, 0, 5)
	s.open(t, at)
	got, err := CosignedAt(s.mustAdd(t, tree, 5, 6))
	if err != nil || !got.Equal(noon.Add(time.Hour)) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestOneProcessHasTheFolder(t *testing.T) {
	s := newStand(t)
	if _, err := Open(s.server.cfg); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
}

// TestDamageIsNamedNeverMended cuts, flips and removes state: whatever is left
// either says what was cosigned, or is refused.
func TestDamageIsNamedNeverMended(t *testing.T) {
	s := newStand(t)
	tree := &grown{}
	tree.grow(t, 9, "leaf")
	s.mustAdd(t, tree, 0, 5)
	if err := s.server.Close(); err != nil {
		t.Fatal(err)
	}
	good := []byte(read(t, s.statePath()))
	refused := func(what string, content []byte) {
		t.Helper()
		if err := os.WriteFile(s.statePath(), content, 0o600); err != nil {
			t.Fatal(err)
		}
		server, err := Open(s.server.cfg)
		if err == nil {
			_ = server.Close()
		}
		if !errors.Is(err, ErrState) || !strings.Contains(err.Error(), s.statePath()) {
			t.Fatalf("%s: got %v", what, err)
		}
		if read(t, s.statePath()) != string(content) {
			t.Fatalf("%s: the file was changed", what)
		}
	}
	for n := range len(good) {
		refused(fmt.Sprintf("cut at %d", n), good[:n])
		flipped := bytes.Clone(good)
		flipped[n] ^= 1
		refused(fmt.Sprintf("bit of byte %d", n), flipped)
	}
	refused("a line more", append(bytes.Clone(good), "— example.com/x AAAAAAAA\n"...))
	spare := bytes.LastIndex(good, []byte("=\n")) // what stands before it holds bits that base64 does not use
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	flipped := bytes.Clone(good)
	if flipped[spare-1] == '=' {
		spare--
	}
	flipped[spare-1] = alphabet[strings.IndexByte(alphabet, flipped[spare-1])|1]
	refused("a spare bit", flipped)
	refused("without the log's signature", []byte(Checkpoint{Origin: origin, Size: 5, Root: tree.root(t, 5)}.text()+"\n"+string(good[bytes.LastIndex(good, []byte("— ")):])))
	refused("without the witness's signature", good[:bytes.LastIndex(good, []byte("— "))])
	refused("too large", bytes.Repeat([]byte("x"), maxState+1))
	if err := os.Remove(s.statePath()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s.server.cfg); !errors.Is(err, ErrState) || !strings.Contains(err.Error(), "it is missing") {
		t.Errorf("missing: got %v", err)
	}
	if err := AddLog(s.dir, s.key, false, noon); !errors.Is(err, ErrState) {
		t.Errorf("adding a log again made up its state: %v", err)
	}
	if err := os.WriteFile(s.statePath(), good, 0o600); err != nil {
		t.Fatal(err)
	}
	s.server = nil
	s.open(t, at)
	s.mustAdd(t, tree, 5, 9)
}

func TestAddLogKeepsWhatIsThere(t *testing.T) {
	s := newStand(t)
	tree := &grown{}
	tree.grow(t, 9, "leaf")
	s.mustAdd(t, tree, 0, 5)
	state := read(t, s.statePath())
	if err := AddLog(s.dir, s.key, false, noon); err != nil {
		t.Fatal(err)
	}
	signer, key := logKey(t, origin)
	if err := AddLog(s.dir, key, false, noon); !errors.Is(err, ErrExists) {
		t.Errorf("another key: %v", err)
	}
	if read(t, s.statePath()) != state {
		t.Error("the state was changed")
	}
	if err := AddLog(s.dir, key, true, noon); err != nil {
		t.Fatal(err)
	}
	s.open(t, at)
	s.signer = signer
	s.mustAdd(t, tree, 5, 6)
	if _, other := logKey(t, "matron/RBA/gw2"); AddLog(s.dir, other, false, noon) != nil {
		t.Error("a second log was refused")
	}
	_, logs, err := Show(s.dir)
	if err != nil || len(logs) != 2 || logs[0].Size != 6 || len(logs[0].Keys) != 2 || logs[1].Size != 0 {
		t.Errorf("%v: %+v", err, logs)
	}
	_, reserved := logKey(t, keyName)
	if err := AddLog(s.dir, reserved, false, noon); !errors.Is(err, ErrKey) {
		t.Errorf("reserved name: %v", err)
	}
}

func TestOnlyTheNamedKeysAreTrusted(t *testing.T) {
	s := newStand(t)
	tree := &grown{}
	tree.grow(t, 3, "leaf")
	s.mustAdd(t, tree, 0, 1)
	signer, second := logKey(t, origin)
	if err := AddLog(s.dir, second, true, noon); err != nil {
		t.Fatal(err)
	}
	cfg := s.server.cfg
	for _, c := range []struct {
		name       string
		logs       []Verifier
		first, snd int
	}{
		{"all of the folder", nil, 200, 200},
		{"nobody", []Verifier{}, 404, 404},
		{"the first", []Verifier{s.key}, 200, 403},
		{"the second", []Verifier{second}, 403, 200},
		{"both", []Verifier{second, s.key}, 200, 200},
	} {
		_ = s.server.Close()
		cfg.Logs = c.logs
		var err error
		if s.server, err = Open(cfg); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for i, want := range []int{c.first, c.snd} {
			by := []note.Signer{s.signer, signer}[i]
			if w := post(t, s.server, request{old: 1, note: checkpoint(t, tree, 1, origin, by)}.body()); w.Code != want {
				t.Errorf("%s, key %d: status %d: %s", c.name, i+1, w.Code, w.Body)
			}
		}
	}
	_ = s.server.Close()
	_, third := logKey(t, origin)
	cfg.Logs = []Verifier{s.key, third}
	if _, err := Open(cfg); !errors.Is(err, ErrNotAdded) {
		t.Errorf("a key that was never added: %v", err)
	}
}

func TestASlowBodyEnds(t *testing.T) {
	s := newStand(t)
	s.server.cfg.BodyTimeout = 20 * time.Millisecond
	srv := httptest.NewServer(s.server)
	defer srv.Close()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 1000\r\n\r\nold 5\n")
	contains(t, body(t, conn), "408 Request Timeout", "longer than 20ms")
}

func TestPrivateThings(t *testing.T) {
	s := newStand(t)
	_ = s.server.Close()
	key := s.server.dir.path(keyName)
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s.server.cfg); !errors.Is(err, ErrPrivate) || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("key for the group: %v", err)
	}
	if err := errors.Join(os.Chmod(key, 0o600), os.Chmod(s.dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s.server.cfg); !errors.Is(err, ErrPrivate) || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("folder for all: %v", err)
	}
	if err := os.Chmod(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(s.dir, "example.org/other"); !errors.Is(err, ErrExists) {
		t.Errorf("a key was replaced: %v", err)
	}
	for _, name := range []string{"witness.key", "lock", "matron%2FRBA%2Fgw1.checkpoint", "matron%2FRBA%2Fgw1.pub"} {
		info, err := os.Stat(s.server.dir.path(name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}
