// Package regotest makes signed bundles with OPA's own signer, for tests.
package regotest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/util"
)

// Key is a key pair in PEM form.
type Key struct{ Private, Public string }

// NewKey makes an RSA key.
func NewKey(t *testing.T) Key {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return Key{
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
	}
}

// Files reads what a bundle is made of.
func Files(t *testing.T, fsys fs.FS) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(fsys, name)
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Sign makes a bundle of files with a revision, signed for a scope ("" for none) by key.
func Sign(t *testing.T, files map[string]string, revision, scope string, key Key) []byte {
	t.Helper()
	all := maps.Clone(files)
	all[".manifest"] = `{"revision": "` + revision + `"}`
	hasher, err := bundle.NewSignatureHasher(bundle.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var signed []bundle.FileInfo
	for _, name := range slices.Sorted(maps.Keys(all)) {
		var value any = []byte(all[name])
		if bundle.IsStructuredDoc(name) {
			if err := util.Unmarshal([]byte(all[name]), &value); err != nil {
				t.Fatal(err)
			}
		}
		sum, err := hasher.HashFile(value)
		if err != nil {
			t.Fatal(err)
		}
		signed = append(signed, bundle.NewFile(name, hex.EncodeToString(sum), "SHA-256"))
	}
	claims := filepath.Join(t.TempDir(), "claims.json")
	if err := os.WriteFile(claims, []byte(`{"scope": "`+scope+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	token, err := bundle.GenerateSignedToken(signed, bundle.NewSigningConfig(key.Private, "RS256", claims), "")
	if err != nil {
		t.Fatal(err)
	}
	signatures, err := json.Marshal(map[string][]string{"signatures": {token}})
	if err != nil {
		t.Fatal(err)
	}
	all[".signatures.json"] = string(signatures)
	return Pack(t, all)
}

// Pack makes a tar.gz of files as they are.
func Pack(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.NoCompression) // for what is large costs a test seconds
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(files[name])), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
