package openmaxims

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
	"github.com/matron-epr/matron/cmd/matron/demo/openmaxims/attack"
)

const password = "demonstration-only"

// bench is a running emulator whose clock the test moves.
type bench struct {
	t    *testing.T
	h    *hospital.Hospital
	srv  *Server
	base string

	mu  sync.Mutex
	now time.Time
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) wait(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func start(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Date(2026, 11, 3, 10, 0, 0, 0, time.UTC)}
	b.h = hospital.New(1, b.now)
	cfg := Config{Hospital: b.h, Password: password, Now: b.clock, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	var err error
	if b.srv, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	at := httptest.NewServer(b.srv)
	t.Cleanup(at.Close)
	b.base = at.URL + Base
	return b
}

// member is the user name of somebody with a role who works on a ward, "" for any.
func (b *bench) member(role, ward string) string {
	b.t.Helper()
	for _, m := range b.h.WithRole(role) {
		if ward == "" || slices.Contains(m.Wards, ward) {
			return Username(m)
		}
	}
	b.t.Fatalf("nobody is %s on %s", role, ward)
	return ""
}

func (b *bench) nurse(ward string) string { return b.member(hospital.Nurse, ward) }

// desk is one client whose failures end the test.
type desk struct {
	*attack.Client
	t *testing.T
}

func (b *bench) desk() desk {
	return desk{&attack.Client{HTTP: browser(b.t), Base: b.base}, b.t}
}

func (d desk) must(a attack.Answer, err error) attack.Answer {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

func (d desk) events(events string) attack.Answer {
	d.t.Helper()
	return d.must(d.Events(d.t.Context(), events))
}

func (d desk) login(user, role string) attack.Answer {
	d.t.Helper()
	return d.must(d.Login(d.t.Context(), user, password, role))
}

func (d desk) open(hospitalNo string) attack.Answer {
	d.t.Helper()
	return d.must(d.OpenPatient(d.t.Context(), hospitalNo))
}

func (d desk) menu(caption string) attack.Answer {
	d.t.Helper()
	return d.must(d.Menu(d.t.Context(), caption))
}

func (d desk) press(label, more string) attack.Answer {
	d.t.Helper()
	return d.must(d.Press(d.t.Context(), label, more))
}

func (d desk) get(path string) attack.Answer {
	d.t.Helper()
	return d.must(d.Get(d.t.Context(), path))
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Fatalf("%s is %q, without %q", what, got, want)
	}
}

// canLeave is whether the screen is not being edited.
func canLeave(a attack.Answer) string { return a.Root.First("data").Attr("canLeaveForm") }

// A working day: sign in, choose a role, find a patient, write, order, print,
// upload, leave.
// hazard:GW-27 control:C-208
func TestWorkingDay(t *testing.T) {
	b := start(t, nil)
	d, user, p := b.desk(), b.member(hospital.Doctor, "ASH"), b.h.Patients[30]
	a := d.login(user, "Doctor")
	expect(t, "caption", a.Caption(), "Patient Search")
	expect(t, "title", a.Title(), " - "+user+" logged into MAXIMS on server APP01  as Doctor")
	if a.Root.First("patient").Text != "" {
		t.Fatal("a patient before anybody was chosen")
	}

	a = d.open(p.ID)
	expect(t, "caption", a.Caption(), "Demographics")
	line := a.Root.First("patient").Text
	if !regexp.MustCompile(`^(Mr|Ms|Miss|Master) \S+ [A-Z]+ : \d\d/\d\d/\d{4} Age: \d+  (Male|Female)\. Hospital No\.: ` + p.ID).MatchString(line) {
		t.Fatalf("patient line %q", line)
	}
	alert := a.Root.First("newalert")
	if alert.Attr("sortIndex") != "5" {
		t.Fatalf("first alert %+v", alert)
	}
	expect(t, "tooltip", alert.Attr("tooltip"), "<b>NHS Number:</b>&nbsp;"+p.NHSNumber)
	expect(t, "recent patients", fmt.Sprint(a.Root.First("topbuttons")), strings.ToUpper(p.Name.Family))

	expect(t, "caption", d.menu("Clinical Notes").Caption(), "Clinical Notes")
	expect(t, "in edit", canLeave(d.press("New", "")), "false")
	expect(t, "empty note", d.press("Save", "").Message(), "Please enter")
	a = d.press("Save", `<textbox id="a1030">Seen with the O&apos;family.</textbox>`)
	expect(t, "saved", canLeave(a), "true")
	expect(t, "notes", a.Body, "Seen with the O&apos;family.")

	d.events(`<topbutton id="-6"/>`)
	d.press("New", "")
	expect(t, "orders", d.press("Save", `<textbox id="a1030">Full blood count</textbox>`).Body, "Full blood count")

	a = d.menu("Pathology - Orders/Results")
	d.must(d.Select(t.Context(), a, a.Root.First("r").All("c")[0].Text))
	expect(t, "results", d.press("Mark as Checked", "").Body, "Checked")

	path, err := d.Print(t.Context(), "Discharge Letter")
	if err != nil {
		t.Fatal(err)
	}
	report := d.get(path)
	if report.Header.Get("Content-Type") != "application/pdf" || !strings.Contains(report.Body, p.ID) {
		t.Fatalf("report %q", report.Body)
	}
	expect(t, "second fetch", d.get(path).Body, "no longer available")
	expect(t, "closing", d.press("Close", "").Body, "<xml><close/></xml>")
	expect(t, "after the dialog", d.events(`<dialogWasClosed id="666" byServer="true"/>`).Caption(), "Pathology - Orders/Results")

	if a, err = d.Upload(t.Context(), "scan.pdf", "%PDF-scan"); err != nil {
		t.Fatal(err)
	}
	expect(t, "upload", a.Root.First("item").Attr("name"), "/uploads/scan.pdf")
	expect(t, "uploaded", d.get("/uploads/scan.pdf").Body, "%PDF-scan")
	d.events(`<uploadbox id="a1050" filePosted="true" uniqueID="u1" overwrite="false" localPath="scan.pdf"/>`)

	expect(t, "logout", d.events(`<logout source="App"/><uniqueID value="u1"/>`).Body, "<close/>")
	expect(t, "after logout", d.events(`<topbutton id="-1"/>`).Message(), "Session has expired.")
}

func TestSignIn(t *testing.T) {
	try := func(d desk, user, pass string) attack.Answer {
		d.events(`<queryString/>`)
		return d.events(`<loginEvent id="a1001" name="` + user + `" pass="` + pass + `"/>`)
	}
	t.Run("wrong password", func(t *testing.T) {
		b := start(t, nil)
		a := try(b.desk(), b.nurse("ASH"), "wrong")
		if a.Status != http.StatusOK || a.Message() != "Login failed." {
			t.Errorf("%d %q", a.Status, a.Body)
		}
	})
	t.Run("locked for the session only", func(t *testing.T) {
		b := start(t, func(c *Config) { c.LoginAttempts = 2 })
		d := b.desk()
		try(d, b.nurse("ASH"), "wrong")
		try(d, b.nurse("ASH"), "wrong")
		expect(t, "right password", try(d, b.nurse("ASH"), password).Message(), "locked")
		expect(t, "another session", try(b.desk(), b.nurse("ASH"), password).Title(), "Ward Nurse")
	})
	t.Run("password has run out", func(t *testing.T) {
		var user string
		b := start(t, func(c *Config) {
			user = Username(c.Hospital.WithRole(hospital.Nurse)[0])
			c.Expired = []string{user}
		})
		d := b.desk()
		a := try(d, user, password)
		if a.Root.First("data").First("logincontrol_newblue").Attr("passwordExpireDays") != "0" {
			t.Fatalf("no request for a new password: %s", a.Body)
		}
		expect(t, "new password", d.events(`<newPassword canceled="false" pass="another"/>`).Title(), user)
		expect(t, "old password", try(b.desk(), user, password).Message(), "Login failed.")
		expect(t, "next time", try(b.desk(), user, "another").Title(), user)
	})
	t.Run("salted", func(t *testing.T) {
		b := start(t, func(c *Config) { c.Secure = true })
		d := b.desk()
		salt := d.events(`<queryString/>`).Root.First("data").First("logincontrol_newblue").Attr("salt")
		if salt == "" {
			t.Fatal("no salt")
		}
		expect(t, "clear password", try(d, b.nurse("ASH"), password).Message(), "Login failed.")
		expect(t, "hashed password", try(d, b.nurse("ASH"), hash(password+salt)).Title(), "Ward Nurse")
	})
	t.Run("location", func(t *testing.T) {
		b := start(t, func(c *Config) { c.PickLocation = true })
		d := b.desk()
		expect(t, "picker", try(d, b.nurse("ASH"), password).Body, `<location id="BEECH">Beech ward</location>`)
		expect(t, "after it", d.events(`<selectLocationEvent id="BEECH"/>`).Caption(), "Patient Search")
	})
	t.Run("lock and unlock", func(t *testing.T) {
		b := start(t, nil)
		d := b.desk()
		d.login(b.nurse("ASH"), "")
		expect(t, "lock", d.events(`<navigation form="999"/>`).Message(), "Session locked by ")
		expect(t, "another user", d.events(`<unlock name="`+b.nurse("BEECH")+`" pass="`+password+`"/>`).Message(), "Session locked by ")
		expect(t, "unlocked", d.events(`<unlock name="`+b.nurse("ASH")+`" pass="`+password+`"/>`).Caption(), "Patient Search")
	})
}

// Select Role ends the session and gives another one, without the password.
func TestSelectRole(t *testing.T) {
	b := start(t, nil)
	d := b.desk()
	d.login(b.member(hospital.Doctor, "ASH"), "Doctor")
	d.open(b.h.Patients[30].ID)
	was := d.Session()
	a := d.events(`<topbutton id="-3"/>`)
	if d.Session() == was || d.Session() == "" {
		t.Fatalf("session %q after %q", d.Session(), was)
	}
	a = d.must(d.Role(t.Context(), a, "Clinic Doctor"))
	expect(t, "title", a.Title(), "as Clinic Doctor")
	if a.Root.First("patient").Text != "" {
		t.Error("the patient came along")
	}
	old := b.desk()
	if err := old.Plant(was); err != nil {
		t.Fatal(err)
	}
	expect(t, "old session", old.events(`<topbutton id="-1"/>`).Message(), "Session has expired.")
}

func TestSessionExpires(t *testing.T) {
	b := start(t, nil)
	d := b.desk()
	d.login(b.nurse("ASH"), "")
	b.wait(29 * time.Minute)
	expect(t, "in time", d.events(`<topbutton id="-1"/>`).Caption(), "Patient Search")
	b.wait(31 * time.Minute)
	a := d.events(`<topbutton id="-1"/>`)
	expect(t, "late", a.Message(), "Session has expired.")
	expect(t, "late", a.Body, `<heartbeat reset="true">`)
	if got := len(b.srv.sessions.list()); got != 1 {
		t.Errorf("%d sessions are left, not the new one alone", got)
	}
}

func TestForms(t *testing.T) {
	b := start(t, nil)
	d := b.desk()
	d.login(b.nurse("ASH"), "")
	problem := d.menu("Clinical Notes")
	expect(t, "title", problem.Root.First("formError").Attr("title"), "Form Context Problem")

	other, p := b.h.Patients[31].ID, b.h.Patients[30].ID
	d.open(other)
	d.open(p)
	d.menu("Clinical Notes")
	d.press("New", "")
	expect(t, "patient while asked", d.events(`<topbutton id="-10001"/>`).Root.First("patient").Text, p)
	d.events(`<messagebox id="1" button="2"/>`)
	a := d.menu("Allergies")
	expect(t, "question", a.Root.First("messagebox").Text, "unsaved changes")
	expect(t, "no", canLeave(d.events(`<messagebox id="1" button="2"/>`)), "false")
	d.menu("Allergies")
	expect(t, "yes", d.events(`<messagebox id="1" button="1"/>`).Caption(), "Allergies")
	expect(t, "patient before", d.events(`<topbutton id="-10001"/>`).Root.First("patient").Text, other)

	expect(t, "outside the menu", d.events(`<navigation form="18000"/>`).Body, "<formError")
	expect(t, "no such form", d.events(`<openform form="1"/>`).Body, "not registered")
	b.srv.store.setFlag("RELEASE_MODE", "TRUE")
	if a = d.events(`<openform form="1"/>`); strings.Contains(a.Body, "at ims.") {
		t.Errorf("a stack trace in release mode: %s", a.Body)
	}
}

// Every registered screen opens and shows rows where the hospital has any.
func TestEveryScreenOpens(t *testing.T) {
	b := start(t, nil)
	d := b.desk()
	d.login(b.nurse("ASH"), "")
	d.open(b.h.Patients[30].ID)
	forms := map[int]bool{}
	for _, sc := range b.srv.screens {
		if forms[sc.form] {
			t.Errorf("form %d is registered twice", sc.form)
		}
		forms[sc.form] = true
		a := d.events(`<openform form="` + strconv.Itoa(sc.form) + `"/>`)
		if sc.system {
			a = d.events(`<passwordDialog canceled="false"/>`)
		}
		if a.Caption() != sc.caption || a.Root.First("form").Attr("navID") != sc.node() {
			t.Errorf("form %d shows %q", sc.form, a.Body)
		}
		if sc.grid != nil && len(sc.menu) > 0 && len(a.Root.All("r")) == 0 {
			t.Errorf("%s lists nobody", sc.caption)
		}
	}
}

// A list of the department names everybody who is there, and choosing a row
// makes its patient the session's.
func TestLists(t *testing.T) {
	b := start(t, nil)
	d := b.desk()
	d.login(b.nurse("AE"), "")
	a := d.menu("Tracking")
	there := b.h.OnWard("AE", b.clock())
	if got := len(a.Root.All("r")); got != len(there) || got == 0 {
		t.Fatalf("%d rows for %d patients", got, len(there))
	}
	if a.Root.First("timer").Attr("interval") != "60000" {
		t.Error("the list does not refresh itself")
	}
	a = d.must(d.Select(t.Context(), a, there[0]))
	expect(t, "patient", a.Root.First("patient").Text, there[0])
	expect(t, "screen", a.Title(), "ED Nurse")
	expect(t, "after the timer", d.events(`<timer id="a1900"/>`).Body, there[0])

	a = d.must(d.Choose(t.Context(), "Discharge Patient"))
	expect(t, "question", a.Root.First("messagebox").Text, "Discharged")
	a = d.events(`<messagebox id="1" button="1"/>`)
	if got := len(a.Root.All("r")); got != len(there)-1 {
		t.Errorf("%d rows after a discharge of %d", got, len(there))
	}
}

func TestPatientLine(t *testing.T) {
	b := start(t, nil)
	d := b.desk()
	d.login(b.nurse("ASH"), "")
	find := func(what string, match func(patient) bool) attack.Answer {
		t.Helper()
		found := b.srv.store.find(match)
		if len(found) == 0 {
			t.Fatalf("nobody is %s", what)
		}
		return d.open(found[0].hospitalNo)
	}
	dead := find("dead", func(p patient) bool { return p.deceased })
	expect(t, "dead", dead.Root.First("patient").Text, "RIP ")
	expect(t, "colour", dead.Root.First("patient").Attr("textColor"), "#FF0000")
	named := find("called O'Sampleton", func(p patient) bool { return p.surname == "O'Sampleton" })
	expect(t, "escaped", named.Body, "Siobhán O&apos;SAMPLETON")
	if strings.Contains(named.Root.First("newalert").Attr("tooltip"), "NHS Number") {
		t.Error("an NHS number out of nothing")
	}
	stay := b.h.OnWard("ASH", b.clock())[0]
	expect(t, "ward", d.open(stay).Root.First("patient").Text, "(Ash ward)")
	b.srv.store.setFlag("DISPLAY_PATID_TYPE", "NHSN")
	unverified := find("unverified", func(p patient) bool { return p.unverified && p.nhs != "" })
	expect(t, "unverified", unverified.Root.First("patient").Text, "NHS Number: ***999")
}

// New patients are registered without an NHS number, and found.
func TestRegistration(t *testing.T) {
	b := start(t, nil)
	d := b.desk()
	d.login(b.member(hospital.Receptionist, "AE"), "")
	d.press("New Patient", "")
	a := d.press("Save", `<textbox id="a1031">Newtest</textbox><textbox id="a1032">Ada</textbox><textbox id="a1033">1990-05-06</textbox><combobox id="a1034" selection="Female"/>`)
	expect(t, "patient", a.Root.First("patient").Text, "Ms Ada NEWTEST : 06/05/1990")
	d.events(`<topbutton id="-2"/>`)
	a = d.press("Search", `<textbox id="a1015">newt</textbox><partialdatebox id="a1017" year="1990" month="05" day="06"/>`)
	if len(a.Root.All("r")) != 1 {
		t.Errorf("search found %s", a.Body)
	}
	expect(t, "nothing typed", d.press("Search", `<textbox id="a1015"></textbox><partialdatebox id="a1017" value=""/>`).Message(), "criteria")
}

func TestWire(t *testing.T) {
	b := start(t, nil)
	d := b.desk()
	expect(t, "GET", d.get("/CNHost").Body, "GET method is not supported")
	d.login(b.nurse("ASH"), "")
	if a := d.events(`<empty/>`); a.Body != `<xml pt="0"></xml>` {
		t.Errorf("keep-alive %q", a.Body)
	}
	for path, status := range map[string]int{
		"/": 200, "/ideagz.html": 200, "/packed/jscn.js.gz": 200, "/themes/new-blue/style.css": 200, "/services/": 200,
		"/HL7Engine": 200, "/services/MAXIMSWebService?wsdl": 200, "/nowhere": 404, "/QuartzInitializer": 405,
	} {
		if a := d.get(path); a.Status != status {
			t.Errorf("GET %s: %d", path, a.Status)
		}
	}
	post := func(path, encoding string) (http.Header, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.base+path, strings.NewReader(`<events><topbutton id="-7"/></events>`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", encoding)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close() //nolint:errcheck // read only
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v", res.Status, err)
		}
		return res.Header, string(body)
	}
	if header, body := post("/CNHost", "gzip"); header.Get("Content-Encoding") != "gzip" || !strings.HasPrefix(body, "\x1f\x8b") {
		t.Errorf("compressed: %v", header)
	}
	header, body := post("/CNHost", "identity")
	if header.Get("Content-Encoding") != "" || !strings.HasSuffix(header.Get("Set-Cookie"), "; Path=/MAXIMS") {
		t.Errorf("plain: %v", header)
	}
	expect(t, "plain", body, prolog+`<xml pt="`)
	// A client without cookies carries its session in the address.
	_, body = post("/CNHost;jsessionid="+d.Session(), "identity")
	expect(t, "dialog", body, `url="CNHost;jsessionid=`+d.Session()+`"`)
	expect(t, "first post of the dialog", d.events(`<topbutton id="-4"/>`).Caption(), "Print Report")
}

func TestSOAP(t *testing.T) {
	b := start(t, nil)
	d, p := b.desk(), b.h.Patients[30]
	call := func(op string, pairs ...string) attack.Answer {
		t.Helper()
		return d.must(d.SOAP(t.Context(), "MAXIMSWebService", op, pairs...))
	}
	expect(t, "before login", call("getMyPatients").Body, "Not logged in")
	expect(t, "wrong password", call("login", "username", b.nurse("ASH"), "password", "wrong").Body, "Return>false<")
	expect(t, "login", call("login", "username", b.nurse("ASH"), "password", password).Body, "Return>true<")
	expect(t, "my patients", call("getMyPatients").Body, b.h.OnWard("ASH", b.clock())[0])
	expect(t, "search", call("searchPatients", "searchString", p.ID).Body, p.NHSNumber)
	expect(t, "by number", call("getPatientById", "in0", "31").Body, p.NHSNumber)
	expect(t, "orders", call("getPatientOrders", "patientId", "31").Body, "<item ")
	expect(t, "record", call("recordVitalSigns", "patientId", "31", "value", "72").Body, "true")
	expect(t, "vital signs", call("getPatientVitalSigns", "patientId", "31").Body, ">72<")
	expect(t, "report", call("buildReport", "templateId", "Ward List", "imsId", "31").Body, "ReturnAsUrlServlet")
	expect(t, "unknown", call("noSuchThing").Body, "No such operation")
	call("logout")
	expect(t, "after logout", call("getMyPatients").Body, "Not logged in")
}

// What abuse reaches is only what the emulator holds: entities read the emulated
// files and nothing else, servlets call this machine and nothing else.
func TestAbuseStaysInside(t *testing.T) {
	b := start(t, func(c *Config) {
		c.Client = &http.Client{Transport: outside(func(r *http.Request) { t.Errorf("a request to %s", r.URL) })}
	})
	root, err := parse([]byte(`<!DOCTYPE e [<!ENTITY x SYSTEM "file:///etc/passwd">]><e>[&x;]</e>`), nil)
	if err != nil || root.text != "[]" {
		t.Errorf("entity %q, %v", root.text, err)
	}
	for _, address := range []string{"http://192.0.2.1/", "http://example.org/", "https://127.0.0.1/", "file:///etc/passwd", "http://localhost.example/"} {
		a := b.desk().must(b.desk().Form(t.Context(), "/PrintReport", "urlServer", address))
		if a.Body != "java.net.ConnectException: Connection refused" {
			t.Errorf("%s: %q", address, a.Body)
		}
	}
	big := `<!DOCTYPE e [<!ENTITY a "` + strings.Repeat("x", 1000) + `">`
	for _, pair := range []string{"ba", "cb", "dc", "ed", "fe"} {
		big += `<!ENTITY ` + pair[:1] + ` "` + strings.Repeat("&"+pair[1:]+";", 10) + `">`
	}
	if _, err := parse([]byte(big+`]><e>&f;</e>`), nil); err == nil {
		t.Error("entities grew without bound")
	}
}

// outside tells of requests instead of sending them.
type outside func(*http.Request)

func (o outside) RoundTrip(r *http.Request) (*http.Response, error) {
	o(r)
	return nil, http.ErrServerClosed
}

// An administrator's screens do what they say.
func TestAdministration(t *testing.T) {
	b := start(t, nil)
	d, victim := b.desk(), b.desk()
	d.login(b.member(hospital.SystemAdministrator, ""), "")
	d.must(d.Select(t.Context(), d.menu("Configuration Flags"), "READ_AUDIT_ENABLED"))
	d.press("Edit", "")
	d.press("Save", `<textbox id="a1030">TRUE</textbox>`)
	victim.login(b.nurse("ASH"), "")
	victim.open(b.h.Patients[30].ID)
	expect(t, "audit", d.menu("Audit List").Body, "Patient Demographics")

	d.must(d.Select(t.Context(), d.menu("Session Admin"), b.nurse("ASH")))
	d.press("Terminate", "")
	expect(t, "terminated", victim.events(`<topbutton id="-1"/>`).Message(), "Session has expired.")

	d.must(d.Select(t.Context(), d.menu("Application Users"), b.nurse("ASH")))
	d.press("Deactivate", "")
	if _, err := victim.Login(t.Context(), b.nurse("ASH"), password, ""); err == nil {
		t.Error("a closed account signs in")
	}
	expect(t, "system password", d.menu("Cache Configuration").Body, systemPassword)
	expect(t, "cancelled", d.events(`<passwordDialog canceled="true"/>`).Title(), "System Administrator")
}

// Whatever comes, the answer is XML with status 200 and the session goes on.
func TestOddBodies(t *testing.T) {
	b := start(t, nil)
	d := b.desk()
	d.login(b.nurse("ASH"), "")
	for _, body := range []string{
		"", "x", "<events", "<events/>", "<events></other>", "</events>", "<a><b/></a>", "<events><textbox/></events>", "<events><button/></events>",
		`<events><topbutton id="-10099"/></events>`, `<events><topbutton id="x"/></events>`, `<events><navigation/></events>`, `<events><openform/></events>`,
		`<events><dynamicgrid2selection selectedRowID="-1"/></events>`, `<events><messagebox id="1" button="1"/></events>`, `<events><menuclick/></events>`,
		`<events><openform form="102180"/><button id="a1002"/><button id="a1001"/></events>`, `<events><passwordDialog canceled="false"/></events>`,
		`<events><textbox id="a1015">&undeclared;</textbox></events>`, `<!DOCTYPE e [<!ENTITY x "&x;">]><events><textbox id="a1">&x;</textbox></events>`,
		`<events><topbutton id="-7"/></events>`, `<events><dynamicgrid2selection selectedRowID="1"/><openform form="102100"/><button id="a1002"/></events>`,
		strings.Repeat("<events>", 2000) + strings.Repeat("</events>", 2000),
	} {
		a, err := d.Raw(t.Context(), body)
		if err != nil || a.Status != http.StatusOK || a.Root.XMLName.Local != "xml" {
			t.Errorf("%.60q: %d %q, %v", body, a.Status, a.Body, err)
		}
	}
	expect(t, "afterwards", d.events(`<topbutton id="-1"/>`).Title(), b.nurse("ASH"))
}

// Many users at once: each sees their own patient on every screen.
func TestManySessions(t *testing.T) {
	b := start(t, nil)
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			if err := shift(t.Context(), b.desk().Client, b.nurse([]string{"ASH", "BEECH", "AE"}[i%3]), b.h.Patients[i*7].ID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// shift is some work on one patient.
func shift(ctx context.Context, c *attack.Client, user, hospitalNo string) error {
	if _, err := c.Login(ctx, user, password, ""); err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	if _, err := c.OpenPatient(ctx, hospitalNo); err != nil {
		return fmt.Errorf("open %s: %w", hospitalNo, err)
	}
	for _, caption := range []string{"Patient Summary", "Clinical Notes", "Ward View", "Allergies"} {
		a, err := c.Menu(ctx, caption)
		if err != nil {
			return fmt.Errorf("open %s: %w", caption, err)
		}
		if !strings.Contains(a.Root.First("patient").Text, hospitalNo) || !strings.Contains(a.Title(), user) {
			return fmt.Errorf("%s of %s for %s shows %q to %q", caption, hospitalNo, user, a.Root.First("patient").Text, a.Title())
		}
	}
	return nil
}

// Requests of one session at once do not mix: whoever opens a patient sees them.
func TestOneSessionManyRequests(t *testing.T) {
	b := start(t, nil)
	d := b.desk()
	d.login(b.nurse("ASH"), "")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			p := b.h.Patients[i]
			a, err := d.Send(t.Context(), http.MethodPost, "/CNHost", "", []byte(
				`<events><topbutton id="-2"/><textbox id="a1014">`+p.ID+`</textbox><imagebutton id="a1025"/></events>`))
			if err != nil {
				t.Error(err)
				return
			}
			if rows := a.Root.All("r"); len(rows) != 1 || rows[0].All("c")[2].Text != p.ID {
				t.Errorf("a search for %s found %d", p.ID, len(rows))
			}
		})
	}
	wg.Wait()
}

// Turns come in the order in which they were asked for.
func TestTurnsComeInOrder(t *testing.T) {
	var q turns
	ready, done := q.queue()
	<-ready
	const waiting = 50
	order := make(chan int, waiting)
	var wg sync.WaitGroup
	for i := range waiting {
		ready, done := q.queue()
		wg.Go(func() {
			<-ready
			order <- i
			done()
		})
	}
	select {
	case i := <-order:
		t.Fatalf("%d did not wait", i)
	default:
	}
	done()
	wg.Wait()
	for i := range waiting {
		if got := <-order; got != i {
			t.Fatalf("place %d went to %d", i, got)
		}
	}
}

func TestNewWantsAPassword(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("an emulator without a password")
	}
}
