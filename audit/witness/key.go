package witness

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

// Kind is a note signature type (C2SP signed-note).
type Kind byte

// The kinds of key that are used.
const (
	LogKey     Kind = 0x01 // Ed25519, signs the checkpoints of a log
	WitnessKey Kind = 0x04 // Ed25519, cosigns them with a time
)

func (k Kind) String() string {
	switch k {
	case LogKey:
		return "a log's key (Ed25519, type 1)"
	case WitnessKey:
		return "a witness's key (Ed25519 cosignature, type 4)"
	default:
		return fmt.Sprintf("a key of type %d, which is not supported", byte(k))
	}
}

// maxName bounds a key name, and so the origin of a log: file names are made of
// it.
const maxName = 72

// maxKeyFile bounds a key file.
const maxKeyFile = 16 << 10

// cosigTime is the length of the time before the signature itself.
const cosigTime = 8

// vkey is the public half in the form of C2SP signed-note.
func vkey(name string, kind Kind, public ed25519.PublicKey) string {
	key := append([]byte{byte(kind)}, public...)
	return fmt.Sprintf("%s+%08x+%s", name, keyHash(name, key), base64.StdEncoding.EncodeToString(key))
}

func public(secret ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(secret[ed25519.SeedSize:])
}

func keyHash(name string, key []byte) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	return binary.BigEndian.Uint32(sum[:])
}

// CreateKey makes a key pair: the secret half in the file path, for its owner
// alone, and the public half, which it returns, in path.pub. It replaces
// neither.
func CreateKey(path, name string, kind Kind) (string, error) {
	if kind != LogKey && kind != WitnessKey {
		return "", fmt.Errorf("make %s: %s %w", path, kind, ErrKey)
	}
	if err := checkName(name); err != nil {
		return "", fmt.Errorf("make %s: %w", path, err)
	}
	public, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make %s: %w", path, err)
	}
	v := vkey(name, kind, public)
	hash := strings.Split(v, "+")[1]
	seed := base64.StdEncoding.EncodeToString(append([]byte{byte(kind)}, secret.Seed()...))
	if err := writeNew(path, fmt.Sprintf("PRIVATE+KEY+%s+%s+%s\n", name, hash, seed), 0o600); err != nil {
		return "", err
	}
	return v, writeNew(path+".pub", v+"\n", 0o644)
}

// checkName accepts what the note format accepts, within a length that a file
// name can hold.
func checkName(name string) error {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) ||
		strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '+' }) {
		return fmt.Errorf("name %q %w: give up to %d characters without space and +, for example example.org/witness", name, ErrKey, maxName)
	}
	return nil
}

// writeNew writes a file that must not be there yet, durably.
func writeNew(path, text string, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode) //nolint:gosec // the operator names the file
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s %w", path, ErrExists)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// ReadSecret reads the one line of a secret key file, which nobody but its owner
// may read (GW-18).
func ReadSecret(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("read key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("key file %s: %w: run chmod 600 on it", path, ErrPrivate)
	}
	return readLine(path)
}

