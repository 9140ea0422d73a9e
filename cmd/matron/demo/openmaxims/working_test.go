package openmaxims

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap"
)

// lines are records in a few words each: kind, effect, action, area, screen,
// patient, NHS number, certainty.
func lines(records []audit.Record) []string {
	var out []string
	for _, r := range records {
		if r.Kind == audit.KindOutcome {
			continue
		}
		out = append(out, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s %q %s %s %s %s", r.Kind, r.Effect, r.Action, r.Area,
			r.Screen, r.Patient, r.NHSNumber, r.Certainty, strings.Join(r.Reasons, " "))), " "))
	}
	return out
}

// did runs a step and returns what was recorded of it.
func (g *guard) did(step func()) []string {
	n := g.log.size()
	step()
	return lines(g.log.since(n))
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

// An ordinary piece of work, and what the record says of it: who signs in is no
// patient's; a search names those who were found; the row is decided before the
// record opens; what follows is learned; a report is its patient's.
func TestAnOrdinaryPieceOfWork(t *testing.T) {
	g := guarded(t, nil)
	p := g.h.Patients[30]
	nurse := g.nurse("ASH")
	d := g.at(nurse)

	same(t, "sign in", g.did(func() { d.login(nurse, "") }),
		`decision allow read home "" none`, `decision allow read home "" none`)
	same(t, "search", g.did(func() {
		d.must(d.Press(t.Context(), "Search", `<textbox id="a1014">`+p.ID+`</textbox>`))
	}), `decision allow search demographics "Patient Search" unknown`,
		fmt.Sprintf(`patient allow search demographics "Patient Search" %s authoritative`, p.ID))
	same(t, "row", g.did(func() {
		d.events(`<dynamicgrid2selection id="a1022" selection="0" selectedRowID="1" button="1"/>`)
	}), fmt.Sprintf(`decision allow read demographics "Patient Search" %s learned`, p.ID),
		fmt.Sprintf(`patient allow read demographics "Patient Search" %s %s authoritative`, p.ID, p.NHSNumber))
	same(t, "notes", g.did(func() { d.must(d.Menu(t.Context(), "Clinical Notes")) }),
		fmt.Sprintf(`decision allow read notes "Clinical Notes" %s %s learned`, p.ID, p.NHSNumber))
	same(t, "new note", g.did(func() { d.must(d.Press(t.Context(), "New", "")) }),
		fmt.Sprintf(`decision allow create notes "Clinical Notes" %s %s learned`, p.ID, p.NHSNumber))
	same(t, "save", g.did(func() { d.must(d.Press(t.Context(), "Save", `<textbox id="a1030">Well.</textbox>`)) }),
		fmt.Sprintf(`decision allow update notes "Clinical Notes" %s %s learned`, p.ID, p.NHSNumber))
	active := g.active.Load()
	same(t, "keep-alive", g.did(func() { d.events(`<empty/>`) }), `decision allow read home "Clinical Notes" none`)
	if g.active.Load() != active {
		t.Error("a keep-alive counts as activity")
	}

	path, err := d.Print(t.Context(), "Patient Summary")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "report", g.did(func() {
		if a := d.must(d.Get(t.Context(), path)); !strings.HasPrefix(a.Body, "%PDF-") {
			t.Errorf("the report: %d %q", a.Status, a.Body)
		}
	}), fmt.Sprintf(`decision allow print documents "Print Report" %s %s learned`, p.ID, p.NHSNumber))
	var known []string
	for _, r := range g.log.since(0) {
		if r.Kind == audit.KindDecision && r.Area == "notes" {
			known = r.Detail
		}
		if strings.Contains(fmt.Sprint(r), password) || strings.Contains(r.Query, d.Session()) {
			t.Errorf("a secret in the record: %+v", r)
		}
	}
	same(t, "who works", known, "application-user="+nurse, "application-role=Ward Nurse")
}

