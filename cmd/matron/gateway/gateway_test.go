package gateway

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/cmd/matron/config"
)

func TestSettingsThatAReloadCannotTakeInAreNamed(t *testing.T) {
	old := config.Defaults()
	for name, change := range map[string]func(*config.Config){
		"home":            func(c *config.Config) { c.Home = "/elsewhere" },
		"sign_in":         func(c *config.Config) { c.SignIn.Scopes = []string{"email"} },
		"limits.incident": func(c *config.Config) { c.Limits.Incident.Longest++ },
	} {
		fresh := config.Defaults()
		change(&fresh)
		if err := needsRestart(old, fresh); err == nil || !strings.HasPrefix(err.Error(), name+" has changed") {
			t.Errorf("%s: %v", name, err)
		}
	}
	fresh := config.Defaults()
	fresh.Applications = []config.Application{{Name: "fhir"}}
	fresh.Limits.Bulk.Burst++
	fresh.Machines = []config.Machine{{Client: "board"}}
	if err := needsRestart(old, fresh); err != nil {
		t.Errorf("applications, limits and machines: %v, want none", err)
	}
}

// hazard:GW-18 control:C-73
func TestSecretsArePrivateAndTheirRemedyIsRight(t *testing.T) {
	path := filepath.Join(t.TempDir(), "client.secret")
	if _, err := readSecret(path); err == nil || errors.Is(err, ErrNotInitialised) {
		t.Errorf("missing secret: %v; \"matron init\" does not make it", err)
	}
	if _, err := readKey(path); !errors.Is(err, ErrNotInitialised) {
		t.Errorf("missing key: %v, want %v", err, ErrNotInitialised)
	}
	if err := os.WriteFile(path, []byte("hush\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readSecret(path); got != "hush" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := readSecret(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: %v", err)
	}
}

func TestWithoutAnIndexNothingIsCalledComplete(t *testing.T) {
	o := &backOffice{now: time.Now}
	if at := o.indexedTo(); !at.IsZero() {
		t.Errorf("complete to %s, want unknown", at)
	}
}
