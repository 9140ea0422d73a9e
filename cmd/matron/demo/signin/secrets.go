package signin

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// secrets is everything durable about the provider.
type secrets struct {
	Key             string `json:"key"` // PKCS #8, PEM
	Crypto          []byte `json:"crypto"`
	ClientSecret    string `json:"client_secret"`
	APIClientSecret string `json:"api_client_secret"`

	signing   *rsa.PrivateKey
	cryptoKey [32]byte
}

// openSecrets reads the secrets of dir, or makes them.
func openSecrets(dir string) (secrets, error) {
	path := filepath.Join(dir, "signin.json")
	data, err := os.ReadFile(path) //nolint:gosec // the path is the demonstration's own folder
	if errors.Is(err, fs.ErrNotExist) {
		return makeSecrets(path)
	}
	if err != nil {
		return secrets{}, fmt.Errorf("read sign-in keys: %w", err)
	}
	var s secrets
	if err := json.Unmarshal(data, &s); err != nil {
		return secrets{}, fmt.Errorf("read %s: %w", path, err)
	}
	if err := s.parse(); err != nil {
		return secrets{}, fmt.Errorf("read %s: %w", path, err)
	}
	return s, nil
}

var errSecrets = errors.New("sign-in keys are damaged")

func (s *secrets) parse() error {
	block, _ := pem.Decode([]byte(s.Key))
	if block == nil || len(s.Crypto) != len(s.cryptoKey) || s.ClientSecret == "" || s.APIClientSecret == "" {
		return errSecrets
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("parse signing key: %w", err)
	}
	signing, ok := key.(*rsa.PrivateKey)
	if !ok {
		return errSecrets
	}
	s.signing = signing
	copy(s.cryptoKey[:], s.Crypto)
	return nil
}

func makeSecrets(path string) (secrets, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return secrets{}, fmt.Errorf("make signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return secrets{}, fmt.Errorf("encode signing key: %w", err)
	}
	s := secrets{
		Key:          string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		Crypto:       make([]byte, 32),
		ClientSecret: rand.Text(), APIClientSecret: rand.Text(),
	}
	if _, err := rand.Read(s.Crypto); err != nil {
		return secrets{}, fmt.Errorf("make encryption key: %w", err)
	}
	data, err := json.Marshal(s) //nolint:gosec // the file is where they are kept, mode 0600
	if err != nil {
		return secrets{}, fmt.Errorf("encode sign-in keys: %w", err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return secrets{}, fmt.Errorf("write sign-in keys: %w", err)
	}
	return s, s.parse()
}
