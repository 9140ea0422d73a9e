package neutral_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit/detect/neutral"
)

// TestAccuses finds a word in every form, and leaves neutral ones alone.
func TestAccuses(t *testing.T) {
	for text, want := range map[string]string{
		"A Suspicious look.": "suspicio", "Abuse": "abus", "an offender": "offend", "": "",
		"Not yet explained: no stay, list, referral, result, letter or task that leads to the person is known.": "",
		"Break-glass was used, and nothing was written for the patient on that day.":                            "",
	} {
		if got := neutral.Accuses(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestEveryTextIsNeutral reads every text in the source that somebody may meet who
// looks at accesses: descriptions, runbooks and sentences of detectors and
// explanations, cases, alerts, messages of the gateway, pages, letters and reports.
// hazard:GW-28 control:C-215
func TestEveryTextIsNeutral(t *testing.T) {
	const root = "../../../"
	texts := 0
	concluded := strings.NewReplacer("policy-breach, misuse, insufficient", "")
	check := func(where, text string) {
		texts++
		if slices.Contains([]string{"policy-breach", "misuse", "Misuse"}, text) {
			return // what a person concludes in the end, who has heard the other
		}
		if word := neutral.Accuses(concluded.Replace(text)); word != "" {
			t.Errorf("%s says %q: %s", where, word, text)
		}
	}
	for _, pattern := range []string{
		"audit/detect/*.go", "audit/detect/detectors/*.go", "audit/detect/explain/*.go", "audit/detect/cases/*.go", "audit/cases/*.go",
		"dashboards/*.go", "proxy/breakglass/*.go", "cmd/matron/gateway/*.go", "cmd/matron/alerts*.go",
	} {
		for _, path := range files(t, root+pattern) {
			if !strings.HasSuffix(path, "_test.go") {
				literals(t, path, check)
			}
		}
	}
	for _, pattern := range []string{"dashboards/templates/*.tmpl", "audit/export/pack/*.html", "audit/export/pack/*.txt"} {
		for _, path := range files(t, root+pattern) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(string(text), "\n") {
				check(path+":"+strconv.Itoa(i+1), line)
			}
		}
	}
	if texts < 2000 {
		t.Errorf("only %d texts were read", texts)
	}
}

// files fails where there are none: a folder that was moved is not a neutral one.
func files(t *testing.T, pattern string) []string {
	t.Helper()
	all, err := filepath.Glob(pattern)
	if err != nil || len(all) == 0 {
		t.Fatalf("%s: no files, %v", pattern, err)
	}
	return all
}

// literals are the texts of a Go file.
func literals(t *testing.T, path string, check func(where, text string)) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			text, err := strconv.Unquote(l.Value)
			if err != nil {
				t.Fatal(err)
			}
			check(set.Position(l.Pos()).String(), text)
		}
		return true
	})
}
