package appmap

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/matron-epr/matron/proxy"
)

var update = flag.Bool("update", false, "rewrite what the corpus expects")

// TestCorpus takes every exchange of testdata/*.txtar through its map. An
// archive starts with lines "map: NAME" and "base: PATH"; its files are
// NAME.request, NAME.response if there was one, and NAME.want.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) { walkArchive(t, name) })
	}
}

func walkArchive(t *testing.T, name string) {
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
	archive := txtar.Parse(src)
	texts := map[string][]byte{}
	for _, f := range archive.Files {
		texts[f.Name] = f.Data
	}
	var out []txtar.File
	for _, f := range archive.Files {
		if strings.HasSuffix(f.Name, ".want") {
			continue
		}
		out = append(out, f)
		exchange, isRequest := strings.CutSuffix(f.Name, ".request")
		_, answered := texts[exchange+".response"]
		if isRequest && answered {
			continue
		}
		exchange = strings.TrimSuffix(exchange, ".response")
		got := outcome(t, m, texts[exchange+".request"], texts[exchange+".response"])
		if !*update {
			t.Run(exchange, func(t *testing.T) {
				if diff := cmp.Diff(string(texts[exchange+".want"]), got); diff != "" {
					t.Error(diff)
				}
			})
		}
		out = append(out, txtar.File{Name: exchange + ".want", Data: []byte(got)})
	}
	if *update {
		archive.Files = out
		if err := os.WriteFile(name, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func outcome(t *testing.T, m *Map, request, response []byte) string {
	t.Helper()
	e, err := readExchange(request, response)
	if err != nil {
		t.Fatal(err)
	}
	trial := Try(m, e)
	shown := struct {
		Access     *proxy.Access     `json:",omitempty"`
		Unmapped   string            `json:",omitempty"`
		Refused    string            `json:",omitempty"`
		Settlement *proxy.Settlement `json:",omitempty"`
		Withheld   string            `json:",omitempty"`
	}{}
	switch {
	case trial.Refused != nil:
		shown.Refused = trial.Refused.Error()
	case trial.Unmapped != nil:
		shown.Unmapped = trial.Unmapped.Error()
	default:
		shown.Access = &trial.Access
	}
	switch {
	case trial.Withheld != nil:
		shown.Withheld = trial.Withheld.Error()
	case trial.Settled:
		shown.Settlement = &trial.Settlement
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(prune(t, shown)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// prune leaves zero values out, so that an expectation shows what is there.
func prune(t *testing.T, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	return withoutZeros(tree)
}

func withoutZeros(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			if inner = withoutZeros(inner); inner == nil || inner == "" || inner == false || inner == 0.0 {
				delete(v, key)
				continue
			}
			v[key] = inner
		}
	case []any:
		for i := range v {
			v[i] = withoutZeros(v[i])
		}
	}
	return v
}
