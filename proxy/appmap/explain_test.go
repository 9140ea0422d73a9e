package appmap

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestExplanationSaysWhatHappened: over every corpus, the rule that is said to
// have matched is the one that classified the exchange, and every other says why
// not.
func TestExplanationSaysWhatHappened(t *testing.T) {
	explainCorpus(t, func(name string, got Explanation) {
		var matched []string
		for _, r := range got.Rules {
			if r.Matched {
				matched = append(matched, r.ID)
			}
			if r.Why == "" {
				t.Errorf("%s: %s says nothing", name, r.ID)
			}
		}
		rule := got.Trial.Access.Rule
		switch {
		case len(matched) > 1, rule != "" && !slices.Equal(matched, []string{rule}):
			t.Errorf("%s: %v matched, %q classified", name, matched, rule)
		case rule == "" && got.Trial.Unmapped == nil && got.Trial.Refused == nil && len(matched) > 0:
			t.Errorf("%s: %v matched an unmapped exchange", name, matched)
		}
	})
}

// explainCorpus calls do with what the maps make of each exchange of the corpus.
func explainCorpus(t *testing.T, do func(name string, got Explanation)) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
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
			do(name+" "+e.Name, Explain(m, e.Exchange))
		}
	}
}

func TestExplanationNamesPlaces(t *testing.T) {
	m, err := Load("testdata/wardbook.yaml")
	if err != nil {
		t.Fatal(err)
	}
	recording, err := ReadExchanges([]byte("POST /ward/page HTTP/1.1\nHost: x\nContent-Type: application/x-www-form-urlencoded\n\nscreen=drugs&do=change&pid=41&pid=42"))
	if err != nil {
		t.Fatal(err)
	}
	got := Explain(m.WithBase("/ward"), recording.Exchanges[0].Exchange)
	i := slices.IndexFunc(got.Places, func(p PlaceTrial) bool { return p.Setting == "patient[0]" })
	if i < 0 || got.Places[i].Place != "form:pid" || !slices.Equal(got.Places[i].Values, []string{"41", "42"}) {
		t.Errorf("got %+v", got.Places)
	}
	i = slices.IndexFunc(got.Rules, func(r RuleTrial) bool { return r.ID == "heartbeat" })
	if i < 0 || !strings.HasPrefix(got.Rules[i].Why, "the method is POST") || got.Trial.Refused == nil {
		t.Errorf("got %+v, %v", got.Rules, got.Trial.Refused)
	}
}

func TestExplanationEndsAtTheFirstMatch(t *testing.T) {
	m, err := Parse("m.yaml", []byte("app: x\nrules:\n- {id: one, match: {method: [GET], path: /a}, static: true}\n- {id: any, match: {method: [GET], path: /**}, static: true}\n"))
	if err != nil {
		t.Fatal(err)
	}
	recording, err := ReadExchanges([]byte("GET /a HTTP/1.1\nHost: x\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := Explain(m, recording.Exchanges[0].Exchange).Rules
	if !got[0].Matched || got[1].Matched || got[1].Why != "not tried: one comes first" {
		t.Errorf("got %+v", got)
	}
}
