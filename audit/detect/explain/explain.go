// Package explain says what could have been somebody's reason to look at a
// patient's record: fourteen templates, T1 to T14, each with evidence that can be
// looked up and one sentence for a reviewer and one for the patient.
//
// "Not yet explained" is neutral: it says that no reason was found, not that there
// was none. Only strong explanations explain; weak ones are for whoever weighs. It
// does no I/O and reads no clock, and the same input gives the same explanations.
// An Engine does not change and may be used concurrently.
//
// The templates follow Fabbri and LeFevre, Explanation-Based Auditing (VLDB 2011),
// and what emergency-access prompts of records commonly leave out.
package explain

import (
	"strconv"
	"time"
)

// Template is one kind of reason.
type Template uint8

// The templates. T1 to T8 and T12 are strong: a line of a feed or an entry names
// both sides. T8 without such a line, T9 to T11 and T13 are weak. T14 is what the
// site has said it is.
const (
	Charted    Template = iota + 1 // T1: wrote or ordered for the patient within a day
	Named                          // T2: named in the patient's care
	OnWard                         // T3: the patient is or was on the person's ward
	AtWard                         // T4: at a workstation of the ward where the patient lies
	OnList                         // T5: on a clinic, theatre or emergency list of the person's
	Referred                       // T6: referred to the person's team
	Answer                         // T7: a result or letter that waits for the person or their team
	Duty                           // T8: a work item of a team that serves the whole hospital
	Department                     // T9: the person's department usually takes part in the care of that ward
	Handover                       // T10: a colleague of the same team took part within three days
	Earlier                        // T11: the person had a reason within the last thirty days
	Approved                       // T12: an approved project, audit, complaint or request, until it ends
	Stated                         // T13: a reason that the person gave
	Local                          // T14: a template of the site
)

// Templates is how many there are.
const Templates = 14

// Code is how a template is called: T1 to T14.
func (t Template) Code() string { return "T" + strconv.Itoa(int(t)) }

// Explains says whether a template is ever strong. T14 is as the site says.
func (t Template) Explains() bool {
	return t <= Duty || t == Approved || t == Local
}

// Mask is the templates that explain one access, a bit each. The zero Mask is an
// access that is not yet explained.
type Mask uint16

const (
	strongBit Mask = 1 << 14
	shadowBit Mask = 1 << 15
)

func bit(t Template) Mask { return 1 << (t - 1) }

// By is the Mask of one template.
func By(t Template, strength string) Mask {
	if strength == Strong {
		return bit(t) | strongBit
	}
	return bit(t)
}

// Strong reports whether the access is explained.
func (m Mask) Strong() bool { return m&strongBit != 0 }

// Weak reports whether there is something that could explain the access, but
// nothing that does.
func (m Mask) Weak() bool { return m&strongBit == 0 && m&^shadowBit != 0 }

// Has reports whether a template is among them.
func (m Mask) Has(t Template) bool { return m&bit(t) != 0 }

// Shadow reports whether a template that is not yet in force would explain the
// access, which nothing else explains.
func (m Mask) Shadow() bool { return m&(shadowBit|strongBit) == shadowBit }

// Strengths of explanations.
const (
	Strong = "strong"
	Weak   = "weak"
)

// Explanation is one reason that could be.
type Explanation struct {
	Template   string `json:"template"`    // T1 to T14, a site's own as T14:id
	Strength   string `json:"strength"`    // strong or weak; only strong ones explain
	Sentence   string `json:"sentence"`    // for reviewers
	ForPatient string `json:"for_patient"` // for the patient; names nobody
	Evidence   string `json:"evidence"`    // what to look up; "" where there is nothing but the rule
}

// Access is one look at one patient. What is not known may be left out.
type Access struct {
	Person, Patient string
	At              time.Time
	Device          string
	BreakGlass      bool
	Reason          string // that the person gave
	Wrote           bool   // this access itself changed the record
}

// Config says how explanations are made.
type Config struct {
	Location *time.Location // of days and of times in sentences; nil is UTC
	Site     []SiteTemplate
}

const (
	hour = int64(time.Hour / time.Microsecond)
	day  = 24 * hour

	chartedWithin  = day     // T1, before and after
	handoverWithin = 3 * day // T10, before and after
	earlierWithin  = 30 * day
	elsewhere      = hour / 4 // who was at another ward within this is not only at this one
	// T9: the share of a ward's looks that are explained by evidence, and how many
	// of them at least.
	departmentShare   = .05
	departmentSupport = 20
	// lately is how long after a line of care its ward or team still has work with it.
	// Somebody whom the line names has longer.
	lately = 7 * day
	// rotaGrace is added around a shift.
	rotaGrace = 2 * hour
)

// window is how long around a line of care it explains, in microseconds.
type window struct {
	template      Template
	before, after int64
}

const forever = int64(1) << 60

// kind is the kind of a line of care.
type kind uint8

const (
	inpatient kind = iota
	emergency
	outpatient
	referral
	order
	result
	theatre
	document
	team
	task
	kinds
)

func kindOf(s string) kind {
	for k, name := range [...]string{"inpatient", "emergency", "outpatient", "referral", "order", "result", "theatre", "document", "team", "task"} {
		if s == name {
			return kind(k)
		}
	}
	return kinds
}

// Windows of a line that names the person.
func byName(c *care) window {
	switch c.kind {
	case result, document:
		return window{Answer, day, 14 * day}
	case order:
		return window{Charted, day, day}
	case task:
		if c.open {
			return window{Approved, 0, 7 * day}
		}
		return window{Approved, 0, 0}
	case inpatient:
		return window{Named, 7 * day, 14 * day}
	case referral:
		return window{Named, day, 30 * day}
	default:
		return window{Named, 7 * day, 14 * day}
	}
}

// Windows of a line of a ward where the person works.
func byWard(k kind) window {
	switch k {
	case inpatient:
		return window{OnWard, day, lately}
	case emergency:
		return window{OnList, day, lately}
	default:
		return window{OnList, 2 * day, lately}
	}
}

// Windows of a line of the person's team.
func byTeam(k kind) window {
	switch k {
	case referral:
		return window{Referred, day, lately}
	case result, document:
		return window{Answer, day, lately}
	case order, task:
		return window{Duty, day, 3 * day}
	case team:
		return window{Named, day, lately}
	default:
		return window{OnList, 7 * day, lately}
	}
}
