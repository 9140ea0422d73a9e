package signin

import (
	"crypto/ecdsa"
	"errors"
	"net/http"
	"time"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

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
	cfg VoucherConfig
}

var _ proxy.Voucher = (*Voucher)(nil)

// NewVoucher makes a Voucher.
func NewVoucher(cfg VoucherConfig) (*Voucher, error) {
	return &Voucher{cfg: cfg}, nil
}

// For returns a Voucher for another application that signs with the same key.
func (v *Voucher) For(audience string) *Voucher {
	other := *v
	other.cfg.Audience = audience
	return &other
}

// Vouch implements proxy.Voucher.
func (v *Voucher) Vouch(_ policy.Subject, _ string, _ *http.Request) (string, error) {
	return "", errors.New("not made")
}

// Keys serves the public keys as a JSON Web Key Set, for /.matron/keys.
func (v *Voucher) Keys() http.Handler { return http.NotFoundHandler() }

// GenerateKey writes a new P-256 key to a new file that only its owner may read.
func GenerateKey(path string) error { return errors.New(path) }

// LoadKey reads a key that GenerateKey wrote. A file that others may read is
// refused.
func LoadKey(path string) (*ecdsa.PrivateKey, error) { return nil, errors.New(path) }
