package dashboards_test

import (
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/matron-epr/matron/dashboards/internal/fake"
	"github.com/matron-epr/matron/hazardlog"
)

// Whether what runs is what was approved is said on the page that a clinical safety
// officer sees first and where versions are signed: yes only where all of it is the
// same, and which part differs where not.
// hazard:GW-17 control:C-68
func TestWhatRunsIsComparedWithWhatWasApproved(t *testing.T) {
	same := log(t, fake.NewBook(fake.BusyLog())).Approved().Baseline
	program, rules, unknown := same, same, hazardlog.Baseline{}
	program.Program, rules.Policy = "9.9", strings.Repeat("f", 32)
	for name, c := range map[string]struct {
		running hazardlog.Baseline
		want    []string
		not     string
	}{
		"the same":        {same, []string{"Yes The same as when version"}, "Differs."},
		"another program": {program, []string{"No 1 of 3 differ", "Differs. Running: 9.9. Approved: " + same.Program}, "The same as when"},
		"other rules":     {rules, []string{"No 1 of 3 differ", "Differs. Running: ffff"}, "The same as when"},
		"nobody knows":    {unknown, []string{"No 3 of 3 differ", "Differs. Running: not known."}, "The same as when"},
	} {
		b, book := safetyBench()
		b.cfg.Safety = book.Safety()
		b.cfg.Safety.Running = func() hazardlog.Baseline { return c.running }
		for _, path := range []string{"/.matron/safety", "/.matron/safety/release"} {
			doc, err := html.Parse(strings.NewReader(b.get(t, path).Body.String()))
			if err != nil {
				t.Fatal(err)
			}
			page := words(doc)
			for _, want := range c.want {
				if !strings.Contains(page, want) {
					t.Errorf("%s: %s lacks %q", name, path, want)
				}
			}
			if strings.Contains(page, c.not) {
				t.Errorf("%s: %s says %q", name, path, c.not)
			}
		}
	}
}
