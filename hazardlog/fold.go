package hazardlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What callers branch on.
var (
	// ErrInvalid is what the error of a refused log, event or change wraps.
	ErrInvalid = errors.New("hazard log refused")
	// ErrConflict says that somebody changed the subject since it was read.
	ErrConflict = errors.New("changed by somebody else in the meantime")
)

// Conflict is a change that was refused since its subject is no longer what it
// was when it was read.
type Conflict struct {
	Subject Subject
	Since   []Event  // what happened to it since, the first one first
	Words   []string // the same for people, a line each
}

// Error says who changed what.
func (c Conflict) Error() string {
	return fmt.Sprintf("%s was %v:\n  %s\nLook at it again, then repeat your change.", c.Subject, ErrConflict, strings.Join(c.Words, "\n  "))
}

// Unwrap makes errors.Is find ErrConflict.
func (c Conflict) Unwrap() error { return ErrConflict }

// Change is a change that somebody wants.
type Change struct {
	Act    Act
	Value  Value  // all that the subject shall hold
	Expect uint64 // revision of the subject that was changed; 0: it must be new
	Why    string
}

// Fold makes the log of its events. It refuses a sequence with a gap, an event
// that does not name the hash of the one before it, or a revision out of order.
func Fold(events []Event) (Log, error) {
	l := Log{}.clone()
	for _, e := range events {
		encoded, err := e.Encode()
		if err != nil {
			return Log{}, err
		}
		if err := l.take(e, Hash(encoded)); err != nil {
			return Log{}, err
		}
	}
	return l, nil
}

// Resume adds events to the log that l is. l stays as it is.
func (l Log) Resume(events []Event) (Log, error) {
	next := l.clone()
	for _, e := range events {
		encoded, err := e.Encode()
		if err != nil {
			return Log{}, err
		}
		if err := next.take(e, Hash(encoded)); err != nil {
			return Log{}, err
		}
	}
	return next, nil
}

// take adds one event, of which sum is the hash.
func (l *Log) take(e Event, sum string) error {
	before := l.last()
	switch {
	case e.Seq != l.Seq()+1:
		return fmt.Errorf("%w: event %d follows event %d", ErrInvalid, e.Seq, l.Seq())
	case e.Before != before:
		return fmt.Errorf("%w: event %d does not name the event before it: one of them was altered", ErrInvalid, e.Seq)
	case e.Revision != l.revs[e.Subject]+1:
		return fmt.Errorf("%w: event %d is revision %d of %s after revision %d", ErrInvalid, e.Seq, e.Revision, e.Subject, l.revs[e.Subject])
	case (e.Act == OpenLog) != (e.Seq == 1) || (e.Seq > 1 && e.Log != l.ID):
		return fmt.Errorf("%w: event %d: a log begins once and holds its own events", ErrInvalid, e.Seq)
	}
	v, err := e.Content()
	if err != nil {
		return fmt.Errorf("%w: event %d: %w", ErrInvalid, e.Seq, err)
	}
	if v.Subject() != e.Subject {
		return fmt.Errorf("%w: event %d is about %s and holds %s", ErrInvalid, e.Seq, e.Subject, v.Subject())
	}
	if a, ok := v.(Approval); ok {
		if a.Through != l.Seq() {
			return fmt.Errorf("%w: event %d approves what the log held after event %d", ErrInvalid, e.Seq, a.Through)
		}
		l.signed[a.Version] = l.clone()
	}
	l.ID = e.Log
	if err := l.put(v); err != nil {
		return fmt.Errorf("%w: event %d: %w", ErrInvalid, e.Seq, err)
	}
	l.events, l.sums = append(l.events, e), append(l.sums, sum)
	l.revs[e.Subject] = e.Revision
	return nil
}

// last is the hash of the last event, "" when there is none.
func (l Log) last() string {
	if len(l.sums) == 0 {
		return ""
	}
	return l.sums[len(l.sums)-1]
}

