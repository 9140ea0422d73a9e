package detectors

const (
	// enoughPeers with enoughLooks are a group whose habits are known. In a smaller
	// role at least fewPeers must be there, none of whom does it, and the profession
	// or everybody decides.
	enoughPeers, enoughLooks, fewPeers = 15, 2000, 5
	// hardlyLooks and hardlyPeople: peers hardly ever do what fewer than one in so
	// many looks are, and no more than one in so many of them ever did.
	hardlyLooks, hardlyPeople = 1000, 20
	// mismatchFrom looks of a day are no slip.
	mismatchFrom = 3
)

// ofProfession stands before the name of a profession among the names of groups.
const ofProfession = "\x00profession "

// habit is what a group of people does with records.
type habit struct {
	people, looks int
	words         map[uint32]doing
}

// doing is one action on one part of a record.
type doing struct{ looks, people int }

// add takes in what one person does.
func (h *habit) add(t *tally) {
	h.people++
	for word, n := range t.words {
		d := h.words[word]
		h.words[word] = doing{d.looks + n, d.people + 1}
		h.looks += n
	}
}

// known says whether the habits of the others are known: of the group without the
// person whose tally it is, who is in it.
func (h *habit) known(t *tally) bool {
	return h.people > enoughPeers && h.looks-t.looks() >= enoughLooks
}

// hardly says whether the others hardly ever do what the person does.
func (h *habit) hardly(word uint32, t *tally) bool {
	others := doing{h.words[word].looks - t.words[word], h.words[word].people - 1}
	return hardlyLooks*others.looks < h.looks-t.looks() && hardlyPeople*others.people <= h.people-1
}

func (t *tally) looks() (n int) {
	for _, looks := range t.words {
		n += looks
	}
	return n
}

// unlike are the things that a person does and that their peers hardly ever do.
func (s *scanned) unlike(p *person, t *tally) map[uint32]bool {
	out := map[uint32]bool{}
	role := s.habits[p.role]
	if p.role == "" || role == nil || role.people <= fewPeers {
		return out
	}
	group := role
	if !group.known(t) && p.profession != "" {
		group = s.habits[ofProfession+p.profession]
	}
	if !group.known(t) {
		group = s.habits[everybody]
	}
	if !group.known(t) {
		return out
	}
	for word := range t.words {
		if group.hardly(word, t) && (group == role || role.words[word].people == 1) {
			out[word] = true
		}
	}
	return out
}

// mismatch counts on each day of a person the looks that are unlike their role,
// explained or not: what explains a look at a patient explains not what was done.
func (s *scanned) mismatch(who uint32, days []day, rows []uint32, t *tally) {
	words := s.unlike(&s.people[who], t)
	if len(words) == 0 {
		return
	}
	var unlike []uint32
	for _, row := range rows {
		if words[s.t.Word[row]] && s.t.Counts(int(row)) {
			unlike = append(unlike, row)
		}
	}
	for len(unlike) > 0 {
		_, to, date := s.bounds(s.t.At[unlike[0]])
		n := 1
		for n < len(unlike) && s.t.At[unlike[n]] < to {
			n++
		}
		for days[0].date < date {
			days = days[1:]
		}
		if d := &days[0]; n >= mismatchFrom {
			d.unlike = int32(n)
			d.rows = append(d.rows, unlike[:n]...)
		}
		unlike = unlike[n:]
	}
}
