package rego

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

//go:embed bundle
var embedded embed.FS

// Bounds on what a bundle may hold, so that a wrong folder is refused rather
// than read.
const (
	maxFiles     = 1000
	maxFileBytes = 8 << 20
)

// Default is the embedded bundle, for copying and changing.
func Default() fs.FS {
	sub, err := fs.Sub(embedded, "bundle")
	if err != nil {
		return embedded // unreachable: the name is a valid path
	}
	return sub
}

// source is the text of a bundle, parsed but not yet compiled. Rules and tests
// are kept apart: tests never run in a decision.
type source struct {
	revision string
	rules    map[string]*ast.Module
	tests    map[string]*ast.Module
	cases    []Case
	data     map[string]any
}

// readBundle reads and parses every file of the bundle. Its error is Problems
// when the files are at fault.
func readBundle(dir string) (*source, error) {
	if dir == "" {
		return parseBundle(Default())
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	src, err := parseBundle(root.FS())
	return src, errors.Join(err, root.Close())
}

func parseBundle(fsys fs.FS) (*source, error) {
	names, err := bundleFiles(fsys)
	if err != nil {
		return nil, err
	}
	src := &source{rules: map[string]*ast.Module{}, tests: map[string]*ast.Module{}, data: map[string]any{}}
	hash := sha256.New()
	var ps Problems
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("read bundle: %w", err)
		}
		if len(text) > maxFileBytes {
			ps = append(ps, Problem{File: name, Text: "file is larger than 8 MiB"})
			continue
		}
		hash.Write(framed([]byte(name)))
		hash.Write(framed(text))
		ps = append(ps, src.add(name, text)...)
	}
	if len(src.rules) == 0 && len(ps) == 0 {
		ps = append(ps, Problem{File: ".", Text: "no rules: expected at least one .rego file"})
	}
	src.revision = hex.EncodeToString(hash.Sum(nil)[:16])
	return src, ps.err()
}

// bundleFiles lists the files that count, in lexical order. Names that begin
// with a dot are skipped: mounted configuration keeps its old versions there.
func bundleFiles(fsys fs.FS) ([]string, error) {
	var names []string
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !d.IsDir() && slices.Contains([]string{".rego", ".yaml", ".yml", ".json", ".csv"}, path.Ext(name)):
			names = append(names, name)
		}
		if len(names) > maxFiles {
			return fmt.Errorf("more than %d files: is this the folder of a bundle?", maxFiles)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list bundle: %w", err)
	}
	return names, nil
}

// framed puts the length in front, so that no two bundles hash alike by moving
// text from one file to the next.
func framed(b []byte) []byte {
	return append(binary.AppendVarint(nil, int64(len(b))), b...)
}

// add parses one file into the source.
func (s *source) add(name string, text []byte) Problems {
	switch path.Ext(name) {
	case ".rego":
		return s.addModule(name, text)
	case ".csv":
		return s.addCSV(name, text)
	}
	if isCases(name) {
		return s.addCases(name, text)
	}
	top, p := readTable(name, text)
	if p != nil {
		return Problems{*p}
	}
	return s.addData(name, top)
}

func (s *source) addModule(name string, text []byte) Problems {
	m, err := ast.ParseModuleWithOpts(name, string(text), ast.ParserOptions{
		ProcessAnnotation: true,
		RegoVersion:       ast.RegoV1,
	})
	if err != nil {
		return problemsOf(name, err)
	}
	if strings.HasSuffix(name, "_test.rego") {
		s.tests[name] = m
	} else {
		s.rules[name] = m
	}
	return nil
}

// addData puts the top-level entries of one file into data, as "opa test" does.
func (s *source) addData(name string, top map[string]any) Problems {
	var ps Problems
	for key, value := range top {
		if _, taken := s.data[key]; taken {
			ps = append(ps, Problem{File: name, Text: fmt.Sprintf("entry %q is in another file of the bundle as well", key)})
			continue
		}
		s.data[key] = value
	}
	slices.SortFunc(ps, func(a, b Problem) int { return strings.Compare(a.Text, b.Text) })
	return ps
}

// readTable reads one YAML or JSON file. OPA's own reader takes the last of two
// entries with one name and the first of two documents, and says nothing; a
// role that stands twice in a table would lose its first block unseen (GW-11).
func readTable(name string, text []byte) (map[string]any, *Problem) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc any
	if err := d.Decode(&doc); err != nil {
		return nil, tableProblem(name, err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, &Problem{File: name, Text: "more than one document in the file"}
	}
	if err := util.RoundTrip(&doc); err != nil {
		return nil, &Problem{File: name, Text: err.Error()}
	}
	top, ok := doc.(map[string]any)
	if !ok {
		return nil, &Problem{File: name, Text: "expected a table of named entries at the top"}
	}
	return top, nil
}

func tableProblem(name string, err error) *Problem {
	e, ok := errors.AsType[yaml.Error](err)
	if !ok || e.GetToken() == nil {
		return &Problem{File: name, Text: err.Error()}
	}
	at := e.GetToken().Position
	return &Problem{File: name, Line: at.Line, Column: at.Column, Text: e.GetMessage()}
}

// Revision is what an engine with the bundle in dir ("" means the embedded default)
// would name as its revision. It parses the bundle and does not compile it.
func Revision(dir string) (string, error) {
	src, err := readBundle(dir)
	if err != nil {
		return "", inFolder(dir, err)
	}
	return src.revision, nil
}

// Copy writes the files of the bundle in dir ("" means the embedded default) that
// count below to, for its owner alone, and makes them durable.
func Copy(to, dir string) (err error) {
	fsys := Default()
	if dir != "" {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return fmt.Errorf("open bundle: %w", err)
		}
		defer func() { _ = root.Close() }()
		fsys = root.FS()
	}
	names, err := bundleFiles(fsys)
	if err != nil {
		return err
	}
	target, err := os.OpenRoot(to)
	if err != nil {
		return fmt.Errorf("copy bundle: %w", err)
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return fmt.Errorf("copy bundle: %w", err)
		}
		if err := writeFile(target, name, text); err != nil {
			return fmt.Errorf("copy bundle: %w", err)
		}
	}
	return nil
}

func writeFile(root *os.Root, name string, text []byte) error {
	if dir := path.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
