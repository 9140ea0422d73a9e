package care

import "strings"

// names gives each of a small set of strings a number: wards, teams, clinicians,
// authorities, sources. Zero is the empty string.
type names struct {
	number map[string]uint32
	text   []string
}

func newNames() names { return names{number: map[string]uint32{"": 0}, text: []string{""}} }

// intern returns the number of s, which it learns.
func (n *names) intern(s string) uint32 {
	if i, ok := n.number[s]; ok {
		return i
	}
	s = strings.Clone(s)     // s may be part of a whole message
	i := uint32(len(n.text)) //nolint:gosec // a hospital has fewer wards and clinicians
	n.number[s], n.text = i, append(n.text, s)
	return i
}

// clinician returns the number of a clinician's identifier, which it learns. The
// separator cannot occur in what a message names.
func (n *names) clinician(id ID) uint32 { return n.intern(id.Authority + "\x00" + id.Value) }

// texts keeps many short strings that are seldom asked for, in pieces that hold
// no pointers. They are freed when the gateway starts anew: a year of a hospital
// of 500,000 visits adds some tens of megabytes.
type texts struct{ pieces [][]byte }

const piece = 1 << 16

// add keeps s, of at most 255 bytes, and returns where. Zero is the empty string.
func (t *texts) add(s string) uint32 {
	if s == "" {
		return 0
	}
	last := len(t.pieces) - 1
	if last < 0 || len(t.pieces[last])+1+len(s) > piece {
		t.pieces = append(t.pieces, make([]byte, 0, piece))
		last++
		if last == 0 {
			t.pieces[0] = append(t.pieces[0], 0) // so that nothing is at zero
		}
	}
	at := len(t.pieces[last])
	t.pieces[last] = append(append(t.pieces[last], byte(len(s))), s...) //nolint:gosec // Check bounds it
	return uint32(last)<<16 | uint32(at)                                //nolint:gosec // 64 Ki pieces of 64 KiB
}

// drop takes back what was added last. Anything else stays.
func (t *texts) drop(at uint32) {
	last := len(t.pieces) - 1
	if at != 0 && int(at>>16) == last && int(at&(piece-1))+1+len(t.bytes(at)) == len(t.pieces[last]) {
		t.pieces[last] = t.pieces[last][:at&(piece-1)]
	}
}

// bytes returns what is kept at a place. It must not be changed.
func (t *texts) bytes(at uint32) []byte {
	if at == 0 {
		return nil
	}
	p := t.pieces[at>>16][at&(piece-1):]
	return p[1 : 1+int(p[0])]
}
