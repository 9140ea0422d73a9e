package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/transfer"
)

// logFile is a hazard log in a file, with where everything in it stands.
type logFile struct {
	name   string
	text   []byte
	json   []byte // the part of the text that is JSON
	from   int    // where that begins
	places map[place]int
	log    hazardlog.Log
}

// place is a field of what has an id; id "" is the log itself.
type place struct{ id, field string }

// readLogFile reads a proposal, an export, a snapshot or, with its maker's public key,
// a transfer pack. Mistakes are named by file, line and column.
func readLogFile(name, keyFile string) (*logFile, error) {
	text, err := os.ReadFile(name) //nolint:gosec // the operator names it
	if err != nil {
		return nil, failure{exitFailure, err}
	}
	f := &logFile{name: name, text: text, json: text}
	pack := !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{"))
	if pack {
		first, rest, _ := bytes.Cut(text, []byte("\n"))
		f.from = len(first) + 1
		f.json, _, _ = bytes.Cut(rest, []byte("\n"))
	}
	if err := f.locate(); err != nil {
		return nil, failure{exitUsage, err}
	}
	if pack {
		return f, f.openPack(keyFile)
	}
	if f.log, err = parseLog(text); err != nil {
		return nil, failure{exitUsage, f.mistakes(err)}
	}
	return f, nil
}

func (f *logFile) openPack(keyFile string) error {
	if keyFile == "" {
		return failure{exitUsage, fmt.Errorf("%s is a pack: --from names the public key of its maker", f.name)}
	}
	public, err := os.ReadFile(keyFile) //nolint:gosec // the operator names it
	if err != nil {
		return failure{exitFailure, err}
	}
	key, err := merkle.ParseVerifier(public)
	if err != nil {
		return failure{exitUsage, fmt.Errorf("%s: %w", keyFile, err)}
	}
	if _, f.log, err = transfer.Open(f.text, key); err != nil {
		return failure{exitIntegrity, fmt.Errorf("%s: %w", f.name, err)}
	}
	return nil
}

// parseLog reads JSON by the format that it names.
func parseLog(text []byte) (hazardlog.Log, error) {
	var head struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return hazardlog.Log{}, err
	}
	switch head.Format {
	case hazardlog.ProposalFormat:
		return hazardlog.ReadProposal(text)
	case hazardlog.ExportFormat:
		return hazardlog.Import(text)
	case hazardlog.Format:
		return hazardlog.ReadSnapshot(text)
	}
	return hazardlog.Log{}, fmt.Errorf("format: is %q, expected %q, %q or %q", head.Format, hazardlog.ProposalFormat, hazardlog.ExportFormat, hazardlog.Format)
}

// locate notes where every field of the JSON stands.
func (f *logFile) locate() error {
	f.places = map[place]int{}
	var syntax *json.SyntaxError
	if err := json.Unmarshal(f.json, new(json.RawMessage)); errors.As(err, &syntax) {
		return f.errorAt(int(syntax.Offset)-1, syntax.Error())
	}
	l := locator{d: json.NewDecoder(bytes.NewReader(f.json)), text: f.json, places: f.places}
	_, fields, err := l.value()
	if err != nil {
		return f.errorAt(int(l.d.InputOffset()), err.Error())
	}
	l.note("", fields)
	return nil
}

