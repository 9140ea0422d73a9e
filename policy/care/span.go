package care

import "math"

// span is a time for which a visit was in one state.
type span struct {
	from, to int64 // milliseconds; to is open until the visit ends
	last     int64 // time of the newest message of the visit
	undone   bool  // it was an error: there is no time afterwards
	e        *event
}

const open = math.MaxInt64

// stay reports whether the span is one of a patient who is in.
func (s *span) stay() bool { return s.e.kind == Stay || s.e.kind == Update || s.e.kind == End }

// spans works out the states of a visit from its events, which are in order. The
// current stay is the last of its stays.
func spans(events []event, out []span) []span {
	out = out[:0]
	ended := false
	for i := range events {
		e := &events[i]
		switch e.kind {
		case Stay:
			out, ended = enter(out, e), false
		case Update:
			if !ended {
				out = enter(out, e)
			}
			if e.end != 0 {
				out, ended = leave(out, e), true
			}
		case End:
			out, ended = leave(out, e), true
		case CancelEnd:
			out, ended = resume(out, e), false
		case CancelMove:
			out = undoMove(out, e)
		case CancelStay:
			undo(out, e.at, (*span).stay)
			ended = true
		case CancelPlan:
			undo(out, e.at, func(s *span) bool { return !s.stay() })
		case CareTeam: // there may be several at once
			out = append(out, expected(e))
		case Plan, Referral:
			undo(out, e.at, func(s *span) bool { return s.e.kind == e.kind }) // the newer one holds
			out = append(out, expected(e))
		case Identify, Merge, Move, Replace, Flag:
		}
	}
	for i := range out {
		out[i].last = events[len(events)-1].at
	}
	return out
}

// since is when an event says that something began.
func (e *event) since() int64 {
	if e.start != 0 {
		return int64(e.start) * 1000
	}
	return e.at
}

// until is when an event says that something ended, or none.
func (e *event) until(none int64) int64 {
	if e.end != 0 {
		return int64(e.end) * 1000
	}
	return none
}

// current is the last stay, -1 if there is none.
func current(spans []span) int {
	for i := len(spans) - 1; i >= 0; i-- {
		if spans[i].stay() && !spans[i].undone {
			return i
		}
	}
	return -1
}

// enter puts the patient where e says, unless they are there.
func enter(out []span, e *event) []span {
	from := min(e.since(), e.at)
	if i := current(out); i >= 0 {
		s := &out[i]
		if s.to == open && s.e.ward == e.ward && s.e.people == e.people {
			return out
		}
		from = max(e.at, s.from) // start is when the visit began, and this is a later part of it
		s.to = min(s.to, from)
	}
	return append(out, span{from: from, to: open, e: e})
}

// leave ends the visit. One whose beginning was never heard of was in until then.
func leave(out []span, e *event) []span {
	at := e.until(e.at)
	i := current(out)
	if i < 0 {
		return append(out, span{from: min(e.since(), at), to: at, e: e})
	}
	if out[i].to == open {
		out[i].to = max(at, out[i].from)
	}
	return out
}

// resume opens the visit again, where e says the patient is.
func resume(out []span, e *event) []span {
	i := current(out)
	if i < 0 {
		return append(out, span{from: e.since(), to: open, e: e})
	}
	out[i].to = open
	return out
}

// undoMove puts the patient back to where they were before the last move.
func undoMove(out []span, e *event) []span {
	i := current(out)
	if i < 0 {
		return out
	}
	wrong := out[i]
	before := current(out[:i])
	if before < 0 {
		return out
	}
	out[before].to = wrong.to
	wrong.to, wrong.undone = min(wrong.to, e.at), true
	out[before], out[i] = wrong, out[before]
	return out
}

// undo ends the spans that it is asked about at time at, as errors.
func undo(out []span, at int64, which func(*span) bool) {
	for i := range out {
		if which(&out[i]) && !out[i].undone {
			out[i].to, out[i].undone = min(out[i].to, at), true
		}
	}
}

// expected is the span of what is planned. An appointment without end is over
// when it begins; a referral and a care team last.
func expected(e *event) span {
	from, none := e.since(), int64(open)
	if e.kind == Plan {
		none = from
	}
	return span{from: from, to: e.until(none), e: e}
}
