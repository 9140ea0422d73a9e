package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// binary is the real program, built by "make build": it starts itself again as
// the engine, which a test binary cannot.
func binary(t testing.TB) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/matron")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run \"make build\" first", err)
	}
	return path
}

// TestScripts runs testdata/script/*.txtar with the real binary on PATH.
func TestScripts(t *testing.T) {
	bin := filepath.Dir(binary(t))
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			return nil
		},
	})
}

// TestHelpNamesEveryCommandWithAnExample keeps the help useful: every command
// that does something shows how.
func TestHelpNamesEveryCommandWithAnExample(t *testing.T) {
	for _, c := range newRoot().Commands() {
		for _, leaf := range append(c.Commands(), c) {
			if leaf.Runnable() && !leaf.Hidden && leaf.Name() != "help" && leaf.Example == "" && leaf.Name() != "completion" {
				t.Errorf("%q has no example", leaf.CommandPath())
			}
		}
	}
}

func TestUsageErrorsSayWhereToLook(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(context.Background(), []string{"serv"}, nil, &out, &errs); code != exitUsage {
		t.Errorf("code %d, want %d", code, exitUsage)
	}
	for _, want := range []string{`unknown command "serv"`, "Did you mean this?", "serve", "matron --help"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("%q is not in %q", want, errs.String())
		}
	}
}

// command starts the real binary; it ends with the test.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), binary(t), args...)
	c.Stderr = os.Stderr
	return c
}
