package appmap

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
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
	members  []member
	from, to int // where it stands in what was read, braces included
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
// alone, text that is not UTF-8, lone surrogates in names, a byte order mark and
// anything after the text are refused. Values are *object, []any, string,
// json.Number, bool and nil. Errors say where, never what: the text holds patient
// data.
//
// It is written out since the tokens of encoding/json take several times as long,
// and every held answer goes through here.
func parseJSON(src []byte) (any, error) {
	if !utf8.Valid(src) {
		return nil, fmt.Errorf("not UTF-8: %w", errJSON)
	}
	p := jsonParser{src: string(src)}
	p.space()
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.pos < len(p.src) {
		return nil, fmt.Errorf("something follows the text: %w", errJSON)
	}
	return v, nil
}

// jsonParser reads one text. Strings are parts of src where they can be. What is
// below an object or array that is not complete yet is on a stack, so that each
// gets a slice of its own length.
type jsonParser struct {
	src     string
	pos     int
	nodes   int
	members []member
	values  []any
}

func (p *jsonParser) space() {
	for p.pos < len(p.src) {
		switch p.src[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

func (p *jsonParser) failed() error {
	return fmt.Errorf("no JSON at byte %d: %w", p.pos, errJSON)
}

// next skips space and takes a byte if it is c.
func (p *jsonParser) next(c byte) bool {
	p.space()
	if p.pos < len(p.src) && p.src[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

// value reads a value that starts at pos.
func (p *jsonParser) value(depth int) (any, error) {
	if p.nodes++; p.nodes > maxJSONNodes || depth > maxJSONDepth {
		return nil, fmt.Errorf("too deep or too large: %w", errJSON)
	}
	if p.pos >= len(p.src) {
		return nil, p.failed()
	}
	switch c := p.src[p.pos]; {
	case c == '"':
		return p.text()
	case c == '{':
		p.pos++
		return p.object(depth)
	case c == '[':
		p.pos++
		return p.array(depth)
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	switch rest := p.src[p.pos:]; {
	case strings.HasPrefix(rest, "true"):
		p.pos += 4
		return true, nil
	case strings.HasPrefix(rest, "false"):
		p.pos += 5
		return false, nil
	case strings.HasPrefix(rest, "null"):
		p.pos += 4
		return nil, nil
	}
	return nil, p.failed()
}

func (p *jsonParser) array(depth int) (any, error) {
	from := len(p.values)
	for more := !p.next(']'); more; {
		p.space()
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		p.values = append(p.values, v)
		if more = p.next(','); !more && !p.next(']') {
			return nil, p.failed()
		}
	}
	list := append([]any{}, p.values[from:]...)
	clear(p.values[from:])
	p.values = p.values[:from]
	return list, nil
}

func (p *jsonParser) object(depth int) (any, error) {
	from, at := len(p.members), p.pos-1
	for more := !p.next('}'); more; {
		name, err := p.name()
		if err != nil {
			return nil, err
		}
		if !p.next(':') {
			return nil, p.failed()
		}
		p.space()
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		p.members = append(p.members, member{name, v})
		if more = p.next(','); !more && !p.next('}') {
			return nil, p.failed()
		}
	}
	o := &object{append([]member(nil), p.members[from:]...), at, p.pos}
	clear(p.members[from:])
	p.members = p.members[:from]
	return o, o.unambiguous()
}

// name reads the name of a member.
func (p *jsonParser) name() (string, error) {
	if p.space(); p.pos >= len(p.src) || p.src[p.pos] != '"' {
		return "", p.failed()
	}
	if p.nodes++; p.nodes > maxJSONNodes {
		return "", fmt.Errorf("too deep or too large: %w", errJSON)
	}
	name, err := p.text()
	if err == nil && strings.ContainsAny(name, "\uFFFD\x00") {
		// U+FFFD stands in the place of a lone surrogate, and a NUL ends a name
		// for parsers written in C.
		err = fmt.Errorf("a name that has no one meaning: %w", errJSON)
	}
	return name, err
}

// text reads a string whose quote is at pos.
func (p *jsonParser) text() (string, error) {
	p.pos++
	from := p.pos
	for ; p.pos < len(p.src); p.pos++ {
		switch c := p.src[p.pos]; {
		case c == '"':
			p.pos++
			return p.src[from : p.pos-1], nil
		case c == '\\':
			return p.escaped(p.src[from:p.pos])
		case c < ' ':
			return "", p.failed()
		}
	}
	return "", p.failed()
}

// escaped reads the rest of a string from its first escape on.
func (p *jsonParser) escaped(before string) (string, error) {
	b := append(make([]byte, 0, len(before)+64), before...)
	for p.pos < len(p.src) {
		c := p.src[p.pos]
		switch {
		case c == '"':
			p.pos++
			return string(b), nil
		case c < ' ':
			return "", p.failed()
		case c != '\\':
			b = append(b, c)
			p.pos++
			continue
		}
		r, ok := p.escape()
		if !ok {
			return "", p.failed()
		}
		b = utf8.AppendRune(b, r)
	}
	return "", p.failed()
}

// escape reads one escape. A surrogate without its other half is U+FFFD.
func (p *jsonParser) escape() (rune, bool) {
	if p.pos+1 >= len(p.src) {
		return 0, false
	}
	c := p.src[p.pos+1]
	if c != 'u' {
		i := strings.IndexByte(`"\/bfnrt`, c)
		if i < 0 {
			return 0, false
		}
		p.pos += 2
		return rune("\"\\/\b\f\n\r\t"[i]), true
	}
	r, ok := hexEscape(p.src[p.pos:])
	if !ok {
		return 0, false
	}
	p.pos += 6
	if !utf16.IsSurrogate(r) {
		return r, true
	}
	if low, ok := hexEscape(p.src[p.pos:]); ok {
		if whole := utf16.DecodeRune(r, low); whole != utf8.RuneError {
			p.pos += 6
			return whole, true
		}
	}
	return utf8.RuneError, true
}

// hexEscape reads a backslash, a u and four digits.
func hexEscape(text string) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' || !only(text[2:6], "0123456789abcdefABCDEF") {
		return 0, false
	}
	n, err := strconv.ParseUint(text[2:6], 16, 16)
	return rune(n), err == nil
}

func (p *jsonParser) number() (any, error) {
	from := p.pos
	if p.src[p.pos] == '-' {
		p.pos++
	}
	zero := p.pos < len(p.src) && p.src[p.pos] == '0'
	if n := p.digits(); n == 0 || zero && n > 1 {
		return nil, p.failed()
	}
	if p.pos < len(p.src) && p.src[p.pos] == '.' {
		p.pos++
		if p.digits() == 0 {
			return nil, p.failed()
		}
	}
	if p.pos < len(p.src) && (p.src[p.pos] == 'e' || p.src[p.pos] == 'E') {
		p.pos++
		if p.pos < len(p.src) && (p.src[p.pos] == '+' || p.src[p.pos] == '-') {
			p.pos++
		}
		if p.digits() == 0 {
			return nil, p.failed()
		}
	}
	return json.Number(p.src[from:p.pos]), nil
}

// digits skips digits and says how many.
func (p *jsonParser) digits() int {
	from := p.pos
	for p.pos < len(p.src) && p.src[p.pos] >= '0' && p.src[p.pos] <= '9' {
		p.pos++
	}
	return p.pos - from
}

// unambiguous refuses two members that some parser takes for the same one, for
// then the gateway could read one patient and the application another (GW-05).
func (o *object) unambiguous() error {
	if len(o.members) <= 16 {
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
