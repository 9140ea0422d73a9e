package appmap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// slowJSON is what parseJSON does, by the tokens of encoding/json.
func slowJSON(src []byte) (any, error) {
	if !utf8.Valid(src) {
		return nil, fmt.Errorf("not UTF-8: %w", errJSON)
	}
	p := tokenParser{dec: json.NewDecoder(bytes.NewReader(src))}
	p.dec.UseNumber()
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("something follows the text: %w", errJSON)
	}
	return v, nil
}

type tokenParser struct {
	dec   *json.Decoder
	nodes int
}

func (p *tokenParser) value(depth int) (any, error) {
	t, err := p.dec.Token()
	if err != nil {
		// The decoder's own message may quote the text, which holds patient data.
		return nil, fmt.Errorf("no JSON at byte %d: %w", p.dec.InputOffset(), errJSON)
	}
	if p.nodes++; p.nodes > maxJSONNodes || depth > maxJSONDepth {
		return nil, fmt.Errorf("too deep or too large: %w", errJSON)
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return p.object(depth)
		}
		return p.array(depth)
	default:
		return t, nil
	}
}

func (p *tokenParser) array(depth int) (any, error) {
	list := []any{}
	for p.dec.More() {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, p.end()
}

func (p *tokenParser) object(depth int) (any, error) {
	o := &object{}
	for p.dec.More() {
		key, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok || strings.ContainsAny(name, "\uFFFD\x00") {
			// U+FFFD stands in the place of a lone surrogate, and a NUL ends a name
			// for parsers written in C.
			return nil, fmt.Errorf("a name that has no one meaning: %w", errJSON)
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		o.members = append(o.members, member{name, v})
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	return o, o.unambiguous()
}

func (p *tokenParser) end() error {
	if _, err := p.dec.Token(); err != nil {
		return fmt.Errorf("no JSON at byte %d: %w", p.dec.InputOffset(), errJSON)
	}
	return nil
}

// TestJSONIsWhatEncodingJSONReads compares on every body of the corpora.
func TestJSONIsWhatEncodingJSONReads(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range txtar.Parse(src).Files {
			_, body := cutMessage(f.Data)
			sameJSON(t, body)
			n++
		}
	}
	if n < 300 {
		t.Errorf("%d bodies", n)
	}
}

// placeless takes off JSON where it stood.
func placeless(v any) any {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			placeless(e)
		}
	case *object:
		v.from, v.to = 0, 0
		for _, m := range v.members {
			placeless(m.value)
		}
	}
	return v
}

func sameJSON(t *testing.T, src []byte) {
	t.Helper()
	want, wantErr := slowJSON(src)
	got, err := parseJSON(src)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%q: %v, encoding/json: %v", src, err, wantErr)
	}
	if err == nil && !cmp.Equal(want, placeless(got), cmp.AllowUnexported(object{}, member{})) {
		t.Fatalf("%q: %s", src, cmp.Diff(want, got, cmp.AllowUnexported(object{}, member{})))
	}
	if err != nil && !errors.Is(err, errJSON) {
		t.Fatalf("%q: %v is no errJSON", src, err)
	}
}

func FuzzJSON(f *testing.F) {
	for _, src := range []string{
		`{"a":[1,-0.5e+7,true,false,null,"x"]}`, `"\ud83d\ude00\ud800\u0000\n\/"`, `[1,]`, `{"a":1,"A":2}`, `01`, `-`, `1.`, `1e`,
		"\"\x01\"", `"\u12"`, `{"a" : { } , "b" : [ ] }`, `[[[]]]`, `nul`, `truefalse`, "\uFEFF{}", `{"\ud800":1}`,
	} {
		f.Add([]byte(src))
	}
	f.Fuzz(func(t *testing.T, src []byte) { sameJSON(t, src) })
}
