package explain

import "strings"

// rarely is the share of a role's looks below which a part of the record is none
// that the role has work in.
const rarely = .001

// personal are the templates that name the person or what they did. The other
// strong ones say that somebody of the ward or team has a part in the care: a
// reason to open the record, but not a part of it that their role does not open.
const personal = Mask(1)<<(Charted-1) | 1<<(Named-1) | 1<<(Approved-1)

// rareParts makes weak what place or team alone explain, where a part of the record
// was opened that the role has no work in.
func (b *batch) rareParts() {
	parts, n := b.parts()
	roles, of := b.roles()
	looks, all := make([]int, of*n), make([]int, of)
	each := func(do func(row, role, part int)) {
		for row, word := range b.t.Word {
			if part := parts[word]; part != 0 && b.t.Counts(row) {
				do(row, roles[b.t.Person[row]], part)
			}
		}
	}
	for row := range b.t.Len() {
		if b.t.Counts(row) {
			all[roles[b.t.Person[row]]]++
		}
	}
	each(func(_, role, part int) { looks[role*n+part]++ })
	each(func(row, role, part int) {
		if b.masks[row]&personal == 0 && float64(1+looks[role*n+part]) < rarely*float64(1+all[role]) {
			b.masks[row] &^= strongBit
		}
	})
}

// parts numbers the part of the record that each word of the table is about, 0 for
// none.
func (b *batch) parts() (of []int, n int) {
	numbers := map[string]int{"": 0}
	of = make([]int, b.t.Words.Len())
	for i := range of {
		_, part, _ := strings.Cut(b.t.Words.Text(uint32(i)), " ")
		if _, ok := numbers[part]; !ok {
			numbers[part] = len(numbers)
		}
		of[i] = numbers[part]
	}
	return of, len(numbers)
}

// roles numbers the role of each person of the table: of the staff list, else the
// one in which they were seen.
func (b *batch) roles() (of []int, n int) {
	numbers := map[string]int{}
	of = make([]int, len(b.person))
	for who, person := range b.person {
		role := b.t.Role(uint32(who))
		if int(person) < len(b.posts) {
			for _, one := range b.posts[person] {
				if one.role != 0 {
					role = b.words.Text(one.role)
				}
			}
		}
		if _, ok := numbers[role]; !ok {
			numbers[role] = len(numbers)
		}
		of[who] = numbers[role]
	}
	return of, len(numbers)
}
