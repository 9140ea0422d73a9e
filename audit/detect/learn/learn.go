// Package learn weighs detectors by what reviewers said of their cases: how often
// each was right in each role, what weight follows from that, and which patterns of
// justified cases a person could make into a template.
//
// Nothing that it learns counts until a person turns it on. A weight lies between
// Floor and 1, so that learning lowers what was seldom right and hides nothing, and
// the scoring lowers no case with an own record, a household or a VIP, whatever
// reviewers said. The same dispositions, cases and parent give the same version. Only
// a Folder does I/O; nothing reads a clock. Values are not safe for concurrent use.
package learn

import (
	"cmp"
	"slices"

	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/audit/detect/detectors"
)

// Input is what a version is learnt from.
type Input struct {
	Dispositions []Disposition // that count, of Settle
	Cases        Cases
	Scoring      cases.Scoring // that the cases were made with; its weights do not matter
}

// Learn makes a version: how often each detector was right, and the weights.
func Learn(in Input) Version {
	t := tally{of: map[group]*Count{}, scoring: in.Scoring, detectors: current()}
	v := Version{Floor: Floor, Lean: lean}
	var flagged []judged
	for _, d := range in.Dispositions {
		c, right := in.Cases[d.Case], d.Outcome.right()
		v.Cases.add(right, 1, 0)
		if c.Lane == cases.Random {
			v.Unflagged.take(c, right)
			continue
		}
		if right {
			v.Unflagged.Found += float64(len(c.Accesses))
		}
		flagged = append(flagged, judged{of: c, right: right, score: in.Scoring.Score(c)})
	}
	expect(flagged)
	for i := range flagged {
		v.Flagged.add(flagged[i].right, 1, flagged[i].expected)
		t.take(&flagged[i])
	}
	v.Unflagged.settle()
	v.Groups = t.groups()
	return v
}

// judged is a case that somebody judged, and how likely one with its score is right.
type judged struct {
	of              *cases.Case
	right           bool
	score, expected float64
}

// bands is into how many parts judged cases are cut by their scores.
const bands = 5

// expect says of each case how often those with about its score were right, so that
// a detector is measured by the scores that it gives and not by how many cases are
// read.
func expect(all []judged) {
	slices.SortFunc(all, func(a, b judged) int { return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.of.ID, b.of.ID)) })
	for band := range bands {
		part := all[band*len(all)/bands : (band+1)*len(all)/bands]
		var n Count
		for i := range part {
			n.add(part[i].right, 1, 0)
		}
		for i := range part {
			part[i].expected = Beta{1 + n.Right, 1 + n.Wrong}.Mean()
		}
	}
}

// Count is how many were right, and how many not. Of a case that several detectors
// raised each has its share.
type Count struct {
	Right    float64 `json:"right"`
	Wrong    float64 `json:"wrong"`
	Expected float64 `json:"expected"` // right ones, if it were as with any case of the same score
}

func (c *Count) add(right bool, share, expected float64) {
	if right {
		c.Right += share
	} else {
		c.Wrong += share
	}
	c.Expected += share * expected
}

// N is how many there are.
func (c Count) N() float64 { return c.Right + c.Wrong }

// usual is the share of right ones among cases of the same scores.
func (c Count) usual() float64 {
	if c.N() == 0 {
		return .5 // of nothing any share will do
	}
	return c.Expected / c.N()
}

func (c Count) less(o Count) Count {
	rest := Count{c.Right - o.Right, c.Wrong - o.Wrong, c.Expected - o.Expected}
	if rest.N() < 1e-6 {
		return Count{}
	}
	return rest
}

// group is a detector in a role; cases.AnyRole is all of them.
type group struct{ detector, role string }

// tally counts what each detector was right about.
type tally struct {
	of        map[group]*Count
	scoring   cases.Scoring
	detectors map[string]int // the versions in use
}

func current() map[string]int {
	out := map[string]int{}
	for _, d := range detectors.Definitions() {
		out[d.ID] = d.Version
	}
	return out
}