// readLine reads a file of one line.
func readLine(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("read key: %w", err)
	}
	if info.Size() > maxKeyFile {
		return "", fmt.Errorf("key file %s %w: it is larger than %d bytes", path, ErrKey, maxKeyFile)
	}
	b, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return "", fmt.Errorf("read key: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// ReadLogSigner reads a log's secret key, as CreateKey or note.GenerateKey made
// it.
func ReadLogSigner(path string) (note.Signer, error) {
	line, err := ReadSecret(path)
	if err != nil {
		return nil, err
	}
	s, err := note.NewSigner(line)
	if err != nil {
		return nil, fmt.Errorf("key file %s %w: a line that begins with PRIVATE+KEY+ and holds %s is needed", path, ErrKey, LogKey)
	}
	return s, nil
}

// ReadVerifier reads the public key file of a log or a witness: one line
// NAME+HASH+KEY. The key must be of the kind.
func ReadVerifier(path string, kind Kind) (Verifier, error) {
	line, err := readLine(path)
	if err != nil {
		return Verifier{}, err
	}
	v, err := NewVerifier(line, kind)
	if err != nil {
		return Verifier{}, fmt.Errorf("key file %s: %w", path, err)
	}
	return v, nil
}

// Verifier is the public key of a log or a witness. It is a note.Verifier.
type Verifier struct {
	name string
	kind Kind
	key  ed25519.PublicKey
	hash uint32
}

var _ note.Verifier = Verifier{}

// NewVerifier reads a verifier key of the kind.
func NewVerifier(text string, kind Kind) (Verifier, error) {
	name, rest, _ := strings.Cut(text, "+")
	hash16, key64, _ := strings.Cut(rest, "+")
	hash, err := strconv.ParseUint(hash16, 16, 32)
	key, keyErr := base64.StdEncoding.DecodeString(key64)
	if err != nil || keyErr != nil || len(hash16) != 8 || len(key) == 0 {
		return Verifier{}, fmt.Errorf("text %w: give one line NAME+HASH+KEY, as in a file that ends in .pub", ErrKey)
	}
	if err := checkName(name); err != nil {
		return Verifier{}, err
	}
	if uint64(keyHash(name, key)) != hash {
		return Verifier{}, fmt.Errorf("key of %s %w: its hash does not fit name and key, a character was changed", name, ErrKey)
	}
	if got := Kind(key[0]); got != kind {
		return Verifier{}, fmt.Errorf("key of %s %w: it is %s, and %s is needed", name, ErrKey, got, kind)
	}
	if len(key) != 1+ed25519.PublicKeySize {
		return Verifier{}, fmt.Errorf("key of %s %w: it has %d bytes", name, ErrKey, len(key)-1)
	}
	return Verifier{name: name, kind: kind, key: key[1:], hash: uint32(hash)}, nil
}

// Name is the name of the key; for a log, its origin.
func (v Verifier) Name() string { return v.name }

// KeyHash is the id of the key.
func (v Verifier) KeyHash() uint32 { return v.hash }

// String is the key as its file holds it.
func (v Verifier) String() string { return vkey(v.name, v.kind, v.key) }

// Verify reports whether sig is a signature of the note text msg.
func (v Verifier) Verify(msg, sig []byte) bool {
	switch v.kind {
	case LogKey:
		return ed25519.Verify(v.key, msg, sig)
	case WitnessKey:
		if len(sig) != cosigTime+ed25519.SignatureSize {
			return false
		}
		at := binary.BigEndian.Uint64(sig)
		if at > math.MaxInt64 {
			return false
		}
		if _, err := ParseCheckpoint(string(msg)); err != nil {
			return false
		}
		return ed25519.Verify(v.key, cosigned(at, msg), sig[cosigTime:])
	default:
		return false
	}
}

// cosigned is the message of an Ed25519 cosignature.
func cosigned(at uint64, text []byte) []byte {
	return append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", at), text...)
}

// CosignedAt is the time that a verified cosignature states.
func CosignedAt(sig note.Signature) (time.Time, error) {
	b, err := base64.StdEncoding.DecodeString(sig.Base64)
	if err != nil || len(b) != 4+cosigTime+ed25519.SignatureSize {
		return time.Time{}, fmt.Errorf("signature of %s is no cosignature", sig.Name)
	}
	at := binary.BigEndian.Uint64(b[4:])
	if at > math.MaxInt64 {
		return time.Time{}, fmt.Errorf("signature of %s is of no time", sig.Name)
	}
	return time.Unix(int64(at), 0).UTC(), nil
}

// cosigner signs checkpoints as a witness. The time of a signature is given by
// whoever asks, so that it never goes back for one log.
type cosigner struct {
	secret ed25519.PrivateKey
	v      Verifier
}

// readCosigner reads a witness's secret key.
func readCosigner(path string) (cosigner, error) {
	line, err := ReadSecret(path)
	if err != nil {
		return cosigner{}, err
	}
	bad := fmt.Errorf("key file %s %w: a line that begins with PRIVATE+KEY+ and holds %s is needed", path, ErrKey, WitnessKey)
	fields := strings.SplitN(line, "+", 5)
	if len(fields) != 5 || fields[0] != "PRIVATE" || fields[1] != "KEY" {
		return cosigner{}, bad
	}
	seed, err := base64.StdEncoding.DecodeString(fields[4])
	if err != nil || len(seed) != 1+ed25519.SeedSize || Kind(seed[0]) != WitnessKey {
		return cosigner{}, bad
	}
	secret := ed25519.NewKeyFromSeed(seed[1:])
	v, err := NewVerifier(vkey(fields[2], WitnessKey, public(secret)), WitnessKey)
	if err != nil {
		return cosigner{}, fmt.Errorf("key file %s: %w", path, err)
	}
	if fmt.Sprintf("%08x", v.hash) != fields[3] {
		return cosigner{}, fmt.Errorf("key file %s %w: its hash does not fit name and key, a character was changed", path, ErrKey)
	}
	return cosigner{secret: secret, v: v}, nil
}

// at returns a note.Signer whose signatures state the time.
func (c cosigner) at(seconds uint64) note.Signer { return timedSigner{c, seconds} }

type timedSigner struct {
	cosigner
	seconds uint64
}

func (s timedSigner) Name() string    { return s.v.name }
func (s timedSigner) KeyHash() uint32 { return s.v.hash }

func (s timedSigner) Sign(msg []byte) ([]byte, error) {
	sig := binary.BigEndian.AppendUint64(nil, s.seconds)
	return append(sig, ed25519.Sign(s.secret, cosigned(s.seconds, msg))...), nil
}
