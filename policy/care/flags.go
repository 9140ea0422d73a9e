package care

import "time"

// Flags are what a source says about a patient beyond their visits.
type Flags uint8

// The flags.
const (
	VIP       Flags = 1 << iota // PV1-16: somebody whom many know
	Protected                   // PD1-12: where they are is to be kept from others
	Deceased                    // PID-30
	allFlags  Flags = 1<<iota - 1
)

// mark is one flag of a patient and since when that is known. The newest message
// is right.
type mark struct {
	at uint32 // seconds; 0 means that nobody has said anything
	on bool
}

// marks are the flags of one number of a patient, in the order of their bits.
type marks [3]mark

// mark takes in what a change says of flags. Of two that say otherwise at the same
// time the one that sets a flag is right, whichever came first.
func (r *Register) mark(p uint32, c *Change) {
	at := seconds(c.At)
	for i := range r.patients[p].marks {
		bit := Flags(1) << i
		m, on := &r.patients[p].marks[i], c.Flags&bit != 0
		if c.Said&bit != 0 && (at > m.at || at == m.at && on) {
			*m = mark{at, on}
		}
	}
}

// Flags returns the flags of a patient: those that hold under any of their numbers.
// It reports false for a number that was never heard of.
func (r *Register) Flags(patient ID) (Flags, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	p, ok := r.named(patient)
	if !ok {
		return 0, false
	}
	return r.flags(r.survivor(p)), true
}

// flags collects those of a patient and of those merged into them.
func (r *Register) flags(p uint32) Flags {
	var f Flags
	for i, m := range r.patients[p].marks {
		if m.on {
			f |= Flags(1) << i
		}
	}
	for _, other := range r.merged[p] {
		f |= r.flags(other)
	}
	return f
}

// marked yields what is known of the flags of patients, what is known since the same
// time in one.
func (d *dump) marked(yield func(Message) bool) bool {
	for p := range d.r.patients {
		known := d.r.patients[p].marks
		for i := range known {
			c := Change{
				Kind: Flag, Patient: []ID{d.self(uint32(p))}, Source: dumped, Control: dumped,
				At: time.Unix(int64(known[i].at), 0),
			}
			for j, m := range known {
				if bit := Flags(1) << j; m.at == known[i].at {
					c.Said |= bit
					if m.on {
						c.Flags |= bit
					}
				}
			}
			first := c.Said&-c.Said == Flags(1)<<i
			if known[i].at != 0 && first && !yield(Message{c}) {
				return false
			}
		}
	}
	return true
}
