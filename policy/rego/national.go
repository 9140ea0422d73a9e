package rego

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
)

// The tables that a trust exports from the National RBAC Database, beside the
// bundle's YAML. Columns are found by name, whatever their order; others are left
// alone. A file with one wrong line is refused whole.
const (
	jobRolesFile   = "job-roles.csv"  // code, name, role (one of data.roles)
	activitiesFile = "activities.csv" // code, name, includes (B codes), baseline (R codes)
)

// addCSV reads one of the national tables into data:
//
//   - codes: role here by national role code; job_roles: name by code
//   - activities: by code, name and implies, which is the activity itself and all
//     that it includes, directly or not; baseline: implied activities by role code
func (s *source) addCSV(name string, text []byte) Problems {
	switch path.Base(name) {
	case jobRolesFile:
		return s.addJobRoles(name, text)
	case activitiesFile:
		return s.addActivities(name, text)
	}
	return Problems{{File: name, Text: fmt.Sprintf("a table in CSV is %s or %s; others are YAML or JSON", jobRolesFile, activitiesFile)}}
}

func (s *source) addJobRoles(name string, text []byte) Problems {
	t, ps := readCSV(name, text, "code", "name", "role")
	codes, names := map[string]any{}, map[string]any{}
	for _, row := range t {
		code := row.code("code", 'R')
		switch {
		case code == "":
			ps = append(ps, row.problem("code", "is not a national role code, such as R8000 or S8000:G8000:R8000"))
		case codes[code] != nil:
			ps = append(ps, row.problem("code", "stands in the file before"))
		case row.cells["role"] == "":
			ps = append(ps, row.problem("role", "is empty: name the role here that the code stands for, or leave the line out"))
		default:
			codes[code], names[code] = row.cells["role"], row.cells["name"]
		}
	}
	if len(ps) > 0 {
		return ps
	}
	return s.addData(name, map[string]any{"codes": codes, "job_roles": names})
}

func (s *source) addActivities(name string, text []byte) Problems {
	t, ps := readCSV(name, text, "code", "name", "includes")
	rows := map[string]csvRow{}
	for _, row := range t {
		code := row.code("code", 'B')
		_, taken := rows[code]
		switch {
		case code == "":
			ps = append(ps, row.problem("code", "is not an activity code, such as B0360"))
		case taken:
			ps = append(ps, row.problem("code", "stands in the file before"))
		default:
			rows[code] = row
		}
	}
	includes, more := included(rows)
	ps = append(ps, more...)
	activities, baseline := map[string]any{}, map[string][]string{}
	for code, row := range rows {
		implies := implied(code, includes)
		activities[code] = map[string]any{"name": row.cells["name"], "implies": anys(implies)}
		for _, text := range list(row.cells["baseline"]) {
			role := codeIn(text, 'R')
			if role == "" {
				ps = append(ps, row.problem("baseline", "names "+fmt.Sprintf("%q", text)+", which is not a national role code"))
				continue
			}
			baseline[role] = append(baseline[role], implies...)
		}
	}
	if len(ps) > 0 {
		slices.SortFunc(ps, func(a, b Problem) int { return a.Line - b.Line })
		return ps
	}
	of := map[string]any{}
	for role, codes := range baseline {
		slices.Sort(codes)
		of[role] = anys(slices.Compact(codes))
	}
	return s.addData(name, map[string]any{"activities": activities, "baseline": of})
}

// included says which activities each one names as part of it. Each must be in the
// file: what nobody can look up is no right.
func included(rows map[string]csvRow) (map[string][]string, Problems) {
	var ps Problems
	of := map[string][]string{}
	for code, row := range rows {
		for _, text := range list(row.cells["includes"]) {
			part := codeIn(text, 'B')
			if _, known := rows[part]; !known {
				ps = append(ps, row.problem("includes", fmt.Sprintf("names %q, which is not in the file", text)))
				continue
			}
			of[code] = append(of[code], part)
		}
	}
	return of, ps
}

// implied is an activity and all that it includes, directly or not. Two that
// include each other are the same in effect.
func implied(code string, includes map[string][]string) []string {
	seen := map[string]bool{}
	var visit func(string)
	visit = func(code string) {
		if seen[code] {
			return
		}
		seen[code] = true
		for _, part := range includes[code] {
			visit(part)
		}
	}
	visit(code)
	all := make([]string, 0, len(seen))
	for c := range seen {
		all = append(all, c)
	}
	slices.Sort(all)
	return all
}

// csvRow is one line of a table, by column.
type csvRow struct {
	file    string
	line    int
	columns map[string]int // where each cell begins, from 1
	cells   map[string]string
}

func (r csvRow) problem(column, text string) Problem {
	return Problem{File: r.file, Line: r.line, Column: r.columns[column], Text: fmt.Sprintf("%s %q %s", column, r.cells[column], text)}
}

func (r csvRow) code(column string, letter byte) string { return codeIn(r.cells[column], letter) }

var nationalCode = regexp.MustCompile(`^(?:S\d{4}:G\d{4}:)?([RB])(\d{4})$`)

// codeIn is the code of a letter and four digits in text, "" when there is none. Of
// S8000:G8000:R8001 the last part counts.
func codeIn(text string, letter byte) string {
	m := nationalCode.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil || m[1][0] != letter {
		return ""
	}
	return m[1] + m[2]
}

// list is a cell with several values, apart by spaces, commas or semicolons.
func list(cell string) []string {
	return strings.FieldsFunc(cell, func(r rune) bool { return strings.ContainsRune(" ,;\t\n", r) })
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

// readCSV reads a table whose first line names its columns (RFC 4180). Spreadsheets
// put a byte order mark in front, which does no harm.
func readCSV(name string, text []byte, required ...string) ([]csvRow, Problems) {
	in := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	in.TrimLeadingSpace = true
	head, err := in.Read()
	if err != nil {
		return nil, Problems{csvProblem(name, err)}
	}
	for i := range head {
		head[i] = strings.ToLower(strings.TrimSpace(head[i]))
	}
	for _, column := range required {
		if !slices.Contains(head, column) {
			return nil, Problems{{File: name, Line: 1, Text: fmt.Sprintf("no column %q: the first line names the columns", column)}}
		}
	}
	var rows []csvRow
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, Problems{csvProblem(name, err)}
		}
		row := csvRow{file: name, columns: map[string]int{}, cells: map[string]string{}}
		for i, column := range head {
			row.line, row.columns[column] = in.FieldPos(i)
			row.cells[column] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, row)
	}
}

func csvProblem(name string, err error) Problem {
	if errors.Is(err, io.EOF) {
		return Problem{File: name, Line: 1, Text: "the file is empty: the first line names the columns"}
	}
	if e, ok := errors.AsType[*csv.ParseError](err); ok {
		return Problem{File: name, Line: e.Line, Column: e.Column, Text: e.Err.Error()}
	}
	return Problem{File: name, Text: err.Error()}
}
