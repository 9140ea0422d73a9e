package openmaxims

import (
	"strings"
	"testing"
)

// What nests without end is refused, not followed until the stack is used up.
func TestDeepXMLIsRefused(t *testing.T) {
	const levels = 200_000
	k := tables(t)
	for name, inside := range map[string]string{
		"shut":       strings.Repeat("<a>", levels) + strings.Repeat("</a>", levels),
		"never shut": strings.Repeat("<a>", levels),
		"entities":   "<!DOCTYPE e [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>&b;",
	} {
		s := Begin()
		if _, err := s.Request([]byte(`<events><loginEvent name="jsmith" pass="x"/></events>`), k, nil); err != nil {
			t.Fatal(err)
		}
		if p, err := s.Request([]byte("<events>"+inside+"</events>"), k, nil); err == nil {
			t.Errorf("%s in a request: %+v", name, p)
		}
		if n, err := s.Answer(200, []byte("<xml>"+inside+"</xml>"), k, nil); err == nil {
			t.Errorf("%s in an answer: %+v", name, n)
		}
	}
}
