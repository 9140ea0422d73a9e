package openmaxims

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"unicode/utf8"
)

// ErrXML is what the errors of reading a document wrap. They quote nothing of it.
var ErrXML = errors.New("not XML of the kind that this protocol uses")

// Bounds of a document; one that exceeds them is refused.
const (
	maxDepth    = 64
	maxNodes    = 1 << 19
	maxAttrs    = 64 // of one element
	maxAllAttrs = 1 << 20
	maxNameSize = 128
)

func malformed(why string) error { return fmt.Errorf("%s: %w", why, ErrXML) }

// document is a parsed document. Its texts alias the bytes it was made of where
// nothing had to be replaced. Node 0 is the root.
type document struct {
	nodes []node
	attrs []attribute
}

// node is an element. first and next are indices of nodes, 0 for none: the root
// is nobody's child.
type node struct {
	name        []byte // without prefix
	text        []byte // character data directly within, joined
	first, next int
	attrs       [2]int // range in document.attrs
}

type attribute struct{ name, value []byte }

// parser reads XML 1.0 of one kind: UTF-8, no document type, no processing
// instructions, no entities but the five predefined ones, ASCII names. Everything
// that two parsers could read in two ways is an error, and so is every character
// that the application would take out before it parses (hazard GW-08).
type parser struct {
	src  []byte
	at   int
	doc  *document
	open []int // elements that are not closed
	full [][]byte
	last []int // last child of each open element, 0 for none
}

// keptNodes is the size of the largest document whose room is used again.
const keptNodes = 1 << 14

// parse reads a whole document.
func parse(src []byte) (*document, error) { return parseInto(&document{}, src) }

// parse reads a document into room that release gives back.
func (t *Tables) parse(src []byte) (*document, error) {
	d, ok := t.room.Get().(*document)
	if !ok {
		d = &document{}
	}
	got, err := parseInto(d, src)
	if err != nil {
		t.release(d)
	}
	return got, err
}

// release gives the room of a document back, with nothing of anybody's in it.
func (t *Tables) release(d *document) {
	if cap(d.nodes) > keptNodes || cap(d.attrs) > 4*keptNodes {
		return
	}
	clear(d.nodes)
	clear(d.attrs)
	d.nodes, d.attrs = d.nodes[:0], d.attrs[:0]
	t.room.Put(d)
}

func parseInto(d *document, src []byte) (*document, error) {
	if err := legal(src); err != nil {
		return nil, err
	}
	d.nodes = slices.Grow(d.nodes, min(bytes.Count(src, []byte("<"))-bytes.Count(src, []byte("</")), keptNodes))
	d.attrs = slices.Grow(d.attrs, min(bytes.Count(src, []byte(`="`)), keptNodes))
	p := &parser{src: src, doc: d}
	if err := p.declaration(); err != nil {
		return nil, err
	}
	for p.at < len(src) {
		if err := p.step(); err != nil {
			return nil, err
		}
	}
	if len(p.open) > 0 || len(p.doc.nodes) == 0 {
		return nil, malformed("an element is not closed, or there is none")
	}
	return p.doc, nil
}

// legal reports whether every character is one of XML 1.0 (production 2).
func legal(src []byte) error {
	if !utf8.Valid(src) {
		return malformed("not UTF-8")
	}
	for i, c := range src {
		switch {
		case c < 0x20 && c != '\t' && c != '\n' && c != '\r':
			return malformed("a character that XML does not have")
		case c == 0xEF && i+2 < len(src) && src[i+1] == 0xBF && src[i+2] >= 0xBE: // U+FFFE, U+FFFF
			return malformed("a character that XML does not have")
		}
	}
	return nil
}

// declaration reads <?xml version="1.0" encoding="utf-8"?>, which may be absent.
func (p *parser) declaration() error {
	rest, ok := bytes.CutPrefix(p.src, []byte("<?xml"))
	if !ok {
		return nil
	}
	inside, _, ok := bytes.Cut(rest, []byte("?>"))
	if !ok || len(inside) == 0 || !space(inside[0]) {
		return malformed("the XML declaration is not closed")
	}
	words := bytes.Fields(bytes.ReplaceAll(inside, []byte("'"), []byte(`"`)))
	said := string(bytes.ToLower(bytes.Join(words, []byte(" "))))
	for _, known := range [...]string{"", ` encoding="utf-8"`} {
		for _, alone := range [...]string{"", ` standalone="yes"`, ` standalone="no"`} {
			if said == `version="1.0"`+known+alone {
				p.at = len("<?xml") + len(inside) + len("?>")
				return nil
			}
		}
	}
	return malformed("an XML declaration of another version or encoding")
}

