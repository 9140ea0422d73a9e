package appmap

import (
	"slices"
	"testing"
)

// TestWordsAreThoseOfPaths, and of tables that a path is compared with.
func TestWordsAreThoseOfPaths(t *testing.T) {
	m, err := Parse("words.yaml", []byte(`app: words
tables: {tabs: {obs: results, drugs: prescribing}, verbs: {show: read}}
rules:
  - {id: tab, match: {method: [GET], path: "/patients/{id}/{tab:tabs}"}, action: "table:verbs[query:do]", area: results}
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Words(); !slices.Equal(got, []string{"drugs", "obs", "patients"}) {
		t.Error(got)
	}
}

func TestBuiltinMapsParse(t *testing.T) {
	for _, name := range Names() {
		m, err := Builtin(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.App() != name {
			t.Errorf("map %s says it is %s", name, m.App())
		}
	}
}
