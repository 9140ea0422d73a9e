package merkle

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	proofMagic = "c2sp.org/tlog-proof@v1"
	// maxProof bounds the hashes of a proof: a tree of 2^63 leaves needs no more.
	maxProof = 63
)

// Proof shows offline that one record stands at one place in a log (C2SP
// tlog-proof).
type Proof struct {
	Extra      []byte // not authenticated; nil for none
	Index      uint64 // from 0: the sequence number less one
	Hashes     []Hash // from the leaf's sibling to the root's child
	Checkpoint []byte // signed note, with what cosignatures there are
}

// Format writes the proof as the text of a .tlog-proof file.
func (p Proof) Format() []byte {
	b := append([]byte(proofMagic), '\n')
	if p.Extra != nil {
		b = append(b, "extra "...)
		b = append(base64.StdEncoding.AppendEncode(b, p.Extra), '\n')
	}
	b = append(b, "index "...)
	b = append(strconv.AppendUint(b, p.Index, 10), '\n')
	for _, h := range p.Hashes {
		b = append(base64.StdEncoding.AppendEncode(b, h[:]), '\n')
	}
	b = append(b, '\n')
	return append(b, p.Checkpoint...)
}

// ParseProof reads a .tlog-proof file. It checks the form only; Verify judges.
func ParseProof(text []byte) (Proof, error) {
	head, checkpoint, ok := bytes.Cut(text, []byte("\n\n"))
	if !ok {
		return Proof{}, errors.New("read proof: no empty line before the checkpoint")
	}
	lines := bytes.Split(head, []byte("\n"))
	if string(lines[0]) != proofMagic {
		return Proof{}, fmt.Errorf("read proof: line 1 is not %q", proofMagic)
	}
	p, n := Proof{Checkpoint: checkpoint}, 1
	if extra, ok := field(lines, n, "extra "); ok {
		var err error
		if p.Extra, err = base64.StdEncoding.Strict().DecodeString(extra); err != nil {
			return Proof{}, fmt.Errorf("read proof: line %d: extra is not base64", n+1)
		}
		n++
	}
	index, _ := field(lines, n, "index ")
	var err error
	if p.Index, err = strconv.ParseUint(index, 10, 63); err != nil || strconv.FormatUint(p.Index, 10) != index {
		return Proof{}, fmt.Errorf("read proof: line %d: want \"index\" and a number", n+1)
	}
	n++
	if len(lines)-n > maxProof {
		return Proof{}, fmt.Errorf("read proof: %d hashes, more than any tree needs", len(lines)-n)
	}
	for ; n < len(lines); n++ {
		h, err := tlog.ParseHash(string(lines[n]))
		if err != nil || h.String() != string(lines[n]) {
			return Proof{}, fmt.Errorf("read proof: line %d is not 32 bytes in base64", n+1)
		}
		p.Hashes = append(p.Hashes, h)
	}
	return p, nil
}

func field(lines [][]byte, n int, name string) (string, bool) {
	if n >= len(lines) {
		return "", false
	}
	value, ok := bytes.CutPrefix(lines[n], []byte(name))
	return string(value), ok
}

// Verify checks that the record with this leaf hash stands at p.Index in the log
// whose key is v, and returns the checkpoint that says so. The error wraps
// ErrSignature, ErrCheckpoint or ErrProof.
func (p Proof) Verify(leaf Hash, v note.Verifier) (Checkpoint, error) {
	c, err := OpenCheckpoint(p.Checkpoint, v)
	if err != nil {
		return Checkpoint{}, err
	}
	if p.Index >= c.Size {
		return Checkpoint{}, fmt.Errorf("record %d: %w: the checkpoint covers %d", p.Index+1, ErrProof, c.Size)
	}
	if err := tlog.CheckRecord(p.Hashes, int64(c.Size), c.Root, int64(p.Index), leaf); err != nil { //nolint:gosec // below 2^63
		return Checkpoint{}, fmt.Errorf("record %d: %w", p.Index+1, ErrProof)
	}
	return c, nil
}
