package trace_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/matron-epr/matron/cmd/matron/trace"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

func starter(t *testing.T) hazardlog.Log {
	t.Helper()
	l, err := hazardlog.StarterLog()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// module writes a small module with these tests and runs them with the real tool.
func module(t *testing.T, tests string) (dir string, ran trace.Results) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                   "module example.org/x\n\ngo 1.24\n",
		"limit/limit_test.go":      "package limit\n\nimport \"testing\"\n\n" + tests,
		"rules/limit.rego":         "package limit\n\n# hazard:GW-03 control:C-13\n# Reads are slowed.\nslow if { true }\n",
		"cmd/matron/config/all.go": "package config\n\ntype Limits struct {\n\t// Reads is how many.\n\t// hazard:GW-03 control:C-13\n\tReads int `yaml:\"reads\"`\n}\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-json", "./limit")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "CGO_ENABLED=0")
	out, _ := cmd.Output() // tests that fail make it fail
	ran = trace.Results{}
	if err := ran.Read("tests.json", bytes.NewReader(out)); err != nil || len(ran) == 0 {
		t.Fatalf("%v: %s", err, out)
	}
	return dir, ran
}

func made(t *testing.T, tests, commit string, before *evidence.Trace) (evidence.Trace, map[string]evidence.Tag) {
	t.Helper()
	dir, ran := module(t, tests)
	tags, err := trace.Collect(os.DirFS(dir), starter(t))
	if err != nil {
		t.Fatal(err)
	}
	all, byName := trace.Make(tags, ran, before, evidence.Trace{Build: "v1", Commit: commit}), map[string]evidence.Tag{}
	for _, tag := range all.Tags {
		byName[tag.Control+" "+tag.Name] = tag
	}
	return all, byName
}

const good = `// TestSlow shows that reads are slowed.
// hazard:GW-03 control:C-13
func TestSlow(*testing.T) {}

// hazard:GW-03 control:C-12
func TestPerson(*testing.T) {}

// hazard:GW-03 control:C-14
func TestBulk(*testing.T) {}
`

func TestTagsAndResultsAreCollectedAndWhatVanishesShows(t *testing.T) {
	first, tags := made(t, good, "aaa", nil)
	if len(first.Tags) != 5 {
		t.Fatalf("%+v", first.Tags)
	}
	slow := tags["C-13 example.org/x/limit.TestSlow"]
	if slow.Result != evidence.Passed || slow.Commit != "aaa" || slow.Passed.IsZero() || slow.Hazards[0] != "GW-03" || slow.Line != 6 {
		t.Errorf("%+v", slow)
	}
	if tags["C-13 limit.rego: slow if"].Kind != evidence.RuleTag || tags["C-13 Limits.reads"].Kind != evidence.SettingTag {
		t.Errorf("rules and settings: %+v", tags)
	}
	worse := strings.Replace(good, "func TestSlow(*testing.T) {}", "func TestSlow(t *testing.T) { t.Fail() }", 1)
	worse, _, _ = strings.Cut(worse, "// hazard:GW-03 control:C-14")
	_, tags = made(t, worse, "bbb", &first)
	for name, want := range map[string]evidence.Result{
		"C-13 example.org/x/limit.TestSlow": evidence.Failed, "C-12 example.org/x/limit.TestPerson": evidence.Passed, "C-14 example.org/x/limit.TestBulk": evidence.Gone,
	} {
		if got := tags[name]; got.Result != want || want != evidence.Passed && got.Commit != "aaa" {
			t.Errorf("%s: %+v, want %s", name, got, want)
		}
	}
}

func TestWrongTagsAreNamedByFileAndLine(t *testing.T) {
	for tag, want := range map[string]string{
		"hazard:GW-03 control:C-9999": "x_test.go:3: there is no control C-9999",
		"hazard:GW-01 control:C-13":   "x_test.go:3: C-13 is no control of GW-01 but of GW-03",
		"hazard:GW-03":                "x_test.go:3: no control stands beside GW-03",
		"hazard:GW-03 contol:C-13":    `x_test.go:3: "contol:C-13": expected hazard:GW-01 control:C-01`,
	} {
		_, err := trace.Collect(fstest.MapFS{
			"go.mod":    {Data: []byte("module x\n")},
			"x_test.go": {Data: []byte("package x\n\n// " + tag + "\nfunc TestX() {}\n")},
		}, starter(t))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", tag, err, want)
		}
	}
}

// Every tag in Matron's own source names a control that there is.
func TestOwnSourceIsTaggedWithControlsThatThereAre(t *testing.T) {
	tags, err := trace.Collect(os.DirFS("../../.."), starter(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(tags) < 50 {
		t.Errorf("only %d tags", len(tags))
	}
}
