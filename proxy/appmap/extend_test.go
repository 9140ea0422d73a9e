package appmap

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/proxy/strictyaml"
)

// siteMap is the example of docs/openmaxims.md.
func siteMap(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/openmaxims.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(doc), "# maxims-rba.yaml\n")
	text, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("the document has no example")
	}
	return text
}

// A hospital's own screens come to those of the built-in map, in a file that says
// nothing else.
// hazard:GW-27 control:C-209
func TestASiteExtendsOpenMAXIMS(t *testing.T) {
	m, err := Parse("maxims-rba.yaml", []byte(siteMap(t)))
	if err != nil {
		t.Fatal(err)
	}
	built, err := Builtin("openmaxims")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(built.RuleIDs(), m.RuleIDs()); diff != "" {
		t.Error(diff)
	}
	m = m.WithBase("/MAXIMS")
	page := func(caption string) string {
		return `<xml><patient></patient><navigation><create><node id="1" caption="Stroke Worklist"/><node id="2" caption="Ward View"/><node id="3" caption="Ward Templates"/></create></navigation>` +
			`<form caption="` + caption + `"><dynamicgrid2 id="g"><cols><col caption="Trust No."/></cols></dynamicgrid2></form>` +
			`<data browserTitle=" - jsmith logged into MAXIMS on server APP01  as Ward Nurse"><button id="a1" value="Hand over"/><dynamicgrid2 id="g"><rows><r id="1"><c>T1</c></r></rows></dynamicgrid2></data></xml>`
	}
	try := func(events, answer string) string {
		t.Helper()
		message := "POST /MAXIMS/CNHost HTTP/1.1\nHost: epr.example\nCookie: JSESSIONID=A\n\n<events>" + events + "</events>"
		if answer != "" {
			message += "\nHTTP/1.1 200 OK\nContent-Type: text/xml\n\n" + answer
		}
		rec, err := ReadExchanges([]byte(message))
		if err != nil {
			t.Fatal(err)
		}
		got := Try(m, rec.Exchanges[0].Exchange)
		if got.Refused != nil || got.Withheld != nil {
			t.Fatal(got.Refused, got.Withheld)
		}
		line := string(got.Access.Action) + " " + string(got.Access.Area)
		for _, p := range got.Settlement.Patients {
			line += " " + p.ID
		}
		return line
	}
	for _, c := range []struct{ events, answer, want string }{
		{`<loginEvent name="recording" pass="x"/>`, page("Stroke Worklist"), "read home T1"},
		{`<navigation form="1"/>`, "", "read notes"},
		{`<navigation form="2"/>`, "", "read encounters"},
		{`<navigation form="3"/>`, "", "update administration"},
		{`<topbutton id="7"/>`, "", "read notes"},
		{`<button id="a1"/>`, "", "create notes"},
	} {
		if got := try(c.events, c.answer); got != c.want {
			t.Errorf("%s: %s, want %s", c.events, got, c.want)
		}
	}
}

// Mistakes in such a file are found where they stand.
// hazard:GW-27 control:C-209
func TestMistakesInTheTablesOfOpenMAXIMS(t *testing.T) {
	_, err := Parse("site.yaml", []byte(`app: x
extends: openmaxims
rules: []
tables:
  options: {login: me}
  functions: {stroke: brains}
  screens:
    "A": nowhere
    "B": notes look
  forms: {"7": "No Such Screen"}
  buttons: {"go": fly}
  top-buttons: {"8": sideways}
  identifiers: {"No.": house-number}
  users: {x: allowed}
  soap: {one: notes, two: notes read twice, three: brains read}
  uploads: {exe: sure}
`))
	var problems strictyaml.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got %v", err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprint(p.Line, " ", p.Path))
	}
	want := []string{
		"5 tables.options.login", "6 tables.functions.stroke", "8 tables.screens.A", "9 tables.screens.B",
		"10 tables.forms.7", "11 tables.buttons.go", "12 tables.top-buttons.8", "13 tables.identifiers.No.",
		"14 tables.users.x", "15 tables.soap.one", "15 tables.soap.two", "15 tables.soap.three", "16 tables.uploads.exe",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct{ src, want string }{
		{"app: x\nextends: openmaxim\nrules: []\n", `Did you mean openmaxims`},
		{"app: x\nsession: {in-order: [a]}\nrules: []\n", "session.cookie"},
		{"app: x\nrules:\n- {id: a, match: {method: [POST], path: /a}, use: openmaxims.document, action: read, area: home}\n", "follows sessions"},
	} {
		if _, err := Parse("x.yaml", []byte(c.src)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.src, err)
		}
	}
}
