package hospital_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

func TestWhatIsWrittenIsLoaded(t *testing.T) {
	h := hospital.New(7, time.Date(2026, 11, 3, 9, 0, 0, 0, time.UTC))
	first, second := t.TempDir(), t.TempDir()
	if err := h.WriteFiles(first); err != nil {
		t.Fatal(err)
	}
	loaded, err := hospital.Load(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := loaded.WriteFiles(second); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"staff.ndjson", "patients.ndjson", "care.ndjson", "rota.ndjson"} {
		a, errA := os.ReadFile(filepath.Join(first, name))
		b, errB := os.ReadFile(filepath.Join(second, name))
		if errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("%s is not the same after loading (%v, %v)", name, errA, errB)
		}
	}
	for _, s := range h.Staff {
		if got, ok := loaded.Person(s.Person); !ok || got.Name != s.Name {
			t.Fatalf("%s is not found", s.Person)
		}
	}
	if len(loaded.Wards) == 0 || len(loaded.OnWard(h.Care[0].Ward, h.Care[0].Start)) == 0 {
		t.Error("nobody is on a ward")
	}
}

func TestABadLineIsNamed(t *testing.T) {
	dir := t.TempDir()
	h := hospital.New(7, time.Date(2026, 11, 3, 9, 0, 0, 0, time.UTC))
	if err := h.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "rota.ndjson")
	if err := os.WriteFile(path, []byte("{\"person\":\"S1\"}\n{\"person\":"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := hospital.Load(dir); err == nil || !strings.Contains(err.Error(), path+": line 2: ") {
		t.Errorf("loading says %v", err)
	}
}
