package appmap

import (
	"os"
	"path/filepath"
	"testing"
)

// TestEveryRuleHasAnExchange: a rule that no exchange of the corpus takes is one
// that nobody has seen at work. Those of Orthanc are taken by a real one
// (TestOrthanc).
func TestEveryRuleHasAnExchange(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	taken := map[string]bool{}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		recording, err := ReadExchanges(src)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Load(recording.Map)
		if err != nil {
			t.Fatal(err)
		}
		m = m.WithBase(recording.Base)
		for _, e := range recording.Exchanges {
			for _, r := range Explain(m, e.Exchange).Rules {
				taken[r.ID] = taken[r.ID] || r.Matched
			}
		}
	}
	for _, name := range Names() {
		m, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range m.RuleIDs() {
			if !taken[id] && name != "orthanc" {
				t.Errorf("%s: no exchange takes the rule %s", name, id)
			}
		}
	}
}
