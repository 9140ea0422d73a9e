package appmap

import "testing"

// TestEveryRuleHasAnExchange: a rule that no exchange of the corpus takes is one
// that nobody has seen at work. Those of Orthanc are taken by a real one
// (TestOrthanc).
func TestEveryRuleHasAnExchange(t *testing.T) {
	taken := map[string]bool{}
	explainCorpus(t, func(_ string, got Explanation) {
		for _, r := range got.Rules {
			taken[r.ID] = taken[r.ID] || r.Matched
		}
	})
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