// step reads one piece: a tag, a comment, a CDATA section or text.
func (p *parser) step() error {
	rest := p.src[p.at:]
	if rest[0] != '<' {
		end := bytes.IndexByte(rest, '<')
		if end < 0 {
			end = len(rest)
		}
		p.at += end
		return p.chars(rest[:end])
	}
	switch {
	case bytes.HasPrefix(rest, []byte("</")):
		return p.closing()
	case bytes.HasPrefix(rest, []byte("<!--")):
		inside, _, ok := bytes.Cut(rest[4:], []byte("--"))
		if !ok || !bytes.HasPrefix(rest[4+len(inside):], []byte("-->")) {
			return malformed("a comment is not closed")
		}
		p.at += 4 + len(inside) + 3
		return nil
	case bytes.HasPrefix(rest, []byte("<![CDATA[")) && len(p.open) > 0:
		inside, _, ok := bytes.Cut(rest[9:], []byte("]]>"))
		if !ok {
			return malformed("a CDATA section is not closed")
		}
		p.at += 9 + len(inside) + 3
		p.add(newlines(inside))
		return nil
	case bytes.HasPrefix(rest, []byte("<!")), bytes.HasPrefix(rest, []byte("<?")):
		return malformed("a document type, a declaration or a processing instruction")
	}
	return p.opening()
}

// chars takes character data; outside the root there may be white space only.
func (p *parser) chars(raw []byte) error {
	if len(p.open) == 0 {
		if len(bytes.Trim(raw, " \t\r\n")) > 0 {
			return malformed("text outside the root element")
		}
		return nil
	}
	if bytes.Contains(raw, []byte("]]>")) {
		return malformed("the end of a CDATA section without its start")
	}
	text, err := replaced(newlines(raw))
	if err != nil {
		return err
	}
	p.add(text)
	return nil
}

func (p *parser) add(text []byte) {
	n := &p.doc.nodes[p.open[len(p.open)-1]]
	if len(n.text) == 0 {
		n.text = text
		return
	}
	n.text = append(slices.Clip(n.text), text...)
}

// opening reads a start tag or an empty element.
func (p *parser) opening() error {
	d := p.doc
	if len(p.open) == 0 && len(d.nodes) > 0 {
		return malformed("a second root element")
	}
	if len(p.open) >= maxDepth || len(d.nodes) >= maxNodes {
		return malformed("nested too deeply, or too many elements")
	}
	p.at++
	full, local, err := p.name()
	if err != nil {
		return err
	}
	id := len(d.nodes)
	d.nodes = append(d.nodes, node{name: local, attrs: [2]int{len(d.attrs), len(d.attrs)}})
	if n := len(p.open); n > 0 {
		if before := p.last[n-1]; before > 0 {
			d.nodes[before].next = id
		} else {
			d.nodes[p.open[n-1]].first = id
		}
		p.last[n-1] = id
	}
	empty, err := p.attributes(id)
	if err != nil {
		return err
	}
	if !empty {
		p.open, p.full, p.last = append(p.open, id), append(p.full, full), append(p.last, 0)
	}
	return nil
}

// attributes reads up to the end of a start tag.
func (p *parser) attributes(id int) (empty bool, err error) {
	d := p.doc
	for {
		spaced := p.skip()
		switch {
		case p.at >= len(p.src):
			return false, malformed("a tag is not closed")
		case p.src[p.at] == '>':
			p.at++
			return false, nil
		case p.src[p.at] == '/':
			if p.at+1 >= len(p.src) || p.src[p.at+1] != '>' {
				return false, malformed("a tag is not closed")
			}
			p.at += 2
			return true, nil
		case !spaced:
			return false, malformed("no space before an attribute")
		}
		full, local, err := p.name()
		if err != nil {
			return false, err
		}
		value, err := p.value()
		if err != nil {
			return false, err
		}
		if bytes.HasPrefix(full, []byte("xmlns")) {
			continue
		}
		from := d.nodes[id].attrs[0]
		if len(d.attrs)-from >= maxAttrs || len(d.attrs) >= maxAllAttrs {
			return false, malformed("too many attributes")
		}
		for _, a := range d.attrs[from:] {
			if bytes.Equal(a.name, local) {
				return false, malformed("an attribute is there twice")
			}
		}
		d.attrs = append(d.attrs, attribute{local, value})
		d.nodes[id].attrs[1] = len(d.attrs)
	}
}