// take gives each detector its share of a case: what it adds to the score, of what
// all of them add. A detector in another version than today's says nothing about
// today's, and people of several roles say nothing about one of them.
func (t *tally) take(j *judged) {
	c, all := j.of, 0.
	for _, d := range c.Detectors {
		all += t.scoring.Rarity(d.ID, d.P)
	}
	for _, d := range c.Detectors {
		part := t.scoring.Rarity(d.ID, d.P)
		if part == 0 || t.detectors[d.ID] != d.Version {
			continue
		}
		t.count(d.ID, cases.AnyRole).add(j.right, part/all, j.expected)
		if len(c.Roles) == 1 {
			t.count(d.ID, c.Roles[0]).add(j.right, part/all, j.expected)
		}
	}
}

func (t *tally) count(detector, role string) *Count {
	g := group{detector, role}
	if t.of[g] == nil {
		t.of[g] = &Count{}
	}
	return t.of[g]
}

// Group is how often one detector was right in one role.
type Group struct {
	Detector string `json:"detector"`
	Version  int    `json:"detector_version"`
	Role     string `json:"role"` // "" for all roles together
	Count
	A         float64 `json:"a"` // of the Beta distribution
	B         float64 `json:"b"`
	Precision float64 `json:"precision"` // its mean
	Low       float64 `json:"low"`       // of the interval that holds nine in ten
	High      float64 `json:"high"`
	Weight    float64 `json:"weight"`
	Protected bool    `json:"protected,omitempty"` // its cases are never lowered
}

// groups settles every group. Where there is little to go by, a role leans on what
// its detector is in the other roles, and a detector on what is usual for its scores.
func (t *tally) groups() []Group {
	var out []Group
	for g, n := range t.of {
		prior := n.usual()
		if g.role != cases.AnyRole {
			others := t.of[group{g.detector, cases.AnyRole}].less(*n) // what it is itself counts once
			prior = shift(prior, leaning(others.usual(), others).against(others))
		}
		b := leaning(prior, *n)
		one := Group{
			Detector: g.detector, Version: t.detectors[g.detector], Role: g.role, Count: *n, A: b.A, B: b.B, Precision: b.Mean(), Low: b.Quantile(.05), High: b.Quantile(.95),
			Weight: weight(b.against(*n)), Protected: t.scoring.Protected[g.detector],
		}
		if one.Protected {
			one.Weight = 1
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Group) int { return cmp.Or(cmp.Compare(a.Detector, b.Detector), cmp.Compare(a.Role, b.Role)) })
	return out
}

// Unflagged is what the cases drawn by lot say of what no detector points at.
type Unflagged struct {
	Looked int     `json:"looked"` // cases drawn by lot that somebody judged
	Misuse int     `json:"misuse"` // of them
	Share  float64 `json:"share"`  // of misuse among such looks, the mean
	High   float64 `json:"high"`   // nine in ten times it is at most this
	Of     float64 `json:"of"`     // looks that they stand for
	Found  float64 `json:"found"`  // looks in cases that were right
	Recall float64 `json:"recall"` // found, of found and of what the share says is missed; -1 when nobody judged any
	Least  float64 `json:"recall_at_least"`
}

func (u *Unflagged) take(c *cases.Case, right bool) {
	u.Looked++
	if right {
		u.Misuse++
	}
	u.Of += c.StandsFor
}

func (u *Unflagged) settle() {
	u.Recall, u.Least = -1, -1
	if u.Looked == 0 || u.Of == 0 {
		return
	}
	b := Beta{1 + float64(u.Misuse), 1 + float64(u.Looked-u.Misuse)}
	u.Share, u.High = float64(u.Misuse)/float64(u.Looked), b.Quantile(.9)
	if u.Found > 0 {
		u.Recall, u.Least = u.Found/(u.Found+u.Share*u.Of), u.Found/(u.Found+u.High*u.Of)
	}
}
