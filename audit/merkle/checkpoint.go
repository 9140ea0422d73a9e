package merkle

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint says what the record of one source is: how many leaves its tree has
// and what their root is (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string // see Origin
	Size   uint64
	Root   Hash
}

// Origin names the log of one source at one site.
func Origin(site, source string) string { return "matron/" + site + "/" + source }

// Sign returns the signed note.
func (c Checkpoint) Sign(s note.Signer) ([]byte, error) {
	text := c.Origin + "\n" + strconv.FormatUint(c.Size, 10) + "\n" + c.Root.String() + "\n"
	signed, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint of %d records: %w", c.Size, err)
	}
	return signed, nil
}

// OpenCheckpoint checks the signature of the log whose key is v and returns what
// the note says. The origin must be the name of the key.
func OpenCheckpoint(signed []byte, v note.Verifier) (Checkpoint, error) {
	n, err := note.Open(signed, note.VerifierList(v))
	var invalid *note.InvalidSignatureError
	var unknown *note.UnverifiedNoteError
	switch {
	case errors.As(err, &invalid), errors.As(err, &unknown):
		return Checkpoint{}, fmt.Errorf("%w: %s", ErrSignature, v.Name())
	case err != nil:
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	if !CanonicalSignature(n.Sigs[0]) {
		return Checkpoint{}, fmt.Errorf("%w: its signature is not canonical base64", ErrCheckpoint)
	}
	c, err := parseCheckpoint(n.Text)
	if err == nil && c.Origin != v.Name() {
		err = fmt.Errorf("%w: it is of %q, the key of %q", ErrCheckpoint, c.Origin, v.Name())
	}
	return c, err
}

// CanonicalSignature reports whether the text of a signature that was verified is
// the only one for its bytes: base64 has spare bits that decoders overlook.
func CanonicalSignature(s note.Signature) bool {
	_, err := base64.StdEncoding.Strict().DecodeString(s.Base64)
	return err == nil
}

func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[0] == "" { // lines may follow; the text ends with a newline
		return Checkpoint{}, fmt.Errorf("%w: want origin, size and root on a line each", ErrCheckpoint)
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("%w: size %q is not a number", ErrCheckpoint, lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil || root.String() != lines[2] {
		return Checkpoint{}, fmt.Errorf("%w: root %q is not 32 bytes in base64", ErrCheckpoint, lines[2])
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: root}, nil
}