// where is "file:line:column" of an offset into the JSON, both from 1.
func (f *logFile) where(offset int) string {
	before := f.text[:min(max(f.from+offset, 0), len(f.text))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf("%s:%d:%d", f.name, line, column)
}

func (f *logFile) errorAt(offset int, text string) error {
	return fmt.Errorf("%s: %s", f.where(offset), text)
}

// find is where a field of something stands: the nearest thing around it that does.
func (f *logFile) find(id, field string) int {
	for {
		for _, in := range []string{field, strings.TrimPrefix("content."+field, ".")} {
			if at, ok := f.places[place{id, in}]; ok && (id != "" || in == field || field != "") {
				return at
			}
		}
		if field == "" {
			return 0
		}
		field = field[:max(strings.LastIndexAny(field, ".["), 0)]
	}
}

// at is where a finding is.
func (f *logFile) at(x hazardlog.Finding) string {
	id := x.Subject.ID
	if x.Subject.Kind == hazardlog.OfLog || x.Subject.Kind == hazardlog.OfVersion {
		id = ""
	}
	return f.where(f.find(id, x.Field))
}

// How mistakes in a file begin, and what they say of names in it.
var (
	mistake = regexp.MustCompile(`^(?:([A-Z]{1,8}-\d{2,5}) )?([a-z_]+[a-z_.\[\]0-9]*): `)
	entry   = regexp.MustCompile(`\bhazard (\d+): `)
	unknown = regexp.MustCompile(`unknown field ("[^"]*")`)
	twice   = regexp.MustCompile(`("[^"]*") is given twice`)
)

// place is where the mistake is of which a line tells, as far as the line says.
func (f *logFile) place(line string) (at int, ok bool) {
	if m := mistake.FindStringSubmatch(line); m != nil {
		return f.find(m[1], m[2]), true
	}
	if m := entry.FindStringSubmatch(line); m != nil {
		n, _ := strconv.Atoi(m[1])
		at, ok = f.find("", fmt.Sprintf("hazards[%d]", n-1)), true
	}
	if m := unknown.FindStringSubmatch(line); m != nil {
		return f.nth(at, m[1], 1), true
	}
	if m := twice.FindStringSubmatch(line); m != nil {
		return f.nth(at, m[1], 2), true
	}
	return at, ok
}

// nth is where a text stands for the nth time from an offset on, or the offset.
func (f *logFile) nth(from int, text string, n int) int {
	at := from
	for i := range n {
		next := bytes.Index(f.json[min(at+i, len(f.json)):], []byte(text))
		if next < 0 {
			return from
		}
		at += i + next
	}
	return at
}

// mistakes puts a place before each line of what is wrong with a file.
func (f *logFile) mistakes(err error) error {
	var lines []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		where := f.name
		if at, ok := f.place(line); ok {
			where = f.where(at)
		}
		lines = append(lines, where+": "+line)
	}
	return errors.New(strings.Join(lines, "\n"))
}

// locator walks JSON and notes where the fields of everything with an id stand, the
// first time that it occurs.
type locator struct {
	d      *json.Decoder
	text   []byte
	places map[place]int
}

func (l *locator) note(id string, fields map[string]int) {
	for field, at := range fields {
		if _, known := l.places[place{id, field}]; !known {
			l.places[place{id, field}] = at
		}
	}
}

// value reads one value. What has an id is noted and of no more concern to what is
// around it; the fields of what has none belong to what is around it.
func (l *locator) value() (id string, fields map[string]int, err error) {
	at := l.next()
	fields = map[string]int{"": at}
	t, err := l.d.Token()
	if err != nil {
		return "", nil, err
	}
	open, ok := t.(json.Delim)
	if !ok {
		text, _ := t.(string)
		return text, fields, nil
	}
	own := ""
	for i := 0; l.d.More(); i++ {
		name := fmt.Sprintf("[%d]", i)
		if open == '{' {
			key, err := l.d.Token()
			if err != nil {
				return "", nil, err
			}
			name = fmt.Sprint(key)
		}
		start := l.next()
		object := start < len(l.text) && l.text[start] == '{'
		inner, below, err := l.value()
		switch {
		case err != nil:
			return "", nil, err
		case name == "id" && !object:
			own = inner
		case object && inner != "":
			l.note(inner, below)
			below = map[string]int{"": start}
		}
		for field, at := range below {
			fields[joined(name, field)] = at
		}
	}
	if _, err := l.d.Token(); err != nil {
		return "", nil, err
	}
	return own, fields, nil
}

// next is where the next value begins.
func (l *locator) next() int {
	at := int(l.d.InputOffset())
	for at < len(l.text) && strings.IndexByte(" \t\r\n,:", l.text[at]) >= 0 {
		at++
	}
	return at
}

func joined(name, below string) string {
	if below == "" || below[0] == '[' {
		return name + below
	}
	return name + "." + below
}
