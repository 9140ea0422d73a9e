// Package trace finds where in the source the controls of the hazard log are, and
// which of their tests passed. It reads the source and what "go test -json" printed,
// and changes nothing.
package trace

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

// settings is the folder whose struct fields are settings.
const settings = "cmd/matron/config"

// Collect reads every tag below root, the folder of a go.mod. Each must name a
// control of l and a hazard of that control; what does not is named by file and
// line.
func Collect(root fs.FS, l hazardlog.Log) ([]evidence.Tag, error) {
	mod, err := fs.ReadFile(root, "go.mod")
	if err != nil {
		return nil, fmt.Errorf("no source of a Go module: %w", err)
	}
	c := collector{root: root, module: modfile.ModulePath(mod), log: l}
	err = fs.WalkDir(root, ".", c.visit)
	if err := errors.Join(append(c.wrong, err)...); err != nil {
		return nil, err
	}
	slices.SortFunc(c.tags, inOrder)
	return c.tags, nil
}

func inOrder(a, b evidence.Tag) int {
	return cmp.Or(cmp.Compare(a.Control, b.Control), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

type collector struct {
	root   fs.FS
	module string
	log    hazardlog.Log
	tags   []evidence.Tag
	wrong  []error
}

func (c *collector) visit(file string, d fs.DirEntry, err error) error {
	switch {
	case err != nil:
		return err
	case d.IsDir():
		if name := d.Name(); name == "testdata" || name == "node_modules" || len(name) > 1 && strings.HasPrefix(name, ".") {
			return fs.SkipDir
		}
		return nil
	case !d.Type().IsRegular():
		return nil
	}
	isTest, isSetting, isRule := strings.HasSuffix(file, "_test.go"), path.Dir(file) == settings && path.Ext(file) == ".go", path.Ext(file) == ".rego"
	if !isTest && !isSetting && !isRule {
		return nil
	}
	text, err := fs.ReadFile(c.root, file)
	if err != nil {
		return err
	}
	switch {
	case !bytes.Contains(text, []byte("hazard:")):
	case isRule:
		c.rules(file, text)
	case isTest:
		return c.source(file, text, c.tests)
	default:
		return c.source(file, text, c.settings)
	}
	return nil
}

func (c *collector) source(file string, text []byte, look func(string, *token.FileSet, *ast.File)) error {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, file, text, parser.ParseComments|parser.SkipObjectResolution)
	if err == nil {
		look(file, set, tree)
	}
	return err
}

// tests collects what stands above test functions.
func (c *collector) tests(file string, set *token.FileSet, tree *ast.File) {
	for _, d := range tree.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && (strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz")) {
			c.comments(file, set, f.Doc, evidence.TestTag, path.Join(c.module, path.Dir(file))+"."+f.Name.Name)
		}
	}
}

// settings collects what stands above the fields of settings.
func (c *collector) settings(file string, set *token.FileSet, tree *ast.File) {
	ast.Inspect(tree, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if fields, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range fields.Fields.List {
				if f.Tag != nil {
					name := reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("yaml")
					c.comments(file, set, f.Doc, evidence.SettingTag, spec.Name.Name+"."+name)
				}
			}
		}
		return true
	})
}

func (c *collector) comments(file string, set *token.FileSet, doc *ast.CommentGroup, kind evidence.TagKind, name string) {
	if doc == nil {
		return
	}
	for _, comment := range doc.List {
		c.line(file, set.Position(comment.Pos()).Line, strings.TrimPrefix(comment.Text, "//"), kind, name)
	}
}

// rules collects what stands above rules: the name is the beginning of the line that
// follows the comments.
func (c *collector) rules(file string, text []byte) {
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		comment, ok := strings.CutPrefix(strings.TrimSpace(line), "#")
		if !ok || !strings.HasPrefix(strings.TrimSpace(comment), "hazard:") {
			continue
		}
		name := path.Base(file)
		for _, next := range lines[i+1:] {
			if next = strings.TrimSpace(next); next != "" && !strings.HasPrefix(next, "#") {
				name += ": " + strings.TrimSpace(regexp.MustCompile(`^[a-zA-Z_. ]+`).FindString(next))
				break
			}
		}
		c.line(file, i+1, comment, evidence.RuleTag, name)
	}
}

