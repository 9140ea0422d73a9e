package transfer_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
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

// maker is a small approved log.
func maker(t *testing.T) hazardlog.Log {
	t.Helper()
	o := hazardlog.Officer{Name: "Dr Ann Example", Body: "GMC", Number: "0000001", Expires: "2027-03-31"}
	by := hazardlog.Actor{Issuer: "os", Account: "ann", Officer: o.String(), Proof: &hazardlog.Proof{Method: "test", At: when()}}
	n := 0
	id := func() string { n++; return fmt.Sprint("e", n) }
	rating := hazardlog.Rating{Severity: "Major", Likelihood: "Low", Justification: "As reasoned.", State: hazardlog.RatingAssessed, By: o.String()}
	l, _, err := hazardlog.Begin("maker").Record(when(), by, id,
		hazardlog.Change{Act: hazardlog.OpenLog, Value: hazardlog.Head{Title: "Maker", Role: hazardlog.Manufacturer, StandardID: "dcb0129-4.2"}},
		hazardlog.Change{Act: hazardlog.Raise, Value: hazardlog.Hazard{
			ID: "GW-01", Name: "Refused <when> needed", Effect: "A refusal", Hazard: "Care goes on without it", Harm: "A patient is harmed", Causes: []string{"A rule"},
			Owner: "CSO", Status: hazardlog.Open, Initial: rating, Residual: rating,
		}})
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
	if _, err := transfer.Make(l, "9.9", k.signer, when()); err == nil {
		t.Error("a pack of a version that nobody approved")
	}
}

// Each byte counts.
// hazard:GW-32 control:C-237
func TestAnAlteredPackIsRefused(t *testing.T) {
	k := newKeys(t, "maker")
	pack, err := transfer.Make(maker(t), "1.4", k.signer, when())
	if err != nil {
		t.Fatal(err)
	}
	for i := range pack {
		bad := append([]byte{}, pack...)
		bad[i] ^= 1
		if _, _, err := transfer.Open(bad, k.verifier); !errors.Is(err, transfer.ErrRefused) {
			t.Fatalf("byte %d of %d altered: %v", i, len(pack), err)
		}
	}
	if _, _, err := transfer.Open(pack[:len(pack)-1], k.verifier); !errors.Is(err, transfer.ErrRefused) {
		t.Errorf("cut off: %v", err)
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
	text := string(pack(k))
	text = text[:strings.LastIndex(text, "\n\n")+1]
	var p transfer.Pack
	if err := json.Unmarshal([]byte(strings.SplitN(text, "\n", 3)[1]), &p); err != nil {
		t.Fatal(err)
	}
	lowered := strings.Replace(text, `"likelihood":"Low","risk":3`, `"likelihood":"Very Low","risk":2`, 1)
	mistyped := strings.Replace(text, `"likelihood":"Low","risk":3`, `"likelihood":"Low","risk":2`, 1)
	for name, c := range map[string]struct {
		pack []byte
		want string
	}{
		"stranger":       {pack(stranger), "it is not signed by maker: signed by stranger"},
		"another key":    {pack(other), "it is not signed by maker: signed by maker with another key"},
		"two signatures": {sign(text, k.signer, stranger.signer), "somebody added a signature"},
		"another text":   {sign("matron/1 approval\n", k.signer), "signed something else than a transfer pack"},
		"not JSON":       {sign("matron-hazard-transfer/1\nwell\n", k.signer), "invalid character"},
		"not approved":   {sign(lowered, k.signer), "its content is not what Dr Ann Example (GMC 0000001) approved as version 1.4"},
		"typed risk":     {sign(mistyped, k.signer), "the content is not canonical"},
		"nothing":        {nil, "transfer pack refused"},
	} {
		if _, _, err := transfer.Open(c.pack, k.verifier); !errors.Is(err, transfer.ErrRefused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
