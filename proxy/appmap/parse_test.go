package appmap

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/proxy/strictyaml"
)

// TestEveryMistakeAtOnce compares the messages about a map full of mistakes.
func TestEveryMistakeAtOnce(t *testing.T) {
	src, err := os.ReadFile("testdata/mistakes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse("mistakes.yaml", src)
	var problems strictyaml.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got %v", err)
	}
	if *update {
		if err := os.WriteFile("testdata/mistakes.golden", []byte(err.Error()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/mistakes.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), problems.Error()+"\n"); diff != "" {
		t.Error(diff)
	}
}

func TestLoad(t *testing.T) {
	if _, err := Load("no-such-map"); !errors.Is(err, ErrUnknownMap) || !strings.Contains(err.Error(), "fhir-r4") {
		t.Errorf("a name that is unknown: %v", err)
	}
	m, err := Load("maps/generic.yaml")
	if err != nil || m.App() != "generic" {
		t.Errorf("a path: %v", err)
	}
	if _, err := Load("testdata/mistakes.yaml"); err == nil || errors.Is(err, ErrUnknownMap) {
		t.Errorf("a file with mistakes: %v", err)
	}
}

// TestHidden: a rule that can never match is an error, one that can is not.
func TestHidden(t *testing.T) {
	for _, c := range []struct {
		first, second string
		hidden        bool
	}{
		{"path: /a", "path: /a", true},
		{"path: /**", "path: /a", true},
		{"path: /a/**", "path: /a", true},
		{"path: /a/**", "path: /a/b/**", true},
		{"path: /a/b/**", "path: /a/**", false},
		{`path: "/{x}"`, "path: /a", true},
		{`path: "/{x:number}"`, "path: /a", false},
		{`path: "/{x:number}"`, "path: /7", true},
		{`path: "/{x:t}"`, "path: /k", true},
		{`path: "/{x:t}"`, `path: "/{y:t}"`, true},
		{`path: "/{x:number}"`, `path: "/{y}"`, false},
		{"path: /a, query: {q: '1'}", "path: /a", false},
		{"path: /a", "path: /a, query: {q: '1'}", true},
		{"path: /a, query: {q: '1'}", "path: /a, query: {q: '1'}", true},
		{"path: /a, query: {q: '1'}", "path: /a, query: {q: '2'}", false},
	} {
		src := "app: x\ntables: {t: {k: v}}\nrules:\n"
		for i, match := range []string{c.first, c.second} {
			src += "- {id: r" + string(rune('1'+i)) + ", match: {method: [GET], " + match + "}, action: read, area: notes, no-patient: true}\n"
		}
		_, err := Parse("x.yaml", []byte(src))
		if hidden := err != nil && strings.Contains(err.Error(), "can never match"); hidden != c.hidden || err != nil && !hidden {
			t.Errorf("%s, then %s: %v", c.first, c.second, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	// Small seeds: the fuzzer minimises what it finds, which takes it minutes with
	// a whole map.
	const rule = "app: x\ntables: {t: {a: read}}\nrules:\n- {id: r, match: {method: [GET], path: \"/{k:t}/**\", query: {b: \"*\"}}, "
	f.Add([]byte("app: x\nrules: []\n"))
	f.Add([]byte(rule + "action: table:t[path:k], area: notes, patient: [{value: \"query:b\", many: true}]}\n"))
	f.Add([]byte(rule + "action: read, area: notes, response: {each: json:/, patient: [{value: \"json:/a\"}]}}\n"))
	f.Add([]byte(rule + "use: fhir.read, redact: [\"query:b\"], static: true}\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		m, err := Parse("fuzz.yaml", src)
		if (m == nil) == (err == nil) {
			t.Fatalf("neither a map nor an error: %v", err)
		}
		if m == nil {
			return
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://epr.example/a/1?b=2", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = Try(m, Exchange{Request: r, RequestBody: []byte(`{"a":1}`)})
	})
}

// FuzzClassify: any request yields an Access or an error, never a panic, and an
// Access that a rule yielded is complete enough to be decided.
func FuzzClassify(f *testing.F) {
	var maps []*Map
	for _, name := range Names() {
		m, err := Builtin(name)
		if err != nil {
			f.Fatal(err)
		}
		maps = append(maps, m)
	}
	f.Add("GET", "/Observation?patient=1", "", "", "")
	f.Add("POST", "/", "application/fhir+json", `{"resourceType":"Bundle","type":"transaction","entry":[{"fullUrl":"urn:uuid:1","request":{"method":"POST","url":"Patient"},"resource":{"resourceType":"Patient"}}]}`, `{"resourceType":"Bundle","entry":[{"response":{"status":"201","location":"Patient/1"}}]}`)
	f.Add("PATCH", "/Observation/1", "application/json-patch+json", `[{"op":"add","path":"/subject","value":{"reference":"Patient/1"}}]`, `{"resourceType":"Observation"}`)
	f.Add("POST", "/instances", "application/dicom", strings.Repeat("\x00", 128)+"DICM\x02\x00\x10\x00UI\x12\x001.2.840.10008.1.2\x00", "")
	f.Add("GET", "/instances/a1/file", "", "", strings.Repeat("\x00", 128)+"DICM")
	f.Add("POST", "/tools/find", "", "{}", `[{"MainDicomTags":{"PatientID":"1"}}]`)
	f.Fuzz(func(t *testing.T, method, target, contentType, body, answer string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://epr.example"+target, nil)
		if err != nil {
			return
		}
		r.Header.Set("Content-Type", contentType)
		for _, m := range maps {
			trial := Try(m, Exchange{
				Request: r, RequestBody: []byte(body), ResponseBody: []byte(answer),
				Response: &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {contentType}}, Request: r},
			})
			if a := trial.Access; trial.Refused == nil && a.Rule != "" && a.Certainty == "" {
				t.Fatalf("%s yields no certainty", a.Rule)
			}
		}
	})
}

func BenchmarkClassify(b *testing.B) {
	m, err := Builtin("fhir-r4")
	if err != nil {
		b.Fatal(err)
	}
	m = m.WithBase("/fhir")
	for _, target := range []string{"/fhir/Patient/p1", "/fhir/Observation?patient=p1&category=laboratory"} {
		b.Run(target, func(b *testing.B) {
			r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "https://epr.example"+target, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if a, err := m.Classify(r, nil); err != nil || a.Rule == "" {
					b.Fatal(a, err)
				}
			}
		})
	}
}
