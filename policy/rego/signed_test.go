package rego_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matron-epr/matron/policy/rego"
	"github.com/matron-epr/matron/policy/rego/regotest"
)

// A bundle counts as OPA's own code says, with the key, algorithm and scope that are
// configured; what was altered, added or taken out after it was signed does not.
func TestSignedBundles(t *testing.T) {
	key, other := regotest.NewKey(t), regotest.NewKey(t)
	files := regotest.Files(t, rego.Default())
	good := regotest.Sign(t, files, "7", "hospital", key)
	signing := rego.Signing{Keys: []string{key.Public}, Algorithm: "RS256", Scope: "hospital"}
	signed, err := rego.OpenSigned(good, signing)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := signed.Extract(dir); err != nil {
		t.Fatal(err)
	}
	rules, err := rego.Load(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if is, err := rego.Revision(""); err != nil || rules.Revision() != is || signed.Revision != "7" {
		t.Errorf("%s of %s, want %s: %v", rules.Revision(), signed.Revision, is, err)
	}

	// repacked is the good bundle with its files changed, and the signature as it was.
	repacked := func(change func(map[string]string)) []byte {
		all := unpacked(t, good)
		change(all)
		return regotest.Pack(t, all)
	}
	one := func(of map[string]string, name, old, fresh string) {
		if !strings.Contains(of[name], old) {
			t.Fatalf("%s has no %q", name, old)
		}
		of[name] = strings.Replace(of[name], old, fresh, 1)
	}
	for name, c := range map[string]struct {
		text    []byte
		signing rego.Signing
	}{
		"a byte of a rule altered":     {repacked(func(f map[string]string) { one(f, "access.rego", "package", "package ") }), signing},
		"a byte of a table altered":    {repacked(func(f map[string]string) { one(f, "roles.yaml", "title: nurse", "title: nursE") }), signing},
		"a byte of a code altered":     {repacked(func(f map[string]string) { one(f, "job-roles.csv", "R8001", "R8002") }), signing},
		"a file added":                 {repacked(func(f map[string]string) { f["more.rego"] = "package matron\n" }), signing},
		"a file taken out":             {repacked(func(f map[string]string) { delete(f, "access_test.rego") }), signing},
		"the revision altered":         {repacked(func(f map[string]string) { one(f, ".manifest", "7", "8") }), signing},
		"unsigned":                     {repacked(func(f map[string]string) { delete(f, ".signatures.json") }), signing},
		"another key":                  {regotest.Sign(t, files, "7", "hospital", other), signing},
		"another scope":                {regotest.Sign(t, files, "7", "elsewhere", key), signing},
		"no key configured":            {good, rego.Signing{Algorithm: "RS256", Scope: "hospital"}},
		"another algorithm":            {good, rego.Signing{Keys: signing.Keys, Algorithm: "PS256", Scope: "hospital"}},
		"the public key as a password": {good, rego.Signing{Keys: signing.Keys, Algorithm: "HS256", Scope: "hospital"}},
	} {
		if _, err := rego.OpenSigned(c.text, c.signing); !errors.Is(err, rego.ErrUnsigned) {
			t.Errorf("%s: %v", name, err)
		}
	}
	exchanged := rego.Signing{Keys: []string{other.Public, key.Public}, Algorithm: "RS256", Scope: "hospital"}
	if _, err := rego.OpenSigned(good, exchanged); err != nil {
		t.Errorf("one of two keys: %v", err)
	}
}

// What is not a bundle, or is too large, is refused before anything is believed.
func TestSignedBundlesAreBounded(t *testing.T) {
	key := regotest.NewKey(t)
	signing := rego.Signing{Keys: []string{key.Public}, Algorithm: "RS256"}
	files := regotest.Files(t, rego.Default())
	many := maps.Clone(files)
	for i := range 8 {
		many[strings.Repeat("a", i+1)+".csv"] = strings.Repeat(" ", 8<<20)
	}
	nested := maps.Clone(files)
	nested["below/data.json"] = "{}"
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"no archive":        {[]byte("<html>"), "no tar.gz"},
		"cut short":         {regotest.Sign(t, files, "7", "", key)[:2000], "EOF"},
		"one large file":    {regotest.Pack(t, map[string]string{"a.rego": strings.Repeat(" ", 9<<20)}), "more than"},
		"many":              {regotest.Pack(t, many), "more than"},
		"no revision":       {regotest.Sign(t, files, "", "", key), "neither a whole number nor a time"},
		"a name":            {regotest.Sign(t, files, "spring", "", key), "neither a whole number nor a time"},
		"a table below":     {regotest.Sign(t, nested, "7", "", key), "tables stand at the top"},
		"nothing that fits": {nil, "no tar.gz"},
	} {
		if _, err := rego.OpenSigned(c.text, signing); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// hazard:GW-11 control:C-89
func TestOlderRevisions(t *testing.T) {
	key := regotest.NewKey(t)
	signing := rego.Signing{Keys: []string{key.Public}, Algorithm: "RS256"}
	for _, c := range []struct {
		revision, before string
		older            bool
	}{
		{"7", "6", false},
		{"7", "7", false},
		{"7", "8", true},
		{"10", "9", false},
		{"0", "1", true},
		{"2026-11-26T12:00:00Z", "2026-11-26T11:00:00Z", false},
		{"2026-11-26T12:00:00Z", "2026-11-26T13:00:00Z", true},
		{"7", "2026-11-26T12:00:00Z", true},
		{"2026-11-26T12:00:00Z", "7", true},
	} {
		signed, err := rego.OpenSigned(regotest.Sign(t, map[string]string{"a.rego": "package matron\n"}, c.revision, "", key), signing)
		if err != nil || signed.Older(c.before) != c.older {
			t.Errorf("%s after %s: %v", c.revision, c.before, err)
		}
	}
}

// unpacked reads what Pack has made.
func unpacked(t *testing.T, text []byte) map[string]string {
	t.Helper()
	dir := t.TempDir()
	extractAll(t, dir, text)
	return regotest.Files(t, os.DirFS(dir))
}

func extractAll(t *testing.T, dir string, text []byte) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(z); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, h.Name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Tests that did not run have not passed: who gives up does not get the rules.
// hazard:GW-11 control:C-46
// hazard:GW-23 control:C-185
func TestABundleWhoseTestsAreCutShortIsRefused(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rego.Load(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("cut short: %v", err)
	}
}
