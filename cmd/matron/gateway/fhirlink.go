package gateway

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/export/auditevent"
)

// pageParameter holds a sealed searchPlace in the links between pages.
const pageParameter = "_page"

// errLink says that a link between pages was not made by this gateway.
var errLink = errors.New("link to a page not understood")

// searchPlace is where in the results of a search a page begins.
type searchPlace struct {
	Search auditevent.Search
	Before audit.Place
}

// linkSealer keeps patients out of the links between pages: what they hold is
// encrypted and authenticated.
type linkSealer struct{ aead cipher.AEAD }

// newLinkSealer derives a key of its own from the secret.
func newLinkSealer(secret []byte, site string) (linkSealer, error) {
	key, err := hkdf.Key(sha256.New, secret, []byte(site), "matron fhir page v1", 32)
	if err != nil {
		return linkSealer{}, fmt.Errorf("derive key of links: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return linkSealer{}, fmt.Errorf("seal links: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return linkSealer{}, fmt.Errorf("seal links: %w", err)
	}
	return linkSealer{aead}, nil
}

func (s linkSealer) seal(p searchPlace) string {
	plain, _ := json.Marshal(p)                 // strings, numbers and times within the years of FHIR: never fails
	sealed := s.aead.Seal(nil, nil, plain, nil) //nolint:gosec // this AEAD draws its nonce by itself
	return base64.RawURLEncoding.EncodeToString(sealed)
}

// open reads a link; its error is errLink whatever is wrong with it.
func (s linkSealer) open(sealed string) (searchPlace, error) {
	body, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return searchPlace{}, errLink
	}
	plain, err := s.aead.Open(nil, nil, body, nil)
	if err != nil {
		return searchPlace{}, errLink
	}
	var p searchPlace
	if err := json.Unmarshal(plain, &p); err != nil || p.Search.Count < 1 {
		return searchPlace{}, errLink
	}
	return p, nil
}
