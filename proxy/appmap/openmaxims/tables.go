package openmaxims

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/matron-epr/matron/policy"
)

// place is a screen: its caption, what it is for and what it amounts to.
type place struct {
	caption  string
	function string        // e.g. emergency, wards; "" when nobody says
	area     policy.Area   // "" when nobody says: never allowed
	action   policy.Action // what it amounts to that somebody opens it
}

// kind is what a label or a column says of patients; "" is nothing that is known.
type kind string

const (
	local kind = "local"      // the hospital's own number
	nhs   kind = "nhs-number" // traced or not
	none  kind = "none"       // no patient's: the name of a template, a user
)

// call is a SOAP operation.
type call struct {
	action  policy.Action
	area    policy.Area
	patient bool // the parameter patientId, or the first, names the patient
}

// Tables say what screens, buttons and operations are. They come from the map
// and never change.
type Tables struct {
	places      map[string]place
	forms       map[string]string        // form id to caption
	buttons     map[string]policy.Action // by label in lower case
	topButtons  map[string]string        // id to a word or a caption
	identifiers map[string]kind          // of labels and columns
	refused     map[string]bool          // user names in lower case
	calls       map[string]call
	kinds       map[string]bool // file extensions that may be uploaded
	ownLogin    bool            // everybody signs in to the application as themselves
	openSOAP    bool            // people may use SOAP as well

	room sync.Pool // of documents that have been read
}

// Problem is a mistake in a table: Path names the setting.
type Problem struct{ Path, Text string }

// Names are the tables that New reads. All of them must be there, but options.
func Names() []string {
	return []string{"functions", "screens", "forms", "buttons", "top-buttons", "identifiers", "users", "soap", "uploads"}
}

// Options are the settings of the table options, each with its values; the first
// one holds when it is absent.
func Options() map[string][]string {
	return map[string][]string{"login": {"anybody", "own"}, "soap": {"machines", "everybody"}}
}

// words that a top button may stand for besides a screen.
func words() []string {
	return []string{"home", "role", "logout", "print", "lock", "password", "upload", "download", "current"}
}

// New reads the tables of a map. known are the actions and areas that a policy is
// asked about.
func New(tables map[string]map[string]string, actions, areas []string) (*Tables, []Problem) {
	r := reader{tables: tables, actions: actions, areas: areas}
	t := &Tables{
		places: map[string]place{}, forms: tables["forms"], buttons: map[string]policy.Action{}, topButtons: tables["top-buttons"],
		identifiers: map[string]kind{}, refused: map[string]bool{}, calls: map[string]call{}, kinds: map[string]bool{},
		ownLogin: tables["options"]["login"] == "own", openSOAP: tables["options"]["soap"] == "everybody",
	}
	for function, area := range tables["functions"] {
		r.word("functions."+function, area, areas)
	}
	for caption, what := range tables["screens"] {
		t.places[caption] = r.place(caption, what)
	}
	for id, caption := range tables["forms"] {
		if _, ok := tables["screens"][caption]; !ok {
			r.report("forms."+id, fmt.Sprintf("there is no screen %q: add it to screens", caption))
		}
	}
	for label, action := range tables["buttons"] {
		t.buttons[strings.ToLower(label)] = policy.Action(r.word("buttons."+label, action, actions))
	}
	for id, what := range tables["top-buttons"] {
		if _, ok := tables["screens"][what]; !ok && !slices.Contains(words(), what) {
			r.report("top-buttons."+id, fmt.Sprintf("%q is neither a screen nor one of %s", what, strings.Join(words(), ", ")))
		}
	}
	for label, system := range tables["identifiers"] {
		t.identifiers[label] = kind(r.word("identifiers."+label, system, []string{string(local), string(nhs), string(none)}))
	}
	for name, what := range tables["users"] {
		r.word("users."+name, what, []string{"refused"})
		t.refused[strings.ToLower(name)] = true
	}
	for operation, what := range tables["soap"] {
		t.calls[operation] = r.call(operation, what)
	}
	for kind, what := range tables["uploads"] {
		r.word("uploads."+kind, what, []string{"allowed"})
		t.kinds[strings.ToLower(kind)] = true
	}
	return t, r.problems
}

// reader reads tables and collects what is wrong with them.
type reader struct {
	tables         map[string]map[string]string
	actions, areas []string
	problems       []Problem
}

func (r *reader) report(path, text string) {
	r.problems = append(r.problems, Problem{"tables." + path, text})
}

func (r *reader) word(path, text string, known []string) string {
	if !slices.Contains(known, text) {
		r.report(path, fmt.Sprintf("%q is not allowed here: write %s", text, strings.Join(known, ", ")))
		return ""
	}
	return text
}

// place reads "FUNCTION" or "FUNCTION ACTION".
func (r *reader) place(caption, what string) place {
	function, action, _ := strings.Cut(what, " ")
	area, ok := r.tables["functions"][function]
	if !ok {
		r.report("screens."+caption, fmt.Sprintf("%q is not in the table functions", function))
	}
	p := place{caption: caption, function: function, area: policy.Area(area), action: policy.Read}
	if action != "" {
		p.action = policy.Action(r.word("screens."+caption, action, r.actions))
	}
	return p
}

// call reads "AREA ACTION" or "AREA ACTION patient".
func (r *reader) call(operation, what string) call {
	words := strings.Fields(what)
	if len(words) < 2 || len(words) > 3 || len(words) == 3 && words[2] != "patient" {
		r.report("soap."+operation, fmt.Sprintf("%q is not AREA ACTION or AREA ACTION patient", what))
		return call{}
	}
	return call{
		area:    policy.Area(r.word("soap."+operation, words[0], r.areas)),
		action:  policy.Action(r.word("soap."+operation, words[1], r.actions)),
		patient: len(words) == 3,
	}
}

// place is the screen of a caption; one that nobody knows has no area.
func (t *Tables) place(caption string) place {
	if p, ok := t.places[caption]; ok {
		return p
	}
	return place{caption: caption, action: policy.Read}
}
