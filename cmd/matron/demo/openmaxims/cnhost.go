package openmaxims

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// turn is one request of a session.
type turn struct {
	srv   *Server
	sess  *session
	w     http.ResponseWriter
	r     *http.Request
	began time.Time
	out   reply
}

// cnHost is the whole user interface: one post for every gesture.
func (s *Server) cnHost(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		write(w, "GET method is not supported by this servlet.")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.blank(w, http.StatusRequestEntityTooLarge)
		return
	}
	held, done := s.take(w, r)
	defer done()
	t := &turn{srv: s, sess: held, w: w, r: r, began: s.cfg.Now()}
	root, err := parse(body, s.cfg.Files)
	if err != nil || s.store.flag("REQUEST_LOGGING") == "TRUE" {
		s.serverLog("request: " + string(body)) // passwords and all (S12)
	}
	switch {
	case err != nil:
		t.fault("org.xml.sax.SAXParseException: "+err.Error(), "ims.framework.cn.EventParser.parse(EventParser.java:73)")
	case len(root.children) == 0 || root.children[0].name == "empty":
		t.out.raw = `<xml pt="0"></xml>`
	default:
		t.handle(root.children)
	}
	t.respond(w, r)
}

func (t *turn) say(text string) { t.out.messages = append(t.out.messages, text) }

// fault answers with an error form, exception and all unless RELEASE_MODE is
// on (S14).
func (t *turn) fault(exception, at string) {
	text := "An error has occurred. Please contact your administrator."
	if t.srv.store.flag("RELEASE_MODE") != "TRUE" {
		text = exception + "\n\tat " + at + "\n\tat ims.framework.cn.CNHost.doPost(CNHost.java:1530)"
	}
	t.errorForm("Application Error", text)
}

func (t *turn) errorForm(title, text string) {
	browserTitle := "Login"
	if t.sess.stage == signedIn {
		browserTitle = t.browserTitle()
	}
	m := &markup{}
	m.raw("<xml>")
	m.tag("formError", "title", title, "caption", title, "browserTitle", browserTitle, "suspend", "false")
	m.leaf("msg", text)
	m.raw("</formError></xml>")
	t.out.raw = m.String()
}

// handle answers the events of a request in order.
func (t *turn) handle(events []event) {
	if t.sess.dialogOpened { // the new window's first request counts for nothing
		t.sess.dialogOpened, t.out.form = false, true
		t.sess.behind, t.sess.screen = t.sess.screen, t.srv.screen(formPrint)
		return
	}
	if t.sess.stage != signedIn {
		t.before(events[0])
		return
	}
	for _, e := range events {
		t.event(e)
		if t.out.raw != "" || t.sess.stage != signedIn {
			return
		}
	}
}

func (t *turn) event(e event) {
	s := t.sess
	switch e.name {
	case "queryString", "updateTheme": // the page was loaded again
		s.drawn, s.alerted, t.out.page, t.out.form = false, -1, true, true
	case "uniqueID", "formSizeChanged", "storedLocations", "timer": // the answer's fresh data is all they ask for
	case "dialogWasClosed":
		t.out.form = true
	case "logout":
		t.leave(e)
	case "autoLock":
		t.lock()
	case "navigation":
		t.navigate(e.attrs["form"])
	case "openform":
		t.openForm(e.attrs["form"])
	case "passwordDialog":
		t.systemPassword(e)
	case "topbutton":
		t.topButton(e.attrs["id"])
	case "button", "imagebutton", "link":
		t.press(e)
	case "menuclick":
		t.choose(e.attrs["menuItemID"])
	case "messagebox":
		t.answer(e.attrs["button"])
	case "dynamicgrid2selection":
		t.selectRow(e.attrs["selectedRowID"])
	default:
		if id := e.control(); id != "" {
			s.fields[id] = e.value()
		}
	}
}

// show puts a screen on the display.
func (t *turn) show(sc *screen) {
	s := t.sess
	s.screen, s.behind, s.editing, s.chosen, s.question, t.out.form = sc, nil, false, row{}, nil, true
	s.fields, s.rows = map[string]string{}, nil
	if sc.fill != nil {
		sc.fill(t)
	}
}

// open shows a screen if its context allows and asks for the system password
// first where the original does.
func (t *turn) open(sc *screen) {
	switch {
	case sc.needsPatient && t.sess.patient == 0:
		t.errorForm("Form Context Problem", "The form '"+sc.caption+"' requires a patient to be selected.")
	case sc.system:
		t.sess.asked = sc
		m := &markup{}
		m.raw("<xml>")
		m.leaf("passwordDialog", "", "title", "System Password", "text", "Please enter the system password", "password", systemPassword)
		m.raw("</xml>")
		t.out.raw = m.String()
	default:
		t.show(sc)
	}
}

// systemPassword is public in the original and sent to every browser, where a
// script compares it (S3). This one is the emulator's own.
const systemPassword = "demonstration-system-password"

// systemPassword believes the client that the password was right (S3).
func (t *turn) systemPassword(e event) {
	sc := t.sess.asked
	t.sess.asked = nil
	if sc != nil && e.attrs["canceled"] == "false" {
		t.show(sc)
	}
}

