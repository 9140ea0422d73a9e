package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

const (
	// keysAtMostEvery keeps tokens with made-up key ids from making the gateway
	// ask the provider again and again.
	keysAtMostEvery = 10 * time.Second
	// keysGoodFor is how long a key that the provider withdrew may still count.
	keysGoodFor = 15 * time.Minute
)

var errSignature = errors.New("no key of the provider made this signature")

// keySet holds the provider's public keys. It differs from go-oidc's own in
// asking for new keys at a bounded rate and in telling "no such key" from "the
// provider does not answer".
type keySet struct {
	url        string
	algorithms []jose.SignatureAlgorithm
	client     *http.Client
	now        func() time.Time

	mu      sync.Mutex // guards what follows; held while asking, so that one asks for all
	keys    []jose.JSONWebKey
	fetched time.Time
	tried   time.Time
	lastErr error
}

var _ oidc.KeySet = (*keySet)(nil)

func newKeySet(url string, algorithms []string, client *http.Client, now func() time.Time) *keySet {
	k := &keySet{url: url, client: client, now: now}
	for _, a := range algorithms {
		k.algorithms = append(k.algorithms, jose.SignatureAlgorithm(a))
	}
	return k
}

type keysFailedKey struct{}

// watchKeys returns a context through which VerifySignature tells whether the
// keys could be had at all: go-oidc keeps only the text of its error.
func watchKeys(ctx context.Context) (context.Context, *error) {
	var failed error
	return context.WithValue(ctx, keysFailedKey{}, &failed), &failed
}

// VerifySignature implements oidc.KeySet.
func (k *keySet) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	token, err := jose.ParseSignedCompact(raw, k.algorithms)
	if err != nil {
		return nil, fmt.Errorf("parse token: %w", err)
	}
	if len(token.Signatures) != 1 {
		return nil, errSignature
	}
	keys, err := k.current(ctx, false)
	if payload, ok := verifyWith(keys, token); ok {
		return payload, nil
	}
	if err == nil {
		keys, err = k.current(ctx, true)
		if payload, ok := verifyWith(keys, token); ok {
			return payload, nil
		}
	}
	if err != nil {
		if failed, ok := ctx.Value(keysFailedKey{}).(*error); ok {
			*failed = err
		}
		return nil, err
	}
	return nil, errSignature
}

// verifyWith tries the keys that the token may have been signed with.
func verifyWith(keys []jose.JSONWebKey, token *jose.JSONWebSignature) ([]byte, bool) {
	head := token.Signatures[0].Header
	for i := range keys {
		key := &keys[i]
		if head.KeyID != "" && key.KeyID != head.KeyID {
			continue
		}
		if key.Algorithm != "" && key.Algorithm != head.Algorithm {
			continue
		}
		if payload, err := token.Verify(key); err == nil {
			return payload, true
		}
	}
	return nil, false
}

// current returns the keys, asking the provider when they are old or, for
// anew, when it was not asked just now. Keys held already outlive a provider
// that does not answer.
func (k *keySet) current(ctx context.Context, anew bool) ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	due := anew || k.fetched.IsZero() || now.Sub(k.fetched) >= keysGoodFor
	if !due || (!k.tried.IsZero() && now.Sub(k.tried) < keysAtMostEvery) {
		return k.keys, k.missing()
	}
	k.tried = now
	keys, err := k.fetch(ctx)
	k.lastErr = err
	if err == nil {
		k.keys, k.fetched = keys, now
	}
	return k.keys, k.missing()
}

// missing is the reason why there are no keys at all. The caller holds mu.
func (k *keySet) missing() error {
	if len(k.keys) > 0 {
		return nil
	}
	return k.lastErr
}

func (k *keySet) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), providerTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	res, err := k.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("keys: provider answers %d", res.StatusCode)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return parseKeys(body)
}

// parseKeys leaves out keys it does not understand, as RFC 7517 §5 asks, and
// those that are not for signatures.
func parseKeys(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) != nil || !key.IsPublic() || (key.Use != "" && key.Use != "sig") {
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("keys: the provider has none for signatures")
	}
	return keys, nil
}
