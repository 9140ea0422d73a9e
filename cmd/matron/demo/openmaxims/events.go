package openmaxims

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"regexp"
	"strings"
)

// event is one element of a request: what the user did.
type event struct {
	name     string
	attrs    map[string]string
	text     string
	children []event
}

// control is the event's control id, whose first character the original drops.
func (e event) control() string {
	id := e.attrs["id"]
	if len(id) < 2 {
		return ""
	}
	return id[1:]
}

// value is what the event puts into its control.
func (e event) value() string {
	for _, name := range []string{"value", "selection", "checked"} {
		if v, ok := e.attrs[name]; ok {
			return v
		}
	}
	if year := e.attrs["year"]; year != "" {
		return e.attrs["day"] + "/" + e.attrs["month"] + "/" + year
	}
	return strings.TrimSpace(e.text)
}

var (
	errNoRoot    = errors.New("the root element is missing")
	errExpansion = errors.New("entities grow too large")
)

// maxExpansion bounds what entities may grow to: the original falls over, a
// demonstration need not take its machine along.
const maxExpansion = 4 << 20

// stripIllegal deletes the characters that XML 1.0 does not allow, before
// parsing as the original does: what a filter saw broken becomes whole.
func stripIllegal(body []byte) []byte {
	return bytes.Map(func(c rune) rune {
		legal := c == '\t' || c == '\n' || c == '\r' || c >= 0x20 && c <= 0xD7FF || c >= 0xE000 && c <= 0xFFFD || c >= 0x10000
		if !legal {
			return -1
		}
		return c
	}, body)
}

// parse reads a document as the original's parser does: with DOCTYPE, internal
// entities and external ones, which it fetches from files.
func parse(body []byte, files fs.FS) (event, error) {
	d := xml.NewDecoder(bytes.NewReader(stripIllegal(body))) //nolint:gosec // what it accepts is the weakness shown (S8)
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	var stack []*event
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return event{}, errNoRoot
		}
		if err != nil {
			return event{}, fmt.Errorf("parse document: %w", err)
		}
		switch token := token.(type) {
		case xml.Directive:
			if d.Entity, err = entities(string(token), files); err != nil {
				return event{}, err
			}
		case xml.StartElement:
			e := &event{name: token.Name.Local, attrs: map[string]string{}}
			for _, a := range token.Attr {
				e.attrs[a.Name.Local] = a.Value
			}
			stack = append(stack, e)
		case xml.CharData:
			if len(stack) > 0 {
				stack[len(stack)-1].text += string(token)
			}
		case xml.EndElement:
			last := stack[len(stack)-1]
			if len(stack) == 1 {
				return *last, nil
			}
			stack = stack[:len(stack)-1]
			stack[len(stack)-1].children = append(stack[len(stack)-1].children, *last)
		}
	}
}

// entities reads the declarations of a document type.
func entities(doctype string, files fs.FS) (map[string]string, error) {
	declared := regexp.MustCompile(`<!ENTITY\s+(\S+)\s+(SYSTEM\s+)?(?:"([^"]*)"|'([^']*)')\s*>`)
	out := map[string]string{}
	for _, m := range declared.FindAllStringSubmatch(doctype, -1) {
		value := m[3] + m[4]
		if m[2] != "" {
			value = external(value, files)
		}
		expanded, err := expand(value, out)
		if err != nil {
			return nil, err
		}
		out[m[1]] = expanded
	}
	return out, nil
}

// expand puts entities that were declared before into the value of a later one.
func expand(value string, declared map[string]string) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(value, "&")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name, after, closed := strings.Cut(rest, ";")
		inner, known := declared[name]
		if !closed || !known {
			out.WriteString("&")
			value = rest
			continue
		}
		if out.WriteString(inner); out.Len() > maxExpansion {
			return "", errExpansion
		}
		value = after
	}
}

// external is what an external entity refers to. The emulated file system stands
// for the server's; nothing else is ever read.
func external(system string, files fs.FS) string {
	u, err := url.Parse(system)
	if err != nil || files == nil || u.Scheme != "file" && u.Scheme != "" {
		return ""
	}
	data, err := fs.ReadFile(files, strings.TrimPrefix(u.Path, "/"))
	if err != nil {
		return ""
	}
	return string(data)
}
