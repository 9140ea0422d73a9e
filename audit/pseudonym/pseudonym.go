// Package pseudonym makes keyed hashes of what names a person, so that values
// can be compared without being kept.
//
// It never keeps a value and never logs one. It does no I/O. A Hasher is safe
// for concurrent use.
package pseudonym

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"unicode"
)

// Hash is the keyed hash of something that names a person; "" is not known. Two
// that are not known are never the same.
type Hash string

// Same is the only way in which hashes are compared.
func (h Hash) Same(other Hash) bool { return h != "" && h == other }

// ErrKey says that the key is too short to keep names from being guessed.
var ErrKey = errors.New("the key must have at least 32 bytes")

// Hasher makes keyed hashes (HMAC-SHA-256) of normalised values.
type Hasher struct{ key []byte }

// New makes a Hasher.
func New(key []byte) (Hasher, error) {
	if len(key) < 32 {
		return Hasher{}, ErrKey
	}
	return Hasher{key: append([]byte(nil), key...)}, nil
}

// Of hashes a value of some kind. Kinds are kept apart, so that a surname never
// equals a street.
func (h Hasher) Of(kind, value string) Hash { return h.hash(kind, Normal(value)) }

func (h Hasher) hash(kind, normal string) Hash {
	if normal == "" {
		return ""
	}
	mac := hmac.New(sha256.New, h.key)
	mac.Write([]byte(kind + "\x00" + normal))
	return Hash(hex.EncodeToString(mac.Sum(nil)))
}

// Family hashes a surname.
func (h Hasher) Family(name string) Hash { return h.Of("family", name) }

// NHS hashes an NHS number.
func (h Hasher) NHS(number string) Hash { return h.Of("nhs", number) }

// Unit hashes the unit of a postcode.
func (h Hasher) Unit(postcode string) Hash { return h.Of("unit", postcode) }

// Sector hashes the sector of a postcode: the unit without its last two letters,
// ZZ99 1 of ZZ99 1AA.
func (h Hasher) Sector(postcode string) Hash {
	unit := Normal(postcode)
	if len(unit) < 5 {
		return ""
	}
	return h.hash("sector", unit[:len(unit)-2])
}

// Phone hashes a telephone number; +44, 0044 and 0 before it are the same.
func (h Hasher) Phone(number string) Hash {
	digits := strings.TrimPrefix(Normal(number), "00")
	return h.hash("phone", strings.TrimPrefix(strings.TrimPrefix(digits, "44"), "0"))
}

// Address needs both parts: a street without a postcode is in many towns.
func (h Hasher) Address(line, postcode string) Hash {
	if Normal(line) == "" || Normal(postcode) == "" {
		return ""
	}
	return h.hash("address", Normal(line)+"\x00"+Normal(postcode))
}

// Normal takes case, accents, spaces and punctuation away.
func Normal(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range strings.ToLower(s) {
		if r <= unicode.MaxASCII {
			if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
				b.WriteRune(r)
			}
		} else if plain, ok := unaccented(r); ok {
			b.WriteString(plain)
		} else if unicode.IsLetter(r) || unicode.IsDigit(r) {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unaccented spells an accented Latin letter without its accent.
func unaccented(r rune) (string, bool) {
	for _, group := range [][2]string{
		{"a", "àáâãäåāăą"},
		{"c", "çćĉċč"},
		{"d", "ďđð"},
		{"e", "èéêëēĕėęě"},
		{"g", "ĝğġģ"},
		{"h", "ĥħ"},
		{"i", "ìíîïĩīĭįı"},
		{"j", "ĵ"},
		{"k", "ķ"},
		{"l", "ĺļľŀł"},
		{"n", "ñńņňŋ"},
		{"o", "òóôõöøōŏő"},
		{"r", "ŕŗř"},
		{"s", "śŝşšș"},
		{"t", "ţťŧț"},
		{"u", "ùúûüũūŭůűų"},
		{"w", "ŵ"},
		{"y", "ýÿŷ"},
		{"z", "źżž"},
		{"ae", "æ"},
		{"oe", "œ"},
		{"ss", "ß"},
		{"th", "þ"},
	} {
		if strings.ContainsRune(group[1], r) {
			return group[0], true
		}
	}
	return "", false
}
