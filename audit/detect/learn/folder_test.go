package learn_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit/detect/learn"
)

func made(t *testing.T, right int) learn.Version {
	t.Helper()
	list, given := judged(20, right, "a", "nurse", "bulk", "off-ward")
	v := learnt(t, list, given)
	v.Inputs, v.MadeAt, v.MadeBy = []learn.File{{Name: "d", SHA256: "00"}}, noon(), "ann"
	return v
}

func keep(t *testing.T, f learn.Folder, v learn.Version) (learn.Version, bool) {
	t.Helper()
	kept, isNew, err := f.Add(v)
	if err != nil {
		t.Fatal(err)
	}
	return kept, isNew
}

// TestSameInputSameVersion whoever makes it, whenever.
func TestSameInputSameVersion(t *testing.T) {
	f := learn.Folder(filepath.Join(t.TempDir(), "weights"))
	first, isNew := keep(t, f, made(t, 5))
	if !isNew || first.Number != 2 {
		t.Errorf("%v %d", isNew, first.Number)
	}
	again := made(t, 5)
	again.MadeAt, again.MadeBy = noon().Add(time.Hour), "bob"
	if got, isNew := keep(t, f, again); isNew || got.Number != 2 || got.MadeBy != "ann" {
		t.Errorf("%v %+v", isNew, got)
	}
	for _, change := range []func(*learn.Version){
		func(v *learn.Version) { v.Parent = 7 },
		func(v *learn.Version) { v.Inputs[0].SHA256 = "01" },
		func(v *learn.Version) { *v = made(t, 6) },
	} {
		other := made(t, 5)
		change(&other)
		if _, isNew := keep(t, f, other); !isNew {
			t.Error("another input, the same version")
		}
	}
	got, err := f.Get(2)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(first, got); d != "" {
		t.Error(d)
	}
	if all, err := f.List(); err != nil || len(all) != 4 || all[3].Number != 5 {
		t.Errorf("%d, %v", len(all), err)
	}
}

// TestVersionsAreTakenBack one after the other, down to no weights at all.
func TestVersionsAreTakenBack(t *testing.T) {
	f := learn.Folder(filepath.Join(t.TempDir(), "weights"))
	active := func() int {
		t.Helper()
		v, err := f.Active()
		if err != nil {
			t.Fatal(err)
		}
		return v.Number
	}
	if active() != learn.First {
		t.Errorf("version %d", active())
	}
	if _, err := f.Revert("ann", noon()); !errors.Is(err, learn.ErrNone) {
		t.Errorf("taken back before the first: %v", err)
	}
	keep(t, f, made(t, 5))
	keep(t, f, made(t, 6))
	if active() != learn.First {
		t.Errorf("a version counted before anybody said so: %d", active())
	}
	if err := f.Activate(9, "ann", noon()); !errors.Is(err, learn.ErrNone) {
		t.Errorf("%v", err)
	}
	for _, n := range []int{3, 2, 3} {
		if err := f.Activate(n, "ann", noon()); err != nil || active() != n {
			t.Fatalf("%d, %v", active(), err)
		}
	}
	for _, want := range []int{2, 3, learn.First} {
		if v, err := f.Revert("bob", noon()); err != nil || v.Number != want || active() != want {
			t.Errorf("taken back to %d, want %d: %v", active(), want, err)
		}
	}
	if turns, err := f.Turns(); err != nil || len(turns) != 6 || turns[5].By != "bob" || !turns[5].Revert {
		t.Errorf("%+v, %v", turns, err)
	}
}

// TestChangedVersionIsRefused: a file that is not as it was made, or somewhere else.
func TestChangedVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	f := learn.Folder(dir)
	keep(t, f, made(t, 5))
	path := filepath.Join(dir, "2.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(){
		"a weight": func() { write(t, path, strings.Replace(string(text), `"weight": 0.`, `"weight": 0.9`, 1)) },
		"its name": func() { write(t, filepath.Join(dir, "3.json"), string(text)) },
		"half":     func() { write(t, path, string(text[:len(text)/2])) },
	} {
		write(t, path, string(text))
		change()
		if _, err := f.List(); err == nil {
			t.Errorf("%s was changed and nobody says so", name)
		}
		_ = os.Remove(filepath.Join(dir, "3.json"))
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	_ = os.Remove(path)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