// Whoever is not signed in at the gateway any more is told so in the protocol's own
// form, since the client fails on any other.
// hazard:GW-15 control:C-61
// hazard:GW-30 control:C-225
func TestRefusalsAreMessages(t *testing.T) {
	g := guarded(t, nil)
	for name, c := range map[string]struct{ body, want string }{
		"nobody":    {`<events><empty/></events>`, "Sign in first."},
		"malformed": {`<events><!DOCTYPE x></events>`, "Request not understood."},
		"unsigned":  {`<events><loginEvent name="imsadmin" pass="x"/></events>`, "comes with the software"},
	} {
		d := g.at(g.nurse("ASH"))
		if name == "nobody" {
			d.HTTP.Jar = browser(t).Jar
		}
		a := d.must(d.Raw(t.Context(), c.body))
		if a.Status != http.StatusOK || a.Header.Get("Content-Type") != "text/xml; charset=UTF-8" || !strings.Contains(a.Message(), c.want) {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	g.decide = func(policy.Request, policy.Decision) policy.Decision {
		return policy.Decision{Effect: policy.Challenge, Offer: policy.BreakGlass, Reasons: []policy.Reason{{Code: "x", Text: "You do not look after them.", Remedy: "Confirm it."}}}
	}
	d := g.at(g.nurse("ASH"))
	if a := d.events(`<queryString/>`); !strings.Contains(a.Message(), "Confirm it.") || strings.Contains(a.Message(), "emergency") {
		t.Errorf("a challenge about nobody: %s", a.Body)
	}
}

// A client that shows a message in a box shows the address of the page that offers
// emergency access.
func TestMessageNamesThePageOfAnEmergency(t *testing.T) {
	g := guarded(t, nil)
	d, p := g.atWork(), g.h.Patients[30]
	d.open(p.ID)
	g.decide = func(q policy.Request, given policy.Decision) policy.Decision {
		if len(q.Patients) != 1 {
			return given
		}
		return policy.Decision{Effect: policy.Challenge, Offer: policy.BreakGlass, Reasons: []policy.Reason{{Code: "x", Text: "You do not look after them.", Remedy: "Confirm it."}}}
	}
	if a := d.menu("Ward View"); !strings.Contains(a.Message(), g.server.URL+"/.matron/emergency/of-"+p.ID+" in a browser") {
		t.Errorf("a challenge: %s", a.Body)
	}
}

// An answer that shows people whom nobody can name is withheld, whoever is the
// current patient.
// hazard:GW-15 control:C-61
func TestStrangersAreWithheld(t *testing.T) {
	g := guarded(t, nil)
	p := g.h.Patients[30]
	d := g.atWork()
	d.open(p.ID)
	g.instead = func(body string) string {
		return strings.Replace(body, "</data>", `<bedplanner id="a9"><bed patient="Somebody"/></bedplanner></data>`, 1)
	}
	if a := d.must(d.Menu(t.Context(), "Ward View")); strings.Contains(a.Body, "Somebody") || !strings.Contains(a.Message(), "whose data this is") {
		t.Errorf("the answer: %s", a.Body)
	}
}

// While the map is tried out nothing is refused, and everything is recorded.
func TestObserveRefusesNothing(t *testing.T) {
	g := guarded(t, nil)
	g.cfg.Apps[0].Mode = proxy.Observe
	if err := g.gateway.Swap(g.cfg.Apps); err != nil {
		t.Fatal(err)
	}
	p := g.h.Patients[30]
	d := g.atWork()
	g.decide = refusing(p.ID)
	n := g.log.size()
	if a := d.open(p.ID); !strings.Contains(a.Root.First("patient").Text, p.ID) {
		t.Errorf("the patient: %s", a.Body)
	}
	would := false
	for _, r := range g.log.since(n) {
		would = would || r.WouldDeny
	}
	if !would {
		t.Error("nothing says what would have been refused")
	}
	if a := d.events(`<openform form="103105"/>`); a.Caption() != "Application Users" {
		t.Errorf("a form by number: %s", a.Body)
	}
}

// A reload of the map carries the sessions on.
func TestSessionsOutliveAReload(t *testing.T) {
	g := guarded(t, nil)
	p := g.h.Patients[30]
	d := g.atWork()
	d.open(p.ID)
	m, err := appmap.Builtin("openmaxims")
	if err != nil {
		t.Fatal(err)
	}
	apps := slices.Clone(g.cfg.Apps)
	apps[0].Map = m.WithBase("", g.server.URL+Base, g.base)
	if err := g.gateway.Swap(apps); err != nil {
		t.Fatal(err)
	}
	same(t, "after it", g.did(func() { d.must(d.Menu(t.Context(), "Clinical Notes")) }),
		fmt.Sprintf(`decision allow read notes "Clinical Notes" %s %s learned`, p.ID, p.NHSNumber))
}

// Every patient of a list is recorded before it is shown.
func TestListsNameEverybody(t *testing.T) {
	g := guarded(t, nil)
	d := g.atWork()
	n := g.log.size()
	a := d.must(d.Menu(t.Context(), "Ward View"))
	named := map[string]bool{}
	for _, r := range g.log.since(n) {
		if r.Kind == audit.KindPatient && r.Certainty == audit.Several {
			named[r.Patient] = true
		}
	}
	shown := map[string]bool{}
	for _, r := range a.Root.All("r") {
		shown[r.All("c")[2].Text] = true
	}
	if len(shown) < 3 {
		t.Fatalf("the ward shows %d patients", len(shown))
	}
	if diff := cmp.Diff(shown, named); diff != "" {
		t.Error(diff)
	}
	g.log.mu.Lock()
	g.log.fail = true
	g.log.mu.Unlock()
	if a := d.must(d.Menu(t.Context(), "Ward View")); len(a.Root.All("r")) > 0 {
		t.Error("patients were shown that nobody could write down")
	}
}

// refusing lets the rules say no to a patient.
func refusing(patient string) func(policy.Request, policy.Decision) policy.Decision {
	return func(q policy.Request, d policy.Decision) policy.Decision {
		for _, p := range q.Patients {
			if p == patient {
				return policy.Refuse("r", policy.Reason{Code: "no-relationship", Text: "You do not look after this patient.", Remedy: "Ask."})
			}
		}
		return d
	}
}

// A row that the list has named is refused before the application opens it: the
// session stays with the patient of before.
func TestRowsAreDecidedBeforeTheRecordOpens(t *testing.T) {
	g := guarded(t, nil)
	mine, other := g.h.Patients[30], g.h.Patients[31]
	d := g.atWork()
	d.open(mine.ID)
	d.events(`<topbutton id="-2"/>`)
	found := d.must(d.Press(t.Context(), "Search", `<textbox id="a1014">`+other.ID+`</textbox>`))
	g.decide = refusing(other.ID)
	a := d.must(d.Select(t.Context(), found, other.ID))
	if a.Status != http.StatusOK || !strings.Contains(a.Message(), "You do not look after this patient.") || a.Root.First("form").XMLName.Local != "" {
		t.Errorf("the refusal: %d %s", a.Status, a.Body)
	}
	if a = d.must(d.Menu(t.Context(), "Demographics")); !strings.Contains(a.Root.First("patient").Text, mine.ID) {
		t.Errorf("the record moved on: %s", a.Root.First("patient").Text)
	}
}

// Of a patient last seen only the answer tells who they are. It is withheld, and
// the application is taken off them: nothing afterwards is done to them.
// hazard:GW-08 control:C-83
func TestWithheldPatientsAreLeft(t *testing.T) {
	g := guarded(t, nil)
	first, second := g.h.Patients[30], g.h.Patients[31]
	d := g.atWork()
	d.open(first.ID)
	d.open(second.ID)
	g.decide = refusing(first.ID)
	n := g.log.size()
	a := d.events(`<topbutton id="-10001"/>`)
	if !strings.Contains(a.Message(), "You do not look after this patient.") || strings.Contains(a.Body, first.Name.Family) {
		t.Errorf("the refusal: %s", a.Body)
	}
	var moved []string
	for _, r := range g.log.since(n) {
		if r.Kind == audit.KindOutcome {
			moved = append(moved, r.Detail...)
		}
	}
	same(t, "outcome", moved, "session-moved=yes")
	same(t, "withheld", lines(g.log.since(n))[1:],
		fmt.Sprintf(`patient deny read demographics "Demographics" %s %s authoritative no-relationship`, first.ID, first.NHSNumber))
	if a = d.events(`<button id="a1041"/>`); !strings.Contains(a.Message(), "no longer shows where the record is") {
		t.Errorf("a button of the old screen: %s", a.Body)
	}
	a = d.events(`<updateTheme/>`)
	if strings.Contains(a.Body, first.ID) || a.Root.First("selectrole_newblue").XMLName.Local == "" {
		t.Errorf("where it went: %s", a.Body)
	}
	d.must(d.Role(t.Context(), a, ""))
	if a = d.open(second.ID); !strings.Contains(a.Root.First("patient").Text, second.ID) {
		t.Errorf("going on: %s", a.Body)
	}
}

// What is lost on the way makes the session unknown: nothing is done in it until a
// screen was shown afresh.
// hazard:GW-08 control:C-83
func TestLostAnswersMakeTheSessionUnknown(t *testing.T) {
	g := guarded(t, nil)
	p := g.h.Patients[30]
	d := g.atWork()
	d.open(p.ID)
	d.must(d.Menu(t.Context(), "Clinical Notes"))
	g.lose = true
	d.events(`<topbutton id="-5"/>`)
	g.lose = false
	same(t, "unknown", g.did(func() { d.must(d.Press(t.Context(), "New", "")) }),
		`decision deny update "" unknown unknown-area`)
	d.events(`<queryString/><updateTheme/>`)
	same(t, "known again", g.did(func() { d.must(d.Menu(t.Context(), "Clinical Notes")) }),
		fmt.Sprintf(`decision allow read notes "Clinical Notes" %s %s learned`, p.ID, p.NHSNumber))
}

// A cookie is worth nothing to whoever sits down next, nor to the same person in
// a later session; nor is it shared with a script.
func TestCookiesStayWithTheirSession(t *testing.T) {
	g := guarded(t, nil)
	nurse, next := g.nurse("ASH"), g.nurse("BEECH")
	d := g.at(nurse)
	d.login(nurse, "")
	for _, who := range []string{next, nurse} {
		thief := g.at(who)
		if err := thief.Plant(d.Session()); err != nil {
			t.Fatal(err)
		}
		if a := thief.events(`<queryString/>`); a.Title() != "Login" || thief.Session() == d.Session() {
			t.Errorf("%s got into the session of another sign-in: %s", who, a.Title())
		}
	}
	if a := d.events(`<queryString/>`); !strings.Contains(a.Title(), nurse) {
		t.Errorf("the session of the one it belongs to: %s", a.Title())
	}
	a := g.at(nurse).events(`<queryString/>`)
	if line := a.Header.Get("Set-Cookie"); !strings.Contains(line, "HttpOnly") || !strings.Contains(line, "Secure") || !strings.Contains(line, "SameSite=Lax") {
		t.Errorf("the cookie: %s", line)
	}
}

// The identity goes over to the session that Select Role begins.
func TestIdentityCarriesOverToAnotherRole(t *testing.T) {
	g := guarded(t, nil)
	doctor := g.member("doctor", "")
	d := g.at(doctor)
	d.login(doctor, "Doctor")
	was := d.Session()
	a := d.events(`<topbutton id="-3"/>`)
	a = d.must(d.Role(t.Context(), a, "Clinic Doctor"))
	if d.Session() == was || !strings.Contains(a.Title(), "Clinic Doctor") {
		t.Errorf("the new role: %s", a.Title())
	}
	if a = d.must(d.Menu(t.Context(), "Outpatient Clinic List")); a.Caption() != "Outpatient Clinic List" {
		t.Errorf("work in the new role: %s", a.Body)
	}
}

// Requests of one session go one after the other, so that each is read against
// the screen that the one before left; nobody's answer is another's.
// hazard:GW-08 control:C-83
func TestRequestsOfOneSessionGoInOrder(t *testing.T) {
	g := guarded(t, nil)
	d := g.atWork()
	g.decide = nil
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			a, err := d.Send(t.Context(), http.MethodPost, "/CNHost", "text/xml", []byte(`<events><topbutton id="-2"/></events>`))
			if err != nil || a.Caption() != "Patient Search" {
				t.Errorf("%v %s", err, a.Body)
			}
		})
	}
	wg.Wait()
	if most := g.most.Load(); most != 1 {
		t.Errorf("%d requests of one session were with the application at once", most)
	}
}

