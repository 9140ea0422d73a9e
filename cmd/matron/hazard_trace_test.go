package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/matron-epr/matron/hazardlog/evidence"
)

// documentedTrace is the commands of docs/hazard-log.md that make a trace.
func documentedTrace(t *testing.T) string {
	t.Helper()
	manual, err := os.ReadFile("../../docs/hazard-log.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(manual), "```\ngo test -json")
	commands, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("the manual does not show how to make a trace")
	}
	return "go test -json" + commands
}

// What the manual shows makes the file that a release ships, from source, real test
// results and a real commit.
func TestTheTraceOfTheManualIsMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":      "module example.org/x\n\ngo 1.24\n",
		"box_test.go": "package x\n\nimport \"testing\"\n\n// hazard:GW-03 control:C-13\nfunc TestSlow(*testing.T) {}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const commit = "git init -q . && git -c user.name=x -c user.email=x@example.org commit -q --allow-empty -m x\n"
	cmd := exec.CommandContext(t.Context(), "bash", "-euc", commit+documentedTrace(t)+"git rev-parse HEAD")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "CGO_ENABLED=0", "PATH="+filepath.Dir(binary(t))+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "matron-trace.json"))
	if err != nil {
		t.Fatal(err)
	}
	var made evidence.Trace
	if err := json.Unmarshal(text, &made); err != nil {
		t.Fatal(err)
	}
	passed := slices.ContainsFunc(made.Tags, func(tag evidence.Tag) bool { return tag.Control == "C-13" && tag.Result == evidence.Passed })
	if !passed || made.Build != "v1.4" || made.Commit == "" || !strings.Contains(string(out), made.Commit) {
		t.Errorf("%s\n%s", text, out)
	}
}
