package dashboards

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// errOpaque says that an id in an address was not made by this gateway.
var errOpaque = errors.New("unknown address")

// sealer turns identifiers into opaque ids and back. Equal identifiers give
// equal ids, so that a kept link goes on working; the ids are encrypted and
// authenticated, so that they tell nothing and none can be made up.
type sealer struct {
	aead  cipher.AEAD
	nonce []byte // key of the nonce
	site  string
}

// newSealer derives its keys from the secret, each for its own use.
func newSealer(secret []byte, site string) (*sealer, error) {
	seal, err := hkdf.Key(sha256.New, secret, nil, "matron dashboards seal v1", 32)
	if err != nil {
		return nil, fmt.Errorf("derive sealing key: %w", err)
	}
	nonce, err := hkdf.Key(sha256.New, secret, nil, "matron dashboards nonce v1", 32)
	if err != nil {
		return nil, fmt.Errorf("derive nonce key: %w", err)
	}
	block, err := aes.NewCipher(seal)
	if err != nil {
		return nil, fmt.Errorf("seal addresses: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("seal addresses: %w", err)
	}
	return &sealer{aead: aead, nonce: nonce, site: site}, nil
}

// seal makes the opaque id of plain. kind keeps ids of different things apart:
// the id of a patient opens no member of staff.
func (s *sealer) seal(kind, plain string) string {
	aad := s.bind(kind)
	nonce := s.nonceFor(aad, plain)
	sealed := s.aead.Seal(nonce, nonce, []byte(plain), aad)
	return base64.RawURLEncoding.EncodeToString(sealed)
}

// open reads an opaque id; its error is errOpaque whatever is wrong with it.
func (s *sealer) open(kind, id string) (string, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(sealed) < s.aead.NonceSize() {
		return "", errOpaque
	}
	nonce, body := sealed[:s.aead.NonceSize()], sealed[s.aead.NonceSize():]
	plain, err := s.aead.Open(nil, nonce, body, s.bind(kind))
	if err != nil {
		return "", errOpaque
	}
	return string(plain), nil
}

// nonceFor derives the nonce from what is sealed, so that one nonce never
// serves two identifiers.
func (s *sealer) nonceFor(aad []byte, plain string) []byte {
	mac := hmac.New(sha256.New, s.nonce)
	mac.Write(aad)
	mac.Write([]byte(plain))
	return mac.Sum(nil)[:s.aead.NonceSize()]
}

func (s *sealer) bind(kind string) []byte {
	return []byte(s.site + "\x00" + kind + "\x00")
}
