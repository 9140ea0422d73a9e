package learn

import (
	"hash/maphash"
	"strings"
)

// shape is what values at one place look like, without any of them.
type shape struct {
	requests uint64 // that have the parameter
	values   uint64
	distinct map[uint64]bool
	nhs      uint64 // ten digits with a valid check digit
}

func newShape() *shape { return &shape{distinct: map[uint64]bool{}} }

func (s *shape) add(value string, seed maphash.Seed) {
	s.values++
	if len(s.distinct) < maxDistinct {
		s.distinct[maphash.String(seed, value)] = true
	}
	if isNHSNumber(value) {
		s.nhs++
	}
}

// likeNHS reports whether most values are NHS numbers by their form: one in
// eleven of other numbers with ten digits is.
func (s *shape) likeNHS() bool { return s.nhs*2 > s.values }

// isNHSNumber reports whether a text is ten digits of which the last checks the
// others (modulus 11), in whatever groups they are written.
func isNHSNumber(text string) bool {
	if len(text) < 10 || len(text) > 16 {
		return false
	}
	digits := strings.NewReplacer(" ", "", "-", "").Replace(text)
	if len(digits) != 10 || !only(digits, "0123456789") {
		return false
	}
	sum := 0
	for i := range 9 {
		sum += int(digits[i]-'0') * (10 - i)
	}
	return (11-sum%11)%11 == int(digits[9]-'0')
}

// classOf is the narrowest class of a map's segments that a value is in, "" when
// it is in none.
func classOf(text string) string {
	switch {
	case only(text, "0123456789"):
		return "number"
	case len(text) == 36 && strings.Count(text, "-") == 4 && only(text, "0123456789abcdefABCDEF-"):
		return "hex"
	case strings.Count(text, ".") >= 3 && len(text) <= 64 && only(text, "0123456789."):
		return "uid"
	}
	return ""
}

func only(text, allowed string) bool { return text != "" && strings.Trim(text, allowed) == "" }
