package main

import (
	"cmp"
	_ "embed"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/policy/rego"
)

//go:embed policy_matrix.html
var matrixPage string

// mark says an answer in one character; the words are in the legend.
func mark(a shown) string {
	switch a.Effect {
	case policy.Allow:
		if a.Caring {
			return "◐"
		}
		return "●"
	case policy.Challenge:
		return "○"
	case policy.Deny:
	}
	return "·"
}

// said is mark in words, for who does not see it.
func said(a shown) string {
	switch a.Effect {
	case policy.Allow:
		if a.Caring {
			return "may for patients whom they care for"
		}
		return "may"
	case policy.Challenge:
		return "may after a further step"
	case policy.Deny:
	}
	return "may not"
}

const legend = "● may   ◐ may; where a register of care relationships is kept, for patients whom they care for\n" +
	"○ may after a further step   · may not"

func newPolicyMatrix() *cobra.Command {
	var format string
	var asJSON bool
	c := &cobra.Command{
		Use: "matrix [DIR]", Short: "Print who may do what", Args: cobra.MaximumNArgs(1),
		Long: "Asks the rules of the bundle in DIR, or of the built-in bundle, for every role, area and action of its\n" +
			"tables about one known patient's record, and prints the answers: not what the tables say, but what the\n" +
			"rules make of them; and of every class of protected records, for people who did what opening one\n" +
			"demands. Roles that may do nothing in an area are left out there.",
		Example: "  matron policy matrix\n" +
			"  matron policy matrix ./our-policy --format csv > who-may-do-what.csv\n" +
			"  matron policy matrix --format html > who-may-do-what.html",
	}
	c.Flags().StringVar(&format, "format", "text", "text, csv or html")
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	c.RunE = func(c *cobra.Command, args []string) error {
		if asJSON {
			format = "json"
		}
		write, ok := map[string]func(io.Writer, rego.Matrix) error{
			"text": matrixText, "csv": matrixCSV, "html": matrixHTML, "json": matrixJSON,
		}[format]
		if !ok {
			return failure{exitUsage, fmt.Errorf("--format %s: expected text, csv or html", format)}
		}
		dir := ""
		if len(args) == 1 {
			dir = args[0]
		}
		m, err := rego.Ask(c.Context(), dir)
		if err != nil {
			return failure{exitConfig, err}
		}
		return write(c.OutOrStdout(), m)
	}
	return c
}

func matrixText(out io.Writer, m rego.Matrix) error {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, part := range sections(m) {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", strings.ToUpper(part.Title[:1])+part.Title[1:], strings.Join(part.Heads, "\t"))
		for _, l := range part.Lines {
			marks := make([]string, 0, len(l.Answers))
			for _, a := range l.Each() {
				marks = append(marks, mark(a))
			}
			_, _ = fmt.Fprintf(w, "  %s\t%s\n", l.Title, strings.Join(marks, "\t"))
		}
		if len(part.Lines) == 0 {
			_, _ = fmt.Fprintf(w, "  nobody\t%s\n", strings.Repeat("·\t", len(part.Heads)-1)+"·")
		}
		if part.Note != "" {
			_, _ = fmt.Fprintf(w, "  %s\n", part.Note) // no tab: it does not widen the column
		}
		_, _ = fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(table.String()) {
		_, _ = fmt.Fprintln(out, strings.TrimRight(line, " \n"))
	}
	_, err := fmt.Fprintf(out, "%s\npolicy %s\n", legend, m.Revision)
	return err
}

// section is one area, or one class of protected records, with its lines as people
// read them.
type section struct {
	Title, Note string
	Heads       []string // of what each line answers
	Lines       []titled
}

type titled struct {
	rego.Line
	Title string
}

// shown is the answer to one question of the matrix.
type shown struct {
	policy.Decision
	Caring bool // only for patients whom they care for, where a register says
}

// Each is what a line answers, action by action.
func (t titled) Each() []shown { return each(t.Line) }

func each(l rego.Line) []shown {
	list := make([]shown, len(l.Answers))
	for i, d := range l.Answers {
		list[i] = shown{d, l.Caring[i]}
	}
	return list
}

// titles are how people call roles, and activities beside them.
func titles(m rego.Matrix) map[string]string {
	titles := map[string]string{}
	for _, r := range m.Roles {
		titles[r.Code] = cmp.Or(r.Title, r.Code)
	}
	for _, a := range m.Granted {
		titles[a.Code] = "with " + strings.TrimSpace(a.Code+" "+a.Title)
	}
	return titles
}

func sections(m rego.Matrix) []section {
	titles := titles(m)
	heads := make([]string, 0, len(m.Actions))
	for _, a := range m.Actions {
		heads = append(heads, a.Code)
	}
	list := make([]section, 0, len(m.Areas)+len(m.Classes))
	for _, area := range m.Areas {
		s := section{Title: cmp.Or(area.Title, area.Code), Heads: heads}
		for _, l := range m.Lines {
			if l.Area != area.Code {
				continue
			}
			title := titles[l.Role]
			if l.Resource != "" {
				title += ", " + l.Resource
			}
			s.Lines = append(s.Lines, titled{l, title})
		}
		list = append(list, s)
	}
	return append(list, protected(m)...)
}

// cell is one question of the matrix in the forms that programs read.
type cell struct {
	Area     string   `json:"area"`
	Role     string   `json:"role"`
	Resource string   `json:"resource,omitempty"`
	Action   string   `json:"action"`
	Effect   string   `json:"effect"`
	Rules    []string `json:"rules"`
	Caring   bool     `json:"caring"`
	Class    string   `json:"class,omitempty"` // of the patient, where it counts
}

func cells(m rego.Matrix) []cell {
	list := []cell{}
	add := func(lines []rego.Line, actions []rego.Word, class string) {
		for _, l := range lines {
			for i, a := range each(l) {
				list = append(list, cell{l.Area, l.Role, l.Resource, actions[i].Code, a.Effect.String(), a.Rules, a.Caring, class})
			}
		}
	}
	add(m.Lines, m.Actions, "")
	for _, class := range m.Classes {
		add(class.Lines, class.Actions, class.Code)
	}
	return list
}

func matrixCSV(out io.Writer, m rego.Matrix) error {
	w := csv.NewWriter(out)
	rows := [][]string{{"area", "role", "resource", "action", "effect", "rules", "caring", "class"}}
	for _, a := range cells(m) {
		rows = append(rows, []string{a.Area, a.Role, a.Resource, a.Action, a.Effect, strings.Join(a.Rules, " "), strconv.FormatBool(a.Caring), a.Class})
	}
	return w.WriteAll(rows)
}

func matrixJSON(out io.Writer, m rego.Matrix) error {
	return json.NewEncoder(out).Encode(struct {
		Revision string       `json:"revision"`
		Roles    []rego.Role  `json:"roles"`
		Granted  []rego.Word  `json:"activities"`
		Areas    []rego.Word  `json:"areas"`
		Actions  []rego.Word  `json:"actions"`
		Classes  []rego.Class `json:"classes"`
		Answers  []cell       `json:"answers"`
	}{m.Revision, m.Roles, m.Granted, m.Areas, m.Actions, m.Classes, cells(m)})
}

func matrixHTML(out io.Writer, m rego.Matrix) error {
	page, err := template.New("matrix").Funcs(template.FuncMap{"mark": mark, "said": said}).Parse(matrixPage)
	if err != nil {
		return err
	}
	return page.Execute(out, struct {
		Matrix   rego.Matrix
		Sections []section
	}{m, sections(m)})
}
