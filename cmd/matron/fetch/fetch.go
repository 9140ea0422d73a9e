// Package fetch gets signed bundles of rules from a server and keeps the last good
// one on disk, so that a start does not need the server.
//
// A bundle counts when its signature holds and it is not older than the one before:
// whoever can answer in the server's place cannot bring rules of their own, nor bring
// back old ones. It never puts rules in force. A Fetcher is for one goroutine.
package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/matron-epr/matron/policy/rego"
)

// The sentinels that callers branch on.
var (
	// ErrUnreachable says that the server gave no bundle: what is in force stays.
	ErrUnreachable = errors.New("the server of rules does not answer")
	// ErrOlder says that a bundle is older than the last good one, or is another
	// with the same revision.
	ErrOlder = errors.New("the bundle is older than the last one")
)

// maxBundle bounds a bundle as it is sent, in bytes.
const maxBundle = 32 << 20

// Config is what a Fetcher needs. All fields are required.
type Config struct {
	URL    string
	Client *http.Client // with a bound on the time
	// Signing is read for each bundle, so that keys may be exchanged.
	Signing func() (rego.Signing, error)
	Cache   string // file of the last good bundle
}

// Fetcher gets bundles.
type Fetcher struct {
	cfg  Config
	etag string // of the last good bundle
}

// New makes a Fetcher.
func New(cfg Config) *Fetcher { return &Fetcher{cfg: cfg} }

// Bundle is one whose signature holds.
type Bundle struct {
	*rego.Signed
	text []byte
	etag string
}

// Cached returns the last good bundle, whose signature must still hold. Its error is
// fs.ErrNotExist when there was none.
func (f *Fetcher) Cached() (*Bundle, error) {
	text, err := os.ReadFile(f.cfg.Cache)
	if err != nil {
		return nil, err
	}
	return f.open(text)
}

func (f *Fetcher) open(text []byte) (*Bundle, error) {
	signing, err := f.cfg.Signing()
	if err != nil {
		return nil, err
	}
	signed, err := rego.OpenSigned(text, signing)
	if err != nil {
		return nil, err
	}
	return &Bundle{Signed: signed, text: text}, nil
}

// Fetch asks the server for a bundle other than the last good one, and returns nil
// when there is none.
func (f *Fetcher) Fetch(ctx context.Context) (*Bundle, error) {
	text, etag, err := f.get(ctx)
	if err != nil || text == nil {
		return nil, err
	}
	b, err := f.open(text)
	if err != nil {
		return nil, err
	}
	b.etag = etag
	last, err := os.ReadFile(f.cfg.Cache)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("last good bundle: %w", err)
	}
	if bytes.Equal(last, text) {
		f.etag = etag
		return nil, nil
	}
	before, err := f.revision(last)
	switch {
	case err != nil:
		return nil, err
	case b.Older(before):
		return nil, fmt.Errorf("%w: revision %s after %s", ErrOlder, b.Revision, before)
	case b.Revision == before:
		return nil, fmt.Errorf("%w: it is another one with the revision %s", ErrOlder, b.Revision)
	}
	return b, nil
}

// revision is that of the last good bundle, which stands also when its key does not
// count any more.
func (f *Fetcher) revision(last []byte) (string, error) {
	revision, err := rego.ManifestRevision(last)
	if err != nil {
		return "", fmt.Errorf("last good bundle in %s: %w", f.cfg.Cache, err)
	}
	return revision, nil
}

// get returns nil text when nothing has changed.
func (f *Fetcher) get(ctx context.Context) (text []byte, etag string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.cfg.URL, nil)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if f.etag != "" {
		r.Header.Set("If-None-Match", f.etag)
	}
	res, err := f.cfg.Client.Do(r)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer func() { _ = res.Body.Close() }()
	switch res.StatusCode {
	case http.StatusNotModified:
		return nil, "", nil
	case http.StatusOK:
	default:
		return nil, "", fmt.Errorf("%w: it answers %s", ErrUnreachable, res.Status)
	}
	if text, err = io.ReadAll(io.LimitReader(res.Body, maxBundle+1)); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if len(text) > maxBundle {
		return nil, "", fmt.Errorf("the bundle is larger than %d MiB", maxBundle>>20)
	}
	return text, res.Header.Get("ETag"), nil
}

// Good keeps b as the last good bundle, durably.
func (f *Fetcher) Good(b *Bundle) error {
	partial := f.cfg.Cache + ".new"
	if err := os.MkdirAll(filepath.Dir(partial), 0o700); err != nil {
		return fmt.Errorf("keep bundle: %w", err)
	}
	out, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // below the data folder
	if err != nil {
		return fmt.Errorf("keep bundle: %w", err)
	}
	_, err = out.Write(b.text)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(partial, f.cfg.Cache)
	}
	if err != nil {
		return fmt.Errorf("keep bundle: %w", err)
	}
	f.etag = b.etag
	return nil
}

// Timeout bounds one answer of the server.
const Timeout = 30 * time.Second
