package hazardlog

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Log is what a hazard log holds now: the fold of its events. Lists are in the
// order of their ids.
type Log struct {
	ID string
	Head
	Standard  *Standard // nil only in the zero Log
	Hazards   []Hazard
	Controls  []Control
	Incidents []Incident
	Decisions []Decision
	Transfers []Transfer
	Reviews   []Review
	Versions  []Approval // in the order of their approval
	Replies   []Reply    // in the order in which they were taken in

	events []Event
	sums   []string // of the events
	revs   map[Subject]uint64
	signed map[string]Log // by version: what was approved
}

// Head is what is said of the log as a whole.
type Head struct {
	Title        string  `json:"title"`
	Role         Role    `json:"role"`
	StandardID   string  `json:"standard"`
	Organisation string  `json:"organisation,omitempty"` // whose log it is
	Upstream     *Origin `json:"upstream,omitempty"`     // the log that this one was derived from
}

// Incident is something that harmed a patient or could have. It names no
// patient and no member of staff: Reference leads to the system that does.
type Incident struct {
	ID         string   `json:"id"` // I-01 …
	On         Day      `json:"on"`
	Text       string   `json:"text"`
	Harm       bool     `json:"harm"` // false: a near miss
	Hazards    []string `json:"hazards,omitempty"`
	Reference  string   `json:"reference,omitempty"`  // number in LFPSE or the local system
	Assessment string   `json:"assessment,omitempty"` // was the hazard known, did its controls act, does its rating hold?
	Resolution string   `json:"resolution,omitempty"`
	Resolved   bool     `json:"resolved,omitempty"`
}

// Decision is one that influenced clinical risk management.
type Decision struct {
	ID      string   `json:"id"` // D-01 …
	On      Day      `json:"on"`
	Text    string   `json:"text"`
	Reason  string   `json:"reason"`
	Hazards []string `json:"hazards,omitempty"`
}

// Transfer asks another organisation to do something against a hazard.
type Transfer struct {
	ID        string        `json:"id"` // T-01 …
	Hazard    string        `json:"hazard"`
	Control   string        `json:"control,omitempty"`
	Condition string        `json:"condition"` // what the recipient must do
	To        string        `json:"to,omitempty"`
	State     TransferState `json:"state"`
	Reason    string        `json:"reason,omitempty"` // of the recipient's answer
	By        string        `json:"by,omitempty"`     // the recipient's officer
}

// TransferState is what the recipient said.
type TransferState string

// The states. Nothing is transferred until it is accepted.
const (
	Offered  TransferState = "offered"
	Accepted TransferState = "accepted"
	Declined TransferState = "declined"
)

// Review is something that has to be looked at by a day: a hazard, a drill, the
// process itself.
type Review struct {
	ID      string `json:"id"` // R-01 …
	Of      string `json:"of"` // a hazard, a control, or words
	Due     Day    `json:"due"`
	Done    Day    `json:"done,omitempty"`
	Outcome string `json:"outcome,omitempty"`
}

// Day is a day as 2026-11-26, "" none. Days compare as text.
type Day string

// DayOf is the day of t in UTC.
func DayOf(t time.Time) Day { return Day(t.UTC().Format(time.DateOnly)) }

// Valid reports whether it is a day of the calendar.
func (d Day) Valid() bool {
	_, err := time.Parse(time.DateOnly, string(d))
	return err == nil
}

// String is the day for people: 26 November 2026.
func (d Day) String() string {
	t, err := time.Parse(time.DateOnly, string(d))
	if err != nil {
		return string(d)
	}
	return t.Format("2 January 2006")
}

// Find returns the hazard with this id.
func (l Log) Find(id string) (Hazard, bool) { return find(l.Hazards, id) }

// Control returns the control with this id.
func (l Log) Control(id string) (Control, bool) { return find(l.Controls, id) }

// ControlsOf lists the controls of a hazard.
func (l Log) ControlsOf(hazard string) []Control {
	return filter(l.Controls, func(c Control) bool { return slices.Contains(c.Hazards, hazard) })
}

// TransfersOf lists the transfers of a hazard.
func (l Log) TransfersOf(hazard string) []Transfer {
	return filter(l.Transfers, func(t Transfer) bool { return t.Hazard == hazard })
}

// Events lists what made the log, the first one first.
func (l Log) Events() []Event { return slices.Clone(l.events) }

// Seq is the number of the last event, 0 in an empty log.
func (l Log) Seq() uint64 { return uint64(len(l.events)) }

// Revision is how often a subject has changed: what a change of it must expect.
func (l Log) Revision(s Subject) uint64 { return l.revs[s] }

// Holds is what a subject holds now, nil when it is not in the log.
func (l Log) Holds(s Subject) Value { return l.current(s) }

// Was is what a subject held at a revision, nil when it never had that one.
func (l Log) Was(s Subject, revision uint64) Value {
	for _, e := range l.events {
		if e.Subject == s && e.Revision == revision {
			v, _ := e.Content() // taken in before, so that it can be read
			return l.looked(v)
		}
	}
	return nil
}

// At is the log as it stood after the event number seq.
func (l Log) At(seq uint64) (Log, error) {
	return Fold(l.events[:min(seq, l.Seq())])
}

// NextID is the id after the highest that was ever used with this prefix. What a
// derived log adds to what may come from upstream is numbered from 5001.
func (l Log) NextID(prefix string) string {
	highest := 0
	if l.shared(prefix) {
		highest = ownFrom
	}
	for s := range l.revs {
		if n, ok := number(s.ID, prefix); ok {
			highest = max(highest, n)
		}
	}
	text := strconv.Itoa(highest + 1)
	return prefix + "-" + strings.Repeat("0", max(0, 2-len(text))) + text
}

func number(id, prefix string) (int, bool) {
	rest, ok := strings.CutPrefix(id, prefix+"-")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(rest)
	return n, err == nil
}

// byID orders ids by their prefix, then by their number.
func byID(a, b string) int {
	prefix, _, _ := strings.Cut(a, "-")
	x, inOrder := number(a, prefix)
	y, alike := number(b, prefix)
	if inOrder && alike && x != y {
		return cmp.Compare(x, y)
	}
	return strings.Compare(a, b)
}

func find[V Value](list []V, id string) (V, bool) {
	i := slices.IndexFunc(list, func(v V) bool { return v.Subject().ID == id })
	if i < 0 {
		var none V
		return none, false
	}
	return list[i], true
}

func filter[V any](list []V, keep func(V) bool) []V {
	var kept []V
	for _, v := range list {
		if keep(v) {
			kept = append(kept, v)
		}
	}
	return kept
}

// with returns list with v put in, in the place of the one with its id.
func with[V Value](list []V, v V) []V {
	list = slices.Clone(list)
	i := slices.IndexFunc(list, func(old V) bool { return old.Subject() == v.Subject() })
	if i >= 0 {
		list[i] = v
		return list
	}
	list = append(list, v)
	slices.SortStableFunc(list, func(a, b V) int { return byID(a.Subject().ID, b.Subject().ID) })
	return list
}

// clone is a log that can be added to without l seeing it.
func (l Log) clone() Log {
	l.events, l.sums, l.revs = slices.Clip(l.events), slices.Clip(l.sums), maps.Clone(l.revs)
	l.signed = maps.Clone(l.signed)
	if l.revs == nil {
		l.revs, l.signed = map[Subject]uint64{}, map[string]Log{}
	}
	return l
}
