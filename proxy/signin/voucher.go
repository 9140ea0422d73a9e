package signin

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// voucherLife is how long a voucher is good for. Applications that forward
// slowly still get it in time; a stolen one is soon worthless (GW-18).
const voucherLife = 60 * time.Second

// VoucherConfig is what a Voucher is made of.
type VoucherConfig struct {
	Key      *ecdsa.PrivateKey  // P-256
	Previous []*ecdsa.PublicKey // still published, no longer used
	Issuer   string             // the gateway
	Audience string             // the application
	Now      func() time.Time
}

// Voucher signs the token that tells one application who is asking.
type Voucher struct {
	issuer   string
	audience string
	now      func() time.Time
	key      *ecdsa.PrivateKey
	header   string // of every token, encoded
	keys     []byte // JSON Web Key Set
	reads    *readTokens
}

var _ proxy.Voucher = (*Voucher)(nil)

// NewVoucher makes a Voucher.
func NewVoucher(cfg VoucherConfig) (*Voucher, error) {
	if cfg.Key == nil || cfg.Key.Curve != elliptic.P256() {
		return nil, errors.New("voucher: a P-256 key is required")
	}
	if cfg.Issuer == "" || cfg.Now == nil {
		return nil, errors.New("voucher: issuer and clock are required")
	}
	set, err := publish(append([]*ecdsa.PublicKey{&cfg.Key.PublicKey}, cfg.Previous...))
	if err != nil {
		return nil, err
	}
	keys, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("voucher: key set: %w", err)
	}
	header, err := json.Marshal(jwsHeader{Algorithm: string(jose.ES256), KeyID: set.Keys[0].KeyID, Type: "JWT"})
	if err != nil {
		return nil, fmt.Errorf("voucher: header: %w", err)
	}
	return &Voucher{
		issuer: cfg.Issuer, audience: cfg.Audience, now: cfg.Now, key: cfg.Key,
		header: base64.RawURLEncoding.EncodeToString(header), keys: keys, reads: &readTokens{},
	}, nil
}

// jwsHeader is the protected header of a token (RFC 7515).
type jwsHeader struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// publish names each key by its thumbprint (RFC 7638).
func publish(keys []*ecdsa.PublicKey) (jose.JSONWebKeySet, error) {
	var set jose.JSONWebKeySet
	for _, key := range keys {
		k := jose.JSONWebKey{Key: key, Algorithm: string(jose.ES256), Use: "sig"}
		thumb, err := k.Thumbprint(crypto.SHA256)
		if err != nil {
			return jose.JSONWebKeySet{}, fmt.Errorf("voucher: name key: %w", err)
		}
		k.KeyID = base64.RawURLEncoding.EncodeToString(thumb)
		set.Keys = append(set.Keys, k)
	}
	return set, nil
}

// For returns a Voucher for another application that signs with the same key.
func (v *Voucher) For(audience string) *Voucher {
	other := *v
	other.audience = audience
	return &other
}

// voucherClaims is what a voucher says. ID and Binding tie it to one exchange; one
// for reads has neither.
type voucherClaims struct {
	Issuer       string   `json:"iss"`
	Audience     string   `json:"aud"`
	Subject      string   `json:"sub"`
	IssuedAt     int64    `json:"iat"`
	NotBefore    int64    `json:"nbf"`
	Expires      int64    `json:"exp"`
	ID           string   `json:"jti,omitempty"`
	Method       string   `json:"htm"`
	Binding      string   `json:"hth,omitempty"`
	Name         string   `json:"name,omitempty"`
	Person       string   `json:"person,omitempty"`
	Origin       string   `json:"origin_iss,omitempty"`
	Roles        []string `json:"roles,omitempty"`
	Activities   []string `json:"activities,omitempty"`
	Organisation string   `json:"org,omitempty"`
	RoleID       string   `json:"role_id,omitempty"`
	Assurance    int      `json:"assurance,omitempty"`
	Machine      bool     `json:"machine,omitempty"`
}

