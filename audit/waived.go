package audit

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// MaxWaivedRows is how many rows a count of waived refusals lists at most; the
// sums are of all of them.
const MaxWaivedRows = 1000

// WaivedQuery narrows a count of waived refusals. Empty fields do not narrow.
type WaivedQuery struct {
	Site     string
	App      string
	From, To time.Time // From inclusive, To exclusive
}

// Holds reports whether the record is one that a count is about: of a decision that
// was not enforced, whatever it was. Records of further patients count too: some
// refusals only the response gives rise to.
func (q WaivedQuery) Holds(r *Record) bool {
	return (r.Kind == KindDecision || r.Kind == KindPatient) && (r.Mode == "observe" || r.Mode == "bypass") &&
		(q.Site == "" || r.Site == q.Site) && (q.App == "" || r.App == q.App) &&
		(q.From.IsZero() || !r.Time.Before(q.From)) && (q.To.IsZero() || r.Time.Before(q.To))
}

// Waived is what went on in observe and bypass mode although the rules, the limits
// or the map would have refused it. It names no patient and no member of staff.
type Waived struct {
	Apps []WaivedApp `json:"applications"` // by name
	Rows []WaivedRow `json:"would_have_been_refused"`
}

// WaivedApp is one application in sum.
type WaivedApp struct {
	App      string `json:"application"`
	Requests uint64 `json:"requests"` // decisions that were not enforced
	Refusals uint64 `json:"refusals"` // of them, those that would have been refused
	People   uint64 `json:"people"`   // whom they concern
	Unmapped uint64 `json:"unmapped"` // of the refusals, those on routes that the map does not know
	// Routes is how many such routes there are, by method and path, where a part of
	// the path with a digit in it counts as an identifier.
	Routes uint64 `json:"unmapped_routes"`
}

// WaivedRow is one route, role and reason. The most frequent comes first.
type WaivedRow struct {
	App      string `json:"application"`
	Mode     string `json:"mode"`
	Route    string `json:"route"`  // id of the map rule, "" for none
	Role     string `json:"role"`   // roles, joined by a comma
	Reason   string `json:"reason"` // reason codes, joined by a comma
	Requests uint64 `json:"requests"`
	People   uint64 `json:"people"`
}

// ReasonUnmapped is the reason code of a refusal on a route that the map does not
// know.
const ReasonUnmapped = "unmapped-route"

// Reason codes of limits, which are no answers of the rules.
const (
	ReasonLimited        = "rate-limited"
	ReasonBudget         = "patient-budget"         // more patients than the budget of the role
	ReasonMachineUnknown = "machine-not-registered" // a machine client that is not in the configuration
	ReasonMachineExpired = "machine-expired"        // or no longer
	ReasonMachineNetwork = "machine-network"        // or not from this address
)

// OfRules reports whether a reason code is an answer of the rules or of the map.
func OfRules(code string) bool {
	switch code {
	case ReasonLimited, ReasonBudget, ReasonMachineUnknown, ReasonMachineExpired, ReasonMachineNetwork:
		return false
	}
	return true
}

// IdentifierPattern is a part of a path that counts as an identifier: in the
// syntax of RE2, so that ClickHouse reads it alike.
const IdentifierPattern = `/[^/]*[0-9][^/]*`

// WaivedTally counts records one by one: what ClickHouse does with rows. The zero
// value is not ready; NewWaivedTally makes one. It is not safe for concurrent use.
type WaivedTally struct {
	query      WaivedQuery
	identifier *regexp.Regexp
	apps       map[string]*waivedApp
	rows       map[WaivedRow]*waivedRow
}

type waivedApp struct {
	WaivedApp
	refusals, unmapped map[exchange]bool
	people, routes     map[string]bool
}

type waivedRow struct {
	requests map[exchange]bool
	people   map[string]bool
}

// exchange is one of them by its decision.
type exchange struct {
	source string
	seq    uint64
}

// NewWaivedTally begins to count.
func NewWaivedTally(q WaivedQuery) *WaivedTally {
	return &WaivedTally{
		query: q, identifier: regexp.MustCompile(IdentifierPattern),
		apps: map[string]*waivedApp{}, rows: map[WaivedRow]*waivedRow{},
	}
}

// Add takes in one record.
func (t *WaivedTally) Add(r *Record) {
	if !t.query.Holds(r) {
		return
	}
	app := t.apps[r.App]
	if app == nil {
		app = &waivedApp{
			WaivedApp: WaivedApp{App: r.App}, refusals: map[exchange]bool{}, unmapped: map[exchange]bool{},
			people: map[string]bool{}, routes: map[string]bool{},
		}
		t.apps[r.App] = app
	}
	one := exchange{r.Source, r.Seq}
	if r.Kind == KindPatient {
		one.seq = r.Decision
	} else {
		app.Requests++
	}
	if !r.WouldDeny {
		return
	}
	person := cmp.Or(r.Person, r.UserSub)
	app.refusals[one], app.people[person] = true, true
	if slices.Contains(r.Reasons, ReasonUnmapped) {
		app.unmapped[one] = true
		app.routes[r.Method+" "+t.identifier.ReplaceAllLiteralString(r.Target, "/{}")] = true
	}
	key := WaivedRow{App: r.App, Mode: r.Mode, Route: r.Route, Role: strings.Join(r.Roles, ", "), Reason: strings.Join(r.Reasons, ", ")}
	row := t.rows[key]
	if row == nil {
		row = &waivedRow{requests: map[exchange]bool{}, people: map[string]bool{}}
		t.rows[key] = row
	}
	row.requests[one], row.people[person] = true, true
}

// Waived returns the count.
func (t *WaivedTally) Waived() Waived {
	w := Waived{Apps: []WaivedApp{}, Rows: []WaivedRow{}}
	for _, name := range slices.Sorted(maps.Keys(t.apps)) {
		app := t.apps[name]
		app.Refusals, app.Unmapped = uint64(len(app.refusals)), uint64(len(app.unmapped))
		app.People, app.Routes = uint64(len(app.people)), uint64(len(app.routes))
		w.Apps = append(w.Apps, app.WaivedApp)
	}
	for row, n := range t.rows {
		row.Requests, row.People = uint64(len(n.requests)), uint64(len(n.people))
		w.Rows = append(w.Rows, row)
	}
	slices.SortFunc(w.Rows, func(a, b WaivedRow) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.App, b.App), cmp.Compare(a.Mode, b.Mode),
			cmp.Compare(a.Route, b.Route), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Reason, b.Reason))
	})
	w.Rows = w.Rows[:min(len(w.Rows), MaxWaivedRows)]
	return w
}

// Against says what stands against enforcing the application, in plain words; none
// where nothing does. Refusals that are right stand against nothing, which only a
// person can tell.
func (a WaivedApp) Against() []string {
	if a.Requests == 0 {
		return []string{"nothing was observed in this time"}
	}
	var against []string
	if a.Unmapped > 0 {
		against = append(against, fmt.Sprintf("%s on %s that the map does not know: add to the map what is care", counted(a.Unmapped, "request"), counted(a.Routes, "route")))
	}
	if rest := a.Refusals - a.Unmapped; rest > 0 {
		against = append(against, fmt.Sprintf("%s that the rules, the limits or the map would have refused: see for each line whether that is right", counted(rest, "request")))
	}
	return against
}

func counted(n uint64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
