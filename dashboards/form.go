package dashboards

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/matron-epr/matron/hazardlog"
)

// safetyFormBytes bounds a form: hazards are written in sentences.
const safetyFormBytes = 64 << 10

// formField is one thing of a V that a form changes. Its name is that of the field in
// the log, so that what is wrong with it stands beside it.
type formField[V hazardlog.Value] struct {
	name, label, hint string
	rows              int      // of an area; 0: one line
	options           []option // a choice instead
	get               func(V) string
	set               func(*V, string)
}

// editing is a form that makes or changes one subject of the log.
type editing[V hazardlog.Value] struct {
	heading string
	back    backLink
	act     hazardlog.Act
	now     V
	fields  []formField[V]
	submit  string
	done    string           // where it leads; "" to the page of what was made
	settle  func(was, to *V) // what follows from the fields; nil for nothing
	prefix  string           // of the id of something new; "" for a change
	named   func(*V, string) // gives something new its id
	intro   string
}

const whyField = "why"

// serve shows the form, and takes it in.
func (e editing[V]) serve(s *Site, r *http.Request, c safetyCase) (answer, error) {
	if !s.mayEdit(r) {
		return answer{}, errNotPermitted
	}
	if r.Method != http.MethodPost {
		return e.page(s, r, c, e.values(e.now), nil, 0), nil
	}
	r.Body = http.MaxBytesReader(nil, r.Body, safetyFormBytes)
	if r.ParseForm() != nil {
		return answer{}, errOpaque
	}
	mine := map[string]string{whyField: typed(r, whyField)}
	for _, f := range e.fields {
		mine[f.name] = typed(r, f.name)
	}
	if e.prefix == "" {
		read, err := strconv.ParseUint(r.PostForm.Get("revision"), 10, 64)
		if err != nil {
			return answer{}, errOpaque
		}
		if conflict := c.Conflict(e.now.Subject(), read); conflict != nil {
			return e.conflict(s, r, c, mine, read, conflict)
		}
		if mine[whyField] == "" {
			return e.page(s, r, c, mine, map[string]string{whyField: "Say why it is changed"}, http.StatusUnprocessableEntity), nil
		}
	}
	return e.save(s, r, c, mine)
}

// typed is a field as somebody filled it in, with the line ends of the log.
func typed(r *http.Request, name string) string {
	return strings.TrimSpace(strings.ReplaceAll(r.PostForm.Get(name), "\r\n", "\n"))
}

// values are what the fields say of v.
func (e editing[V]) values(v V) map[string]string {
	out := map[string]string{}
	for _, f := range e.fields {
		out[f.name] = f.get(v)
	}
	return out
}

// save makes the change.
func (e editing[V]) save(s *Site, r *http.Request, c safetyCase, mine map[string]string) (answer, error) {
	next := e.now
	for _, f := range e.fields {
		f.set(&next, mine[f.name])
	}
	if e.settle != nil {
		e.settle(&e.now, &next)
	}
	change := hazardlog.Change{Act: e.act, Value: next, Why: mine[whyField]}
	if e.prefix == "" {
		if hazardlog.Same(e.now, next) {
			return e.page(s, r, c, mine, map[string]string{"": "Nothing is other than it was"}, http.StatusUnprocessableEntity), nil
		}
		change.Expect = c.Revision(e.now.Subject())
	} else {
		e.named(&next, c.NextID(e.prefix))
		change.Value = next
	}
	err := s.cfg.Safety.Change(r.Context(), c.ID, editor(r), change)
	switch {
	case err == nil:
		return answer{location: firstOf(e.done, subjectHref(next.Subject()))}, nil
	case errors.Is(err, hazardlog.ErrConflict): // between reading and writing
		return e.again(s, r, mine, change.Expect)
	case errors.Is(err, hazardlog.ErrInvalid):
		return e.page(s, r, c, mine, e.mistakes(err), http.StatusUnprocessableEntity), nil
	}
	return answer{}, unavailable("hazards", err)
}

// again reads the log once more after somebody was quicker by a moment.
func (e editing[V]) again(s *Site, r *http.Request, mine map[string]string, read uint64) (answer, error) {
	c, err := s.theCase(r)
	if err != nil {
		return answer{}, err
	}
	if e.prefix != "" {
		return e.page(s, r, c, mine, map[string]string{"": "Somebody else added something at the same moment. Save once more"}, http.StatusConflict), nil
	}
	conflict := c.Conflict(e.now.Subject(), read)
	if now, ok := c.Holds(e.now.Subject()).(V); ok && conflict != nil {
		e.now = now
		return e.conflict(s, r, c, mine, read, conflict)
	}
	return answer{}, unavailable("hazards", hazardlog.ErrConflict)
}

