package rego

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Problem is one mistake in a bundle. Line and Column count from 1; 0 means
// that the whole file is meant.
type Problem struct {
	File         string
	Line, Column int
	Text         string
}

// String is file:line:column: text.
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, max(p.Line, 1), max(p.Column, 1), p.Text)
}

// Problems is everything that is wrong with a bundle, in the order of the files.
type Problems []Problem

// Error gives one line a problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// err is ps in order as an error, or nil without any.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
	return ps
}

// inFolder names the files of a bundle's problems as the operator knows them:
// from where they stand, not from within the bundle.
func inFolder(dir string, err error) error {
	ps, ok := errors.AsType[Problems](err)
	if !ok || dir == "" {
		return err
	}
	named := slices.Clone(ps)
	for i := range named {
		named[i].File = filepath.Join(dir, named[i].File)
	}
	return named
}

// problemsOf takes apart what the parser or compiler said about file.
func problemsOf(file string, err error) Problems {
	all, ok := errors.AsType[ast.Errors](err)
	if !ok {
		return Problems{{File: file, Text: err.Error()}}
	}
	var ps Problems
	for _, e := range all {
		p := Problem{File: file, Text: e.Code + ": " + e.Message}
		if e.Location != nil {
			p.File, p.Line, p.Column = e.Location.File, e.Location.Row, e.Location.Col
		}
		ps = append(ps, p)
	}
	return ps
}

func problemAt(loc *ast.Location, text string) Problem {
	if loc == nil {
		return Problem{File: ".", Text: text}
	}
	return Problem{File: loc.File, Line: loc.Row, Column: loc.Col, Text: text}
}
