package openmaxims

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// tables are those of the built-in map.
func tables(t testing.TB) *Tables {
	t.Helper()
	src, err := os.ReadFile("../maps/openmaxims.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Tables map[string]map[string]string `yaml:"tables"`
	}
	if err := yaml.Unmarshal(src, &f); err != nil {
		t.Fatal(err)
	}
	got, problems := New(f.Tables,
		[]string{"read", "search", "list", "create", "update", "delete", "print", "export"},
		[]string{"demographics", "encounters", "notes", "results", "prescribing", "theatres", "documents", "administration", "home"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return got
}

const (
	john   = `Mr John SMITH : 01/02/1970 Age: 45  Male. Hospital No.: H123456 (Ward 5)`
	title  = ` - jsmith logged into MAXIMS on server APP01  as Ward Nurse`
	opened = `<form navID="18" width="848" height="632" caption="%s">%s</form>`
)

// page is an answer with a screen: the patient line, the form unless caption is
// "", and what its data hold.
func page(patient, caption, inForm, inData, after string) string {
	form := ""
	if caption != "" {
		form = fmt.Sprintf(opened, caption, inForm)
	}
	return `<?xml version="1.0" encoding="utf-8"?><xml pt="1"><patient>` + patient + `</patient><navigation><create><node id="20" caption="Clinical Notes"/><node id="21" caption="Ward View"/></create></navigation>` +
		form + `<data browserTitle="` + title + `" canLeaveForm="true">` + inData + `</data>` + after + `</xml>`
}

// talk is a session with the requests and answers that it has seen.
type talk struct {
	t      *testing.T
	s      *Session
	tables *Tables
}

func newTalk(t *testing.T) *talk { return &talk{t, Begin(), tables(t)} }

// signedIn is a talk in which somebody works on Patient Search.
func signedIn(t *testing.T) *talk {
	t.Helper()
	k := newTalk(t)
	k.ask(`<loginEvent name="jsmith" pass="x"/>`)
	k.answer(page("", "Patient Search", "", "", ""))
	return k
}

func (k *talk) ask(events string) Plan {
	k.t.Helper()
	p, err := k.s.Request([]byte(`<events>`+events+`</events>`), k.tables, []string{"jsmith"})
	if err != nil {
		k.t.Fatal(err)
	}
	return p
}

func (k *talk) answer(body string) Seen {
	k.t.Helper()
	n, err := k.s.Answer(200, []byte(body), k.tables, []string{"/MAXIMS"})
	if err != nil {
		k.t.Fatal(err)
	}
	return n
}

// show is a plan in a few words.
func show(p Plan) string {
	var b strings.Builder
	for _, part := range p.Parts {
		fmt.Fprintf(&b, "%s %s; ", part.Action, part.Area)
	}
	for _, q := range p.Patients {
		fmt.Fprintf(&b, "%s%s ", q.ID, q.NHSNumber)
	}
	b.WriteString(string(p.Certainty))
	if p.Block != NotBlocked {
		b.WriteString(" " + string(p.Block))
	}
	return b.String()
}

func (k *talk) expect(events, want string) {
	k.t.Helper()
	if got := show(k.ask(events)); got != want {
		k.t.Errorf("%s: %s, want %s", events, got, want)
	}
}

// What the parser takes is taken by encoding/xml too, and as the same.
func TestDocuments(t *testing.T) {
	for _, good := range []string{
		`<a/>`, `<?xml version="1.0" encoding="UTF-8"?><a b='c"d' e = "&lt;&#x41;&#66;&amp;"><!-- x --><b:c>t<![CDATA[<&]]>u</b:c></a>`,
		"<a>\r\n  x\r</a>\n", `<a b="é"/>`, `<_a.b-c/>`,
	} {
		if _, err := parse([]byte(good)); err != nil {
			t.Errorf("%q: %v", good, err)
		}
		agree(t, []byte(good))
	}
	for _, bad := range []string{
		"", " ", "text", "<a>", "</a>", "<a></b>", "<a/><b/>", "<a/>x", "<a b/>", "<a b=c/>", `<a b="<"/>`, `<a b="1" b="2"/>`, `<a b="1" x:b="2"/>`,
		`<a b="1"c="2"/>`, `<!DOCTYPE a><a/>`, `<a><!DOCTYPE b></a>`, `<!ENTITY x "y"><a/>`, `<a>&x;</a>`, `<a>&nbsp;</a>`, `<a>&</a>`, `<a>&#0;</a>`, `<a>&#xFFFE;</a>`,
		`<a>&#xD800;</a>`, "<a>\x01</a>", "<!DOC\x01TYPE a><a/>", "<a>\xff</a>", "<a>\uFFFE</a>", "<a>]]></a>", `<a><![CDATA[</a>`, `<a><!-- -- --></a>`, `<?x y?><a/>`,
		`<?xml version="1.0" encoding="utf-16"?><a/>`, `<?xml version="1.1"?><a/>`, `<?xml version="1.0"<a/>`, "\ufeff<a/>", `<1/>`, `<a:/>`, `<:a/>`, `<a:b:c/>`, `<a/ >`,
		strings.Repeat("<a>", maxDepth+1) + strings.Repeat("</a>", maxDepth+1),
	} {
		if _, err := parse([]byte(bad)); !errors.Is(err, ErrXML) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// agree compares a document that was taken with what encoding/xml makes of it.
func agree(t *testing.T, src []byte) {
	t.Helper()
	d, err := parse(src)
	if err != nil {
		return
	}
	dec := xml.NewDecoder(strings.NewReader(string(src)))
	i := 0
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%q is taken, and encoding/xml says %v", src, err)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if i >= len(d.nodes) || !d.is(i, start.Name.Local) {
			t.Fatalf("%q: element %d is %s for encoding/xml", src, i, start.Name.Local)
		}
		for _, a := range start.Attr {
			if a.Name.Space == "xmlns" || strings.HasPrefix(a.Name.Local, "xmlns") {
				continue
			}
			got := strings.NewReplacer("\t", " ", "\n", " ", "\r", " ").Replace(d.attr(i, a.Name.Local))
			if want := strings.NewReplacer("\t", " ", "\n", " ", "\r", " ").Replace(a.Value); got != want {
				t.Fatalf("%q: %s=%q is %q for encoding/xml", src, a.Name.Local, got, want)
			}
		}
		i++
	}
	if i != len(d.nodes) {
		t.Fatalf("%q: %d elements, %d for encoding/xml", src, len(d.nodes), i)
	}
}

func TestBanner(t *testing.T) {
	k := tables(t)
	for line, want := range map[string]proxy.Patient{
		john: {ID: "H123456"},
		"RIP Mr John O'NEIL : 01/02/1970 Age: 45  Male. Hospital No.: H1":         {ID: "H1"},
		"Ms Zoë ÅNGSTRÖM : 01/02/1970 Age: 45  Female. NHS Number: ***9990000018": {NHSNumber: "9990000018"},
		"Ms A B : 01/02/1970 Age: 45  Female. NHS Number: 999 000 0018 (Ward 5)":  {NHSNumber: "9990000018"},
		"Ms A B : 01/02/1970 Age: 45  Female. NHS Number: 99900":                  {},
		"Ms A B : 01/02/1970 Age: 45  Female. Passport: X1":                       {},
		"Ms A B":                              {},
		"Ms A B : 01/02/1970 Age: 45  Female": {},
		"X. Hospital No.: H9 : 01/02/1970 Age: 45  Male. Hospital No.: H1":                   {ID: "H1"},
		"X : . Hospital No.: H9 : 01/02/1970 Age: 45  Male. Hospital No.: H1":                {}, // either may be the patient's
		"X : . NHS Number: 9990000018 : 01/02/1970 Age: 45  Male. Hospital No.: H1":          {},
		"Mr John SMITH : 01/02/1970 Age: 45  Male. Hospital No.: H1 (W. Hospital No.: H2)":   {},
		"Mr John SMITH : 01/02/1970 Age: 45  Male. Hospital No.: H1 H2":                      {},
		"Mr John SMITH : 01/02/1970 Age: 45  Male. Hospital No.: " + strings.Repeat("H", 70): {},
	} {
		got, ok := k.banner(line)
		if got != want || ok != (want != proxy.Patient{}) {
			t.Errorf("%s: %+v %v, want %+v", line, got, ok, want)
		}
	}
}

func TestRequestsOfASession(t *testing.T) {
	k := signedIn(t)
	k.expect(`<empty/>`, "read home; none")
	k.expect(`<navigation form="20"/>`, "read notes; unknown") // nobody is on the screen yet
	k.expect(`<navigation form="99"/>`, "read ; unknown")
	k.expect(`<openform form="103105"/>`, "update administration; unknown")
	k.expect(`<openform form="1"/>`, "read ; unknown")
	k.expect(`<passwordDialog canceled="false"/>`, "update administration; none")
	k.expect(`<topbutton id="-10001"/>`, "read demographics; unknown")
	k.expect(`<topbutton id="4711"/>`, "read ; unknown")
	k.expect(`<button id="a9"/>`, "update demographics; unknown") // never shown
	k.expect(`<somethingNew/>`, "update demographics; unknown")
	k.expect(`<loginEvent name="IMSadmin" pass="x"/>`, "read home; none user-refused")
	k.expect(`<unlock name="other" pass="x"/>`, "read demographics; unknown user-not-own")

	k.ask(`<navigation form="20"/>`)
	k.answer(page(john, "Clinical Notes", `<menu id="1"><menuitem id="3" text="Recorded in Error"/></menu>`,
		`<button id="a1" value="Save"/><imagebutton id="a2" tooltip="Search"/><button id="a3" value="Make coffee"/>`, ""))
	k.expect(`<textbox id="a7">x</textbox><button id="a1"/>`, "update notes; H123456 learned")
	k.expect(`<imagebutton id="a2"/>`, "search notes; unknown")
	k.expect(`<button id="a3"/>`, "update notes; H123456 learned")
	k.expect(`<menuclick controlID="a1" menuID="1" menuItemID="3"/>`, "delete notes; H123456 learned")
	k.expect(`<topbutton id="-7"/>`, "print notes; H123456 learned")
	k.expect(`<queryString/>`, "read notes; H123456 learned")
	k.expect(`<logout source="App"/><uniqueID value="u1"/>`, "read home; none")

	k.ask(`<menuclick controlID="a1" menuID="1" menuItemID="3"/>`)
	k.answer(`<xml pt="1"><messages><messagebox id="1" caption="x" buttons="YESNO">Sure?</messagebox></messages></xml>`)
	k.expect(`<messagebox id="1" button="1"/>`, "delete notes; H123456 learned")

	k.s.Lose()
	k.expect(`<button id="a1"/>`, "update ; unknown")
	k.expect(`<queryString/><updateTheme/>`, "read home; unknown")
	k.expect(`<topbutton id="-1"/>`, "read home; none")
}

// A request that signs in and works at once, or does nothing, is none.
func TestRequestsThatAreNone(t *testing.T) {
	k := signedIn(t)
	for _, body := range []string{
		`<events/>`, `<xml/>`, `<events><loginEvent name="a" pass="b"/><button id="a1"/></events>`, `<events><logout/><openform form="1"/></events>`,
		`<events>` + strings.Repeat("x", maxRequest) + `</events>`,
	} {
		if _, err := k.s.Request([]byte(body), k.tables, nil); !errors.Is(err, ErrXML) {
			t.Errorf("%.60q: %v", body, err)
		}
	}
}

// grids of both kinds, with columns.
const lists = `<dynamicgrid2 id="g1"><cols><col caption="Surname"/><col caption="Hospital No."/></cols></dynamicgrid2>` +
	`<grid id="g2"><cols><col caption="Hospital No."/></cols></grid><dynamicgrid2 id="g3"><cols><col caption="Bed"/></cols></dynamicgrid2>`

func row(id string, cells ...string) string {
	return `<r id="` + id + `"><c>` + strings.Join(cells, `</c><c>`) + `</c></r>`
}

func TestRows(t *testing.T) {
	k := signedIn(t)
	k.ask(`<navigation form="21"/>`)
	got := k.answer(page("", "Ward View", lists, `<dynamicgrid2 id="g1"><rows>`+row("1", "SMITH", "H1")+row("2", "JONES", "H2")+row("2", "JONES", "H3")+`</rows></dynamicgrid2>`+
		`<grid id="g2"><rows>`+row("1", "H7")+row("0", "H8")+row("2", "H9")+`</rows></grid>`, ""))
	want := []proxy.Patient{{ID: "H1"}, {ID: "H2"}, {ID: "H3"}, {ID: "H7"}, {ID: "H8"}, {ID: "H9"}}
	if diff := cmp.Diff(want, got.Patients); diff != "" || got.Certainty != audit.Several || got.Results != 6 || got.Stranger {
		t.Errorf("%+v %s", got, diff)
	}
	k.expect(`<dynamicgrid2selection id="g1" selectedRowID="1"/>`, "read encounters; H1 learned")
	k.expect(`<dynamicgrid2selection id="g1" selectedRowID="2"/>`, "read encounters; unknown") // an id of two rows
	k.expect(`<dynamicgrid2selection id="g1" selectedRowID="3"/>`, "read encounters; unknown")
	k.expect(`<dynamicgrid2button id="g1" rowID="1" column="1"/>`, "update encounters; H1 learned")
	k.expect(`<gridselection id="g2" selection="2"/>`, "read encounters; H9 learned")
	k.expect(`<gridselection id="g2" selection="1"/>`, "read encounters; unknown") // the row with id 1, or the second
	k.expect(`<gridselection id="g9" selection="1"/>`, "read encounters; unknown")
	k.expect(`<dynamicgrid2selection id="g1" selectedRowID="1"/><gridselection id="g2" selection="2"/>`, "read encounters; H1 H9 several")
}

// A write in one request with the way to another patient stays the current one's.
func TestWritesStayWithTheirPatient(t *testing.T) {
	k := signedIn(t)
	k.ask(`<navigation form="21"/>`)
	k.answer(page(john, "Ward View", lists, `<button id="a1" value="Save"/><dynamicgrid2 id="g1"><rows>`+row("1", "X", "H1")+`</rows></dynamicgrid2>`, ""))
	k.expect(`<button id="a1"/><dynamicgrid2selection id="g1" selectedRowID="1"/>`, "update encounters; H123456 H1 several")
}

func TestAnswers(t *testing.T) {
	tip := func(hospital string) string {
		return `<alerts><newalert id="3" sortIndex="5" tooltip="&lt;b&gt;Identifiers&lt;/b&gt;&lt;br&gt;&lt;b&gt;NHS Number:&lt;/b&gt;&amp;nbsp;***9990000018&lt;br&gt;&lt;b&gt;Hospital No.:&lt;/b&gt;&amp;nbsp;` + hospital + `&lt;br&gt;"/></alerts>`
	}
	for _, c := range []struct {
		name, body string
		want       Seen
	}{
		{"nobody", page("", "Demographics", "", "", ""), Seen{Certainty: audit.None}},
		{"one", page(john, "Demographics", "", "", ""), Seen{Patients: []proxy.Patient{{ID: "H123456"}}, Certainty: audit.Authoritative}},
		{"with every identifier", page(john, "Demographics", "", "", tip("H123456")), Seen{Patients: []proxy.Patient{{ID: "H123456", NHSNumber: "9990000018"}}, Certainty: audit.Authoritative}},
		{"line and alert disagree", page(john, "Demographics", "", "", tip("H9")), Seen{Certainty: audit.Unknown, Stranger: true}},
		{"a line that says nothing", page("Mr X", "Demographics", "", "", ""), Seen{Certainty: audit.Unknown, Stranger: true}},
		{"the alert alone", page("Mr X", "Demographics", "", "", tip("H9")), Seen{Patients: []proxy.Patient{{ID: "H9", NHSNumber: "9990000018"}}, Certainty: audit.Authoritative}},
		{"no line", strings.Replace(page("", "Demographics", "", "", ""), "<patient></patient>", "", 1), Seen{Certainty: audit.Unknown, Stranger: true}},
		{"a grid of nobody known", page("", "Demographics", lists, `<dynamicgrid2 id="g3"><rows>`+row("1", "Bed 1")+`</rows></dynamicgrid2>`, ""), Seen{Certainty: audit.Unknown, Stranger: true, Results: 1}},
		{"a row of nobody", page("", "Demographics", lists, `<dynamicgrid2 id="g1"><rows>`+row("1", "SMITH", "")+`</rows></dynamicgrid2>`, ""), Seen{Certainty: audit.Unknown, Stranger: true, Results: 1}},
		{"a grid of the current patient's", page(john, "Demographics", lists, `<dynamicgrid2 id="g3"><rows>`+row("1", "x")+`</rows></dynamicgrid2>`, ""), Seen{Patients: []proxy.Patient{{ID: "H123456"}}, Certainty: audit.Authoritative, Results: 1}},
		{"a bed plan", page(john, "Demographics", "", `<bedplanner id="a4"><bed/></bedplanner>`, ""), Seen{Patients: []proxy.Patient{{ID: "H123456"}}, Certainty: audit.Unknown, Stranger: true}},
		{"a message", `<xml><messages><message>Please enter.</message></messages></xml>`, Seen{Certainty: audit.None}},
	} {
		k := signedIn(t)
		k.ask(`<topbutton id="-2"/>`)
		if strings.Contains(c.body, "<form ") {
			c.want.Parts = []proxy.Part{{Action: policy.Read, Area: policy.Demographics, Resource: "demographics"}}
		}
		if diff := cmp.Diff(c.want, k.answer(c.body)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestAnswersThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"another status":   {500, page("", "Demographics", "", "", ""), ErrXML},
		"no XML":           {200, `<html><body>`, ErrXML},
		"another document": {200, `<html/>`, ErrXML},
		"empty":            {200, ``, ErrXML},
		"another user":     {200, strings.Replace(page("", "", "", "", ""), "jsmith", "someone", 1), ErrUser},
		"a trace":          {200, "<xml><formError title=\"x\"><msg>java.lang.X\n\tat ims.framework.cn.CNHost.doPost(CNHost.java:1530)</msg></formError></xml>", ErrFault},
	} {
		k := signedIn(t)
		k.ask(`<topbutton id="-2"/>`)
		if _, err := k.s.Answer(c.status, []byte(c.body), k.tables, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		want := "update ; unknown"
		if errors.Is(c.want, ErrFault) { // the screen is as it was
			want = "update demographics; unknown"
		}
		k.expect(`<button id="a1"/>`, want)
	}
}

// A dialog lies over its screen, and leaves it as it was.
func TestDialogs(t *testing.T) {
	k := signedIn(t)
	k.ask(`<navigation form="20"/>`)
	k.answer(page(john, "Clinical Notes", "", `<button id="a1" value="Save"/>`, ""))
	k.ask(`<topbutton id="-7"/>`)
	k.answer(page(john, "", "", "", `<dialog id="666" url="CNHost"/>`))
	k.ask(`<navigation form="666"/>`)
	k.answer(page(john, "Print Report", "", `<button id="a1" value="Print"/>`, ""))
	k.expect(`<button id="a1"/>`, "print documents; H123456 learned")
	k.answer(page(john, "", "", "", `<openUrl value="http://epr/MAXIMS/ReturnAsUrlServlet?action=getResult&amp;id=7"/>`))
	g, ok := k.s.Granted("/ReturnAsUrlServlet?id=7&action=getResult")
	if want := (Grant{Patient: proxy.Patient{ID: "H123456"}, Area: policy.Documents, Screen: "Print Report"}); !ok || g != want {
		t.Errorf("the report: %+v %v", g, ok)
	}
	if _, ok := k.s.Granted("/ReturnAsUrlServlet?id=8&action=getResult"); ok {
		t.Error("a report that was never made")
	}
	k.ask(`<dialogWasClosed id="666" byServer="true"/>`)
	k.answer(`<xml><close/></xml>`)
	k.expect(`<button id="a1"/>`, "update notes; H123456 learned")
	k.ask(`<logout source="IE"/>`)
	k.answer(` `)
	if _, ok := k.s.Granted("/ReturnAsUrlServlet?id=7&action=getResult"); ok || k.s.SignedIn() {
		t.Error("a report outlives its session")
	}
}

// Only own names sign in where the map says so.
func TestOwnLogin(t *testing.T) {
	k := newTalk(t)
	k.tables.ownLogin = true
	k.expect(`<loginEvent name="JSmith" pass="x"/>`, "read home; none")
	k.expect(`<loginEvent name="someone" pass="x"/>`, "read home; none user-not-own")
}

// Long lists are compared by index and come out as short ones do.
func TestLongLists(t *testing.T) {
	var l patientList
	for i := range 5000 {
		l.add(proxy.Patient{ID: fmt.Sprint("H", i%2500)})
	}
	l.add(proxy.Patient{ID: "H1", NHSNumber: "9990000018"})
	l.add(proxy.Patient{NHSNumber: "9990000018"})
	l.add(proxy.Patient{})
	if len(l.all) != 2500 || l.all[1] != (proxy.Patient{ID: "H1", NHSNumber: "9990000018"}) {
		t.Errorf("%d patients, the second is %+v", len(l.all), l.all[1])
	}
}

// FuzzOpenMAXIMS: whatever a request and its answer hold, nothing is taken that
// another parser reads otherwise, and an answer is nobody's only if its patient
// line is empty.
func FuzzOpenMAXIMS(f *testing.F) {
	k := tables(f)
	f.Add([]byte(`<events><textbox id="a1014">H123456</textbox><imagebutton id="a1025"/></events>`), []byte(page(john, "Demographics", lists, "", "")))
	f.Add([]byte(`<events><loginEvent id="a1001" name="jsmith" pass="x"/></events>`), []byte(`<xml><messages><message>Login failed.</message></messages></xml>`))
	f.Add([]byte(`<events><dynamicgrid2selection id="g1" selectedRowID="1"/></events>`), []byte(`<xml><close/></xml>`))
	f.Add([]byte("<!DOC\x01TYPE e><events/>"), []byte(page("Mr X", "", "", "", "")))
	f.Fuzz(func(t *testing.T, request, answer []byte) {
		s := Begin()
		if _, err := s.Request([]byte(`<events><loginEvent name="jsmith" pass="x"/></events>`), k, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Answer(200, []byte(page("", "Patient Search", "", "", "")), k, nil); err != nil {
			t.Fatal(err)
		}
		agree(t, request)
		p, err := s.Request(request, k, nil)
		if err == nil && (len(p.Parts) == 0 || p.Certainty == "" || p.Certainty == audit.Learned && len(p.Patients) != 1) {
			t.Fatalf("%q: %+v", request, p)
		}
		agree(t, answer)
		n, err := s.Answer(200, answer, k, nil)
		if err != nil || n.Certainty != audit.None {
			return
		}
		var read struct {
			Patient []string   `xml:"patient"`
			Data    []struct{} `xml:"data"`
			Form    []struct {
				ID string `xml:"id,attr"`
			} `xml:"form"`
		}
		if xml.Unmarshal(answer, &read) != nil || len(read.Form) > 0 && read.Form[0].ID == "loginForm" || len(read.Data)+len(read.Form) == 0 {
			return
		}
		if len(read.Patient) == 0 || strings.Trim(read.Patient[0], " \t\r\n") != "" {
			t.Fatalf("%q is taken for nobody's", answer)
		}
	})
}
