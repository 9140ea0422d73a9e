package openmaxims

import (
	"strconv"
	"strings"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// maxRequest bounds a request of the user interface; uploads go elsewhere.
const maxRequest = 2 << 20

// Plan is what a request does, as far as it and the session show.
type Plan struct {
	Parts      []proxy.Part
	Screen     string
	Patients   []proxy.Patient
	Certainty  audit.Certainty
	Source     audit.PatientSource
	Kind       proxy.LimitKind
	KeepAlive  bool
	Deliberate string
	Block      Block  // why it is refused whatever the policy says, "" when it is not
	Login      string // user name of a sign-in, "" for none
	out        bool   // it signs out
}

// Block says why a request is refused whatever the policy says.
type Block string

// The reasons.
const (
	NotBlocked  Block = ""
	RefusedUser Block = "user-refused"     // an account that nobody may use
	OtherUser   Block = "user-not-own"     // somebody else's account
	StaleScreen Block = "screen-out-dated" // the client shows another screen than the application is on

	NotIssued     Block = "document-not-issued"  // an address that was not handed out in this session
	NotSignedIn   Block = "record-not-signed-in" // nobody works in the session
	FileRefused   Block = "file-refused"         // a kind or a name of file
	PeopleRefused Block = "not-for-people"       // an interface for systems
)

// effect is what one event does.
type effect struct {
	action  policy.Action
	where   place
	whose   whose
	patient proxy.Patient // with whose == another
}

// whose says whose record an event concerns.
type whose uint8

const (
	current whose = iota // whoever is the current patient
	nobody               // no patient, whatever the session holds
	another              // the patient in effect.patient
	unclear              // the answer tells
)

// Request reads a request of the user interface. user is who the gateway knows
// the person to be, for the names under which they may sign in. An error wraps
// ErrXML: nothing of the request may be forwarded.
func (s *Session) Request(body []byte, t *Tables, user []string) (Plan, error) {
	if len(body) > maxRequest {
		return Plan{}, malformed("longer than a request of the user interface")
	}
	d, err := t.parse(body)
	if err != nil {
		return Plan{}, err
	}
	defer t.release(d)
	if !d.is(0, "events") || d.nodes[0].first == 0 {
		return Plan{}, malformed("the root element is not events, or it is empty")
	}
	r := request{s: s, t: t, d: d, user: user}
	for i := range d.children(0) {
		r.event(i)
	}
	return r.plan()
}

// request is one request while it is read.
type request struct {
	s    *Session
	t    *Tables
	d    *document
	user []string

	effects []effect
	login   string
	entry   bool // there is an event of signing in or out
	work    bool // there is one of working
	person  bool // a person did something
	block   Block
	out     bool
}

func (r *request) do(action policy.Action, where place, w whose) {
	r.effects = append(r.effects, effect{action: action, where: where, whose: w})
}

// home is what concerns the application and no screen of it.
func home() place { return place{area: policy.Home, function: "home", action: policy.Read} }

// event reads one event. The vocabulary is that of release 10.5 (EventParser).
func (r *request) event(i int) {
	name := string(r.d.nodes[i].name)
	if r.signing(name, i) {
		return
	}
	r.work = true
	if r.s.stale && name != "navigation" && name != "topbutton" && name != "timer" {
		r.block = StaleScreen
	}
	r.person = r.person || name != "timer"
	at := r.s.screen
	switch name {
	case "navigation":
		r.navigate(r.d.attr(i, "form"))
	case "openform":
		r.open(r.form(r.d.attr(i, "form")))
	case "topbutton":
		r.topButton(r.d.attr(i, "id"))
	case "passwordDialog":
		// The application believes any client that says the system password was
		// right (weak spot S3): it is decided as administration.
		if r.d.attr(i, "canceled") != "true" {
			r.do(policy.Update, place{area: policy.Administration, function: "administration"}, nobody)
		}
	case "button", "imagebutton", "link":
		r.press(r.s.labels[r.d.attr(i, "id")])
	case "menuclick":
		r.press(r.s.items[r.d.attr(i, "menuItemID")])
	case "messagebox":
		r.answer()
	case "gridselection", "dynamicgrid2selection":
		r.selection(i, policy.Read)
	case "gridbutton", "dynamicgrid2button":
		r.selection(i, policy.Update)
	case "search":
		r.do(policy.Search, r.screenFor(policy.Demographics), unclear)
	case "treeview", "recordnavigator", "bedplanneredit", "diary", "bookingcalendar", "graphingcontrolpointclick",
		"containertabselected", "timer", "alert", "riealert", "dialogWasClosed":
		r.do(policy.Read, at, current)
	case "uploadbox", "uploadedDocument", "scannedDocument", "scannedImage":
		r.do(policy.Create, place{caption: at.caption, function: at.function, area: policy.Documents}, current)
	case "textbox", "combobox", "checkbox", "datebox", "partialdatebox", "intbox", "decimalbox", "timebox", "radiobox", "answerbox", "wysiwygdocument":
		// What is typed in changes nothing before a button is pressed.
		r.do(policy.Read, at, current)
	default: // cell editors, drawings, devices, and what nobody knows
		r.do(policy.Update, at, current)
	}
}

// signing reads the events of signing in and out and of the page itself, which
// show what is there and do nothing else.
func (r *request) signing(name string, i int) bool {
	switch name {
	case "empty":
		r.do(policy.Read, home(), nobody)
		return true
	case "queryString", "updateTheme", "uniqueID", "formSizeChanged", "storedLocations":

		r.person = true
		r.do(policy.Read, r.shown(), current)
		return true
	case "loginEvent":
		r.login = r.d.attr(i, "name")
		switch {
		case r.t.refused[strings.ToLower(strings.TrimSpace(r.login))]:
			r.block = RefusedUser
		case r.t.ownLogin && !r.own(r.login) && r.block == NotBlocked:
			r.block = OtherUser
		}
	case "unlock":
		r.login = r.d.attr(i, "name")
		if !strings.EqualFold(r.login, r.s.user) {
			r.block = OtherUser
		}
		r.do(policy.Read, r.shown(), current)
	case "logout":
		r.out = true
	case "newPassword", "selectRoleEvent", "selectLocationEvent", "securityTokenLogin", "ticketReceived", "autoLock":
	default:
		return false
	}
	r.entry, r.person = true, true
	if name != "unlock" {
		r.do(policy.Read, home(), nobody)
	}
	return true
}

// shown is the screen that a redraw shows again.
func (r *request) shown() place {
	if r.s.signedIn && r.s.screen.caption != "" {
		return r.s.screen
	}
	return home()
}

// screenFor is the screen, or an area of its own where none is shown.
func (r *request) screenFor(area policy.Area) place {
	if r.s.screen.area == area {
		return r.s.screen
	}
	return place{area: area, caption: r.s.screen.caption}
}

func (r *request) own(name string) bool {
	for _, u := range r.user {
		if u != "" && strings.EqualFold(name, u) {
			return true
		}
	}
	return false
}

// open goes to a screen, which counts as what it amounts to.
func (r *request) open(p place) { r.do(p.action, p, current) }

// form is the screen of a form number. The stock client never sends one; the
// application opens any form for anybody (weak spot S2).
func (r *request) form(id string) place {
	caption, ok := r.t.forms[id]
	if !ok {
		return place{caption: "form " + printable(id), action: policy.Read}
	}
	return r.t.place(caption)
}

// printable bounds what a client may get into the record.
func printable(id string) string {
	if len(id) > 16 || strings.Trim(id, "0123456789-") != "" {
		return "?"
	}
	return id
}

func (r *request) navigate(node string) {
	switch node {
	case "666": // the window of a dialog is ready
		r.do(policy.Read, r.s.screen, current)
	case "999":
		r.do(policy.Read, home(), nobody)
	default:
		caption, ok := r.s.nodes[node]
		if !ok {
			r.do(policy.Read, place{caption: "menu " + printable(node)}, current)
			return
		}
		r.open(r.t.place(caption))
	}
}

// topButton reads the buttons at the top: built-in ones, those that the site
// added, and the patients last seen, of whom only the answer tells who they are.
func (r *request) topButton(id string) {
	if len(id) >= 6 && id[0] == '-' && strings.Trim(id[1:], "0123456789") == "" {
		r.do(policy.Read, place{area: policy.Demographics, function: "demographics"}, unclear)
		return
	}
	at := r.s.screen
	switch what := r.t.topButtons[id]; what {
	case "home", "role", "logout", "lock", "password":
		r.out = r.out || what == "logout"
		r.do(policy.Read, home(), nobody)
	case "print":
		r.do(policy.Print, at, current)
	case "upload":
		r.do(policy.Create, place{caption: at.caption, function: at.function, area: policy.Documents}, current)
	case "download":
		r.do(policy.Print, place{caption: at.caption, function: at.function, area: policy.Documents}, current)
	case "current":
		r.do(policy.Read, at, current)
	case "":
		r.do(policy.Read, place{caption: "button " + printable(id)}, current)
	default:
		r.open(r.t.place(what))
	}
}

// press reads a button by its label. One whose label nobody knows, or that the
// session was never shown, may change the record.
func (r *request) press(label string) {
	action, ok := r.t.buttons[strings.ToLower(label)]
	if !ok || label == "" {
		action = policy.Update
	}
	w := current
	if action == policy.Search || action == policy.List {
		w = unclear
	}
	r.do(action, r.s.screen, w)
}

// answer does what the message box waits for, or something unknown.
func (r *request) answer() {
	if len(r.s.question) == 0 {
		r.do(policy.Update, r.s.screen, current)
		return
	}
	for _, p := range r.s.question {
		r.do(p.Action, place{area: p.Area, function: p.Resource, caption: r.s.screen.caption}, current)
	}
}

// selection is a row, whose patient the grid has told.
func (r *request) selection(i int, action policy.Action) {
	at := r.s.screen
	g := r.s.grids[r.d.attr(i, "id")]
	switch {
	case g == nil:
		r.do(action, at, unclear)
	case !g.named:
		r.do(action, at, current)
	default:
		p := r.row(g, i)
		if p == (proxy.Patient{}) {
			r.do(action, at, unclear)
			return
		}
		r.effects = append(r.effects, effect{action: action, where: at, whose: another, patient: p})
	}
}

// row is the patient of the row that an event names, nobody when that cannot be
// told. Grids of the older kind are selected by a number, which may be the row's
// id or its place: where these are two patients it is neither.
func (r *request) row(g *grid, i int) proxy.Patient {
	for _, name := range [...]string{"selectedRowID", "rowID"} {
		if id := r.d.attr(i, name); id != "" {
			return g.rows[id]
		}
	}
	row := r.d.attr(i, "selection")
	if row == "" {
		row = r.d.attr(i, "row")
	}
	byID, isID := g.rows[row]
	n, err := strconv.Atoi(row)
	if err != nil || n < 0 || n >= len(g.order) {
		return byID
	}
	byPlace := g.rows[g.order[n]]
	if isID && byID != byPlace {
		return proxy.Patient{}
	}
	return byPlace
}

// plan puts the effects together.
func (r *request) plan() (Plan, error) {
	s := r.s
	if r.entry && r.work {
		return Plan{}, malformed("signing in and working in one request")
	}
	if r.out && !r.work { // nobody is kept from signing out
		r.effects = []effect{{action: policy.Read, where: home(), whose: nobody}}
	}
	p := Plan{Screen: s.screen.caption, Kind: proxy.Interactive, KeepAlive: !r.person, Block: r.block, Login: r.login, out: r.out}
	p.Deliberate = "true"
	if !r.person {
		p.Deliberate = "false"
	}
	if r.login != "" {
		p.Kind = proxy.LoginKind
	}
	strangers := s.known && !s.signedIn // the application will do nothing but show its sign-in
	for _, e := range r.effects {
		part := proxy.Part{Action: e.action, Area: e.where.area, Resource: e.where.function}
		if strangers {
			part = proxy.Part{Action: policy.Read, Area: policy.Home, Resource: "home"}
		}
		if !contains(p.Parts, part) {
			p.Parts = append(p.Parts, part)
		}
		if e.where.caption != "" && !strangers {
			p.Screen = e.where.caption
		}
		if e.action == policy.Search && p.Kind == proxy.Interactive {
			p.Kind = proxy.SearchKind
		}
	}
	p.Parts = withoutReads(p.Parts)
	if len(r.effects) > 0 && p.Parts == nil {
		return Plan{}, malformed("no event that does anything")
	}
	r.attribute(&p, strangers)
	s.plan = p
	return p, nil
}

// withoutReads leaves out reading of the page and of areas that another part
// reads more of, so that there is one part where one thing is done.
func withoutReads(parts []proxy.Part) []proxy.Part {
	var out []proxy.Part
	for i, p := range parts {
		idle := false
		for j, other := range parts {
			if i == j || p.Action != policy.Read {
				continue
			}
			idle = idle || p.Area == policy.Home || p.Area == other.Area && p.Area != "" && other.Action != policy.Read
		}
		if !idle {
			out = append(out, p)
		}
	}
	return out
}

func contains(parts []proxy.Part, p proxy.Part) bool {
	for _, q := range parts {
		if p == q {
			return true
		}
	}
	return false
}

// attribute says whom the request concerns. Two different patients are several.
func (r *request) attribute(p *Plan, strangers bool) {
	s := r.s
	open, none := false, true
	for _, e := range r.effects {
		switch {
		case e.whose == another:
			none = false
			add(&p.Patients, e.patient)
		case e.whose == unclear:
			none, open = false, true
		case e.whose == current && !strangers:
			none = false
			if e.action == policy.Read && r.moving() {
				continue
			}
			open = open || !s.known || s.nameless || s.patient == proxy.Patient{}
			add(&p.Patients, s.patient)
		}
	}
	switch {
	case none:
		p.Certainty, p.Source = audit.None, audit.SourceNone
	case open || len(p.Patients) == 0:
		p.Certainty, p.Source = audit.Unknown, audit.SourceSession
	case len(p.Patients) > 1:
		p.Certainty, p.Source = audit.Several, audit.SourceSession
	default:
		p.Certainty, p.Source = audit.Learned, audit.SourceSession
	}
}

// moving reports whether the request goes to another patient: what is typed in
// with the gesture then belongs to it. A write stays the current patient's.
func (r *request) moving() bool {
	for _, e := range r.effects {
		if e.whose == another || e.whose == unclear {
			return true
		}
	}
	return false
}

// add adds a patient who is not there yet.
func add(list *[]proxy.Patient, p proxy.Patient) {
	l := patientList{all: *list}
	l.add(p)
	*list = l.all
}

// patientList is a list of different patients. Long ones are searched by an index.
type patientList struct {
	all   []proxy.Patient
	index map[string]int // identifier to place in all; nil while the list is short
}

// shortList is how many patients are compared one by one.
const shortList = 16

func (l *patientList) add(p proxy.Patient) {
	if p == (proxy.Patient{}) {
		return
	}
	at := -1
	switch {
	case l.index != nil:
		for _, id := range [...]string{p.ID, "nhs:" + p.NHSNumber} {
			if i, ok := l.index[id]; ok && id != "" && id != "nhs:" && l.all[i].Same(p) {
				at = i
			}
		}
	default:
		for i, q := range l.all {
			if q.Same(p) {
				at = i
				break
			}
		}
	}
	if at < 0 {
		at = len(l.all)
		l.all = append(l.all, p)
	}
	l.all[at] = l.all[at].Join(p)
	if len(l.all) <= shortList {
		return
	}
	if l.index == nil {
		l.index = map[string]int{}
		for i := range l.all {
			l.note(i)
		}
	}
	l.note(at)
}

func (l *patientList) note(i int) {
	l.index[l.all[i].ID] = i
	l.index["nhs:"+l.all[i].NHSNumber] = i
}
