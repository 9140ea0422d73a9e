// Package strictyaml decodes YAML files that people write by hand, and reports
// every mistake at once with file, line and column.
//
// It never guesses: an unknown setting, a wrong type, a duplicate key, an anchor
// or a second document is a problem. It is safe for concurrent use.
package strictyaml

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Problem is one mistake and where it stands.
type Problem struct {
	File         string `json:"file"`
	Line, Column int    // from 1; 0 when the setting is absent from the file
	Path         string `json:"path"` // for example applications[0].map
	Text         string `json:"text"` // what is wrong and what to do
}

// String returns file:line:column: path: text, as editors understand it.
func (p Problem) String() string {
	place := p.File
	if p.Line > 0 {
		place = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
	if p.Path == "" {
		return place + ": " + p.Text
	}
	return place + ": " + p.Path + ": " + p.Text
}

// Problems is every mistake of one file, in the order of the file.
type Problems []Problem

// Error returns one line per problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Document remembers where each setting stands, for problems that only a later
// check can see.
type Document struct {
	file     string
	places   map[string]place
	problems Problems
}

type place struct{ line, column int }

// Decode reads one YAML document into v, a pointer to a struct whose yaml tags
// name every setting. The Document is valid even when there are problems;
// Err returns them.
func Decode(file string, src []byte, v any) *Document {
	d := &Document{file: file, places: map[string]place{}}
	parsed, err := parser.ParseBytes(src, 0)
	if err != nil {
		d.syntax(err)
		return d
	}
	docs := slices.DeleteFunc(parsed.Docs, func(n *ast.DocumentNode) bool { return n.Body == nil })
	switch {
	case len(docs) == 0:
		d.problems = append(d.problems, Problem{File: file, Line: 1, Column: 1, Text: "the file is empty"})
	case len(docs) > 1:
		d.add(docs[1].Body, "", "a second document is not allowed: remove everything from the second --- on")
	default:
		d.decode(docs[0].Body, "", v)
	}
	return d
}

// Report adds a problem at the place of path, or of its nearest parent that the
// file holds.
func (d *Document) Report(path, text string) {
	p := Problem{File: d.file, Path: path, Text: text}
	for at := path; ; at = parent(at) {
		if found, ok := d.places[at]; ok {
			p.Line, p.Column = found.line, found.column
			break
		}
		if at == "" {
			break
		}
	}
	d.problems = append(d.problems, p)
}

// Err returns all problems so far in the order of the file, or nil.
func (d *Document) Err() error {
	if len(d.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return d.problems
}

func (d *Document) syntax(err error) {
	p := Problem{File: d.file, Text: err.Error()}
	var syntax yaml.Error
	if errors.As(err, &syntax) {
		pos := syntax.GetToken().Position
		p.Line, p.Column = pos.Line, pos.Column
		p.Text = syntax.GetMessage()
	}
	d.problems = append(d.problems, p)
}

func (d *Document) add(n ast.Node, path, text string) {
	at := positionOf(n)
	d.problems = append(d.problems, Problem{File: d.file, Line: at.line, Column: at.column, Path: path, Text: text})
}

func positionOf(n ast.Node) place {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return place{t.Position.Line, t.Position.Column}
	}
	return place{1, 1}
}

func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}
