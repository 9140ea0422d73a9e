package openmaxims

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// ErrFault is wrapped by the error of an answer that shows the inner workings of
// the application: nothing of it is for anybody's eyes (weak spot S14).
var ErrFault = errors.New("the application shows an error of its program")

// ErrUser is wrapped by the error of an answer that is for another user than the
// one who signed in.
var ErrUser = errors.New("the application takes the session for somebody else's")

// Seen is what an answer shows.
type Seen struct {
	Patients  []proxy.Patient
	Certainty audit.Certainty
	// Stranger: it shows somebody who cannot be told, whoever else it names.
	Stranger bool
	Results  uint64       // rows of grids
	Parts    []proxy.Part // what the screen that it opens amounts to; nil when it opens none
}

// Answer reads the answer to the last Request. bases are the paths under which the
// application is mounted. After an error the session is unknown, since the
// application may be anywhere.
func (s *Session) Answer(status int, body []byte, t *Tables, bases []string) (Seen, error) {
	n, err := s.answer(status, body, t, bases)
	if err != nil && !errors.Is(err, ErrFault) {
		s.Lose()
	}
	return n, err
}

func (s *Session) answer(status int, body []byte, t *Tables, bases []string) (Seen, error) {
	was := s.known
	s.known = false
	if status != http.StatusOK {
		return Seen{}, malformed("another status than 200")
	}
	if len(bytes.TrimSpace(body)) == 0 && s.plan.out {
		s.leave()
		return Seen{Certainty: audit.None}, nil
	}
	d, err := t.parse(body)
	if err != nil {
		return Seen{}, err
	}
	defer t.release(d)
	if !d.is(0, "xml") {
		return Seen{}, malformed("the root element is not xml")
	}
	a := answer{s: s, t: t, d: d, bases: bases}
	if err := a.read(); err != nil {
		s.known = was && errors.Is(err, ErrFault) // an error page changes nothing of what is on the screen
		return Seen{}, err
	}
	return a.seen(), nil
}

// answer is one answer while it is read.
type answer struct {
	s     *Session
	t     *Tables
	d     *document
	bases []string

	listed   patientList // in grids
	stranger bool
	rendered bool // it shows a screen with its data
	rows     uint64
	parts    []proxy.Part
}

// part finds a piece of the answer, 0 for none.
func (a *answer) part(name string) int { return a.d.child(0, name) }

func (a *answer) read() error {
	s := a.s
	if fault := a.part("formError"); fault > 0 {
		if err := a.fault(fault); err != nil {
			return err
		}
	}
	form, data := a.part("form"), a.part("data")
	was := s.signedIn
	if err := a.identity(form, data); err != nil {
		return err
	}
	switch {
	case form == 0 && data == 0:
		a.closed()
	case s.signedIn:
		a.rendered = true
		a.menu(a.part("navigation"))
		a.patient()
		a.alerts(a.part("alerts"))
		a.form(form)
		a.controls(data, was)
	}
	s.known = true
	a.messages(a.part("messages"))
	if a.part("dialog") > 0 {
		s.opening = true
	}
	for _, name := range [...]string{"openUrl", "openCustomUrl"} {
		for i := range a.d.children(0) {
			if a.d.is(i, name) {
				a.handedOut(a.d.attr(i, "value"))
			}
		}
	}
	return nil
}

// handedOut notes an address of the application's own.
func (a *answer) handedOut(value string) {
	if value != "" {
		a.s.grant(below(value, a.bases))
	}
}

// fault refuses an error page that tells of the program.
func (a *answer) fault(i int) error {
	text := a.d.attr(i, "title")
	a.d.within(i, func(n int) { text += "\n" + string(a.d.nodes[n].text) })
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "at ") && strings.Contains(line, "(") || strings.Contains(line, "Exception:") {
			return fmt.Errorf("error page: %w", ErrFault)
		}
	}
	return nil
}

