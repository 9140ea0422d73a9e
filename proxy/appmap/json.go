package appmap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Bounds of a JSON text. The gateway bounds its size; these bound what reading
// it costs.
const (
	maxJSONDepth = 64
	maxJSONNodes = 2_000_000
)

// errJSON is wrapped by parseJSON's errors; readers turn it into ErrMalformed or
// ErrUnreadable.
var errJSON = errors.New("JSON that cannot be read in one way only")

// object is a JSON object whose members keep their order.
type object struct {
	members []member
}

type member struct {
	key   string
	value any
}

func (o *object) get(key string) (any, bool) {
	for i := range o.members {
		if o.members[i].key == key {
			return o.members[i].value, true
		}
	}
	return nil, false
}

// text returns a string member, "" when it is absent or no string.
func (o *object) text(key string) string {
	v, _ := o.get(key)
	s, _ := v.(string)
	return s
}

// list returns an array member, nil when it is absent or no array.
func (o *object) list(key string) []any {
	v, _ := o.get(key)
	l, _ := v.([]any)
	return l
}

func isList(v any) bool {
	_, ok := v.([]any)
	return ok
}

// child returns an object member, nil when it is absent or no object.
func (o *object) child(key string) *object {
	v, _ := o.get(key)
	c, _ := v.(*object)
	return c
}

// parseJSON reads one JSON text strictly, so that no other parser reads it
// differently where it matters: members whose names are equal or differ in case
// alone, text that is not UTF-8, lone surrogates, a byte order mark and anything
// after the text are refused. Values are *object, []any, string, json.Number,
// bool and nil.
func parseJSON(src []byte) (any, error) {
	if !utf8.Valid(src) {
		return nil, fmt.Errorf("not UTF-8: %w", errJSON)
	}
	p := jsonParser{dec: json.NewDecoder(bytes.NewReader(src))}
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

type jsonParser struct {
	dec   *json.Decoder
	nodes int
}

func (p *jsonParser) value(depth int) (any, error) {
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

func (p *jsonParser) array(depth int) (any, error) {
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

func (p *jsonParser) object(depth int) (any, error) {
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

func (p *jsonParser) end() error {
	if _, err := p.dec.Token(); err != nil {
		return fmt.Errorf("no JSON at byte %d: %w", p.dec.InputOffset(), errJSON)
	}
	return nil
}

// unambiguous refuses two members that some parser takes for the same one, for
// then the gateway could read one patient and the application another (GW-05).
func (o *object) unambiguous() error {
	if len(o.members) <= 8 {
		return o.unambiguousFew()
	}
	seen := make(map[string]struct{}, len(o.members))
	for i := range o.members {
		// Upper case first, since U+017F has an upper case S and no lower case of its own.
		folded := strings.ToLower(strings.ToUpper(o.members[i].key))
		if _, twice := seen[folded]; twice {
			return errTwice()
		}
		seen[folded] = struct{}{}
	}
	return nil
}

func (o *object) unambiguousFew() error {
	for i := range o.members {
		for _, later := range o.members[i+1:] {
			if strings.EqualFold(o.members[i].key, later.key) {
				return errTwice()
			}
		}
	}
	return nil
}

func errTwice() error { return fmt.Errorf("a member is given twice: %w", errJSON) }
