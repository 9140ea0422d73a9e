package dashboards

import (
	"embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed templates
var sources embed.FS

// templates are the pages, each with the base page and the components.
type templates struct {
	pages map[string]*template.Template
}

// pageNames lists the templates that stand for a page.
func pageNames() []string {
	return []string{"home", "lookup", "reason", "patient", "letter", "staff", "alerts", "alert", "emergencies", "emergency", "live", "health", "modes", "safety", "decision", "rules", "problem"}
}

func parseTemplates() (*templates, error) {
	common, err := template.New("base.tmpl").ParseFS(sources, "templates/base.tmpl", "templates/components.tmpl")
	if err != nil {
		return nil, fmt.Errorf("parse templates: %w", err)
	}
	t := &templates{pages: map[string]*template.Template{}}
	for _, name := range pageNames() {
		page, err := common.Clone()
		if err != nil {
			return nil, fmt.Errorf("parse template %s: %w", name, err)
		}
		if _, err := page.ParseFS(sources, "templates/"+name+".tmpl"); err != nil {
			return nil, fmt.Errorf("parse template %s: %w", name, err)
		}
		t.pages[name] = page
	}
	return t, nil
}

// render writes the page of that name.
func (t *templates) render(w io.Writer, name string, view any) error {
	page, ok := t.pages[name]
	if !ok {
		return fmt.Errorf("render %s: no such page", name)
	}
	if err := page.ExecuteTemplate(w, name+".tmpl", view); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	return nil
}
