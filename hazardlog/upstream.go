package hazardlog

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
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

// Update is what a newer version of the upstream log means for a derived one.
type Update struct {
	Version string
	// Hazards that are other there than when they were taken, with what is other
	// about them, their controls and their transfers.
	Hazards []UpdatedHazard
	New     []Value // hazards, controls and transfers that are not here yet
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
	return fmt.Sprintf("Version %s: %d hazard(s) you accepted have changed, %d hazard(s) in all; %d entries are new.", u.Version, accepted, all, len(u.New))
}

// Upgrade compares a newer version of the upstream log with what was taken from
// it. before is the version that was taken, as it was then.
func (l Log) Upgrade(before, after Log, version string) Update {
	u := Update{Version: version}
	changed := map[string][]Difference{}
	note := func(v, old Value, hazards ...string) {
		if l.current(v.Subject()) == nil {
			u.New = append(u.New, v)
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
