// Package transfer makes and reads transfer packs: a version of a hazard log that
// its maker hands to those who deploy the system, signed.
//
// A pack is a signed note (golang.org/x/mod/sumdb/note, Ed25519) whose text is one
// line that names the format and one of JSON. Every byte of it counts: an altered
// one is refused. Values are safe for concurrent use.
package transfer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/hazardlog"
)

const format = "matron-hazard-transfer/1"

// ErrRefused is what the error of a pack that is not believed wraps.
var ErrRefused = errors.New("transfer pack refused")

// Pack is one approved version of a log.
type Pack struct {
	MadeAt   time.Time          `json:"made_at"`
	Approval hazardlog.Approval `json:"approval"` // of the content
	Content  json.RawMessage    `json:"content"`  // the canonical snapshot that was approved
}

// Make makes the pack of an approved version and signs it.
func Make(l hazardlog.Log, version string, signer note.Signer, now time.Time) ([]byte, error) {
	then, approval, err := l.Version(version)
	if err != nil {
		return nil, err
	}
	content, err := then.Snapshot()
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(Pack{now.UTC().Truncate(time.Second), approval, bytes.TrimSpace(content)})
	if err != nil {
		return nil, fmt.Errorf("make transfer pack: %w", err)
	}
	signed, err := note.Sign(&note.Note{Text: format + "\n" + string(line) + "\n"}, signer)
	if err != nil {
		return nil, fmt.Errorf("sign transfer pack: %w", err)
	}
	return signed, nil
}

// canonical reports whether signatures are written in the one way that they are made:
// lenient base64 (RFC 4648 section 3.5) ignores the last bits of their last letters.
func canonical(sigs []note.Signature) bool {
	return !slices.ContainsFunc(sigs, func(s note.Signature) bool {
		_, err := base64.StdEncoding.Strict().DecodeString(s.Base64)
		return err != nil
	})
}

// Open checks a pack with the public key of who is said to have made it, and
// reads it. The error wraps ErrRefused and says what is wrong.
func Open(pack []byte, key note.Verifier) (Pack, hazardlog.Log, error) {
	n, err := note.Open(pack, note.VerifierList(key))
	var unverified *note.UnverifiedNoteError
	switch {
	case errors.As(err, &unverified):
		return Pack{}, hazardlog.Log{}, fmt.Errorf("%w: it is not signed by %s: %s", ErrRefused, key.Name(), signers(unverified.Note))
	case err != nil:
		return Pack{}, hazardlog.Log{}, fmt.Errorf("%w: the signature of %s does not fit, so that something in it was altered: %w", ErrRefused, key.Name(), err)
	case len(n.UnverifiedSigs) > 0:
		return Pack{}, hazardlog.Log{}, fmt.Errorf("%w: somebody added a signature that is not %s's", ErrRefused, key.Name())
	case !canonical(n.Sigs):
		return Pack{}, hazardlog.Log{}, fmt.Errorf("%w: the signature of %s is not written as it was made, so that a byte of it was altered", ErrRefused, key.Name())
	}
	line, ok := strings.CutPrefix(n.Text, format+"\n")
	if !ok {
		return Pack{}, hazardlog.Log{}, fmt.Errorf("%w: %s signed something else than a transfer pack of this format", ErrRefused, key.Name())
	}
	var p Pack
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return Pack{}, hazardlog.Log{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	l, err := hazardlog.ReadSnapshot(p.Content)
	if err != nil {
		return Pack{}, hazardlog.Log{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if hazardlog.Hash(append(bytes.Clone(p.Content), '\n')) != p.Approval.SHA256 {
		return Pack{}, hazardlog.Log{}, fmt.Errorf("%w: its content is not what %s approved as version %s", ErrRefused, p.Approval.Officer, p.Approval.Version)
	}
	return p, l, nil
}

func signers(n *note.Note) string {
	var names []string
	for _, s := range n.UnverifiedSigs {
		names = append(names, s.Name)
	}
	return "signed by " + strings.Join(names, ", ") + " with another key"
}