// leaving asks before unsaved changes are lost and then goes on.
func (t *turn) leaving(on func(*turn)) {
	if !t.sess.editing {
		on(t)
		return
	}
	t.sess.question = &question{text: "You have unsaved changes. Do you wish to continue?", yes: on}
}

func (t *turn) navigate(node string) {
	switch node {
	case "666": // the dialog's window is ready
		t.out.form = true
		return
	case "999":
		t.lock()
		return
	}
	for i := range t.srv.screens {
		sc := &t.srv.screens[i]
		if sc.node() == node && !sc.dialog && t.sess.role.may(sc.area) {
			t.leaving(func(t *turn) { t.open(sc) })
			return
		}
	}
	t.fault("java.lang.NullPointerException", "ims.framework.cn.CNHost.navigate(CNHost.java:2039) node "+node)
}

// openForm opens any registered form, whatever the role's menu holds (S2).
func (t *turn) openForm(id string) {
	n, err := strconv.Atoi(id)
	if err != nil {
		t.fault("java.lang.NumberFormatException: For input string: "+strconv.Quote(id), "ims.framework.cn.EventParser.openForm(EventParser.java:412)")
		return
	}
	sc := t.srv.screen(n)
	if sc == nil {
		t.fault(fmt.Sprintf("ims.framework.exceptions.CodingRuntimeException: form %d is not registered", n), "ims.framework.cn.CNHost.openForm(CNHost.java:2086)")
		return
	}
	t.open(sc)
}

func (t *turn) topButton(id string) {
	n, err := strconv.Atoi(id)
	switch {
	case err != nil:
		t.fault("java.lang.NumberFormatException: For input string: "+strconv.Quote(id), "ims.framework.cn.EventParser.topButton(EventParser.java:388)")
	case n <= -10000:
		if i := -10000 - n; i < len(t.sess.recent) {
			patient := t.sess.recent[i]
			t.leaving(func(t *turn) { // not before: unsaved changes belong to the patient on the screen
				t.pick(patient)
				t.open(t.srv.screen(formDemographics))
			})
		}
	case n == -1, n == -2:
		t.leaving(func(t *turn) { t.open(t.srv.screen(formSearch)) })
	case n == -3:
		t.leaving((*turn).selectRole)
	case n == -4:
		t.leave(event{})
	case n == -5:
		t.leaving(func(t *turn) { t.open(t.srv.screen(formSummary)) })
	case n == -6:
		t.leaving(func(t *turn) { t.open(t.srv.screen(formOrders)) })
	case n == -7:
		if t.sess.behind == nil {
			t.sess.dialogOpened, t.out.dialog = true, true
		}
	case n == -13:
		t.lock()
	case n == -15:
		t.sess.stage = atPassword
	}
}

func (t *turn) closeDialog() {
	if t.sess.behind != nil {
		t.sess.screen, t.sess.behind = t.sess.behind, nil
		t.sess.chosen, t.sess.rows = row{}, nil
		t.out.raw = "<xml><close/></xml>"
	}
}

// press runs the action of a button on the screen.
func (t *turn) press(e event) {
	if _, err := strconv.Atoi(e.control()); err != nil {
		t.fault("java.lang.NumberFormatException: For input string: "+strconv.Quote(e.control()), "ims.framework.cn.EventParser.button(EventParser.java:201)")
		return
	}
	for _, b := range t.sess.screen.buttons {
		if b.id == e.control() && b.shown(t.sess.editing) {
			b.do(t)
			return
		}
	}
}

func (t *turn) choose(item string) {
	for _, m := range t.sess.screen.menu {
		if m.id == item {
			m.do(t)
		}
	}
}

func (t *turn) answer(button string) {
	q := t.sess.question
	t.sess.question = nil
	if q != nil && button == "1" {
		t.sess.editing = false
		q.yes(t)
	}
}

// selectRow selects a row and, with it, its patient for the whole session.
func (t *turn) selectRow(id string) {
	r, ok := t.sess.rows[id]
	if !ok {
		return
	}
	t.sess.chosen = r
	if r.patient == 0 {
		return
	}
	t.pick(r.patient)
	if next := t.sess.screen.grid.opens; next != 0 {
		t.open(t.srv.screen(next))
	}
}

// pick makes a patient the session's.
func (t *turn) pick(patient int) {
	if t.sess.patient == patient {
		return
	}
	t.sess.patient = patient
	t.sess.remember(patient)
	if t.srv.store.flag("READ_AUDIT_ENABLED") == "TRUE" {
		t.audit("Patient Demographics")
	}
}

// serverLog writes to the emulated server's log.
func (s *Server) serverLog(line string) {
	if s.cfg.ServerLog == nil {
		return
	}
	s.logging.Lock()
	defer s.logging.Unlock()
	if _, err := io.WriteString(s.cfg.ServerLog, s.when(s.cfg.Now())+" "+line+"\n"); err != nil {
		s.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "server log", slog.String("error", err.Error()))
	}
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	s.sessions.end(sessionCookie(r))
	w.Header().Set("Content-Type", "text/html")
	write(w, "<script>window.self.close();</script>")
}
