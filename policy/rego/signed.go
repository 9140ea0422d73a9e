package rego

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
)

// ErrUnsigned says that a bundle does not have a signature that counts, or was
// changed after it was signed.
var ErrUnsigned = errors.New("the signature of the bundle does not hold")

// maxUnpacked bounds all files of a signed bundle together, in bytes.
const maxUnpacked = 64 << 20

// Signing says which signatures count.
type Signing struct {
	Keys      []string // public keys, PEM; one of them must have signed
	Algorithm string   // a signature algorithm of JWS (RFC 7518), such as RS256
	Scope     string   // that the signature must name, "" for none
}

// PublicKeys takes the public keys out of a PEM file.
func PublicKeys(text []byte) ([]string, error) {
	var keys []string
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("%q is no public key: export it with \"openssl pkey -pubout\"", block.Type)
		}
		if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
			return nil, fmt.Errorf("public key %d: %w", len(keys)+1, err)
		}
		keys = append(keys, string(pem.EncodeToMemory(block)))
	}
	if len(keys) == 0 {
		return nil, errors.New("no public key in PEM form is in it")
	}
	return keys, nil
}

// Signed is a bundle in the form of OPA (a tar.gz with .manifest and
// .signatures.json) whose signature holds. It is not compiled yet.
type Signed struct {
	Revision string // of .manifest: a whole number, or a time as in RFC 3339
	files    map[string][]byte
}

// OpenSigned reads a bundle that a server offers. OPA's own code checks the signature
// over every file; ErrUnsigned says that it does not hold.
func OpenSigned(text []byte, s Signing) (*Signed, error) {
	files, err := unpack(text)
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	wrong := errors.New("no key is configured")
	for _, key := range s.Keys {
		if wrong = verify(text, key, s); wrong == nil {
			break
		}
	}
	if wrong != nil {
		if _, ok := errors.AsType[ast.Errors](wrong); ok { // of rules that are signed
			return nil, problemsOf(".", wrong).err()
		}
		return nil, fmt.Errorf("%w: %w", ErrUnsigned, wrong)
	}
	signed := &Signed{files: files}
	if signed.Revision, err = manifestRevision(files[".manifest"]); err != nil {
		return nil, err
	}
	return signed, nil
}

func verify(text []byte, key string, s Signing) error {
	keys := map[string]*bundle.KeyConfig{"key": {Key: key, Algorithm: s.Algorithm}}
	_, err := bundle.NewCustomReader(bundle.NewTarballLoader(bytes.NewReader(text))).
		WithBundleVerificationConfig(bundle.NewVerificationConfig(keys, "key", s.Scope, nil)).
		WithSizeLimitBytes(maxFileBytes).
		WithRegoVersion(ast.RegoV1).
		WithLazyLoadingMode(true).
		Read()
	return err
}

// unpack reads every file, bounded before anything is believed.
func unpack(text []byte) (map[string][]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, errors.New("it is no tar.gz")
	}
	files := map[string][]byte{}
	left := int64(maxUnpacked)
	for archive := tar.NewReader(io.LimitReader(z, 2*maxUnpacked)); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("it is damaged or larger than %d MiB: %w", maxUnpacked>>20, err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		content, err := io.ReadAll(io.LimitReader(archive, left+1))
		left -= int64(len(content))
		_, twice := files[name]
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", name, err)
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("%s is not a plain file", name)
		case twice:
			return nil, fmt.Errorf("%s is in it twice", name)
		case left < 0 || len(content) > maxFileBytes || len(files) >= maxFiles:
			return nil, fmt.Errorf("it holds more than %d files, one of more than 8 MiB, or more than %d MiB in all", maxFiles, maxUnpacked>>20)
		case path.Dir(name) != "." && (path.Base(name) == "data.json" || path.Base(name) == "data.yaml"):
			return nil, fmt.Errorf("%s: tables stand at the top, since OPA names those below by their folder", name)
		}
		files[name] = content
	}
}

// manifestRevision reads the revision, which must have an order.
func manifestRevision(manifest []byte) (string, error) {
	var m struct {
		Revision string `json:"revision"`
	}
	if err := json.Unmarshal(manifest, &m); err != nil {
		return "", errors.New("the bundle has no .manifest with a revision")
	}
	if _, err := order(m.Revision); err != nil {
		return "", err
	}
	return m.Revision, nil
}

// ManifestRevision is the revision of a bundle whose signature was checked when it
// came.
func ManifestRevision(text []byte) (string, error) {
	files, err := unpack(text)
	if err != nil {
		return "", err
	}
	return manifestRevision(files[".manifest"])
}

// order is the place of a revision: a whole number, or a time in seconds.
func order(revision string) (place struct{ number, at uint64 }, err error) {
	if place.number, err = strconv.ParseUint(revision, 10, 63); err == nil {
		return place, nil
	}
	at, err := time.Parse(time.RFC3339, revision)
	if err != nil || at.Unix() < 0 {
		return place, fmt.Errorf("revision %q of .manifest is neither a whole number nor a time as 2026-11-26T12:00:00Z, so that nobody can tell which is newer", revision)
	}
	place.at = uint64(at.Unix()) //nolint:gosec // not negative
	return place, nil
}

// Older reports whether s is older than the bundle with another revision; one that
// counts otherwise, by number and not by time, cannot be compared and is.
func (s *Signed) Older(revision string) bool {
	mine, err := order(s.Revision)
	other, otherErr := order(revision)
	if err != nil || otherErr != nil || (mine.at == 0) != (other.at == 0) {
		return true
	}
	return mine.number < other.number || mine.at < other.at
}

// Extract writes the files of the bundle that count into a folder.
func (s *Signed) Extract(dir string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack bundle: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for name, text := range s.files {
		if err := writeFile(root, name, text); err != nil {
			return fmt.Errorf("unpack bundle: %w", err)
		}
	}
	return nil
}
