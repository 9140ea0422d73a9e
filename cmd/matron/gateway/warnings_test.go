package gateway

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matron-epr/matron/cmd/matron/config"
)

// TestSignInServiceThatDoesNotListAuthTime: whoever checks the configuration is warned,
// and only where the service says so itself.
func TestSignInServiceThatDoesNotListAuthTime(t *testing.T) {
	claims := []string{}
	var server *httptest.Server
	server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		at := server.URL
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": at, "authorization_endpoint": at + "/a", "token_endpoint": at + "/t", "jwks_uri": at + "/k", "claims_supported": claims,
		})
	}))
	t.Cleanup(server.Close)
	c := config.Config{}
	c.SignIn.Issuer, c.SignIn.CAFile = server.URL, filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(c.SignIn.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		claims []string
		warns  bool
	}{{nil, false}, {[]string{"sub", "auth_time"}, false}, {[]string{"sub", "acr"}, true}} {
		claims = row.claims
		got := Warnings(t.Context(), c)
		if len(got) > 0 != row.warns || row.warns && !strings.Contains(got[0], server.URL+" does not list auth_time") {
			t.Errorf("%q: %q", row.claims, got)
		}
	}
	server.Close()
	if got := Warnings(t.Context(), c); got != nil {
		t.Errorf("no answer: %q", got)
	}
}
