package openmaxims

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strconv"
)

// signIn writes the page of a session that is not signed in yet, or is locked.
func (t *turn) signIn(m *markup) {
	s := t.sess
	m.leaf("close", "", "postback", "false")
	m.leaf("screen", "", "clearForm", "true")
	m.tag("form", "id", "loginForm", "width", "848", "height", "632", "caption", "Login")
	switch s.stage {
	case atRole:
		m.tag("selectrole_newblue", "id", "selectrole1")
		for _, r := range s.account.roles {
			m.leaf("role", r.name, "id", r.id, "requiresPDS", "false")
		}
		m.end("selectrole_newblue")
	case atLocation:
		m.tag("selectlocation_newblue", "id", "selectlocation1")
		for _, w := range t.srv.cfg.Hospital.Wards {
			m.leaf("location", w.Name, "id", w.ID)
		}
		m.end("selectlocation_newblue")
	default:
		m.leaf("logincontrol_newblue", "", "id", "a1001")
	}
	m.end("form")
	m.tag("data", "browserTitle", "Login")
	control := []string{"id", "a1001"}
	if s.stage == atPassword {
		control = append(control, "passwordExpireDays", "0")
	} else if s.salt != "" {
		control = append(control, "salt", s.salt)
	}
	if s.stage != atRole && s.stage != atLocation {
		m.leaf("logincontrol_newblue", "", control...)
	}
	m.end("data")
	m.tag("alerts")
	m.leaf("removeall", "")
	m.end("alerts")
}

// greet shows the login page.
func (t *turn) greet() {
	t.sess.greeted, t.sess.stage, t.out.page = true, atLogin, true
	if t.srv.cfg.Secure && t.sess.salt == "" {
		var raw [8]byte
		rand.Read(raw[:])
		t.sess.salt = hex.EncodeToString(raw[:])
	}
}

// before handles requests of a session that is not signed in: like the original
// it looks at the first event only.
func (t *turn) before(first event) {
	s := t.sess
	switch {
	case first.name == "logout":
		t.leave(first)
	case slices.Contains([]string{"queryString", "updateTheme", "uniqueID", "formSizeChanged", "storedLocations"}, first.name):
		if s.stage == atLogin {
			t.greet()
		}
	case s.stage == atLogin && first.name == "loginEvent":
		s.greeted = true
		t.login(first)
	case s.stage == atPassword && first.name == "newPassword":
		t.newPassword(first)
	case s.stage == atRole && first.name == "selectRoleEvent":
		i := slices.IndexFunc(s.account.roles, func(r role) bool { return r.id == first.attrs["roleID"] })
		if i >= 0 {
			t.work(s.account.roles[i])
		}
	case s.stage == atLocation && first.name == "selectLocationEvent":
		s.location = first.attrs["id"]
		t.start()
	case s.stage == locked && first.name == "unlock":
		t.unlock(first)
	case s.stage == locked:
		t.say("Session locked by " + s.account.name + " (" + s.account.user + ").")
	case first.name == "securityTokenLogin" || first.name == "ticketReceived":
		t.say("Login failed.")
	case !s.greeted:
		t.greet()
		t.out.reset = true
		t.say("Session has expired.")
	}
}

// login checks user and password. The session keeps its id (S7), and wrong
// passwords are counted in the session only (S6).
func (t *turn) login(e event) {
	s, limit := t.sess, t.srv.cfg.LoginAttempts
	if limit > 0 && s.attempts >= limit {
		t.out.raw = loginAnswer("Your account has been locked.")
		return
	}
	a, ok := t.srv.store.check(e.attrs["name"], e.attrs["pass"], s.salt)
	if !ok {
		s.attempts++
		t.out.raw = loginAnswer("Login failed.")
		return
	}
	s.account, s.attempts = &a, 0
	t.audit("Login successful")
	if a.expired {
		s.stage = atPassword
		return
	}
	t.chooseRole()
}

func loginAnswer(text string) string {
	m := &markup{}
	m.raw(prolog + "<xml><messages>")
	m.leaf("message", text)
	m.raw("</messages></xml>")
	return m.String()
}

func (t *turn) newPassword(e event) {
	s, pass := t.sess, e.attrs["pass"]
	canceled := e.attrs["canceled"] == "true" || pass == ""
	if !canceled {
		t.srv.store.change(s.account.user, func(a *account) { a.password, a.expired = pass, false })
	}
	switch {
	case s.screen != nil: // it was changed from a screen
		s.stage, t.out.form = signedIn, true
	case canceled:
		s.account, s.stage = nil, atLogin
	default:
		t.chooseRole()
	}
}

// chooseRole shows the roles, if there is a choice.
func (t *turn) chooseRole() {
	if roles := t.sess.account.roles; len(roles) == 1 {
		t.work(roles[0])
		return
	}
	t.sess.stage = atRole
}

func (t *turn) work(r role) {
	t.sess.role = r
	if t.srv.cfg.PickLocation {
		t.sess.stage = atLocation
		return
	}
	t.start()
}

// start opens the first screen.
func (t *turn) start() {
	s := t.sess
	s.stage, s.drawn, s.patient, s.recent, s.alerted = signedIn, false, 0, nil, -1
	t.srv.sessions.name(s.id, s.account.user, s.role.name, host(t.r))
	t.show(t.srv.screen(formSearch))
	t.out.page = true
}

// selectRole ends the session and starts another for the same user, who is not
// asked for the password again.
func (t *turn) selectRole() {
	was := t.sess
	t.srv.sessions.end(was.id)
	t.sess = t.srv.sessions.open(host(t.r))
	setCookie(t.w, t.sess.id)
	t.sess.account, t.sess.stage, t.sess.greeted = was.account, atRole, true
	t.srv.sessions.name(t.sess.id, was.account.user, "", host(t.r))
}

// lock closes the screen without ending the session.
func (t *turn) lock() {
	t.sess.stage = locked
	t.say("Session locked by " + t.sess.account.name + " (" + t.sess.account.user + ").")
}

func (t *turn) unlock(e event) {
	s := t.sess
	if _, ok := t.srv.store.check(e.attrs["name"], e.attrs["pass"], s.salt); !ok || e.attrs["name"] != s.account.user {
		t.say("Session locked by " + s.account.name + " (" + s.account.user + ").")
		return
	}
	s.stage, s.drawn, t.out.form, t.out.page = signedIn, false, true, true
}

// leave ends the session; a window that was closed gets no body.
func (t *turn) leave(e event) {
	if t.sess.account != nil {
		t.audit("Logout successful")
	}
	t.srv.sessions.end(t.sess.id)
	t.out.raw = prolog + "<xml><close/></xml>"
	if e.attrs["source"] == "IE" {
		t.out.raw = " "
	}
}

// audit writes to the record's own audit, which believes what workstation the
// request claims to come from.
func (t *turn) audit(action string) {
	t.srv.store.log(auditRow{user: t.sess.account.user, role: t.sess.role.name, host: host(t.r), action: action, patient: t.sess.patient})
}

func patientID(text string) int {
	id, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return id
}
