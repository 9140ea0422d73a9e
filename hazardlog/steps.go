package hazardlog

// Steps are the changes that take a subject from what it was, at revision expect,
// to what it shall be: one act at a time, since nobody changes a rating or a status
// in passing. What needs an officer is not among them: a hazard keeps its
// acceptance, or loses it with the residual rating that was accepted, and a
// transfer keeps its answer.
func Steps(old, next Value, expect uint64, why string) []Change {
	var list []Change
	at := old
	for _, act := range []Act{Edit, Rate, Move} {
		to := upTo(act, old, next)
		if Same(at, to) {
			continue
		}
		list = append(list, Change{Act: act, Value: to, Expect: expect, Why: why})
		expect++
		at = to
	}
	return list
}

// upTo is what a subject holds after an act and those before it.
func upTo(act Act, old, next Value) Value {
	switch was := old.(type) {
	case Hazard:
		return was.upTo(act, next.(Hazard))
	case Control:
		now := next.(Control)
		if act != Move {
			now.Status = was.Status
		}
		return now
	case Incident:
		now := next.(Incident)
		if act != Move {
			now.Resolved, now.Resolution = was.Resolved, was.Resolution
		}
		return now
	case Review:
		now := next.(Review)
		if act != Move {
			now.Done, now.Outcome = was.Done, was.Outcome
		}
		return now
	case Transfer:
		now := next.(Transfer)
		now.State, now.Reason, now.By = was.State, was.Reason, was.By
		return now
	}
	return next
}

func (h Hazard) upTo(act Act, next Hazard) Hazard {
	next.Acceptance = h.Acceptance
	if act == Edit {
		next.Initial, next.Residual = h.Initial, h.Residual
	} else if next.Residual != h.Residual && h.Acceptance.Accepted { // what was accepted was the other one
		next.Acceptance = Acceptance{}
	}
	if act != Move {
		next.Status = h.Status
	}
	return next
}
