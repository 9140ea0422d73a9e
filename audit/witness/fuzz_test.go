package witness

import (
	"bytes"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// FuzzRequest holds that what is accepted has one spelling, and that nothing
// makes the parsers panic.
func FuzzRequest(f *testing.F) {
	root := emptyRoot()
	f.Add([]byte("old 0\n\n" + origin + "\n0\n" + root.String() + "\n\n— a b\n"))
	f.Add(request{old: 7, note: []byte("x\n8\n")}.body())
	f.Add([]byte("old 5\n" + root.String() + "\n\nx"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRequest(b)
		if err != nil {
			return
		}
		if !bytes.Equal(r.body(), b) {
			t.Errorf("%q is also %q", b, r.body())
		}
		if text, c, err := noteText(r.note); err == nil && !bytes.HasPrefix([]byte(text), []byte(c.text())) {
			t.Errorf("%q is also %q", text, c.text())
		}
	})
}

// FuzzPolicy holds that a policy that is accepted is met by all its witnesses
// together.
func FuzzPolicy(f *testing.F) {
	_, a := newWitnessKey(f, "a")
	f.Add([]byte("witness A " + a.String() + "\ngroup g all A\nquorum g\n"))
	f.Add([]byte("quorum none\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePolicy("p", b)
		if err != nil {
			return
		}
		var all []note.Signature
		for _, w := range p.Witnesses {
			all = append(all, note.Signature{Name: w.Key.Name(), Hash: w.Key.KeyHash()})
		}
		if !p.Met(all) {
			t.Errorf("not met by all:\n%s", b)
		}
	})
}
