// Package transfer makes and reads the packs that makers of a system and those who
// deploy it hand to each other: a version of a hazard log, and the answers to what it
// transfers.
//
// A pack is a signed note (golang.org/x/mod/sumdb/note, Ed25519). Every byte of it
// counts: an altered one is refused, and it is said where. Values are safe for
// concurrent use.
package transfer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/hazardlog"
)

// The first lines of packs.
const (
	packFormat  = "matron-hazard-transfer/2"
	replyFormat = "matron-hazard-answers/1"
)

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
	pack, err := seal(packFormat, Pack{now.UTC().Truncate(time.Second), approval, bytes.TrimSpace(content)}, signer)
	if err != nil {
		return nil, fmt.Errorf("make transfer pack: %w", err)
	}
	return pack, nil
}

// Open checks a pack with the public key of who is said to have made it, and
// reads it. The error wraps ErrRefused and says what is wrong.
func Open(pack []byte, key note.Verifier) (Pack, hazardlog.Log, error) {
	var p Pack
	if err := unseal(packFormat, pack, key, &p); err != nil {
		return Pack{}, hazardlog.Log{}, err
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

// Kept reads a pack that was opened before and is known by the hash of its content: it
// is what it was, whatever key its maker uses now.
func Kept(pack []byte, sha256 string) (hazardlog.Log, error) {
	_, rest, _ := strings.Cut(string(pack), "\n")
	line, _, _ := strings.Cut(rest, "\n")
	var p Pack
	if err := json.Unmarshal([]byte(line), &p); err != nil {
		return hazardlog.Log{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if hazardlog.Hash(append(bytes.Clone(p.Content), '\n')) != sha256 {
		return hazardlog.Log{}, fmt.Errorf("%w: its content is not what was taken in", ErrRefused)
	}
	return hazardlog.ReadSnapshot(p.Content)
}

// IsReply reports whether a file says that it holds answers. It proves nothing.
func IsReply(file []byte) bool { return strings.HasPrefix(string(file), replyFormat+"\n") }

// MakeReply makes the pack of a log's answers to what was transferred to it, and signs
// it.
func MakeReply(l hazardlog.Log, signer note.Signer, now time.Time) ([]byte, hazardlog.Reply, error) {
	r, err := l.Reply(now)
	if err != nil {
		return nil, hazardlog.Reply{}, err
	}
	pack, err := seal(replyFormat, r, signer)
	if err != nil {
		return nil, hazardlog.Reply{}, fmt.Errorf("make answer pack: %w", err)
	}
	return pack, r, nil
}

// OpenReply checks a pack of answers with the public key of who is said to have made
// it, and reads it. The error wraps ErrRefused and says what is wrong.
func OpenReply(pack []byte, key note.Verifier) (hazardlog.Reply, error) {
	var r hazardlog.Reply
	if err := unseal(replyFormat, pack, key, &r); err != nil {
		return hazardlog.Reply{}, err
	}
	if r.ID != "" || r.Key != "" || r.OldKey != "" || r.Pack != "" {
		return hazardlog.Reply{}, fmt.Errorf("%w: it says itself who signed it", ErrRefused)
	}
	r.Key, r.Pack = keyName(key.Name(), key.KeyHash()), hazardlog.Hash(pack)
	return r, nil
}