// line takes in one line of a comment: hazards and controls, every control for every
// hazard.
func (c *collector) line(file string, line int, comment string, kind evidence.TagKind, name string) {
	words := strings.Fields(comment)
	if len(words) == 0 || !strings.HasPrefix(words[0], "hazard:") {
		return
	}
	var hazards, controls []string
	for _, word := range words {
		switch key, id, _ := strings.Cut(word, ":"); key {
		case "hazard":
			hazards = append(hazards, id)
		case "control":
			controls = append(controls, id)
		default:
			c.refuse(file, line, "%q: expected hazard:GW-01 control:C-01", word)
		}
	}
	if len(controls) == 0 {
		c.refuse(file, line, "no control stands beside %s", strings.Join(hazards, ", "))
	}
	for _, id := range controls {
		control, ok := c.log.Control(id)
		if !ok {
			c.refuse(file, line, "there is no control %s in the built-in hazard log", id)
			continue
		}
		for _, h := range hazards {
			if !slices.Contains(control.Hazards, h) {
				c.refuse(file, line, "%s is no control of %s but of %s", id, h, strings.Join(control.Hazards, ", "))
			}
		}
		c.add(evidence.Tag{Control: id, Hazards: hazards, Kind: kind, Name: name, File: file, Line: line})
	}
}

// add takes a tag in, or its hazards where the same place names the control already.
func (c *collector) add(tag evidence.Tag) {
	for i := range c.tags {
		if old := &c.tags[i]; old.Control == tag.Control && old.Kind == tag.Kind && old.Name == tag.Name {
			for _, h := range tag.Hazards {
				if !slices.Contains(old.Hazards, h) {
					old.Hazards = append(old.Hazards, h)
				}
			}
			return
		}
	}
	c.tags = append(c.tags, tag)
}

func (c *collector) refuse(file string, line int, format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Errorf("%s:%d: %s", file, line, fmt.Sprintf(format, args...)))
}

// Results are what became of tests, by "package.TestName".
type Results map[string]Ran

// Ran is what became of one test.
type Ran struct {
	Result evidence.Result
	At     time.Time
}

// Read takes in what "go test -json" printed. A test that ran more than once counts
// as passed only when it passed each time.
func (r Results) Read(name string, from io.Reader) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 16<<20)
	for n := 1; lines.Scan(); n++ {
		var e struct {
			Time                  time.Time
			Action, Package, Test string
		}
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("%s:%d: no line of \"go test -json\": %w", name, n, err)
		}
		result := map[string]evidence.Result{"pass": evidence.Passed, "fail": evidence.Failed, "skip": evidence.Skipped}[e.Action]
		if result == "" || e.Test == "" {
			continue
		}
		id := e.Package + "." + e.Test
		if old, ok := r[id]; ok && old.Result == evidence.Failed {
			continue
		}
		r[id] = Ran{result, e.Time.UTC().Truncate(time.Second)}
	}
	return lines.Err()
}

// Make puts tags and results together. before is the trace of the release before, nil
// for none: from it comes when a test last passed, and which are gone. head says what
// the trace is of.
func Make(tags []evidence.Tag, ran Results, before *evidence.Trace, head evidence.Trace) evidence.Trace {
	head.Format, head.Tags = evidence.TraceFormat, nil
	old := map[string]evidence.Tag{}
	if before != nil {
		for _, tag := range before.Tags {
			if tag.Kind == evidence.TestTag {
				old[tag.Control+" "+tag.Name] = tag
			}
		}
	}
	for _, tag := range tags {
		if tag.Kind == evidence.TestTag {
			last := old[tag.Control+" "+tag.Name]
			delete(old, tag.Control+" "+tag.Name)
			tag.Commit, tag.Passed = last.Commit, last.Passed
			tag.Result = cmp.Or(ran[tag.Name].Result, evidence.NotRun)
			if tag.Result == evidence.Passed {
				tag.Commit, tag.Passed = head.Commit, ran[tag.Name].At
			}
		}
		head.Tags = append(head.Tags, tag)
	}
	for _, gone := range old {
		gone.Result = evidence.Gone
		head.Tags = append(head.Tags, gone)
	}
	slices.SortFunc(head.Tags, inOrder)
	return head
}
