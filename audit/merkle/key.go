package merkle

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// GenerateKey makes the key that signs the checkpoints of origin: the secret in
// keyFile, for its owner alone, and what others check signatures with in
// publicFile. Neither file may exist.
func GenerateKey(origin, keyFile, publicFile string) error {
	secret, public, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return fmt.Errorf("make checkpoint key: %w", err)
	}
	if err := create(keyFile, secret, 0o600); err != nil {
		return fmt.Errorf("make checkpoint key: %w", err)
	}
	if err := create(publicFile, public, 0o644); err != nil {
		return fmt.Errorf("make checkpoint key: %w", err)
	}
	return nil
}

func create(path, text string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode) //nolint:gosec // the caller's folder
	if err != nil {
		return err
	}
	_, err = f.WriteString(text + "\n")
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

// ParseSigner reads the text of a secret key file.
func ParseSigner(text []byte) (note.Signer, error) {
	s, err := note.NewSigner(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("read checkpoint key: %w", err) // names no part of the key
	}
	return s, nil
}

// PublicKey is the text of the public key file that belongs to a secret one.
func PublicKey(secret []byte) (string, error) {
	signer, err := ParseSigner(secret)
	if err != nil {
		return "", err
	}
	parts := strings.SplitN(strings.TrimSpace(string(secret)), "+", 5) // PRIVATE+KEY+name+hash+key, as ParseSigner has checked
	key, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(key) != 1+ed25519.SeedSize {
		return "", errors.New("read checkpoint key: it is no Ed25519 key")
	}
	public := ed25519.NewKeyFromSeed(key[1:]).Public().(ed25519.PublicKey) // as documented
	return note.NewEd25519VerifierKey(signer.Name(), public)
}

// ParseVerifier reads the text of a public key file.
func ParseVerifier(text []byte) (note.Verifier, error) {
	v, err := note.NewVerifier(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("read public checkpoint key: %w", err)
	}
	return v, nil
}
