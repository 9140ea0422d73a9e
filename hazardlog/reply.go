package hazardlog

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Reply is what an organisation has answered to the transfers of one approved version
// of this log. Like an approval it is about a version and no part of one: it changes
// nothing that was approved.
type Reply struct {
	ID      string     `json:"id,omitempty"`          // A-01 …; "" until it is taken in
	From    string     `json:"from"`                  // the organisation
	Log     string     `json:"log"`                   // its log
	Of      Origin     `json:"of"`                    // the log and version that it answers
	MadeAt  time.Time  `json:"made_at"`               // to the millisecond: it puts answers in order
	Key     string     `json:"key,omitempty"`         // that signed its pack: name and hash
	OldKey  string     `json:"old_key,omitempty"`     // that signed the one before, where somebody has made sure that Key is theirs too
	Pack    string     `json:"pack_sha256,omitempty"` // of the pack as it came
	Answers []Transfer `json:"answers"`               // each with its state, the reason and the officer who answered
}

// Subject implements Value.
func (r Reply) Subject() Subject { return Subject{OfReply, r.ID} }

func (r Reply) fields() []field {
	answers := make([]string, len(r.Answers))
	for i, t := range r.Answers {
		answers[i] = t.ID + " " + t.Answer()
	}
	return []field{
		{name: "from", text: r.From},
		{name: "version", text: r.Of.Version},
		{name: "key", text: r.Key},
		{name: "answers", items: answers},
	}
}

// Answer is the recipient's answer in words: "accepted by Dr Ann Example (GMC 1)".
func (t Transfer) Answer() string {
	text := string(t.State)
	if t.State == Offered {
		text = "not answered"
	}
	if t.By != "" {
		text += " by " + t.By
	}
	if t.Reason != "" {
		text += ": " + t.Reason
	}
	return text
}

// String says it in a line.
func (r Reply) String() string {
	count := map[TransferState]int{}
	for _, t := range r.Answers {
		count[t.State]++
	}
	return fmt.Sprintf("%s on version %s: %d accepted, %d declined, %d not answered", r.From, r.Of.Version, count[Accepted], count[Declined], count[Offered])
}

// Reply is what this log answers to the log that it was derived from: every transfer
// that came from there, answered or not.
func (l Log) Reply(made time.Time) (Reply, error) {
	switch {
	case l.Upstream == nil:
		return Reply{}, fmt.Errorf("%w: log %s was not derived from another: there is nobody to answer", ErrInvalid, l.ID)
	case l.Upstream.Version == "":
		return Reply{}, fmt.Errorf("%w: log %s was derived from what nobody had approved: answers are to an approved version, so take one in first", ErrInvalid, l.ID)
	}
	answers := filter(l.Transfers, func(t Transfer) bool { return !l.own(t.ID) })
	return Reply{From: l.Organisation, Log: l.ID, Of: *l.Upstream, MadeAt: made.UTC().Truncate(time.Millisecond), Answers: whole(answers)}, nil
}

// checkReply takes answers in only to what was asked: the very words of an approved
// version. Later answers of an organisation replace earlier ones, never the other way
// round.
func (l Log) checkReply(found *mistakes, r Reply) {
	found.need("from", r.From)
	found.need("log", r.Log)
	found.need("key", r.Key)
	found.need("pack_sha256", r.Pack)
	then, a, err := l.Version(r.Of.Version)
	if err != nil || r.Of.Log != l.ID || r.Of.SHA256 != a.SHA256 {
		found.add("of", "answers version %q (%s) of log %s: that was never approved here", r.Of.Version, brief(r.Of.SHA256), r.Of.Log)
		return
	}
	for _, old := range l.Replies {
		switch {
		case old.Pack == r.Pack:
			found.add("pack_sha256", "was taken in before, as %s", old.ID)
			return
		case old.Log == r.Log && !r.MadeAt.After(old.MadeAt):
			found.add("made_at", "is not after that of %s, which %s gave before", old.ID, r.From)
		}
	}
	// Whoever has a key that is trusted cannot answer in the name of others.
	if last := l.lastReply(r.Log); last != nil && last.Key != r.Key && last.Key != r.OldKey {
		found.add("key", "is %s, but %s signed with %s before", r.Key, last.From, last.Key)
	}
	seen := map[string]bool{}
	for i, t := range r.Answers {
		at := fmt.Sprintf("answers[%d]", i)
		asked, ok := find(then.Transfers, t.ID)
		switch {
		case !ok:
			found.add(at, "%q is no transfer of version %s", t.ID, r.Of.Version)
		case seen[t.ID]:
			found.add(at, "%s is answered twice", t.ID)
		case t.Hazard != asked.Hazard || t.Control != asked.Control || t.Condition != asked.Condition:
			found.add(at, "%s is about other words than version %s asked", t.ID, r.Of.Version)
		}
		seen[t.ID] = true
		oneOf(found, at+".state", t.State, []TransferState{Offered, Accepted, Declined})
		if t.State != Offered {
			found.need(at+".by", t.By)
		}
		if t.State == Declined {
			found.need(at+".reason", t.Reason)
		}
	}
}

// lastReply is the newest one of a log, nil when there is none.
func (l Log) lastReply(log string) *Reply {
	for i := len(l.Replies) - 1; i >= 0; i-- {
		if l.Replies[i].Log == log {
			return &l.Replies[i]
		}
	}
	return nil
}

// Theirs is a reply after somebody has made sure that a key which has not signed for
// its log before is theirs.
func (l Log) Theirs(r Reply) Reply {
	if last := l.lastReply(r.Log); last != nil && last.Key != r.Key {
		r.OldKey = last.Key
	}
	return r
}

// Answered is what one organisation has answered to a transfer.
type Answered struct {
	From string
	On   Day
	Transfer
	Version string // that it answered
	Changed bool   // the transfer says something else now
}

// AnswersTo lists what each organisation has answered to a transfer last.
func (l Log) AnswersTo(transfer string) (list []Answered) {
	now, _ := find(l.Transfers, transfer)
	for i, r := range l.Replies {
		if l.lastReply(r.Log) != &l.Replies[i] {
			continue
		}
		if t, ok := find(r.Answers, transfer); ok {
			list = append(list, Answered{r.From, DayOf(r.MadeAt), t, r.Of.Version, t.Condition != now.Condition || t.Control != now.Control})
		}
	}
	return list
}

// ownFrom is the number after which a derived log numbers what it adds to the kinds
// that come from upstream, so that what the maker adds later has its ids to itself.
const ownFrom = 5000

// own reports whether an id of a derived log is one that it gave itself.
func (l Log) own(id string) bool {
	prefix, _, _ := strings.Cut(id, "-")
	n, _ := number(id, prefix)
	return l.Upstream != nil && n > ownFrom
}

// shared reports whether ids with this prefix come from upstream too.
func (l Log) shared(prefix string) bool {
	return l.Upstream != nil && (prefix == "C" || prefix == "T" || slices.ContainsFunc(l.Hazards, func(h Hazard) bool {
		return h.Origin != nil && strings.HasPrefix(h.ID, prefix+"-")
	}))
}