// conflict shows what others changed since the form was opened, and saves nothing.
// What the viewer left as it was takes the new words; where both wrote, both are
// shown and the viewer decides.
func (e editing[V]) conflict(s *Site, r *http.Request, c safetyCase, mine map[string]string, read uint64, cause error) (answer, error) {
	var conflict hazardlog.Conflict
	if !errors.As(cause, &conflict) {
		return answer{}, errOpaque // a revision that never was
	}
	base, ok := c.Was(e.now.Subject(), read).(V)
	if !ok {
		return answer{}, errOpaque
	}
	was, now := e.values(base), e.values(e.now)
	wrong := map[string]string{}
	for name, theirs := range now {
		switch {
		case mine[name] == was[name]:
			mine[name] = theirs
		case theirs != was[name] && theirs != mine[name]:
			wrong[name] = "Somebody else changed this too. It now says: “" + theirs + "”. What you wrote stands below: saving puts it in its place"
		}
	}
	if len(wrong) == 0 {
		wrong[""] = "Somebody else changed this meanwhile. Look at what they did, then save again"
	}
	a := e.page(s, r, c, mine, wrong, http.StatusConflict)
	page, _ := a.view.(safetyPage)
	told := safetyPart{
		Heading: "Changed while you were writing",
		Trouble: "Nothing of yours is saved yet, and nothing of theirs is overwritten. What you did not touch below shows their words now.",
	}
	for _, line := range conflict.Words {
		told.Items = append(told.Items, text(line))
	}
	page.Parts = append([]safetyPart{told}, page.Parts...)
	a.view = page
	return a, nil
}

// mistakes are what is wrong, by the name of the field, "" for what belongs to none.
func (e editing[V]) mistakes(err error) map[string]string {
	wrong := map[string]string{}
	var refusal hazardlog.Refusal
	if !errors.As(err, &refusal) {
		return map[string]string{"": err.Error()}
	}
	for _, m := range refusal.Mistakes {
		name, _, _ := strings.Cut(m.Field, "[")
		if !slices.ContainsFunc(e.fields, func(f formField[V]) bool { return f.name == name }) {
			wrong[""] = strings.TrimSpace(wrong[""] + " " + sentenceCase(m.String()) + ".")
			continue
		}
		wrong[name] = sentenceCase(m.Text)
	}
	return wrong
}

// page is the form with what was typed and what is wrong with it.
func (e editing[V]) page(s *Site, r *http.Request, c safetyCase, values, wrong map[string]string, status int) answer {
	page := s.safetyView(r, e.heading, e.heading)
	page.Back, page.Intro = &e.back, e.intro
	page.fault("maincontent", wrong[""])
	f := pageForm{Method: "post", Action: r.URL.Path, Submit: button{Text: e.submit}, Cancel: &pageLink{"Cancel", e.back.Href}, Note: "Name no patient and no member of staff. What you change is recorded with your name, and nothing is ever taken out."}
	if e.prefix == "" {
		f.Hidden = []hidden{{"revision", strconv.FormatUint(c.Revision(e.now.Subject()), 10)}}
	}
	fields := e.fields
	why := formField[V]{name: whyField, label: "Why is it changed?", hint: "One line. It stands in the history."}
	if e.prefix != "" {
		why.label = "Where does it come from?"
	}
	for _, field := range append(slices.Clone(fields), why) {
		id := strings.NewReplacer(".", "-", "_", "-").Replace(field.name)
		page.fault(id, wrong[field.name])
		f.Controls = append(f.Controls, field.control(id, values[field.name], wrong[field.name]))
	}
	page.add(safetyPart{Forms: []pageForm{f}})
	return answer{status: status, template: "safety", view: page}
}

func (f formField[V]) control(id, value, wrong string) formControl {
	var help *hint
	if f.hint != "" {
		help = &hint{f.hint}
	}
	l := label{Text: f.label, Size: "s"}
	switch {
	case f.options != nil:
		field := selectField{ID: id, Name: f.name, Label: l, Hint: help, ErrorMessage: message(wrong)}
		for _, o := range f.options {
			o.Selected = o.Value == value
			field.Items = append(field.Items, o)
		}
		return formControl{Select: &field}
	case f.rows > 0:
		return formControl{Area: &textarea{ID: id, Name: f.name, Label: l, Hint: help, ErrorMessage: message(wrong), Value: value, Rows: f.rows}}
	}
	return formControl{Input: &input{ID: id, Name: f.name, Label: l, Hint: help, ErrorMessage: message(wrong), Value: value, Autocomplete: "off"}}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
