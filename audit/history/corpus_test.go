package history_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/tools/txtar"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/history"
)

var update = flag.Bool("update", false, "write golden files")

// memory is a store that checks what an engine is promised: no row twice, and
// no two blocks under one token.
type memory struct {
	t      testing.TB
	rows   []audit.Imported
	tokens []string
}

func (m *memory) FindImported(_ context.Context, rows []audit.Imported) ([]audit.Imported, error) {
	var found []audit.Imported
	for _, r := range m.rows {
		if slices.ContainsFunc(rows, func(w audit.Imported) bool { return w.Key == r.Key }) {
			found = append(found, r)
		}
	}
	return found, nil
}

func (m *memory) InsertImported(_ context.Context, token string, rows []audit.Imported) error {
	if slices.Contains(m.tokens, token) {
		m.t.Errorf("token %s twice", token)
	}
	m.tokens = append(m.tokens, token)
	for _, row := range rows {
		for _, old := range m.rows {
			if old.Source == row.Source && old.ID == row.ID && old.Patient == row.Patient {
				m.t.Errorf("%s, patient %s, twice", row.ID, row.Patient)
			}
		}
		m.rows = append(m.rows, row)
	}
	return nil
}

// TestCorpus imports each file of testdata and compares everything that comes
// of it with what stands there.
func TestCorpus(t *testing.T) {
	for _, c := range []struct {
		file   string
		format history.Format
	}{{"accesses", history.Accesses}, {"fhir", history.FHIR}, {"csv", history.CSV}} {
		t.Run(c.file, func(t *testing.T) {
			path := "testdata/" + c.file + ".txtar"
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			input := corpus(ar)
			store := &memory{t: t}
			s, rejects, err := run(t.Context(), t, store, strings.NewReader(input), func(c *history.Config) { c.Mapping = mapping(t, ar) })
			if err != nil {
				t.Fatal(err)
			}
			if s.Format != c.format {
				t.Errorf("taken for %s", s.Format)
			}
			got := map[string]string{"rows": jsonLines(t, store.rows, true), "rejects": jsonLines(t, rejects, false), "summary": jsonLines(t, []history.Summary{s}, false)}
			if *update {
				ar.Files = slices.DeleteFunc(ar.Files, func(f txtar.File) bool { return got[f.Name] != "" })
				for _, name := range slices.Sorted(maps.Keys(got)) {
					ar.Files = append(ar.Files, txtar.File{Name: name, Data: []byte(got[name])})
				}
				if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for name, text := range got {
				if diff := cmp.Diff(section(ar, name), text); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
			kept := strings.ToLower(got["rows"])
			for _, clear := range []string{"999000", "sampleton", "testy", "960001", "nurse test"} {
				if strings.Contains(kept, clear) {
					t.Errorf("%q is kept in clear", clear)
				}
			}
		})
	}
}

// corpus is the input without its remarks.
func corpus(ar *txtar.Archive) string {
	var b strings.Builder
	for l := range strings.Lines(section(ar, "input")) {
		if !strings.HasPrefix(l, "#") {
			b.WriteString(l)
		}
	}
	return b.String()
}

func section(ar *txtar.Archive, name string) string {
	for _, f := range ar.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func mapping(t *testing.T, ar *txtar.Archive) *history.Mapping {
	t.Helper()
	text := section(ar, "mapping")
	if text == "" {
		return nil
	}
	m := new(history.Mapping)
	if err := yaml.UnmarshalWithOptions([]byte(text), m, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if ps := m.Validate(); len(ps) > 0 {
		t.Fatal(ps)
	}
	return m
}

// jsonLines is one object a line, without what is not known.
func jsonLines[T any](t *testing.T, list []T, short bool) string {
	t.Helper()
	var b strings.Builder
	for _, v := range list {
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if short {
			var all map[string]any
			if err := json.Unmarshal(out, &all); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"Content", "Key", "Batch", "Origin", "File", "At", "By", "Site"} {
				delete(all, name)
			}
			maps.DeleteFunc(all, func(_ string, v any) bool { return v == "" || v == 0.0 || v == false })
			if out, err = json.Marshal(all); err != nil {
				t.Fatal(err)
			}
		}
		text := string(out)
		if len(text) > 1200 {
			text = text[:1200] + "..."
		}
		fmt.Fprintln(&b, text)
	}
	return b.String()
}

// TestSchemaSaysTheSame: the published schema and the reader agree on every line
// of the corpus, but for what a schema cannot say.
func TestSchemaSaysTheSame(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/accesses.txtar")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(history.Schema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("accesses.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("accesses.json")
	if err != nil {
		t.Fatal(err)
	}
	parser := history.NewParser(history.ParserConfig{Site: "RBA", Hasher: hasher(t), Now: now()})
	good, bad := 0, 0
	for text := range strings.Lines(corpus(ar)) {
		_, _, refused := parser.ParseAccess(nil, []byte(strings.TrimSpace(text)))
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err == nil {
			err = schema.Validate(value)
		}
		beyond := refused != nil && slices.ContainsFunc([]string{"before 1980", "in the future", "not a valid NHS number", "the same field twice"},
			func(reason string) bool { return strings.Contains(refused.Error(), reason) })
		if (err == nil) != (refused == nil) && !beyond {
			t.Errorf("%.200s\nschema: %v\nreader: %v", text, err, refused)
		}
		if refused == nil {
			good++
		} else {
			bad++
		}
	}
	if good < 8 || bad < 30 {
		t.Errorf("%d good and %d bad lines: the corpus has shrunk", good, bad)
	}
}
