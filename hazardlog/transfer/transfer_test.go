package transfer_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/transfer"
)

func when() time.Time { return time.Date(2026, time.November, 26, 9, 30, 0, 0, time.UTC) }

type keys struct {
	signer   note.Signer
	verifier note.Verifier
}

func newKeys(t *testing.T, name string) keys {
	t.Helper()
	secret, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return keys{signer, verifier}
}

type present struct{}

func (present) Confirm(context.Context, hazardlog.Officer, string) (hazardlog.Proof, error) {
	return hazardlog.Proof{Method: "test", At: when()}, nil
}

func ann() hazardlog.Officer {
	return hazardlog.Officer{Name: "Dr Ann Example", Body: "GMC", Number: "0000001", Expires: "2027-03-31"}
}

func annProved() hazardlog.Actor {
	return hazardlog.Actor{Issuer: "os", Account: "ann", Officer: ann().String(), Proof: &hazardlog.Proof{Method: "test", At: when()}}
}

// maker is a small approved log.
func maker(t *testing.T) hazardlog.Log {
	t.Helper()
	o := ann()
	by := annProved()
	n := 0
	id := func() string { n++; return fmt.Sprint("e", n) }
	rating := hazardlog.Rating{Severity: "Major", Likelihood: "Low", Justification: "As reasoned.", State: hazardlog.RatingAssessed, By: o.String()}
	l, _, err := hazardlog.Begin("maker").Record(when(), by, id,
		hazardlog.Change{Act: hazardlog.OpenLog, Value: hazardlog.Head{Title: "Maker", Role: hazardlog.Manufacturer, StandardID: "dcb0129-4.2"}},
		hazardlog.Change{Act: hazardlog.Raise, Value: hazardlog.Hazard{
			ID: "GW-01", Name: "Refused <when> needed", Effect: "A refusal", Hazard: "Care goes on without it", Harm: "A patient is harmed", Causes: []string{"A rule"},
			Owner: "CSO", Status: hazardlog.Open, Initial: rating, Residual: rating,
		}},
		hazardlog.Change{Act: hazardlog.Raise, Value: hazardlog.Transfer{ID: "T-01", Hazard: "GW-01", Condition: "Train staff", State: hazardlog.Offered}})
	if err != nil {
		t.Fatal(err)
	}
	by, change, err := l.Approve(t.Context(), by, hazardlog.SignOff{Version: "1.4", Officer: o, Statement: "Fine.", Confirmed: [2]bool{true, true}}, present{}, when())
	if err != nil {
		t.Fatal(err)
	}
	if l, _, err = l.Record(when(), by, id, change); err != nil {
		t.Fatal(err)
	}
	return l
}

