package witness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

func TestPolicyOfTheSpecification(t *testing.T) {
	_, log := logKey(t, origin)
	var keys []Verifier
	for i := range 6 {
		_, k := newWitnessKey(t, fmt.Sprintf("w.example/%d", i))
		keys = append(keys, k)
	}
	text := fmt.Sprintf(`log %s
# the first organisation
witness X1 %s
 	witness X2 %s   https://x2.example/
witness X3 %s
group X-witnesses 2 X1 X2 X3

witness Y1 %s
witness Y2 %s
witness Y3 %s
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y`, log, keys[0], keys[1], keys[2], keys[3], keys[4], keys[5])
	path := filepath.Join(t.TempDir(), "policy")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := ReadPolicy(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Logs) != 1 || len(p.Witnesses) != 6 || p.Witnesses[1].URL != "https://x2.example/" {
		t.Errorf("%+v", p)
	}
	for set := range 1 << 6 { // every subset of the six
		var by []note.Signature
		x, y := 0, 0
		for i, k := range keys {
			if set>>i&1 == 0 {
				continue
			}
			by = append(by, note.Signature{Name: k.name, Hash: k.hash})
			if i < 3 {
				x++
			} else {
				y++
			}
		}
		if got, want := p.Met(by), x >= 2 && y >= 1; got != want {
			t.Errorf("%06b: %v", set, got)
		}
	}
	if (Policy{}).Met(nil) {
		t.Error("the zero policy is met")
	}
}

func TestPolicyMistakesHaveALine(t *testing.T) {
	_, log := logKey(t, origin)
	_, a := newWitnessKey(t, "w.example/a")
	_, b := newWitnessKey(t, "w.example/b")
	again := vkey("w.example/renamed", WitnessKey, a.key)
	head := fmt.Sprintf("witness A %s\nwitness B %s\n", a, b)
	for _, c := range []struct{ name, text, want string }{
		{"no quorum", head, "the quorum line is missing"},
		{"two quorums", head + "quorum A\nquorum B\n", "p:4: "},
		{"quorum of nobody", head + "quorum C\n", "p:3: "},
		{"quorum before its witness", "quorum A\n" + head, "p:1: "},
		{"same name", head + "group A any B\nquorum A\n", `the name "A" is taken`},
		{"named none", "witness none " + a.String() + "\nquorum none\n", `"none" is taken`},
		{"none as a member", head + "group g any none A\nquorum g\n", `"none" is no witness`},
		{"same key under another name", head + "witness C " + again + "\nquorum A\n", "p:3: "},
		{"same log twice", "log " + log.String() + "\nlog " + log.String() + "\nquorum none\n", "p:2: "},
		{"member twice in one group", head + "group g 2 A A\nquorum g\n", "a witness counts once"},
		{"member of two groups", head + "group g any A\ngroup h all A g\nquorum h\n", "a witness counts once"},
		{"member of later", head + "group g any h\ngroup h any A\nquorum g\n", `"h" is no witness`},
		{"more than there are", head + "group g 3 A B\nquorum g\n", `"3" must be`},
		{"none needed", head + "group g 0 A B\nquorum g\n", `"0" must be`},
		{"leading zero", head + "group g 01 A B\nquorum g\n", `"01" must be`},
		{"no members", head + "group g any\nquorum g\n", "MEMBER"},
		{"log with a witness's key", "log " + a.String() + "\nquorum none\n", "a log's key"},
		{"witness with a log's key", "witness L " + log.String() + "\nquorum L\n", "a witness's key"},
		{"carriage return", head + "quorum A\r\n", "control character"},
		{"no-break space", head + "quorum\u00a0A\n", "p:3: "},
		{"unknown word", "witnesses A\n", "a line begins with"},
	} {
		if _, err := ParsePolicy("p", []byte(c.text)); !errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

func TestPolicyVerifyWantsTheLogOfItsOrigin(t *testing.T) {
	signer, key := logKey(t, origin)
	_, other := logKey(t, "matron/RBA/gw2")
	tree := &grown{}
	tree.grow(t, 3, "leaf")
	policy, err := Quorum([]Verifier{key, other}, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	if c, _, err := policy.Verify(checkpoint(t, tree, 3, origin, signer)); err != nil || c.Size != 3 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, _, err := policy.Verify(checkpoint(t, tree, 3, "matron/RBA/gw2", signer)); err == nil {
		t.Error("a log's key signed for another log")
	}
}
