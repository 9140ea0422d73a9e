package merkle

import (
	"crypto/rand"
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

// ParseVerifier reads the text of a public key file.
func ParseVerifier(text []byte) (note.Verifier, error) {
	v, err := note.NewVerifier(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("read public checkpoint key: %w", err)
	}
	return v, nil
}
