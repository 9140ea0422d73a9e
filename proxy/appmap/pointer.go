package appmap

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// pointer is a JSON pointer (RFC 6901) in which a "*" stands for every element
// of an array or every member of an object, and "**" for any number of steps, none
// as well.
type pointer []string

// anyDepth is the step of a pointer that stands for any number of them.
const anyDepth = "**"

func parsePointer(text string) (pointer, error) {
	if text == "/" {
		return nil, nil // the document itself; RFC 6901 writes it "", which a map cannot
	}
	if !strings.HasPrefix(text, "/") {
		return nil, fmt.Errorf("%q is no JSON pointer: it must start with /", text)
	}
	parts := strings.Split(text[1:], "/")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(p, "~1", "/"), "~0", "~")
		if p == anyDepth && (i == len(parts)-1 || parts[i+1] == anyDepth) {
			return nil, fmt.Errorf("%q points to everything: write a name after **", text)
		}
	}
	return parts, nil
}

// nodes appends what the pointer finds below n.
func (p pointer) nodes(found []any, n any) []any {
	if len(p) == 0 {
		return append(found, n)
	}
	if p[0] == anyDepth {
		found = p[1:].nodes(found, n)
		for _, child := range children(n) {
			found = p.nodes(found, child)
		}
		return found
	}
	switch n := n.(type) {
	case *object:
		if p[0] == "*" {
			for _, m := range n.members {
				found = p[1:].nodes(found, m.value)
			}
			return found
		}
		if child, ok := n.get(p[0]); ok {
			return p[1:].nodes(found, child)
		}
	case []any:
		if p[0] == "*" {
			for _, child := range n {
				found = p[1:].nodes(found, child)
			}
			return found
		}
		if i, err := strconv.Atoi(p[0]); err == nil && i >= 0 && i < len(n) {
			return p[1:].nodes(found, n[i])
		}
	}
	return found
}

// leadsTo reports whether the pointer goes on into the member of this name, or into
// the element of this number of a list.
func (p pointer) leadsTo(list bool, name string, number int) bool {
	switch {
	case len(p) == 0:
		return false
	case p[0] == "*":
		return true
	case !list:
		return p[0] == name
	}
	i, err := strconv.Atoi(p[0])
	return err == nil && i == number
}

func children(n any) []any {
	switch n := n.(type) {
	case *object:
		all := make([]any, len(n.members))
		for i := range n.members {
			all[i] = n.members[i].value
		}
		return all
	case []any:
		return n
	}
	return nil
}

// texts appends the strings, numbers and truth values that the pointer finds.
func (p pointer) texts(found []string, n any) []string {
	for _, n := range p.nodes(nil, n) {
		if s, ok := scalarText(n); ok {
			found = append(found, s)
		}
	}
	return distinct(found)
}

func scalarText(n any) (string, bool) {
	switch n := n.(type) {
	case string:
		return n, n != ""
	case json.Number:
		return n.String(), true
	case bool:
		return strconv.FormatBool(n), true
	}
	return "", false
}