// identity reads who works in the session: the sign-in page says nobody.
func (a *answer) identity(form, data int) error {
	s, d := a.s, a.d
	if form > 0 && d.attr(form, "id") == "loginForm" {
		s.leave()
		s.stale = false
		return nil
	}
	if data == 0 {
		return nil
	}
	user, role, ok := working(d.attr(data, "browserTitle"))
	switch {
	case !ok && s.signedIn: // the data of a dialog may come without
		return nil
	case !ok:
		return malformed("a screen of nobody known")
	case s.signedIn && !strings.EqualFold(user, s.user), a.t.refused[strings.ToLower(user)]:
		return fmt.Errorf("browser title: %w", ErrUser)
	}
	s.signedIn, s.user, s.role = true, user, role
	return nil
}

// closed reads an answer without a screen.
func (a *answer) closed() {
	s := a.s
	switch {
	case a.part("close") == 0:
	case s.plan.out:
		s.leave()
	case len(s.under) > 0:
		s.display, s.under = s.under[len(s.under)-1], s.under[:len(s.under)-1]
	}
}

// menu reads the tree of screens.
func (a *answer) menu(i int) {
	if i == 0 {
		return
	}
	s, d := a.s, a.d
	if d.child(i, "create") > 0 || s.nodes == nil {
		s.nodes = map[string]string{}
	}
	d.within(i, func(n int) {
		if caption := d.attr(n, "caption"); d.is(n, "node") && caption != "" {
			s.nodes[d.attr(n, "id")] = caption
		}
	})
}

// patient reads the line about the current patient. A screen without one is
// somebody's who cannot be told.
func (a *answer) patient() {
	s := a.s
	i := a.part("patient")
	line := ""
	if i > 0 {
		line = a.d.text(i)
	}
	if i > 0 && line == "" {
		s.patient, s.nameless = proxy.Patient{}, false
		return
	}
	p, ok := a.t.banner(line)
	switch {
	case !ok:
		s.patient, s.nameless = proxy.Patient{}, true
	case p.Same(s.patient):
		s.patient, s.nameless = s.patient.Join(p), false
	default:
		s.patient, s.nameless = p, false
	}
}

// alerts reads the alert that identifies the current patient.
func (a *answer) alerts(i int) {
	if i == 0 || a.s.patient == (proxy.Patient{}) && !a.s.nameless {
		return
	}
	s := a.s
	for n := range a.d.children(i) {
		if !a.d.is(n, "newalert") || a.d.attr(n, "sortIndex") != "5" {
			continue
		}
		p := a.t.tooltip(a.d.attr(n, "tooltip"))
		switch {
		case p == (proxy.Patient{}):
		case s.nameless && s.patient == (proxy.Patient{}), p.Same(s.patient):
			s.patient, s.nameless = s.patient.Join(p), false
		default: // the line and the alert name two patients
			s.patient, s.nameless = proxy.Patient{}, true
		}
	}
}

// form reads a screen that is new to the client.
func (a *answer) form(i int) {
	if i == 0 {
		return
	}
	s, d := a.s, a.d
	if s.opening {
		s.under = append(s.under, s.display)
	}
	s.opening, s.stale = false, false
	s.display = display{
		screen: a.t.place(d.attr(i, "caption")),
		labels: map[string]string{}, items: map[string]string{}, grids: map[string]*grid{},
	}
	a.parts = []proxy.Part{{Action: s.screen.action, Area: s.screen.area, Resource: s.screen.function}}
	d.within(i, a.control)
}

// controls reads the values on the screen. was says whether anybody was signed in
// before: a first screen without its form cannot be told.
func (a *answer) controls(i int, was bool) {
	if i == 0 {
		return
	}
	s := a.s
	if s.labels == nil {
		s.labels, s.items, s.grids = map[string]string{}, map[string]string{}, map[string]*grid{}
		a.stranger = a.stranger || was && s.screen.caption == ""
	}
	a.d.within(i, a.control)
}

// control reads one control.
func (a *answer) control(i int) {
	s, d := a.s, a.d
	id := d.attr(i, "id")
	switch string(d.nodes[i].name) {
	case "button", "imagebutton", "link":
		for _, name := range [...]string{"value", "tooltip", "text", "caption"} {
			if label := d.attr(i, name); label != "" {
				s.labels[id] = label
				return
			}
		}
	case "menuitem":
		s.items[id] = d.attr(i, "text")
	case "grid", "dynamicgrid2":
		a.grid(i, id)
	case "treeview":
		a.unlisted(i, s.patient != proxy.Patient{})
	case "bedplanner", "diary", "bookingcalendar":
		a.unlisted(i, false)
	}
}

