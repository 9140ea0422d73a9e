package appmap

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("map.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("map.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func instance(t *testing.T, src []byte) any {
	t.Helper()
	text, err := yaml.YAMLToJSON(src)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestEveryMapFitsTheSchema(t *testing.T) {
	s := compiledSchema(t)
	files := []string{"testdata/wardbook.yaml", "../../cmd/matron/demo/pages-map.yaml"}
	for _, name := range Names() {
		files = append(files, "maps/"+name+".yaml")
	}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(instance(t, src)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemaRejectsTheMistakes: of the mistakes that Parse finds, the schema
// finds each that does not depend on another place in the file.
func TestSchemaRejectsTheMistakes(t *testing.T) {
	src, err := os.ReadFile("testdata/mistakes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var failed *jsonschema.ValidationError
	if err := compiledSchema(t).Validate(instance(t, src)); !errors.As(err, &failed) {
		t.Fatalf("got %v", err)
	}
	places := map[string]bool{}
	gather(failed, places)
	want := []string{
		"/", "/deny", "/redact/0", "/redact/1", "/rules/0/action", "/rules/0/area", "/rules/0/match/method/0",
		"/rules/0/match/path", "/rules/1/action", "/rules/1/patient/0/value", "/rules/2/match/path",
		"/rules/3/patient/0/system", "/rules/3/response/each", "/rules/3/response/patient/0/value",
		"/rules/4", "/rules/4/limit", "/rules/4/match", "/rules/4/patient/0/value", "/rules/4/use", "/rules/6/deliberate",
		"name query:x", "name uid",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(places))); diff != "" {
		t.Error(diff)
	}
}

// gather notes where the innermost causes are.
func gather(e *jsonschema.ValidationError, places map[string]bool) {
	if k, ok := e.ErrorKind.(*kind.PropertyNames); ok {
		places["name "+k.Property] = true
		return
	}
	for _, c := range e.Causes {
		gather(c, places)
	}
	if len(e.Causes) == 0 {
		places["/"+strings.Join(e.InstanceLocation, "/")] = true
	}
}

// TestSchemaKnowsEverySetting: a setting that the format gains is in the schema.
func TestSchemaKnowsEverySetting(t *testing.T) {
	compareSettings(t, Schema(), reflect.TypeFor[file]())
	var s struct {
		Properties struct {
			Rules struct {
				Items struct {
					Properties struct{ Use struct{ Enum []string } }
				}
			}
		}
	}
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(extractorNames(), s.Properties.Rules.Items.Properties.Use.Enum); diff != "" {
		t.Error(diff)
	}
}

func compareSettings(t *testing.T, schema []byte, of reflect.Type) {
	t.Helper()
	var s struct {
		Properties map[string]json.RawMessage
		Items      json.RawMessage
	}
	if err := json.Unmarshal(schema, &s); err != nil {
		t.Fatal(err)
	}
	if s.Items != nil {
		compareSettings(t, s.Items, of)
		return
	}
	var names []string
	for i := range of.NumField() {
		f := of.Field(i)
		name := f.Tag.Get("yaml")
		names = append(names, name)
		inner := f.Type
		for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && s.Properties[name] != nil {
			compareSettings(t, s.Properties[name], inner)
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, slices.Sorted(maps.Keys(s.Properties))); diff != "" {
		t.Errorf("%s: %s", of, diff)
	}
}
