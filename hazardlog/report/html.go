package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"strings"
)

//go:embed report.html.tmpl
var page string

// numbered is a section with its number.
type numbered struct {
	section
	Number int
}

// html is the document as one page that stands alone: no script, nothing from
// elsewhere; WCAG 2.2 AA; A4 when printed.
func (d document) html() ([]byte, error) {
	t, err := template.New("report").Funcs(template.FuncMap{"missing": isMissing}).Parse(page)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	view := struct {
		Title, Subtitle, Draft string
		Sections               []numbered
	}{d.Title, d.Subtitle, d.Draft, nil}
	for i, s := range d.Sections {
		view.Sections = append(view.Sections, numbered{s, i + 1})
	}
	var out bytes.Buffer
	if err := t.Execute(&out, view); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return out.Bytes(), nil
}

func isMissing(text string) bool { return strings.HasPrefix(text, "Missing: ") }