// unlisted is a control that shows people whom nothing in it identifies.
func (a *answer) unlisted(i int, current bool) {
	if a.d.nodes[i].first > 0 && !current && !a.withoutPatients() {
		a.stranger = true
	}
}

// withoutPatients reports whether the screen is one of no patient's data.
func (a *answer) withoutPatients() bool {
	area := a.s.screen.area
	return area == policy.Administration || area == policy.Home
}

// grid reads columns and rows, of which an answer may hold either.
func (a *answer) grid(i int, id string) {
	s, d := a.s, a.d
	g := s.grids[id]
	if g == nil {
		g = &grid{}
		s.grids[id] = g
	}
	for _, name := range [...]string{"cols", "columns"} {
		if n := d.child(i, name); n > 0 {
			a.columns(g, n)
		}
	}
	rows := d.child(i, "rows")
	if rows == 0 {
		return
	}
	g.rows, g.order = map[string]proxy.Patient{}, nil
	a.eachRow(g, rows)
	if len(g.rows) > 0 && !g.named && !g.nobody && s.patient == (proxy.Patient{}) && !a.withoutPatients() {
		a.stranger = true
	}
}

func (a *answer) columns(g *grid, i int) {
	g.columns, g.named, g.nobody = nil, false, true
	for n := range a.d.children(i) {
		k := a.t.identifiers[strings.TrimSpace(a.d.attr(n, "caption"))]
		g.columns = append(g.columns, k)
		g.named = g.named || k == local || k == nhs
		g.nobody = g.nobody && k == none
	}
	g.nobody = g.nobody && len(g.columns) > 0
}

// eachRow reads the rows of a grid, those within others too.
func (a *answer) eachRow(g *grid, i int) {
	for n := range a.d.children(i) {
		if !a.d.is(n, "r") {
			if a.d.is(n, "rows") {
				a.eachRow(g, n)
			}
			continue
		}
		id := a.d.attr(n, "id")
		p := a.whose(g, n)
		if q, twice := g.rows[id]; twice && q != p {
			g.rows[id] = proxy.Patient{} // an id of two rows is of neither
		} else {
			g.rows[id] = p
		}
		g.order = append(g.order, id)
		a.rows++
		switch {
		case p != proxy.Patient{}:
			a.listed.add(p)
		case g.named && !a.withoutPatients():
			a.stranger = true
		}
		if within := a.d.child(n, "rows"); within > 0 {
			a.eachRow(g, within)
		}
	}
}

// whose is the patient of a row, nobody when its cells do not say.
func (a *answer) whose(g *grid, row int) (p proxy.Patient) {
	if !g.named {
		return p
	}
	i := 0
	for n := range a.d.children(row) {
		if !a.d.is(n, "c") {
			continue
		}
		if i < len(g.columns) && (g.columns[i] == local || g.columns[i] == nhs) {
			p = p.Join(identified(a.d.text(n), g.columns[i]))
		}
		i++
	}
	return p
}

// messages reads what the application tells the user. A box that asks waits to do
// what the request was about to.
func (a *answer) messages(i int) {
	a.s.question = nil
	if i > 0 && a.d.child(i, "messagebox") > 0 {
		a.s.question = a.s.plan.Parts
	}
}

// seen says whom the answer shows.
func (a *answer) seen() Seen {
	s := a.s
	n := Seen{Results: a.rows, Parts: a.parts, Stranger: a.stranger}
	if a.rendered {
		n.Stranger = n.Stranger || s.nameless
		a.listed.add(s.patient)
	}
	n.Patients = a.listed.all
	switch {
	case n.Stranger:
		n.Certainty = audit.Unknown
	case len(n.Patients) == 0:
		n.Certainty = audit.None
	case len(n.Patients) == 1:
		n.Certainty = audit.Authoritative
	default:
		n.Certainty = audit.Several
	}
	return n
}
