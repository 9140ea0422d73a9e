package rego_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/policy/rego"
)

var update = flag.Bool("update", false, "rewrite the answers of the corpus")

// Each archive of the corpus is a question and the answers to it: as asked, and
// with each fact missing and garbled in turn.
// hazard:GW-23 control:C-185
func TestCorpus(t *testing.T) {
	e := newEngine(t, rego.Config{})
	files, err := filepath.Glob("../testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := answers(t, e, readQuestion(t, archive.Files[0].Data))
			if *update {
				archive.Files[1].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func readQuestion(t *testing.T, data []byte) policy.Request {
	t.Helper()
	var q policy.Request
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		t.Fatal(err)
	}
	return q
}

func answers(t *testing.T, e *rego.Engine, q policy.Request) string {
	t.Helper()
	var out strings.Builder
	fmt.Fprintf(&out, "as asked: %s\n", short(e.Decide(t.Context(), q)))
	for _, how := range []string{"without", "garbled"} {
		for _, fact := range factNames() {
			varied := q
			vary(reflect.ValueOf(&varied).Elem(), fact, how)
			fmt.Fprintf(&out, "%s %s: %s\n", how, fact, short(e.Decide(t.Context(), varied)))
		}
	}
	return out.String()
}

func short(d policy.Decision) string {
	words := []string{d.Effect.String()}
	for _, r := range d.Reasons {
		words = append(words, r.Code)
	}
	return strings.Join(words, " ")
}

// factNames lists every field of a question.
func factNames() []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[policy.Request]()) {
		if f.Type.Kind() != reflect.Struct || f.Type == reflect.TypeFor[time.Time]() {
			names = append(names, f.Name)
			continue
		}
		for _, s := range reflect.VisibleFields(f.Type) {
			names = append(names, f.Name+"."+s.Name)
		}
	}
	return names
}

// vary takes a fact away or puts nonsense in its place.
func vary(q reflect.Value, fact, how string) {
	v := q
	for name := range strings.SplitSeq(fact, ".") {
		v = v.FieldByName(name)
	}
	if how == "without" {
		v.SetZero()
		return
	}
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)))
	case []string:
		v.Set(reflect.ValueOf([]string{"", "\x00garbled", "\xff"}))
	case [][]string:
		v.Set(reflect.ValueOf([][]string{nil, {"", "\x00garbled", "\xff"}}))
	case bool:
		v.SetBool(!v.Bool())
	case int:
		v.SetInt(-7)
	default:
		v.SetString("\x00garbled\xff")
	}
}
