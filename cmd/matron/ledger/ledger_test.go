package ledger_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/cmd/matron/ledger"
)

// said is an entry of these tests.
type said struct {
	ledger.Link
	Word string `json:"word"`
}

var errRude = errors.New("rude")

// words folds entries into a list.
func words(list *[]string) ledger.Take {
	return func(payload []byte) error {
		var s said
		if err := json.Unmarshal(payload, &s); err != nil {
			return err
		}
		if s.Word == "damn" {
			return errRude
		}
		*list = append(*list, s.Word)
		return nil
	}
}

// written is a file that holds one, two, three.
func written(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "words.ledger")
	var list []string
	f, err := ledger.Open(path, words(&list))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{"one", "two", "three"} {
		if err := f.Append(&said{Link: ledger.Link{ID: ledger.NewID("W")}, Word: w}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ledger.Open(path, words(&list)); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("a second writer: %v", err)
	}
	if err := f.Close(); err != nil || len(list) != 3 {
		t.Fatalf("%v, %v", list, err)
	}
	return path
}

func TestEntriesAreReadAsTheyWereWritten(t *testing.T) {
	path := written(t)
	var list []string
	f, err := ledger.Open(path, words(&list))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Append(&said{Word: "four"}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	list = nil
	if err := ledger.Read(path, words(&list)); err != nil || strings.Join(list, " ") != "one two three four" {
		t.Errorf("%v, %v", list, err)
	}
	if err := ledger.Read(path+".none", words(&list)); err != nil {
		t.Errorf("a file that is not there: %v", err)
	}
}

// What was left out, altered, cut short or not understood is not believed.
func TestEntriesFollowEachOther(t *testing.T) {
	path := written(t)
	entries, err := journal.ReadWholeLedger(path)
	if err != nil || len(entries) != 3 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	altered := slices.Clone(entries)
	altered[0] = bytes.Replace(entries[0], []byte("one"), []byte("two"), 1)
	for name, list := range map[string][][]byte{
		"the first is missing": entries[1:], "one in between is missing": {entries[0], entries[2]},
		"one was altered": altered, "one is there twice": {entries[0], entries[0]},
		"no JSON": {[]byte("one")}, "of a later version": {[]byte(`{"v":2,"before":"","word":"one"}`)},
		"not taken": {[]byte(`{"v":1,"before":"","word":"damn"}`)},
	} {
		other := filepath.Join(t.TempDir(), "other.ledger")
		file, _, err := journal.OpenLedger(other)
		if err != nil {
			t.Fatal(err)
		}
		for _, payload := range list {
			if err := file.Append(payload); err != nil {
				t.Fatal(err)
			}
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		var read []string
		if err := ledger.Read(other, words(&read)); err == nil || !strings.HasPrefix(err.Error(), "entry ") {
			t.Errorf("%s: %v", name, err)
		}
		if f, err := ledger.Open(other, words(&read)); err == nil {
			t.Errorf("%s: opened", name)
			_ = f.Close()
		}
	}
}

// An entry that was cut short is no end that was never written, unless the caller says
// that it never took effect.
func TestTheLastEntryIsCutShort(t *testing.T) {
	path := written(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole[:len(whole)-3], 0o600); err != nil {
		t.Fatal(err)
	}
	var list []string
	if err := ledger.Read(path, words(&list)); !errors.Is(err, journal.ErrCorrupt) {
		t.Errorf("read: %v", err)
	}
	if _, err := ledger.Open(path, words(&list)); !errors.Is(err, journal.ErrCorrupt) {
		t.Errorf("opened: %v", err)
	}
	list = nil
	if err := ledger.ReadEarlier(path, words(&list)); err != nil || strings.Join(list, " ") != "one two" {
		t.Errorf("earlier: %v, %v", list, err)
	}
}

func TestStatements(t *testing.T) {
	signer := func(name string) (note.Signer, note.Verifier) {
		secret, public, err := note.GenerateKey(rand.Reader, name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := note.NewSigner(secret)
		if err != nil {
			t.Fatal(err)
		}
		v, err := note.NewVerifier(public)
		if err != nil {
			t.Fatal(err)
		}
		return s, v
	}
	ann, key := signer("ann")
	eve, _ := signer("ann")
	people := ledger.People{Setting: "some.people", List: []ledger.Person{{Name: "ann", Key: key}}}
	text := ledger.Text("words/v1", "matron/RZZ/gw1", map[string]string{"word": "yes\nno"})
	signed, err := ledger.Sign(text, ann)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := ledger.Sign(text, eve)
	if err != nil {
		t.Fatal(err)
	}
	s := ledger.Signature{By: "ann", Note: signed}
	var read map[string]string
	if err := s.Said(&read); err != nil || read["word"] != "yes\nno" {
		t.Errorf("said %q, %v", read, err)
	}
	if _, err := people.Verify(s, text); err != nil {
		t.Error(err)
	}
	for want, err := range map[string]error{
		"not valid":         second(people.Verify(ledger.Signature{By: "ann", Note: forged}, text)),
		"something else":    second(people.Verify(s, text+"x")),
		"not among some.":   second(people.Verify(ledger.Signature{By: "bob", Note: signed}, text)),
		"the key is not":    people.Holds("ann", eve),
		"too short":         ledger.Signature{Note: "words/v1\n"}.Said(&read),
		"a reason is":       ledger.CheckReason("  ", "why"),
		"than 400":          ledger.CheckReason(strings.Repeat("ä", 401), "why"),
		"one line of plain": ledger.CheckReason("down\nup", "why"),
		"long number":       ledger.CheckReason("patient 999 000 - 0018", "why"),
		"from 1m0s to":      ledger.CheckLength(time.Second, time.Hour),
		"to 1h0m0s":         ledger.CheckLength(2*time.Hour, time.Hour),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q: %v", want, err)
		}
	}
	if err := errors.Join(people.Holds("ann", ann), ledger.CheckReason(strings.Repeat("ä", 400), "why"), ledger.CheckLength(time.Hour, time.Hour)); err != nil {
		t.Error(err)
	}
}

func second(_ note.Verifier, err error) error { return err }
