package gateway

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit/witness"
	"github.com/matron-epr/matron/cmd/matron/config"
)

func TestWitnessSettingsAreRead(t *testing.T) {
	dir := t.TempDir()
	key, err := witness.CreateKey(filepath.Join(dir, "w.key"), "example.org/w", witness.WitnessKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := witness.CreateKey(filepath.Join(dir, "log.key"), "matron/RBA/gw2", witness.LogKey); err != nil {
		t.Fatal(err)
	}
	policy := func(url string) string {
		path := filepath.Join(t.TempDir(), "policy")
		if err := os.WriteFile(path, fmt.Appendf(nil, "witness w %s %s\nquorum w\n", key, url), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one := func(keyFile, caFile string) config.Witness {
		return config.Witness{Quorum: 1, Witnesses: []config.WitnessPeer{{URL: "https://w.example.org/", KeyFile: filepath.Join(dir, keyFile), CAFile: caFile}}}
	}
	for _, c := range []struct {
		name string
		w    config.Witness
		some bool
		want error
	}{
		{"nobody", config.Witness{}, false, nil},
		{"one", one("w.key.pub", ""), true, nil},
		{"policy", config.Witness{PolicyFile: policy("https://w.example.org/")}, true, nil},
		{"policy with a witness in clear", config.Witness{PolicyFile: policy("http://w.example.org/")}, false, witness.ErrPolicy},
		{"policy with a witness that cannot be asked", config.Witness{PolicyFile: policy("")}, false, witness.ErrPolicy},
		{"a log's key", one("log.key.pub", ""), false, witness.ErrKey},
		{"no such key", one("x.pub", ""), false, os.ErrNotExist},
		{"no such root", one("w.key.pub", filepath.Join(dir, "x.pem")), false, os.ErrNotExist},
	} {
		got, err := openWitnesses(c.w, time.Now)
		if (got != nil) != c.some || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	if _, err := witnessedLogs(config.Witnessing{Logs: []config.WitnessedLog{{KeyFile: filepath.Join(dir, "w.key.pub")}}}); !errors.Is(err, witness.ErrKey) {
		t.Errorf("a witness's key for a log: %v", err)
	}
}