func snapshot(t *testing.T, l hazardlog.Log) string {
	t.Helper()
	b, err := l.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAPackIsReadAsItWasMade(t *testing.T) {
	l, k := maker(t), newKeys(t, "maker")
	pack, err := transfer.Make(l, "1.4", k.signer, when())
	if err != nil {
		t.Fatal(err)
	}
	p, got, err := transfer.Open(pack, k.verifier)
	if err != nil {
		t.Fatal(err)
	}
	if snapshot(t, got) != snapshot(t, l) || p.Approval.Version != "1.4" || p.Approval.Officer.Name != "Dr Ann Example" || got.Hazards[0].Residual.Risk() != 3 {
		t.Errorf("%+v %+v", p.Approval, got)
	}
	if kept, err := transfer.Kept(pack, p.Approval.SHA256); err != nil || snapshot(t, kept) != snapshot(t, l) {
		t.Errorf("as it was kept: %v", err)
	}
	for _, sum := range []string{"", hazardlog.Hash(pack)} {
		if _, err := transfer.Kept(pack, sum); !errors.Is(err, transfer.ErrRefused) {
			t.Errorf("another one was kept: %v", err)
		}
	}
	if _, err := transfer.Kept([]byte("well"), ""); !errors.Is(err, transfer.ErrRefused) {
		t.Errorf("no pack: %v", err)
	}
	if _, err := transfer.Make(l, "9.9", k.signer, when()); err == nil {
		t.Error("a pack of a version that nobody approved")
	}
}

// Each byte counts, and the error says which were altered: it names bytes among which
// the altered one is, up to where the rest could not be read, or the signature.
// hazard:GW-32 control:C-237
func TestAnAlteredPackIsRefused(t *testing.T) {
	k := newKeys(t, "maker")
	l := maker(t)
	pack, err := transfer.Make(l, "1.4", k.signer, when())
	if err != nil {
		t.Fatal(err)
	}
	reply, _ := replyOf(t, l, k)
	eachByte(t, pack, func(bad []byte) error { _, _, err := transfer.Open(bad, k.verifier); return err })
	eachByte(t, reply, func(bad []byte) error { _, err := transfer.OpenReply(bad, k.verifier); return err })
	if _, _, err := transfer.Open(pack[:len(pack)-1], k.verifier); !errors.Is(err, transfer.ErrRefused) {
		t.Errorf("cut off: %v", err)
	}
}

func eachByte(t *testing.T, pack []byte, open func([]byte) error) {
	t.Helper()
	signature := strings.LastIndex(string(pack), "\n\n") + 1
	among := regexp.MustCompile(`\(bytes (\d+) to (\d+)\)`)
	before := regexp.MustCompile(`from byte (\d+) of`)
	named := 0
	for i := range pack {
		bad := append([]byte{}, pack...)
		bad[i] ^= 1
		err := open(bad)
		if !errors.Is(err, transfer.ErrRefused) {
			t.Fatalf("byte %d of %d altered: %v", i+1, len(pack), err)
		}
		said := false
		for _, m := range among.FindAllStringSubmatch(err.Error(), -1) {
			from, _ := strconv.Atoi(m[1])
			to, _ := strconv.Atoi(m[2])
			said = said || from <= i+1 && i+1 <= to
		}
		if m := before.FindStringSubmatch(err.Error()); m != nil {
			at, _ := strconv.Atoi(m[1])
			said = said || i+1 <= at
		}
		if said {
			named++
		} else if i < signature-1 {
			t.Errorf("byte %d (%q) altered: %v", i+1, pack[max(0, i-20):i+1], err)
		}
	}
	if named < signature-1 {
		t.Errorf("only %d of %d bytes were found", named, signature)
	}
}

// What was altered is called by its name.
func TestTheAlteredPartIsNamed(t *testing.T) {
	l, k := maker(t), newKeys(t, "maker")
	pack, err := transfer.Make(l, "1.4", k.signer, when())
	if err != nil {
		t.Fatal(err)
	}
	reply, _ := replyOf(t, l, k)
	key := fmt.Sprintf("maker+%08x", k.verifier.KeyHash())
	list := strings.LastIndex(string(pack), "  all of it")
	for _, c := range []struct {
		of       []byte
		old, new string
		want     string
	}{
		{pack, "Refused <when>", "Refused <then>", "hazards GW-01 (bytes "}, // JSON writes < otherwise
		{pack, "Care goes on", "Care goes off", "hazards GW-01 (bytes "},
		{pack, `"statement":"Fine."`, `"statement":"Fine!"`, "approval (bytes "},
		{pack, `"title":"Maker"`, `"title":"Taker"`, "title (bytes "},
		{pack, "matron-hazard-transfer/2", "matron-hazard-transfer/3", "the line that names its format (bytes 1 to 24)"},
		{pack, string(pack[list-4 : list]), "0000", "the list of its sums (bytes "},
		{pack, "Train staff", "Train nobody", "transfers T-01 (bytes "},
		{pack, "\n\n— ", "\n— ", "nothing in it is a signature"},
		{reply, `"reason":"ward managers do it"`, `"reason":"ward managers did it"`, "answers T-01 (bytes "},
		{reply, "Example Trust", "Example trust", "from (bytes "},
	} {
		open := func(bad []byte) error { _, _, err := transfer.Open(bad, k.verifier); return err }
		if transfer.IsReply(c.of) {
			open = func(bad []byte) error { _, err := transfer.OpenReply(bad, k.verifier); return err }
		}
		text := string(c.of)
		bad := strings.Replace(text, c.old, c.new, 1)
		if bad == text { // as JSON writes it
			bad = strings.Replace(text, `Refused \u003cwhen\u003e`, `Refused \u003cthen\u003e`, 1)
		}
		if err := open([]byte(bad)); bad == text || !errors.Is(err, transfer.ErrRefused) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error()+key, key) {
			t.Errorf("%s: %v", c.new, err)
		}
	}
}

// replyOf is what a trust that took a version of l over answers, signed.
func replyOf(t *testing.T, l hazardlog.Log, k keys) ([]byte, hazardlog.Log) {
	t.Helper()
	then, _, err := l.Version("1.4")
	if err != nil {
		t.Fatal(err)
	}
	changes, err := hazardlog.Derive(then, "1.4", hazardlog.Head{Title: "Ours", StandardID: "dcb0160-3.2", Organisation: "Example Trust"})
	if err != nil {
		t.Fatal(err)
	}
	by := annProved()
	n := 0
	id := func() string { n++; return fmt.Sprint("t", n) }
	own, _, err := hazardlog.Begin("rba").Record(when(), by, id, changes...)
	if err != nil {
		t.Fatal(err)
	}
	x := own.Transfers[0]
	x.State, x.By, x.Reason = hazardlog.Accepted, by.Officer, "ward managers do it"
	if own, _, err = own.Record(when(), by, id, hazardlog.Change{Act: hazardlog.Answer, Value: x, Expect: own.Revision(x.Subject())}); err != nil {
		t.Fatal(err)
	}
	pack, _, err := transfer.MakeReply(own, k.signer, when())
	if err != nil {
		t.Fatal(err)
	}
	return pack, own
}