// value reads ="..." of an attribute.
func (p *parser) value() ([]byte, error) {
	p.skip()
	if p.at >= len(p.src) || p.src[p.at] != '=' {
		return nil, malformed("an attribute without a value")
	}
	p.at++
	p.skip()
	if p.at >= len(p.src) || p.src[p.at] != '"' && p.src[p.at] != '\'' {
		return nil, malformed("the value of an attribute is not quoted")
	}
	quote := p.src[p.at]
	p.at++
	end := bytes.IndexByte(p.src[p.at:], quote)
	if end < 0 {
		return nil, malformed("the value of an attribute is not closed")
	}
	raw := p.src[p.at : p.at+end]
	p.at += end + 1
	if bytes.IndexByte(raw, '<') >= 0 {
		return nil, malformed("a tag within the value of an attribute")
	}
	return replaced(spaces(raw))
}

// closing reads an end tag.
func (p *parser) closing() error {
	p.at += 2
	full, _, err := p.name()
	if err != nil {
		return err
	}
	p.skip()
	n := len(p.open)
	if n == 0 || !bytes.Equal(full, p.full[n-1]) || p.at >= len(p.src) || p.src[p.at] != '>' {
		return malformed("an end tag does not fit")
	}
	p.at++
	p.open, p.full, p.last = p.open[:n-1], p.full[:n-1], p.last[:n-1]
	return nil
}

// name reads a name, with and without its prefix.
func (p *parser) name() (full, local []byte, err error) {
	start, colon := p.at, -1
	for ; p.at < len(p.src); p.at++ {
		c := p.src[p.at]
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z', c == '_':
			continue
		case ('0' <= c && c <= '9' || c == '-' || c == '.') && p.at > start && p.at != colon+1:
			continue
		case c == ':' && colon < 0 && p.at > start:
			colon = p.at
			continue
		}
		break
	}
	full = p.src[start:p.at]
	local = full
	if colon >= 0 {
		local = p.src[colon+1 : p.at]
	}
	if len(local) == 0 || len(full) > maxNameSize {
		return nil, nil, malformed("a name that is none")
	}
	return full, local, nil
}

// skip goes over white space and reports whether there was any.
func (p *parser) skip() bool {
	from := p.at
	for p.at < len(p.src) && space(p.src[p.at]) {
		p.at++
	}
	return p.at > from
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// newlines is text with ends of lines as XML 1.0, section 2.11, wants them.
func newlines(raw []byte) []byte {
	if bytes.IndexByte(raw, '\r') < 0 {
		return raw
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
}

// spaces is the value of an attribute as XML 1.0, section 3.3.3, wants it.
func spaces(raw []byte) []byte {
	if !bytes.ContainsAny(raw, "\t\n\r") {
		return raw
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(newlines(raw), []byte("\n"), []byte(" ")), []byte("\t"), []byte(" "))
}

// replaced is text with its references replaced.
func replaced(raw []byte) ([]byte, error) {
	if bytes.IndexByte(raw, '&') < 0 {
		return raw, nil
	}
	out := make([]byte, 0, len(raw))
	for {
		before, rest, found := bytes.Cut(raw, []byte("&"))
		out = append(out, before...)
		if !found {
			return out, nil
		}
		end := bytes.IndexByte(rest, ';')
		if end < 1 || end > 10 {
			return nil, malformed("a reference to an entity that is not predefined")
		}
		c, ok := reference(string(rest[:end]))
		if !ok {
			return nil, malformed("a reference to an entity that is not predefined")
		}
		out, raw = utf8.AppendRune(out, c), rest[end+1:]
	}
}

func reference(name string) (rune, bool) {
	switch name {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	if name[0] != '#' || len(name) < 2 {
		return 0, false
	}
	digits, base := name[1:], 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || n > utf8.MaxRune || !utf8.ValidRune(rune(n)) || n < 0x20 && n != 9 && n != 10 && n != 13 || n == 0xFFFE || n == 0xFFFF {
		return 0, false
	}
	return rune(n), true
}

// children are the elements directly within one.
func (d *document) children(of int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := d.nodes[of].first; i > 0; i = d.nodes[i].next {
			if !yield(i) {
				return
			}
		}
	}
}

// child is the first element of that name directly within one, 0 for none.
func (d *document) child(of int, name string) int {
	for i := range d.children(of) {
		if d.is(i, name) {
			return i
		}
	}
	return 0
}

func (d *document) is(i int, name string) bool { return string(d.nodes[i].name) == name }

func (d *document) text(i int) string { return string(bytes.Trim(d.nodes[i].text, " \t\r\n")) }

// attr is the value of an attribute, "" when it is absent.
func (d *document) attr(i int, name string) string {
	n := &d.nodes[i]
	for _, a := range d.attrs[n.attrs[0]:n.attrs[1]] {
		if string(a.name) == name {
			return string(a.value)
		}
	}
	return ""
}

// within calls do for every element below one, in document order.
func (d *document) within(of int, do func(int)) {
	for i := range d.children(of) {
		do(i)
		d.within(i, do)
	}
}
