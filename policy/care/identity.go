package care

import (
	"slices"
	"strings"
	"time"
)

// key is an ID whose authority is a number.
type key struct {
	authority uint32
	value     string
}

// alias says whose an identifier is, and since when that is known: the newest
// message about an NHS number is right.
type alias struct {
	patient uint32
	at      uint32 // seconds
}

// link says that a patient is another one, since a merge.
type link struct {
	into uint32
	at   int64 // milliseconds
}

// place is a visit of a patient.
type place struct {
	patient uint32
	visit   string
}

// identify returns the patient that identifiers name, made if it is new, and
// learns the identifiers that were not known. Numbers of the hospital are never
// joined because they come with the same NHS number: only a merge joins them.
func (r *Register) identify(ids []ID, at time.Time) uint32 {
	keys := make([]key, len(ids))
	for i, id := range ids {
		keys[i] = key{r.names.intern(id.Authority), id.Value}
	}
	p, ok := r.known(keys)
	if !ok {
		p = uint32(len(r.patients)) //nolint:gosec // fewer than 4 billion patients
		r.patients = append(r.patients, patient{id: r.primary(keys)})
	} else if r.patients[p].id.authority == r.nhs {
		if first := r.primary(keys); first.authority != r.nhs {
			r.patients[p].id = first // a number of the hospital's own is found at last
		}
	}
	for _, k := range keys {
		r.claim(k, p, uint32(at.Unix())) //nolint:gosec // Check bounds it
	}
	return p
}

// primary is the identifier that a patient is called by: the first number of the
// hospital's own, otherwise the NHS number.
func (r *Register) primary(keys []key) key {
	k := keys[0]
	if i := slices.IndexFunc(keys, func(k key) bool { return k.authority != r.nhs }); i >= 0 {
		k = keys[i]
	}
	k.value = strings.Clone(k.value) // it may be part of a whole message
	return k
}

// known finds the patient whom identifiers name.
func (r *Register) known(keys []key) (uint32, bool) {
	local := false
	for _, k := range keys {
		if k.authority == r.nhs {
			continue
		}
		local = true
		if a, ok := r.ids[k]; ok {
			return a.patient, true
		}
	}
	for _, k := range keys {
		if a, ok := r.ids[k]; ok && (!local || r.nameless(a.patient)) {
			return a.patient, true
		}
	}
	return 0, false
}

// nameless reports whether a patient has an NHS number only, and nobody else has it.
func (r *Register) nameless(p uint32) bool {
	_, merged := r.links[p]
	return !merged && r.patients[p].id.authority == r.nhs
}

// claim enters an identifier of a patient. An NHS number that was another's goes
// to whom the newest message gives it, with what was heard of the number alone; a
// number of the hospital stays.
func (r *Register) claim(k key, p, at uint32) {
	a, ok := r.ids[k]
	switch {
	case !ok:
		if k != r.patients[p].id {
			k.value = strings.Clone(k.value)
		} else {
			k = r.patients[p].id
		}
		r.ids[k] = alias{p, at}
	case a.patient == p:
		r.ids[k] = alias{p, max(a.at, at)}
	case k.authority == r.nhs && r.patients[a.patient].id == k:
		r.merge(p, a.patient, time.Unix(int64(at), 0))
	case k.authority == r.nhs && at >= a.at:
		r.ids[k] = alias{p, at}
	case k.authority == r.nhs: // a newer message gives it to somebody else
	default:
		r.conflicts++
	}
}

// merge makes prior another number of survivor. Both keep their events, so that
// a newer merge can put prior elsewhere.
func (r *Register) merge(survivor, prior uint32, at time.Time) {
	for p := survivor; ; p = r.links[p].into {
		if p == prior {
			return // they are one already
		}
		if _, ok := r.links[p]; !ok {
			break
		}
	}
	old, merged := r.links[prior]
	if merged && old.at > at.UnixMilli() {
		return
	}
	if merged {
		r.merged[old.into] = slices.DeleteFunc(r.merged[old.into], func(p uint32) bool { return p == prior })
	}
	r.links[prior] = link{survivor, at.UnixMilli()}
	r.merged[survivor] = append(r.merged[survivor], prior)
}

// survivor is the patient whom p was merged into, p itself if it was not.
func (r *Register) survivor(p uint32) uint32 {
	for {
		l, ok := r.links[p]
		if !ok {
			return p
		}
		p = l.into
	}
}

// move makes a visit one of another patient, or gives it another number, for
// what is known of it and for what is still to come.
func (r *Register) move(from, to place) {
	if from == to {
		return
	}
	from.visit, to.visit = strings.Clone(from.visit), strings.Clone(to.visit)
	delete(r.moves, to)
	r.moves[from] = to
	var taken []event
	p := &r.patients[from.patient]
	p.events = slices.DeleteFunc(p.events, func(e event) bool {
		if string(r.texts.bytes(e.visit)) != from.visit {
			return false
		}
		taken = append(taken, e)
		return true
	})
	for _, e := range taken {
		e.visit = r.visit(to)
		r.insert(to.patient, e)
	}
}

// moved follows a visit to where it has been moved.
func (r *Register) moved(v place) place {
	for range len(r.moves) {
		to, ok := r.moves[v]
		if !ok {
			break
		}
		v = to
	}
	return v
}

// Resolve returns the identifier of the patient whom id names: the survivor's,
// where numbers were merged. It reports false for a number that was never heard
// of.
func (r *Register) Resolve(id ID) (ID, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	p, ok := r.named(id)
	if !ok {
		return ID{}, false
	}
	k := r.patients[r.survivor(p)].id
	return ID{r.names.text[k.authority], k.value}, true
}

// named returns the patient of whom id is a number. An authority that was never
// heard of is not the same as none.
func (r *Register) named(id ID) (uint32, bool) {
	authority, ok := r.names.number[id.Authority]
	if !ok {
		return 0, false
	}
	a, ok := r.ids[key{authority, id.Value}]
	return a.patient, ok
}

// ValidNHS reports whether s is an NHS number by its check digit.
func ValidNHS(s string) bool {
	if len(s) != 10 {
		return false
	}
	sum := 0
	for i, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
		if i < 9 {
			sum += int(c-'0') * (10 - i)
		}
	}
	return (11-sum%11)%11 == int(s[9]-'0')
}
