package gateway

import (
	"os"
	"strings"
	"testing"

	"github.com/matron-epr/matron/cmd/matron/config"
)

// TestPublicKeyIsMadeAgain loses, tears and swaps the public key beside a journal.
func TestPublicKeyIsMadeAgain(t *testing.T) {
	site := func() (config.Config, string) {
		c := config.Defaults()
		c.Site, c.Source, c.DataDir = "RBA", "gw1", t.TempDir()
		if err := Init(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		_, verifier, public, err := checkpointKeys(c)
		if err != nil || verifier.Name() != "matron/RBA/gw1" {
			t.Fatal(err)
		}
		return c, public
	}
	c, public := site()
	made := read(t, PublicKeyFile(c))
	if strings.TrimSpace(made) != public {
		t.Fatalf("init wrote %q, the secret key says %q", made, public)
	}
	for name, harm := range map[string]func() error{
		"missing": func() error { return os.Remove(PublicKeyFile(c)) },
		"torn":    func() error { return os.WriteFile(PublicKeyFile(c), []byte(made[:10]), 0o600) },
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		if err := publishKey(c, public); err != nil || read(t, PublicKeyFile(c)) != made {
			t.Errorf("%s: %v, %q", name, err, read(t, PublicKeyFile(c)))
		}
	}
	_, other := site()
	if err := publishKey(c, other); err == nil || !strings.Contains(err.Error(), "put the right files back") {
		t.Errorf("the key of another journal: %v", err)
	}
	c.Source = "gw2"
	if _, _, _, err := checkpointKeys(c); err == nil || !strings.Contains(err.Error(), "is the key of matron/RBA/gw1, not of matron/RBA/gw2") {
		t.Errorf("the key of another gateway: %v", err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
