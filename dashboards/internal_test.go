package dashboards

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jba/templatecheck"
	"golang.org/x/net/html"
)

func TestTemplatesFitTheirPages(t *testing.T) {
	views := map[string]any{
		"home": homePage{}, "lookup": lookupPage{}, "reason": reasonPage{}, "patient": patientPage{}, "letter": letterPage{}, "staff": staffPage{},
		"alerts": alertsPage{}, "alert": alertPage{}, "emergencies": emergenciesPage{}, "emergency": emergencyPage{}, "live": livePage{}, "health": healthPage{}, "modes": modesPage{}, "safety": safetyPage{}, "decision": decisionPage{}, "rules": rulesPage{}, "problem": problemPage{},
	}
	parsed, err := parseTemplates()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range pageNames() {
		view, ok := views[name]
		if !ok {
			t.Errorf("%s: no page struct to check it against", name)
			continue
		}
		if err := templatecheck.CheckHTML(parsed.pages[name].Lookup(name+".tmpl"), view); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestComponentsMatchTheDesignSystem renders every fixture of the design system
// that uses only the options that Matron's components have, and compares the
// elements.
func TestComponentsMatchTheDesignSystem(t *testing.T) {
	components := []struct {
		folder, template string
		needs            string // an option without which Matron never uses the component
		least            int    // fixtures that must be comparable
		decode           func([]byte) (any, error)
	}{
		{"tag", "tag", "text", 5, decode[tag]},
		{"button", "button", "text", 5, decode[button]},
		{"inset-text", "inset-text", "text", 1, decode[insetText]},
		{"skip-link", "skip-link", "text", 1, decode[skipLink]},
		{"back-link", "back-link", "href", 1, decode[backLink]},
		{"error-summary", "error-summary", "heading", 1, decode[errorSummary]},
		{"input", "input", "label", 5, decode[input]},
		{"select", "select", "label", 1, decode[selectField]},
		{"textarea", "textarea", "label", 1, decode[textarea]},
		{"radios", "radios", "legend", 3, decode[radios]},
		{"checkboxes", "checkboxes", "legend", 2, decode[checkboxes]},
		{"summary-list", "summary-list", "rows", 1, decode[summaryList]},
		{"tables", "table", "rows", 4, decode[table]},
		{"pagination", "pagination", "previous", 1, decode[pagination]},
	}
	parsed, err := parseTemplates()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range components {
		t.Run(c.folder, func(t *testing.T) {
			compared := 0
			for _, f := range fixtures(t, c.folder) {
				view, err := c.decode(f.Context)
				if err != nil || !strings.Contains(string(f.Context), `"`+c.needs+`":`) {
					continue // an option that Matron does not use
				}
				compared++
				var got strings.Builder
				if err := parsed.pages["home"].ExecuteTemplate(&got, c.template, view); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(outline(t, f.HTML), outline(t, got.String())); diff != "" {
					t.Errorf("%s (-design system +ours):\n%s", f.Name, diff)
				}
			}
			if compared < c.least {
				t.Errorf("%d fixtures compared, want at least %d", compared, c.least)
			}
		})
	}
}

type fixture struct {
	Name    string
	Context json.RawMessage
	HTML    string
}

func fixtures(t *testing.T, folder string) []fixture {
	t.Helper()
	src, err := os.ReadFile("../node_modules/nhsuk-frontend/dist/nhsuk/components/" + folder + "/fixtures.json")
	if err != nil {
		t.Fatalf("%v (run npm ci)", err)
	}
	var file struct{ Fixtures []fixture }
	if err := json.Unmarshal(src, &file); err != nil {
		t.Fatal(err)
	}
	return file.Fixtures
}

// decode reads a fixture's options; an option without a field is an error.
func decode[T any](src []byte) (any, error) {
	var options map[string]any
	if err := json.Unmarshal(src, &options); err != nil {
		return nil, err
	}
	if id, ok := options["name"]; ok && options["id"] == nil && options["idPrefix"] == nil {
		options["id"], options["idPrefix"] = id, id // the macros' own default
	}
	var view T
	switch any(view).(type) {
	case radios, checkboxes:
		delete(options, "id")
	default:
		delete(options, "idPrefix")
	}
	src, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(string(src)))
	d.DisallowUnknownFields()
	if err := d.Decode(&view); err != nil {
		return nil, err
	}
	return view, nil
}

// outline lists the elements and words of a fragment, white space apart.
func outline(t *testing.T, fragment string) []string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(fragment))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	var walk func(n *html.Node, depth int)
	walk = func(n *html.Node, depth int) {
		switch n.Type {
		case html.ElementNode:
			attributes := map[string]string{}
			for _, a := range n.Attr {
				attributes[a.Key] = strings.Join(strings.Fields(a.Val), " ")
			}
			line, err := json.Marshal(attributes)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprintf("%*s%s %s", depth, "", n.Data, line))
		case html.TextNode:
			if words := strings.Join(strings.Fields(n.Data), " "); words != "" {
				out = append(out, fmt.Sprintf("%*s%q", depth, "", words))
			}
		case html.ErrorNode, html.DocumentNode, html.CommentNode, html.DoctypeNode, html.RawNode:
		}
		for child := n.FirstChild; child != nil; child = child.NextSibling {
			walk(child, depth+1)
		}
	}
	walk(doc, 0)
	return out
}