// Answers come back as they were given, with the key that signed them.
func TestAReplyIsReadAsItWasMade(t *testing.T) {
	l, k, other := maker(t), newKeys(t, "trust"), newKeys(t, "trust")
	pack, own := replyOf(t, l, k)
	r, err := transfer.OpenReply(pack, k.verifier)
	if err != nil {
		t.Fatal(err)
	}
	if r.String() != "Example Trust on version 1.4: 1 accepted, 0 declined, 0 not answered" || r.Log != "rba" || r.Of != *own.Upstream ||
		r.Pack != hazardlog.Hash(pack) || r.Key != fmt.Sprintf("trust+%08x", k.verifier.KeyHash()) {
		t.Errorf("%+v", r)
	}
	want := fmt.Sprintf("it is not signed by trust+%08x: signed by trust+%08x, which is another key", other.verifier.KeyHash(), k.verifier.KeyHash())
	if _, err := transfer.OpenReply(pack, other.verifier); !errors.Is(err, transfer.ErrRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("another key: %v", err)
	}
	if _, _, err := transfer.Open(pack, k.verifier); !errors.Is(err, transfer.ErrRefused) || !strings.Contains(err.Error(), `begins with "matron-hazard-answers/1"`) {
		t.Errorf("answers as a pack: %v", err)
	}
	if _, _, err := transfer.MakeReply(l, k.signer, when()); !errors.Is(err, hazardlog.ErrInvalid) {
		t.Errorf("the maker has nobody to answer: %v", err)
	}
	r.ID = ""
	if forged, err := transfer.Seal("matron-hazard-answers/1", r, k.signer); err != nil {
		t.Fatal(err)
	} else if _, err := transfer.OpenReply(forged, k.verifier); !errors.Is(err, transfer.ErrRefused) {
		t.Errorf("says itself who signed it: %v", err)
	}
}

// A pack of somebody else, even of the same name, is refused by name, and so is a
// right signature under something that nobody approved.
// hazard:GW-32 control:C-237
func TestAPackOfSomebodyElseIsRefused(t *testing.T) {
	l, k, other := maker(t), newKeys(t, "maker"), newKeys(t, "maker")
	stranger := newKeys(t, "stranger")
	pack := func(k keys) []byte {
		p, err := transfer.Make(l, "1.4", k.signer, when())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	sign := func(text string, by ...note.Signer) []byte {
		signed, err := note.Sign(&note.Note{Text: text}, by...)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	line := strings.SplitN(string(pack(k)), "\n", 3)[1]
	seal := func(line string) []byte {
		sealed, err := transfer.Seal("matron-hazard-transfer/2", json.RawMessage(line), k.signer)
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	text := string(pack(k))
	text = text[:strings.LastIndex(text, "\n\n")+1]
	lowered := strings.Replace(line, `"likelihood":"Low","risk":3`, `"likelihood":"Very Low","risk":2`, 1)
	mistyped := strings.Replace(line, `"likelihood":"Low","risk":3`, `"likelihood":"Low","risk":2`, 1)
	for name, c := range map[string]struct {
		pack []byte
		want string
	}{
		"stranger":       {pack(stranger), "signed by stranger+"},
		"another key":    {pack(other), fmt.Sprintf("it is not signed by maker+%08x: signed by maker+%08x, which is another key", k.verifier.KeyHash(), other.verifier.KeyHash())},
		"two signatures": {sign(text, k.signer, stranger.signer), "somebody added a signature"},
		"another text":   {sign("matron/1 approval\n", k.signer), `signed something else than "matron-hazard-transfer/2": it begins with "matron/1 approval"`},
		"not JSON":       {sign("matron-hazard-transfer/2\nwell\n", k.signer), "invalid character"},
		"other sums":     {sign(strings.Replace(text, line, lowered, 1), k.signer), "signed sums that are not those of what it says"},
		"not approved":   {seal(lowered), "its content is not what Dr Ann Example (GMC 0000001) approved as version 1.4"},
		"typed risk":     {seal(mistyped), "the content is not canonical"},
		"nothing":        {nil, "transfer pack refused"},
	} {
		if _, _, err := transfer.Open(c.pack, k.verifier); !errors.Is(err, transfer.ErrRefused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nothing but what was made is taken, and whatever it is, it is said why.
func FuzzOpen(f *testing.F) {
	secret, public, err := note.GenerateKey(rand.Reader, "maker")
	if err != nil {
		f.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		f.Fatal(err)
	}
	key, err := note.NewVerifier(public)
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := transfer.Seal("matron-hazard-transfer/2", json.RawMessage(`{"content":{"hazards":[{"id":"GW-01"},{}],"title":"x"},"list":[]}`), signer)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	for _, text := range []string{"", "\n\n", "matron-hazard-transfer/2\n", "matron-hazard-transfer/2\n{\"content\":[]}\nx\n\n— maker AAAA\n", "matron-hazard-transfer/2\n[]\n\n\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, pack []byte) {
		if _, _, err := transfer.Open(pack, key); !errors.Is(err, transfer.ErrRefused) || len(err.Error()) < 30 {
			t.Errorf("%q: %v", pack, err)
		}
		if _, err := transfer.OpenReply(pack, key); !errors.Is(err, transfer.ErrRefused) {
			t.Errorf("%q: %v", pack, err)
		}
	})
}
