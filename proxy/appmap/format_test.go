package appmap

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAnyDepth: ** finds what stands at any depth, once each, wherever the windows
// of a long text end.
func TestAnyDepth(t *testing.T) {
	t.Parallel()
	const text = `{"id":"0","a":{"id":"1","b":[{"id":"2"},[{"id":{"id":"3"}}]]},"obs":[{"person":{"id":"4"},"members":[{"person":{"id":"5"}}]}],"person":{"id":"6"}}`
	doc, err := parseJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ pointer, want string }{
		{"/**/id", "0 1 2 3 4 5 6"},
		{"/a/**/id", "1 2 3"},
		{"/obs/**/person/id", "4 5"},
		{"/**/person/id", "4 5 6"},
		{"/**/b/**/id", "2 3"},
		{"/**/b/0/id", "2"},
		{"/**/none", ""},
	} {
		p, err := parsePointer(c.pointer)
		if err != nil {
			t.Fatal(err)
		}
		got := p.texts(nil, doc)
		slices.Sort(got)
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s: %s", c.pointer, diff)
		}
		for _, step := range []int{1, 3, 8, 64, 1000} {
			var got []string
			err := streamed(text, step).pick([]lead{{0, p}}, 0, func(_ int, v any) error {
				if s, ok := scalarText(v); ok {
					got = append(got, s)
				}
				return nil
			})
			slices.Sort(got)
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" || err != nil {
				t.Errorf("%s by %d: %v %s", c.pointer, step, err, diff)
			}
		}
	}
}

// TestOthers: a request that names somebody and may concern others stays unknown,
// until an answer names whomever it shows; what was changed stays unknown.
func TestOthers(t *testing.T) {
	t.Parallel()
	m, err := Parse("x.yaml", []byte(`app: x
rules:
- id: find
  match: {method: [GET], path: /find}
  action: search
  area: notes
  patient: [{value: "query:p"}]
  others: true
  response: {each: json:/, patient: [{value: "json:/p"}]}
- id: change
  match: {method: [POST], path: /find}
  action: update
  area: notes
  patient: [{value: "query:p"}]
  others: true
  response: {each: json:/, patient: [{value: "json:/p"}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, answer, want string }{
		{"GET", `[{"p":"1"}]`, "unknown authoritative"},
		{"GET", `[{"p":"1"},{"p":"2"}]`, "unknown several"},
		{"GET", `[{"p":"2"}]`, "unknown authoritative"},
		{"GET", `[{"p":"2"},{}]`, "unknown unknown"},
		{"GET", `[{}]`, "unknown unknown"},
		{"POST", `[{"p":"1"}]`, "unknown unknown"},
		{"POST", `[{"p":"2"}]`, "unknown authoritative"},
	} {
		rec, err := ReadExchanges([]byte(c.method + " /find?p=1 HTTP/1.1\nHost: epr.example\n\n\nHTTP/1.1 200 OK\nContent-Type: application/json\n\n" + c.answer))
		if err != nil {
			t.Fatal(err)
		}
		got := Try(m, rec.Exchanges[0].Exchange)
		if is := fmt.Sprint(got.Access.Certainty, " ", got.Settlement.Certainty); is != c.want || len(got.Access.Patients) != 1 {
			t.Errorf("%s %s: %s, want %s", c.method, c.answer, is, c.want)
		}
	}
}

// TestMistakesOfThese: what would point to everything, or says nothing, is found
// where it stands.
func TestMistakesOfThese(t *testing.T) {
	t.Parallel()
	const rule = "app: x\nrules:\n- {id: r, match: {method: [GET], path: /a}, action: read, area: notes, "
	for _, c := range []struct{ rest, want string }{
		{"others: true}", "x.yaml:3:72: rules[0].others: "},
		{`response: {patient: [{value: "json:/a/**"}]}}`, "points to everything"},
		{`response: {patient: [{value: "json:/**/**/a"}]}}`, "points to everything"},
		{`response: {each: "json:/**/a", patient: [{value: "json:/a"}]}}`, "without **"},
	} {
		if _, err := Parse("x.yaml", []byte(rule+c.rest)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.rest, err)
		}
	}
}

// TestAMapExtendsWhatExtends: a hospital's rules for Bahmni come before those of
// Bahmni, and those before OpenMRS'.
func TestAMapExtendsWhatExtends(t *testing.T) {
	t.Parallel()
	m, err := Parse("site.yaml", []byte("app: site\nextends: bahmni\nrules:\n- {id: own, match: {method: [GET], path: /own}, action: read, area: home, no-patient: true}\n"))
	if err != nil {
		t.Fatal(err)
	}
	ids := m.RuleIDs()
	if own, bahmni, openmrs := slices.Index(ids, "own"), slices.Index(ids, "bahmni-who"), slices.Index(ids, "openmrs-patient"); own != 0 || bahmni < 1 || openmrs < bahmni {
		t.Errorf("%v", ids)
	}
}

// TestOneFormOfUUID: an application that reads others would take two texts for one
// patient.
func TestOneFormOfUUID(t *testing.T) {
	t.Parallel()
	const one = "7d44b88c-4199-4bad-97dc-d78268e01398"
	if !inClass("uuid", one) {
		t.Errorf("%s is none", one)
	}
	for _, text := range []string{
		"", "1-1-1-1-1", strings.ToUpper(one), "{" + one + "}", one + "0", one[:35],
		strings.ReplaceAll(one, "-", ""), strings.Replace(one, "-", "0", 1), "7d44b88c4-199-4bad-97dc-d78268e01398", "gd44b88c-4199-4bad-97dc-d78268e01398",
	} {
		if inClass("uuid", text) {
			t.Errorf("%q is one", text)
		}
	}
}
