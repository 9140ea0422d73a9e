package hazardlog

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ReadSnapshot reads canonical bytes back: what a version held, without its
// history. Bytes that are not canonical are refused.
func ReadSnapshot(content []byte) (Log, error) {
	var s snapshot
	if err := strict(content, &s); err != nil {
		return Log{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if s.Format != Format {
		return Log{}, fmt.Errorf("%w: format is %q, expected %q", ErrInvalid, s.Format, Format)
	}
	l := Begin(s.Log)
	held := Log{Head: s.Head, Hazards: s.Hazards, Controls: s.Controls, Incidents: s.Incidents, Decisions: s.Decisions, Transfers: s.Transfers, Reviews: s.Reviews}
	for _, v := range held.values() {
		if err := l.put(v); err != nil {
			return Log{}, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		l.revs[v.Subject()]++
	}
	again, err := l.Snapshot()
	if err != nil {
		return Log{}, err
	}
	if !bytes.Equal(bytes.TrimSpace(again), bytes.TrimSpace(content)) {
		return Log{}, fmt.Errorf("%w: the content is not canonical, or of another edition of %s", ErrInvalid, s.StandardID)
	}
	return l, nil
}

// Held is the log as it was when it held what a snapshot with this hash holds, at the
// latest at a time.
func (l Log) Held(sha256 string, latest time.Time) (Log, error) {
	for seq := l.Seq(); seq > 0; seq-- {
		if l.events[seq-1].At.After(latest) {
			continue
		}
		then, err := l.At(seq)
		if err != nil {
			return Log{}, err
		}
		content, err := then.Snapshot()
		if err != nil {
			return Log{}, err
		}
		if Hash(content) == sha256 {
			return then, nil
		}
	}
	return Log{}, fmt.Errorf("%w: log %s never held what was taken from it (%s)", ErrInvalid, l.ID, brief(sha256))
}

// Update is what a newer version of the upstream log means for a derived one.
type Update struct {
	Version string
	// Hazards that are other there than when they were taken, with what is other
	// about them, their controls and their transfers.
	Hazards []UpdatedHazard
	New     []Value // hazards, controls and transfers that are not here yet
	// Clashes are new there under an id that this log has given to something of its
	// own. Such an update cannot be taken in.
	Clashes []Subject
}

// UpdatedHazard is one hazard that changed upstream.
type UpdatedHazard struct {
	ID       string
	Name     string
	Accepted bool // here: its risk, or something that was transferred with it
	Changes  []Difference
}

// Accepted counts the changed hazards that were accepted here.
func (u Update) Accepted() int {
	return len(filter(u.Hazards, func(h UpdatedHazard) bool { return h.Accepted }))
}

// String says it in a line.
func (u Update) String() string {
	accepted, all := u.Accepted(), len(u.Hazards)
	if all == 0 && len(u.New) == 0 {
		return "Nothing that you took has changed in version " + u.Version + "."
	}
	return fmt.Sprintf("Version %s: %s you accepted %s changed, %s in all; %s new.", u.Version, counted(accepted, "hazard"), have(accepted), counted(all, "hazard"), are(len(u.New)))
}

func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func have(n int) string {
	if n == 1 {
		return "has"
	}
	return "have"
}

func are(n int) string {
	if n == 1 {
		return "1 entry is"
	}
	return fmt.Sprintf("%d entries are", n)
}

// Upgrade compares a newer version of the upstream log with what was taken from
// it. before is the version that was taken, as it was then.
func (l Log) Upgrade(before, after Log, version string) Update {
	u := Update{Version: version}
	changed := map[string][]Difference{}
	note := func(v, old Value, hazards ...string) {
		switch here := l.current(v.Subject()); {
		case here == nil:
			u.New = append(u.New, v)
			return
		case old == nil:
			u.Clashes = append(u.Clashes, v.Subject())
			return
		}
		for _, d := range differences(old, v) {
			for _, id := range hazards {
				changed[id] = append(changed[id], d)
			}
		}
	}
	for _, h := range after.Hazards {
		note(h, before.current(h.Subject()), h.ID)
	}
	for _, c := range after.Controls {
		note(c, before.current(c.Subject()), c.Hazards...)
	}
	for _, t := range after.Transfers {
		note(t, before.current(t.Subject()), t.Hazard)
	}
	for _, h := range after.Hazards {
		if list := changed[h.ID]; len(list) > 0 {
			u.Hazards = append(u.Hazards, UpdatedHazard{ID: h.ID, Name: h.Name, Accepted: l.accepted(h.ID), Changes: list})
		}
	}
	return u
}

// accepted reports whether somebody here relies on a hazard as it was taken.
func (l Log) accepted(id string) bool {
	h, _ := l.Find(id)
	return h.Acceptance.Accepted || slices.ContainsFunc(l.TransfersOf(id), func(t Transfer) bool { return t.State == Accepted })
}

// Changes are what taking an update in does here: what is new comes in as
// proposals, a transfer whose terms changed is offered again, each changed hazard
// gets a review that says what changed, and the head names the new version.
// Words and ratings of this log stay: they are for its own people to change.
func (l Log) Changes(u Update, after Log, today Day) ([]Change, error) {
	if taken := l.Upstream; taken != nil && taken.Version != "" && !laterVersion(taken.Version, u.Version) {
		return nil, fmt.Errorf("%w: version %s of log %s does not come after version %s, which was taken in", ErrInvalid, u.Version, after.ID, taken.Version)
	}
	if len(u.Clashes) > 0 {
		words := make([]string, len(u.Clashes))
		for i, s := range u.Clashes {
			words[i] = s.String()
		}
		return nil, fmt.Errorf("%w: version %s of log %s brings %s, which this log has given to something of its own: ask the maker to number it otherwise",
			ErrInvalid, u.Version, after.ID, strings.Join(words, ", "))
	}
	derived, err := Derive(after, u.Version, l.Head)
	if err != nil {
		return nil, err
	}
	why := "version " + u.Version + " of log " + after.ID
	var list []Change
	for _, c := range derived {
		switch v := c.Value.(type) {
		case Head:
			list = append(list, Change{Act: Edit, Value: v, Expect: l.revs[v.Subject()], Why: why})
		case Transfer:
			list = append(list, l.offeredAgain(v, why)...)
		case Hazard, Control:
			if l.current(v.Subject()) == nil {
				list = append(list, Change{Act: Raise, Value: v, Why: why})
			}
		}
	}
	next := l.NextID("R")
	n, _ := number(next, "R")
	for i, h := range u.Hazards {
		words := make([]string, len(h.Changes))
		for j, d := range h.Changes {
			words[j] = d.String()
		}
		review := Review{ID: fmt.Sprintf("R-%02d", n+i), Of: h.ID + ", changed in " + why + ": " + strings.Join(words, "; "), Due: today}
		list = append(list, Change{Act: Raise, Value: review, Why: why})
	}
	return list, nil
}

func (l Log) offeredAgain(t Transfer, why string) []Change {
	old, ok := l.current(t.Subject()).(Transfer)
	if !ok {
		return []Change{{Act: Raise, Value: t, Why: why}}
	}
	words, expect := old, l.revs[t.Subject()]
	words.Hazard, words.Control, words.Condition = t.Hazard, t.Control, t.Condition
	if Same(old, words) {
		return nil
	}
	list := []Change{{Act: Edit, Value: words, Expect: expect, Why: why}}
	offered := words
	offered.State, offered.By, offered.Reason = Offered, "", ""
	if !Same(words, offered) {
		list = append(list, Change{Act: Answer, Value: offered, Expect: expect + 1, Why: why})
	}
	return list
}
