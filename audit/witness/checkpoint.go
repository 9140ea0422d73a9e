package witness

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is the text of a checkpoint note, read (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string
	Size   int64
	Root   tlog.Hash
}

// ParseCheckpoint reads the text of a note, without its signatures. It is
// strict: one tree head has one spelling.
func ParseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[len(lines)-1] != "" {
		return Checkpoint{}, fmt.Errorf("text %w: it needs an origin, a size and a root, one a line", ErrMalformed)
	}
	for i, line := range lines[:len(lines)-1] {
		if line == "" {
			return Checkpoint{}, fmt.Errorf("text %w: line %d is empty", ErrMalformed, i+1)
		}
	}
	size, ok := parseSize(lines[1])
	if !ok {
		return Checkpoint{}, fmt.Errorf("text %w: line 2 is no tree size", ErrMalformed)
	}
	root, ok := parseHash(lines[2])
	if !ok {
		return Checkpoint{}, fmt.Errorf("text %w: line 3 is no root hash", ErrMalformed)
	}
	if size == 0 && root != emptyRoot() {
		return Checkpoint{}, fmt.Errorf("text %w: %w", ErrMalformed, errEmptyRoot)
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: root}, nil
}

// text is the note text of c.
func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// emptyRoot is the root of a tree without leaves (RFC 6962, 2.1).
func emptyRoot() tlog.Hash { return sha256.Sum256(nil) }

// parseSize reads a decimal number without sign and leading zeroes.
func parseSize(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == s
}

// parseHash reads a hash in base64 with padding and without stray bits.
func parseHash(s string) (h tlog.Hash, ok bool) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != tlog.HashSize || base64.StdEncoding.EncodeToString(b) != s {
		return tlog.Hash{}, false
	}
	return tlog.Hash(b), true
}
