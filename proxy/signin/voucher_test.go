package signin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy/signin"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	path := filepath.Join(t.TempDir(), "voucher.key")
	if err := signin.GenerateKey(path); err != nil {
		t.Fatal(err)
	}
	key, err := signin.LoadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newVoucher(t testing.TB, previous ...*ecdsa.PublicKey) *signin.Voucher {
	t.Helper()
	v, err := signin.NewVoucher(signin.VoucherConfig{
		Key: newKey(t), Previous: previous, Issuer: "https://epr.example", Audience: "fhir",
		Now: func() time.Time { return time.Unix(1_800_000_000, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func nurse() policy.Subject {
	return policy.Subject{
		Issuer: "https://sso.example", Sub: "s1", Person: "p1", Name: "Ada Nurse", Roles: []string{"nurse"}, Organisation: "RBA",
		Assurance: 3, Session: "session", Token: "token",
	}
}

// The application verifies a voucher with what /.matron/keys serves, and no
// more than that.
func TestVoucher(t *testing.T) {
	v := newVoucher(t)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/Patient/1?_summary=true", nil)
	token, err := v.Vouch(nurse(), "request-1", r)
	if err != nil {
		t.Fatal(err)
	}
	payload := verified(t, v, token)
	var got map[string]any
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"iss": "https://epr.example", "aud": "fhir", "sub": "s1", "jti": "request-1", "htm": "GET",
		"iat": 1.8e9, "nbf": 1.8e9, "exp": 1.8e9 + 60, "hth": signin.Binding("GET", "/Patient/1?_summary=true"),
		"name": "Ada Nurse", "person": "p1", "origin_iss": "https://sso.example", "roles": []any{"nurse"}, "org": "RBA", "assurance": 3.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// verified returns what a token says, as go-jose reads and checks it with what
// the gateway publishes.
func verified(t testing.TB, v *signin.Voucher, token string) []byte {
	t.Helper()
	rec := httptest.NewRecorder()
	v.Keys().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/.matron/keys", nil))
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(rec.Body.Bytes(), &set); err != nil || len(set.Keys) != 1 || !set.Keys[0].IsPublic() {
		t.Fatalf("%v %s", err, rec.Body.String())
	}
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	if typ := parsed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]; typ != "JWT" {
		t.Errorf("type %v", typ)
	}
	payload, err := parsed.Verify(set.Key(parsed.Signatures[0].Header.KeyID)[0])
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// r and s of a signature are as long as the curve says even where they begin
// with zeros, as one in 128 does: all of these verify.
func TestVoucherSignatureHasAFixedLength(t *testing.T) {
	v := newVoucher(t)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	for i := range 600 {
		token, err := v.Vouch(nurse(), strconv.Itoa(i), r)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(token[strings.LastIndexByte(token, '.')+1:]); n != 86 {
			t.Fatalf("signature of %d characters", n)
		}
		verified(t, v, token)
	}
}

// Names hold whatever people are called, and nothing in one can become another
// claim.
func TestVoucherSaysNamesAsTheyAre(t *testing.T) {
	v := newVoucher(t)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	for _, name := range []string{`O"Brien`, `a","sub":"root`, `\`, "line\nfeed\u2028", "Zoë 李 👩‍⚕️", "<b>&amp;</b>"} {
		who := nurse()
		who.Name, who.Roles = name, []string{name, "nurse"}
		token, err := v.Vouch(who, "r", r)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Sub, Name string
			Roles     []string
		}
		if err := json.Unmarshal(verified(t, v, token), &got); err != nil {
			t.Fatal(err)
		}
		if got.Sub != "s1" || got.Name != name || !cmp.Equal(got.Roles, who.Roles) {
			t.Errorf("%q: %+v", name, got)
		}
	}
}

func TestVoucherForNobody(t *testing.T) {
	v := newVoucher(t)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	for name, try := range map[string]func() (string, error){
		"nobody":         func() (string, error) { return v.Vouch(policy.Subject{}, "r", r) },
		"no issuer":      func() (string, error) { return v.Vouch(policy.Subject{Sub: "s"}, "r", r) },
		"no request":     func() (string, error) { return v.Vouch(nurse(), "", r) },
		"no application": func() (string, error) { return v.For("").Vouch(nurse(), "r", r) },
	} {
		if token, err := try(); err == nil || token != "" {
			t.Errorf("%s: %q", name, token)
		}
	}
}

func TestBindingTellsRequestsApart(t *testing.T) {
	seen := map[string]bool{}
	for _, b := range []string{
		signin.Binding("GET", "/a"), signin.Binding("POST", "/a"), signin.Binding("GET", "/b"),
		signin.Binding("GET", "/a?x"), signin.Binding("GE", "T/a"),
	} {
		if seen[b] {
			t.Errorf("%s twice", b)
		}
		seen[b] = true
	}
}

// hazard:GW-06 control:C-25
func TestVoucherPublishesPreviousKeys(t *testing.T) {
	v := newVoucher(t, &newKey(t).PublicKey)
	rec := httptest.NewRecorder()
	v.Keys().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/.matron/keys", nil))
	if n := strings.Count(rec.Body.String(), `"kid"`); n != 2 {
		t.Errorf("%d keys: %s", n, rec.Body.String())
	}
}

func TestVoucherConcurrently(t *testing.T) {
	v := newVoucher(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if _, err := v.For("other").Vouch(nurse(), "r", httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "voucher.key")
	if err := signin.GenerateKey(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := signin.GenerateKey(path); err == nil {
		t.Error("an old key was overwritten")
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaDER, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	large, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	largeDER, err := x509.MarshalPKCS8PrivateKey(large)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"empty": nil, "no key": []byte("hello"),
		"broken": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}),
		"rsa":    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: rsaDER}),
		"p-384":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: largeDER}),
	} {
		bad := filepath.Join(t.TempDir(), "bad.key")
		if err := os.WriteFile(bad, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := signin.LoadKey(bad); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := signin.LoadKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("%v", err)
	}
}

// One voucher is made for each write: most of these allocations are
// crypto/ecdsa's, 55 in Go 1.26.
func TestVoucherAllocatesLittle(t *testing.T) {
	v := newVoucher(t)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/Patient/1", nil)
	got := testing.AllocsPerRun(100, func() {
		if _, err := v.Vouch(nurse(), "request-1", r); err != nil {
			t.Error(err)
		}
	})
	if got > 80 {
		t.Errorf("%v allocations, at most 80", got)
	}
}

func BenchmarkVouch(b *testing.B) {
	v := newVoucher(b)
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/Patient/1", nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Vouch(nurse(), "request-1", r); err != nil {
			b.Fatal(err)
		}
	}
}
