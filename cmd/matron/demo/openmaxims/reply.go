package openmaxims

import (
	"compress/gzip"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const prolog = `<?xml version="1.0" encoding="utf-8"?>`

// reply collects what one response will hold.
type reply struct {
	raw      string // the whole body, instead of everything below
	page     bool   // the frame of the application, on the first response
	form     bool   // the screen is new to the client
	messages []string
	openURL  string
	dialog   bool
	reset    bool // the timers of the client start again
}

// markup builds XML.
type markup struct{ b strings.Builder }

func (m *markup) raw(text string) { m.b.WriteString(text) }

func (m *markup) String() string { return m.b.String() }

// tag writes the start of an element; attributes come in pairs of name and value.
func (m *markup) tag(name string, pairs ...string) {
	m.raw("<" + name)
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&m.b, ` %s="%s"`, pairs[i], escape(pairs[i+1]))
	}
	m.raw(">")
}

func (m *markup) end(name string) { m.raw("</" + name + ">") }

// leaf writes an element with text.
func (m *markup) leaf(name, text string, pairs ...string) {
	m.tag(name, pairs...)
	m.raw(escape(text))
	m.end(name)
}

// respond writes the turn's answer: always 200, compressed when asked.
func (t *turn) respond(w http.ResponseWriter, r *http.Request) {
	body := t.out.raw
	if body == "" {
		body = t.render()
	}
	h := w.Header()
	h.Set("Content-Type", "text/xml; charset=UTF-8")
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		write(w, body)
		return
	}
	h.Set("Content-Encoding", "gzip")
	zip := gzip.NewWriter(w)
	_, err := zip.Write([]byte(body))
	if err == nil {
		err = zip.Close()
	}
	if err != nil {
		panic(http.ErrAbortHandler) // the client left
	}
}

// write sends a body; a client that left is nobody's trouble.
func write(w http.ResponseWriter, body string) {
	if _, err := w.Write([]byte(body)); err != nil { //nolint:gosec // what it echoes unescaped, the original does too
		panic(http.ErrAbortHandler)
	}
}

// render writes a whole response, its elements in the original's order.
func (t *turn) render() string {
	m := &markup{}
	m.raw(prolog)
	m.tag("xml", "pt", strconv.FormatInt(t.srv.cfg.Now().Sub(t.began).Milliseconds(), 10))
	if t.out.page {
		m.leaf("html", "", "theme", "new-blue")
	}
	switch t.sess.stage {
	case signedIn:
		t.patientLine(m)
		t.menu(m)
		if t.out.form {
			t.form(m)
		}
		t.data(m)
		t.topButtons(m)
		if t.sess.screen.timer > 0 {
			m.tag("timers")
			m.leaf("timer", "", "id", "a1900", "enabled", "true", "interval", strconv.Itoa(t.sess.screen.timer*1000))
			m.end("timers")
		}
	default:
		t.signIn(m)
	}
	if t.out.openURL != "" {
		m.leaf("openUrl", "", "value", t.out.openURL, "window", "_blank")
	}
	t.said(m)
	if t.out.dialog {
		m.leaf("dialog", "", "width", "640", "height", "480", "url", t.dialogURL(), "id", "666")
	}
	if t.sess.stage == signedIn && t.sess.alerted != t.sess.patient {
		t.alerts(m)
	}
	if t.out.reset {
		m.leaf("autoLockTimer", "", "reset", "true")
		m.leaf("heartbeat", "", "reset", "true")
	}
	m.end("xml")
	return m.String()
}

// dialogURL is where the dialog's window posts to, with the session in it while
// the client has shown it there and in no cookie.
func (t *turn) dialogURL() string {
	if strings.Contains(t.r.RequestURI, ";jsessionid=") {
		return "CNHost;jsessionid=" + t.sess.id
	}
	return "CNHost"
}

func (t *turn) said(m *markup) {
	q := t.sess.question
	if len(t.out.messages) == 0 && q == nil {
		return
	}
	m.tag("messages")
	for _, text := range t.out.messages {
		m.leaf("message", text)
	}
	if q != nil {
		m.leaf("messagebox", q.text, "id", "1", "caption", t.sess.screen.caption, "buttons", "YESNO")
	}
	m.end("messages")
}

func (t *turn) patientLine(m *markup) {
	p, ok := t.srv.store.patient(t.sess.patient)
	if !ok {
		m.leaf("patient", "")
		return
	}
	colour := ""
	if p.deceased {
		colour = "#FF0000"
	}
	m.leaf("patient", p.banner(t.srv.cfg.Now(), t.srv.wardOf(p.id), t.srv.store.flag("DISPLAY_PATID_TYPE")), "textColor", colour)
}

// wardOf is where a patient lies.
func (s *Server) wardOf(patient int) string {
	for _, e := range s.store.list(patient, "stay") {
		if e.status != "In" {
			continue
		}
		id, _, _ := strings.Cut(e.text, " ")
		if w, ok := s.cfg.Hospital.Ward(id); ok {
			return w.Name
		}
	}
	return ""
}

// menu is the role's tree of screens, sent once for each sign-in.
func (t *turn) menu(m *markup) {
	if t.sess.drawn {
		m.tag("navigation")
		m.tag("modify")
		m.leaf("node", "", "id", t.sess.screen.node(), "selected", "true")
		m.end("modify")
		m.end("navigation")
		return
	}
	t.sess.drawn = true
	m.tag("navigation")
	m.tag("create")
	for i, area := range t.sess.role.areas {
		m.tag("node", "id", strconv.Itoa(1+i), "caption", area, "group", "true")
		for _, sc := range t.srv.screens {
			if sc.area == area && !sc.dialog {
				m.leaf("node", "", "id", sc.node(), "caption", sc.caption)
			}
		}
		m.end("node")
	}
	m.end("create")
	m.end("navigation")
}