// put makes v what its subject holds.
func (l *Log) put(v Value) error {
	switch v := v.(type) {
	case Head:
		standard, err := LoadStandard(v.StandardID)
		if err != nil {
			return err
		}
		l.Head, l.Standard = v, standard
		l.Hazards = slices.Clone(l.Hazards)
		for i, h := range l.Hazards { // another edition may look risks up elsewhere
			l.Hazards[i] = l.rated(h)
		}
	case Hazard:
		l.Hazards = with(l.Hazards, l.rated(v))
	case Control:
		l.Controls = with(l.Controls, v)
	case Incident:
		l.Incidents = with(l.Incidents, v)
	case Decision:
		l.Decisions = with(l.Decisions, v)
	case Transfer:
		l.Transfers = with(l.Transfers, v)
	case Review:
		l.Reviews = with(l.Reviews, v)
	case Approval:
		l.Versions = append(slices.Clip(l.Versions), v)
	case Reply:
		l.Replies = append(slices.Clip(l.Replies), v)
	}
	return nil
}

// rated looks the risks of a hazard up.
func (l *Log) rated(h Hazard) Hazard {
	h.Initial, h.Residual = l.Standard.Rate(h.Initial), l.Standard.Rate(h.Residual)
	return h
}

// current is what a subject holds now, nil when it is not there.
func (l Log) current(s Subject) Value {
	if l.revs[s] == 0 {
		return nil
	}
	switch s.Kind {
	case OfLog:
		return l.Head
	case OfHazard:
		return value(find(l.Hazards, s.ID))
	case OfControl:
		return value(find(l.Controls, s.ID))
	case OfIncident:
		return value(find(l.Incidents, s.ID))
	case OfDecision:
		return value(find(l.Decisions, s.ID))
	case OfTransfer:
		return value(find(l.Transfers, s.ID))
	case OfReview:
		return value(find(l.Reviews, s.ID))
	case OfVersion:
		return value(find(l.Versions, s.ID))
	case OfReply:
		return value(find(l.Replies, s.ID))
	}
	return nil
}

func value[V Value](v V, ok bool) Value {
	if !ok {
		return nil
	}
	return v
}

// Record makes the events of changes that by makes at a time, and the log after
// them. All are made or none. The error is a Conflict, or wraps ErrInvalid and
// says what is wrong with which field. newID makes ids of events.
func (l Log) Record(at time.Time, by Actor, newID func() string, changes ...Change) (Log, []Event, error) {
	next := l.clone()
	var made []Event
	for _, c := range changes {
		e, err := next.event(at, by, newID(), c)
		if err != nil {
			return l, nil, err
		}
		encoded, err := e.Encode()
		if err != nil {
			return l, nil, err
		}
		if err := next.take(e, Hash(encoded)); err != nil {
			return l, nil, err
		}
		made = append(made, e)
	}
	return next, made, nil
}

func (l Log) event(at time.Time, by Actor, id string, c Change) (Event, error) {
	if h, ok := c.Value.(Hazard); ok && l.Standard != nil {
		c.Value = l.rated(h)
	}
	subject := c.Value.Subject()
	if err := l.Conflict(subject, c.Expect); err != nil {
		return Event{}, err
	}
	if found := l.checkChange(by, c); len(found) > 0 {
		return Event{}, Refusal{subject, found}
	}
	raw, err := json.Marshal(c.Value)
	if err != nil {
		return Event{}, fmt.Errorf("encode %s: %w", subject, err)
	}
	return Event{
		Version: eventVersion, ID: id, Log: l.ID, Seq: l.Seq() + 1, Before: l.last(), At: at.UTC().Truncate(time.Microsecond),
		By: by, Act: c.Act, Subject: subject, Revision: c.Expect + 1, Why: strings.TrimSpace(c.Why), Value: raw,
	}, nil
}

// Begin is an empty log with this id: its first change must open it.
func Begin(id string) Log {
	l := Log{}.clone()
	l.ID = id
	return l
}

// Conflict says what happened to a subject since the revision that was read: nil
// when nothing did.
func (l Log) Conflict(s Subject, read uint64) error {
	if l.revs[s] == read {
		return nil
	}
	c := Conflict{Subject: s}
	for _, e := range l.events {
		if e.Subject == s && e.Revision > read {
			c.Since = append(c.Since, e)
			c.Words = append(c.Words, l.Describe(e)...)
		}
	}
	if len(c.Since) == 0 { // a revision that never was
		return fmt.Errorf("%w: %s has revision %d, not %d", ErrInvalid, s, l.revs[s], read)
	}
	return c
}
