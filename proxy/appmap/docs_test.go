package appmap

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentShowsTheExample: the map in the document is the one that the
// corpus tries.
func TestDocumentShowsTheExample(t *testing.T) {
	doc, err := os.ReadFile("../../docs/application-maps.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("testdata/wardbook.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "```yaml\n"+string(example)+"```\n") {
		t.Error("the example in docs/application-maps.md is not testdata/wardbook.yaml")
	}
	for _, name := range extractorNames() {
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("%s is not in the document", name)
		}
	}
}