func TestNHSNumber(t *testing.T) {
	tests := []struct{ typed, want string }{
		{"9990000018", "9990000018"},
		{" 999 000 0018 ", "9990000018"},
		{"999-000-0018", "9990000018"},
		{"999\u00a0000\u20130018", "9990000018"},
		{"9434765919", "9434765919"},
		{"9990000019", ""}, // check digit
		{"999000001", ""},
		{"99900000180", ""},
		{"99900000x8", ""},
		{"٩٩٩٠٠٠٠٠١٨", ""},
		{"999000000:", ""}, // the check digit would be 10
		{"", ""},
	}
	for _, tt := range tests {
		got, err := parseNHSNumber(tt.typed)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q: %q, %v; want %q", tt.typed, got, err, tt.want)
		}
	}
}

func TestMask(t *testing.T) {
	for id, want := range map[string]string{"H0044821": "····21", "A12": "····", "": "····", "Łódź123": "····23"} {
		if got := mask(id); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
	if got := maskNHSNumber("9990000018"); got != "··· ··· 0018" {
		t.Errorf("NHS number: %q", got)
	}
}

func FuzzOpaque(f *testing.F) {
	s, err := newSealer([]byte(strings.Repeat("k", KeyBytes)), "RXX")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("n9990000018", "bm90IG91cnM")
	f.Fuzz(func(t *testing.T, plain, madeUp string) {
		got, err := s.open(kindPatient, s.seal(kindPatient, plain))
		if err != nil || got != plain {
			t.Errorf("round trip of %q: %q, %v", plain, got, err)
		}
		if _, err := s.open(kindStaff, s.seal(kindPatient, plain)); !errors.Is(err, errOpaque) {
			t.Errorf("opened as another kind: %v", err)
		}
		if got, err := s.open(kindPatient, madeUp); err == nil && s.seal(kindPatient, got) != madeUp {
			t.Errorf("made-up id %q opened as %q", madeUp, got)
		}
	})
}

func TestWithoutAssetsTheRemedyIsSaid(t *testing.T) {
	_, err := readAssets(fstest.MapFS{"README.md": {}})
	if !errors.Is(err, ErrAssets) || !strings.Contains(err.Error(), "make assets") {
		t.Errorf("error %v", err)
	}
}

func TestNothingFromOutsideAndNothingOfTheNHS(t *testing.T) {
	built, err := loadAssets()
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range built.plain {
		for _, banned := range []string{"assets.nhs.uk", "Frutiger", "@font-face", "https://", "data:"} {
			if strings.Contains(string(file.body), banned) {
				t.Errorf("%s mentions %s", name, banned)
			}
		}
	}
}

func TestChartAndTableAgree(t *testing.T) {
	c := barChart("x", "Requests <each> minute", peak("requests", []bar{{"14:00", 3}, {"14:01", 41}}), "Requests", []bar{{"14:00", 3}, {"14:01", 41}})
	if want := "44 requests in this hour, at most 41 in the minute of 14:01."; c.Summary != want {
		t.Errorf("summary %q, want %q", c.Summary, want)
	}
	if strings.Contains(string(c.SVG), "<each>") {
		t.Error("the title is not escaped")
	}
	if got := strings.Count(string(c.SVG), "<rect"); got != len(c.Table.Rows) || got != 2 {
		t.Errorf("%d bars and %d rows, want 2 of each", got, len(c.Table.Rows))
	}
	if peak("refusals", nil) != "No refusals in this hour." {
		t.Error("an empty chart has no words")
	}
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 seconds", time.Second: "1 second", 59 * time.Second: "59 seconds", 90 * time.Second: "1 minute",
		3 * time.Hour: "3 hours", 47 * time.Hour: "47 hours", 49 * time.Hour: "2 days",
	} {
		if got := formatSpan(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	if got := formatCount(1204881); got != "1,204,881" {
		t.Errorf("count %q", got)
	}
}

// TestAlertAboutNobody is about an application that did not record: no person and no
// patient stands in it, and none is counted.
func TestAlertAboutNobody(t *testing.T) {
	s := &Site{cfg: Config{Location: time.UTC}}
	got := map[string]string{}
	for _, row := range s.alertFacts(Alert{ID: "c", Days: []string{"2026-09-09"}, Time: time.Date(2026, 9, 9, 12, 0, 0, 0, time.UTC)}) {
		got[row.Key.Text] = row.Value.Text
	}
	if got["Who"] != "Nobody: it is about what records" || got["Whose record"] != "Nobody’s" {
		t.Errorf("%q", got)
	}
}