func (t *turn) form(m *markup) {
	sc := t.sess.screen
	m.tag("form", "navID", sc.node(), "width", "848", "height", "632", "caption", sc.caption,
		"captionImg", "g/"+sc.node()+".png", "helpLink", "", "darkHeight", "0")
	for _, f := range sc.fields {
		m.leaf("label", "", "id", "a"+f.id+"0")
		m.leaf(f.kind, "", "id", "a"+f.id)
	}
	for _, b := range sc.buttons {
		m.leaf(b.element(), "", "id", "a"+b.id)
	}
	if sc.grid != nil {
		m.tag("dynamicgrid2", "id", gridControl)
		m.tag("cols")
		for _, c := range sc.grid.columns {
			m.leaf("col", "", "caption", c, "width", "100")
		}
		m.end("cols")
		m.end("dynamicgrid2")
	}
	if len(sc.menu) > 0 {
		m.tag("menu", "id", "1")
		m.tag("items")
		for _, item := range sc.menu {
			m.leaf("menuitem", "", "id", item.id, "text", item.label)
		}
		m.end("items")
		m.end("menu")
	}
	m.end("form")
}

// browserTitle names user and role, as on every screen of the original.
func (t *turn) browserTitle() string {
	return " - " + t.sess.account.user + " logged into MAXIMS on server APP01  as " + t.sess.role.name
}

// data holds the values of the controls. The original leaves out those that did
// not change; this sends them all.
func (t *turn) data(m *markup) {
	s := t.sess
	m.tag("data", "browserTitle", t.browserTitle(), "canLeaveForm", strconv.FormatBool(!s.editing), "errorMode", "false", "uploadURL", "Upload")
	for _, f := range s.screen.fields {
		m.leaf("label", "", "id", "a"+f.id+"0", "text", f.label)
		m.leaf(f.kind, "", "id", "a"+f.id, "value", s.fields[f.id], "enabled", strconv.FormatBool(s.editing || s.screen.search))
	}
	for _, b := range s.screen.buttons {
		if b.element() == "imagebutton" {
			m.leaf("imagebutton", "", "id", "a"+b.id, "tooltip", b.label)
		} else if b.shown(s.editing) {
			m.leaf("button", "", "id", "a"+b.id, "value", b.label)
		}
	}
	if s.screen.grid != nil {
		t.grid(m)
	}
	m.end("data")
}

func (t *turn) grid(m *markup) {
	rows := t.sess.screen.grid.rows(t)
	t.sess.rows = map[string]row{}
	m.leaf("label", "", "id", "a1004", "text", fmt.Sprintf("Total : %d", len(rows)))
	m.tag("dynamicgrid2", "id", gridControl, "visible", "true")
	m.leaf("nodetype", "", "type", "item", "checkBox", "false")
	m.tag("rows")
	for i, r := range rows {
		id := strconv.Itoa(i + 1)
		t.sess.rows[id] = r
		m.tag("r", "id", id, "type", "item", "readOnly", "true")
		for _, cell := range r.cells {
			m.leaf("c", cell, "type", "String", "canBeEmpty", "true")
		}
		m.end("r")
	}
	m.end("rows")
	m.end("dynamicgrid2")
}

// topButtons are the built-in buttons and the patients last seen.
func (t *turn) topButtons(m *markup) {
	m.tag("topbuttons")
	m.tag("section", "id", "1")
	for _, b := range []button{
		{id: "-1", label: "Home"},
		{id: "-2", label: "Patient Search"},
		{id: "-3", label: "Select Role"},
		{id: "-5", label: "Patient Summary"},
		{id: "-6", label: "Order Entry"},
		{id: "-7", label: "Print"},
		{id: "-13", label: "Lock Screen"},
		{id: "-15", label: "Change Password"},
		{id: "-4", label: "Logout"},
	} {
		m.leaf("link", "", "id", b.id, "text", b.label)
	}
	m.end("section")
	m.tag("section", "id", "-99")
	for i, id := range t.sess.recent {
		if p, ok := t.srv.store.patient(id); ok {
			m.leaf("link", "", "id", strconv.Itoa(-10000-i), "text", p.called(t.srv.cfg.Now()))
		}
	}
	m.end("section")
	m.end("topbuttons")
}

// alerts follow a change of patient.
func (t *turn) alerts(m *markup) {
	t.sess.alerted = t.sess.patient
	m.tag("alerts")
	m.leaf("removeall", "")
	if p, ok := t.srv.store.patient(t.sess.patient); ok {
		m.leaf("newalert", "", "id", "3", "sortIndex", "5", "icon", "g/PatientInfo.png", "tooltip", p.tooltip(t.srv.cfg.Now()), "category", "Patient Information")
		for i, e := range t.srv.store.list(p.id, "allergy") {
			m.leaf("newalert", "", "id", strconv.Itoa(10+i), "sortIndex", "10", "icon", "g/Allergy.png", "tooltip", "Allergy: "+escape(e.text), "category", "Allergies")
		}
	}
	m.end("alerts")
}

// remember puts a patient at the head of those last seen.
func (s *session) remember(patient int) {
	s.recent = slices.DeleteFunc(s.recent, func(id int) bool { return id == patient })
	s.recent = slices.Insert(s.recent, 0, patient)
	s.recent = s.recent[:min(len(s.recent), 5)]
}

func (s *Server) when(at time.Time) string { return at.In(s.clock).Format("02/01/2006 15:04") }
