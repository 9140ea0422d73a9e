package witness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/torchwood"
	fnote "github.com/transparency-dev/formats/note"
	theirclient "github.com/transparency-dev/witness/client/http"
	"github.com/transparency-dev/witness/persistence/inmemory"
	theirs "github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// TestOthersVerifyOurCosignatures reads what our witness signs with two
// implementations that are not ours, and the state file as well.
func TestOthersVerifyOurCosignatures(t *testing.T) {
	s := newStand(t)
	tree := &grown{}
	tree.grow(t, 9, "leaf")
	sig := s.mustAdd(t, tree, 0, 9)
	signed := fmt.Appendf(checkpoint(t, tree, 9, origin, s.signer), "— %s %s\n", sig.Name, sig.Base64)
	torch, err := torchwood.NewCosignatureVerifier(s.own.String())
	if err != nil {
		t.Fatal(err)
	}
	formats, err := fnote.NewVerifierForCosignatureV1(s.own.String())
	if err != nil {
		t.Fatal(err)
	}
	log, err := note.NewVerifier(s.key.String())
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]note.Verifier{"torchwood": torch, "formats": formats} {
		for what, text := range map[string][]byte{"answer": signed, "state": []byte(read(t, s.statePath()))} {
			n, err := note.Open(text, note.VerifierList(log, v))
			if err != nil || len(n.Sigs) != 2 {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
	for name, read := range map[string]func(note.Signature) (int64, error){
		"torchwood": torchwood.CosignatureTimestamp,
		"formats": func(s note.Signature) (int64, error) {
			when, err := fnote.CoSigV1Timestamp(s)
			return when.Unix(), err
		},
	} {
		if got, err := read(sig); err != nil || got != noon.Unix() {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
	// A wrong time is a wrong signature for them too.
	forged := strings.Replace(string(signed), sig.Base64, sig.Base64[:8]+"AAAA"+sig.Base64[12:], 1)
	if _, err := note.Open([]byte(forged), note.VerifierList(torch)); err == nil {
		t.Error("a changed time verifies")
	}
	// They read our secret key as well, and reject what we reject.
	theirSigner, err := fnote.NewSignerForCosignatureV1(strings.TrimSpace(read(t, filepath.Join(s.dir, keyName))))
	if err != nil || theirSigner.KeyHash() != s.own.KeyHash() {
		t.Fatalf("%v: %v", theirSigner, err)
	}
	ours, err := note.Open(signText(t, Checkpoint{Origin: origin, Size: 9, Root: tree.root(t, 9)}.text(), theirSigner), note.VerifierList(s.own))
	if err != nil || len(ours.Sigs) != 1 {
		t.Errorf("we do not verify theirs: %v", err)
	}
}

// theirWitness is the witness of transparency-dev with its own handler. Its
// signer states the time of the wall clock.
func theirWitness(t testing.TB, logs ...Verifier) (http.Handler, Verifier) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	text, err := CreateKey(path, "example.org/theirs", WitnessKey)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := fnote.NewSignerForCosignatureV1(strings.TrimSpace(read(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	w, err := theirs.New(t.Context(), theirs.Opts{
		Persistence: inmemory.New(), Signers: []note.Signer{signer},
		VerifierForLog: func(_ context.Context, origin string) (note.Verifier, bool, error) {
			for _, l := range logs {
				if l.Name() == origin {
					return l, true, nil
				}
			}
			return nil, false, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewVerifier(text, WitnessKey)
	if err != nil {
		t.Fatal(err)
	}
	return http.HandlerFunc(theirs.NewHTTPHandler(w).AddCheckpoint), key
}

func TestOurClientWithTheirWitness(t *testing.T) {
	signer, key := logKey(t, origin)
	h, own := theirWitness(t, key)
	tree, fork := &grown{}, &grown{}
	tree.grow(t, 600, "leaf")
	fork.grow(t, 600, "other")
	peer := serve(t, h, own)
	c := client(t, peer)
	for _, size := range []int64{1, 1, 2, 7, 256, 257, 600} {
		if _, err := c.Cosign(t.Context(), checkpoint(t, tree, size, origin, signer), tree.prove); err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
	}
	tree.grow(t, 100, "leaf")
	if _, err := client(t, peer).Cosign(t.Context(), checkpoint(t, tree, 650, origin, signer), tree.prove); err != nil {
		t.Errorf("a client that knows no size: %v", err)
	}
	fork.grow(t, 100, "other")
	stranger, _ := logKey(t, "matron/RBA/gw2")
	wrong, _ := logKey(t, origin)
	for _, x := range []struct {
		name   string
		signed []byte
		want   error
	}{
		{"rolled back", checkpoint(t, tree, 600, origin, signer), ErrAhead},
		{"forked", checkpoint(t, fork, 650, origin, signer), ErrInconsistent},
		{"forked and grown", checkpoint(t, fork, 651, origin, signer), ErrInconsistent},
		{"unknown log", checkpoint(t, tree, 651, "matron/RBA/gw2", stranger), ErrRefused},
	} {
		g := tree
		if strings.HasPrefix(x.name, "forked") {
			g = fork
		}
		if _, err := client(t, peer).Cosign(t.Context(), x.signed, g.prove); !errors.Is(err, x.want) {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	// Theirs answers 500 to a key it does not know, the specification says 403.
	if _, err := client(t, peer).Cosign(t.Context(), checkpoint(t, tree, 651, origin, wrong), tree.prove); err == nil {
		t.Error("another key was cosigned")
	}
}

func TestTheirClientWithOurWitness(t *testing.T) {
	s := newStand(t)
	tree, fork := &grown{}, &grown{}
	tree.grow(t, 600, "leaf")
	fork.grow(t, 600, "other")
	peer := serve(t, s.server, s.own)
	address, err := url.Parse(peer.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := theirclient.NewWitness(address, peer.HTTP)
	update := func(g *grown, old, size int64, name string, signer note.Signer) ([]byte, uint64, error) {
		proof := g.mustProve(t, old, size)
		raw := make([][]byte, len(proof))
		for i := range proof {
			raw[i] = proof[i][:]
		}
		return c.Update(t.Context(), uint64(old), checkpoint(t, g, size, name, signer), raw)
	}
	verifier, err := torchwood.NewCosignatureVerifier(s.own.String())
	if err != nil {
		t.Fatal(err)
	}
	old := int64(0)
	for _, size := range []int64{1, 1, 2, 7, 256, 257, 600} {
		lines, _, err := update(tree, old, size, origin, s.signer)
		if err != nil {
			t.Fatalf("%d to %d: %v", old, size, err)
		}
		if _, err := note.Open(append(checkpoint(t, tree, size, origin, s.signer), lines...), note.VerifierList(verifier)); err != nil {
			t.Errorf("%d to %d: %v", old, size, err)
		}
		old = size
	}
	tree.grow(t, 10, "leaf")
	fork.grow(t, 10, "other")
	stranger, _ := logKey(t, "matron/RBA/gw2")
	wrong, _ := logKey(t, origin)
	for _, x := range []struct {
		name      string
		g         *grown
		old, size int64
		origin    string
		signer    note.Signer
		want      error
		known     uint64
	}{
		{"stale", tree, 7, 610, origin, s.signer, theirs.ErrCheckpointStale, 600},
		{"forked", fork, 600, 600, origin, s.signer, theirs.ErrRootMismatch, 0},
		{"forked and grown", fork, 600, 610, origin, s.signer, theirs.ErrInvalidProof, 0},
		{"unknown log", tree, 600, 610, "matron/RBA/gw2", stranger, theirs.ErrUnknownLog, 0},
		{"unknown key", tree, 600, 610, origin, wrong, theirs.ErrNoValidSignature, 0},
	} {
		if _, known, err := update(x.g, x.old, x.size, x.origin, x.signer); !errors.Is(err, x.want) || known != x.known {
			t.Errorf("%s: %d, %v", x.name, known, err)
		}
	}
}

// TestTheyReadThePolicyAsWeDo compares our verdict on a policy file with that of
// torchwood, for every subset of witnesses.
func TestTheyReadThePolicyAsWeDo(t *testing.T) {
	signer, log := logKey(t, origin)
	tree := &grown{}
	tree.grow(t, 9, "leaf")
	text := "log " + log.String() + "\n"
	var signers []note.Signer
	for i := range 5 {
		own, key := newWitnessKey(t, fmt.Sprintf("example.org/%d", i))
		text += fmt.Sprintf("witness W%d %s https://w%d.example.org\n", i, key, i)
		signers = append(signers, own.at(uint64(1000+i)))
	}
	text += "group a 2 W0 W1 W2\ngroup b any W3 W4\ngroup both all a b\nquorum both\n"
	ours, err := ParsePolicy("policy", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	theirPolicy, err := torchwood.ParsePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	met := 0
	for set := range 1 << len(signers) {
		by := []note.Signer{signer}
		for i, s := range signers {
			if set>>i&1 == 1 {
				by = append(by, s)
			}
		}
		signed := checkpoint(t, tree, 9, origin, by...)
		_, _, err := ours.Verify(signed)
		n, openErr := note.Open(signed, theirPolicy)
		if openErr != nil {
			t.Fatal(openErr)
		}
		if theirErr := theirPolicy.Check(origin, n.Sigs); (err == nil) != (theirErr == nil) {
			t.Errorf("%05b: we say %v, they say %v", set, err, theirErr)
		}
		if err == nil {
			met++
		}
	}
	if met != 4*3 { // two or three of three, one or two of two
		t.Errorf("%d subsets met the quorum", met)
	}
}

// TestTheExampleOfTheSpecificationIsRead takes the request of C2SP tlog-witness.
func TestTheExampleOfTheSpecificationIsRead(t *testing.T) {
	const example = "old 20852014\n" +
		"PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n" +
		"jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n" +
		"5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n" +
		"/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n" +
		"\n" +
		"example.com/behind-the-sofa\n" +
		"20852163\n" +
		"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n" +
		"\n" +
		"— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
	r, err := parseRequest([]byte(example))
	if err != nil || r.old != 20852014 || len(r.proof) != 4 || string(r.body()) != example {
		t.Errorf("%+v, %v", r, err)
	}
	_, c, err := noteText(r.note)
	root, _ := tlog.ParseHash("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
	if want := (Checkpoint{"example.com/behind-the-sofa", 20852163, root}); err != nil || c != want {
		t.Errorf("%+v, %v", c, err)
	}
}