// Vouch implements proxy.Voucher. A subject that names nobody gets none. r is
// the request as the application will see it.
func (v *Voucher) Vouch(who policy.Subject, requestID string, r *http.Request) (string, error) {
	if requestID == "" {
		return "", errors.New("vouch: a request id is required")
	}
	c := v.claims(who, r.Method)
	c.ID, c.Binding = requestID, Binding(r.Method, r.URL.RequestURI())
	return v.issue(c)
}

// claims is what every voucher for who says.
func (v *Voucher) claims(who policy.Subject, method string) voucherClaims {
	now := v.now()
	c := voucherClaims{
		Issuer: v.issuer, Audience: v.audience,
		IssuedAt: now.Unix(), NotBefore: now.Unix(), Expires: now.Add(voucherLife).Unix(), Method: method,
		Name: who.Name, Person: who.Person, Origin: who.Issuer, Roles: who.Roles, Activities: who.Activities,
		Organisation: who.Organisation, RoleID: who.RoleID, Assurance: who.Assurance, Machine: who.Machine,
	}
	if who.Known() {
		c.Subject = who.Sub
	}
	return c
}

// issue signs what c says, unless it names nobody or no application.
func (v *Voucher) issue(c voucherClaims) (string, error) {
	if c.Subject == "" || c.Audience == "" {
		return "", errors.New("vouch: subject and application are required")
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("vouch: %w", err)
	}
	token, err := v.sign(payload)
	if err != nil {
		return "", fmt.Errorf("vouch: %w", err)
	}
	return token, nil
}

// sign makes the compact serialisation of a JSON Web Signature (RFC 7515
// section 7.1) with ES256 (RFC 7518 section 3.4). It is made here, since a general
// library spends more on the form than on the signature; the tests read it with one.
func (v *Voucher) sign(payload []byte) (string, error) {
	const signatureSize = 64 // r and s, 32 bytes each
	encoding := base64.RawURLEncoding
	token := make([]byte, 0, len(v.header)+encoding.EncodedLen(len(payload))+encoding.EncodedLen(signatureSize)+2)
	token = append(append(token, v.header...), '.')
	token = encoding.AppendEncode(token, payload)
	digest := sha256.Sum256(token)
	// Without a source of random bytes the nonce comes from key and digest
	// (RFC 6979), which is a fifth quicker and needs no luck.
	der, err := v.key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return "", err
	}
	var pair struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &pair); err != nil {
		return "", err
	}
	var signature [signatureSize]byte
	pair.R.FillBytes(signature[:signatureSize/2])
	pair.S.FillBytes(signature[signatureSize/2:])
	return string(encoding.AppendEncode(append(token, '.'), signature[:])), nil
}

// Binding is the hth claim: base64url of SHA-256 over the method, a line feed,
// and path and query as sent. An application that compares it knows that the
// voucher was made for this very request.
func Binding(method, requestURI string) string {
	sum := sha256.Sum256([]byte(method + "\n" + requestURI))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Keys serves the public keys as a JSON Web Key Set, for /.matron/keys.
func (v *Voucher) Keys() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Header().Set("Cache-Control", "max-age=300")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(v.keys) // the client went away: nothing is left to do
	})
}

const keyBlock = "PRIVATE KEY"

// GenerateKey writes a new P-256 key to a new file that only its owner may
// read. A file that is there already is left alone and is an error.
func GenerateKey(path string) (err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("generate key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("generate key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the path is the operator's
	if err != nil {
		return fmt.Errorf("generate key: %w", err)
	}
	err = pem.Encode(f, &pem.Block{Type: keyBlock, Bytes: der})
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write key %s: %w", path, err)
	}
	return nil
}

// LoadKey reads a key that GenerateKey wrote. A file that others may read is
// refused (GW-18).
func LoadKey(path string) (*ecdsa.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("load key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("load key %s: others may read it (mode %04o): chmod 600", path, info.Mode().Perm())
	}
	raw, err := os.ReadFile(path) //nolint:gosec // the path is the operator's
	if err != nil {
		return nil, fmt.Errorf("load key: %w", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != keyBlock {
		return nil, fmt.Errorf("load key %s: no PEM block %q", path, keyBlock)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("load key %s: %w", path, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("load key %s: not a P-256 key", path)
	}
	return key, nil
}