// Systems may use SOAP, each patient by number; a refusal is a fault.
func TestSystemsUseSOAP(t *testing.T) {
	g := guarded(t, nil)
	p := g.h.Patients[30]
	d := g.at(g.nurse("ASH"))
	d.Header = http.Header{"Authorization": {"Bearer kiosk"}}
	user := g.nurse("ASH")
	d.must(d.SOAP(t.Context(), "MAXIMSWebService", "login", "username", user, "password", password))
	same(t, "by number", g.did(func() {
		if a := d.must(d.SOAP(t.Context(), "MAXIMSWebService", "getPatientById", "in0", "31")); !strings.Contains(a.Body, p.Name.Family) {
			t.Errorf("the patient: %s", a.Body)
		}
	}), `decision allow read demographics "getPatientById" internal:31 authoritative`,
		fmt.Sprintf(`patient allow read demographics "getPatientById" %s %s authoritative`, p.ID, p.NHSNumber))
	if a := d.must(d.SOAP(t.Context(), "MAXIMSWebService", "saveFlag", "flagName", "X", "flagValue", "Y")); a.Status != http.StatusInternalServerError || a.Root.First("faultstring").Text == "" {
		t.Errorf("the refusal: %d %s", a.Status, a.Body)
	}
	for name, body := range map[string]string{
		"two patients": `<Envelope><Body><getPatientById><in0>31</in0><patientId>32</patientId></getPatientById></Body></Envelope>`,
		"no patient":   `<Envelope><Body><getPatientById/></Body></Envelope>`,
		"two calls":    `<Envelope><Body><isPatientLate><in0>31</in0></isPatientLate><getPatientById><in0>32</in0></getPatientById></Body></Envelope>`,
	} {
		a := d.must(d.Send(t.Context(), http.MethodPost, "/services/MAXIMSWebService", "text/xml", []byte(body)))
		if a.Root.First("faultstring").Text == "" || strings.Contains(a.Body, p.Name.Family) {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
}

// Whoever is signed in to the application may upload what the hospital allows, and
// fetch it again; nobody else may.
func TestUploads(t *testing.T) {
	g := guarded(t, nil)
	p := g.h.Patients[30]
	nurse := g.nurse("ASH")
	d := g.at(nurse)
	d.login(nurse, "")
	d.open(p.ID)
	same(t, "upload", g.did(func() {
		if a := d.must(d.Upload(t.Context(), "scan.pdf", "%PDF-scan")); !strings.Contains(a.Body, "/uploads/scan.pdf") {
			t.Errorf("upload: %s", a.Body)
		}
	}), fmt.Sprintf(`decision allow create documents "Demographics" %s %s learned`, p.ID, p.NHSNumber))
	if a := d.must(d.Get(t.Context(), "/uploads/scan.pdf")); a.Body != "%PDF-scan" {
		t.Errorf("fetched again: %d %s", a.Status, a.Body)
	}
	other := g.at(g.nurse("BEECH"))
	same(t, "by somebody who is not signed in to the record", g.did(func() { other.must(other.Upload(t.Context(), "scan.pdf", "x")) }),
		`decision deny create documents "" unknown record-not-signed-in`)
	if a := other.must(other.Get(t.Context(), "/uploads/scan.pdf")); a.Status != http.StatusForbidden {
		t.Errorf("fetched by somebody else: %d", a.Status)
	}
	for _, name := range []string{"shell.jsp", "x.pdf.jsp", "../x.pdf", "a/b.pdf", `a\b.pdf`, ".pdf", "x.pdf;.jsp"} {
		if a := d.must(d.Upload(t.Context(), name, "x")); strings.Contains(a.Body, "/uploads/") {
			t.Errorf("%s was taken: %s", name, a.Body)
		}
	}
}
