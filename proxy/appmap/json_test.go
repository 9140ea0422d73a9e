package appmap

import (
	"errors"
	"strings"
	"testing"
)

// TestJSONIsReadInOneWayOnly: what two parsers may read differently is refused.
func TestJSONIsReadInOneWayOnly(t *testing.T) {
	deep := strings.Repeat("[", maxJSONDepth+2) + strings.Repeat("]", maxJSONDepth+2)
	many := `{"a1":1,"a2":1,"a3":1,"a4":1,"a5":1,"a6":1,"a7":1,"subject":1,"a9":1,"Subject":2}`
	for _, c := range []struct {
		name, src string
		ok        bool
	}{
		{"object", `{"a":[1,true,null,"x"]}`, true},
		{"underscored pair", `{"birthDate":"x","_birthDate":{}}`, true},
		{"twice", `{"subject":1,"subject":1}`, false},
		{"twice, escaped", `{"subject":1,"\u0073ubject":1}`, false},
		{"twice, other case", `{"subject":1,"SUBJECT":1}`, false},
		{"twice, long s", `{"subject":1,"ſubject":1}`, false},
		{"twice among many", many, false},
		{"twice, nested", `{"a":[{"b":{"c":1,"c":2}}]}`, false},
		{"nul in a name", `{"subject\u0000":1}`, false},
		{"lone surrogate in a name", `{"subj\ud800":1}`, false},
		{"not UTF-8", "{\"a\":\"\xff\"}", false},
		{"byte order mark", "\uFEFF{}", false},
		{"trailing", `{} {}`, false},
		{"trailing comma", `{"a":1,}`, false},
		{"comment", `{/*x*/"a":1}`, false},
		{"single quotes", `{'a':1}`, false},
		{"NaN", `{"a":NaN}`, false},
		{"cut short", `{"a":[1`, false},
		{"mismatched", `{"a":[1}`, false},
		{"empty", ``, false},
		{"too deep", deep, false},
	} {
		_, err := parseJSON([]byte(c.src))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && !errors.Is(err, errJSON) {
			t.Errorf("%s: %v is no errJSON", c.name, err)
		}
	}
}
