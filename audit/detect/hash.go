package detect

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

// same is the only way in which hashes are compared.
func (h Hash) same(other Hash) bool { return h != "" && h == other }

// ErrKey says that the key is too short to keep names from being guessed.
var ErrKey = errors.New("the key must have at least 32 bytes")

// Hasher makes keyed hashes (HMAC-SHA-256) of normalised values.
type Hasher struct{ key []byte }

// NewHasher makes a Hasher.
func NewHasher(key []byte) (Hasher, error) {
	if len(key) < 32 {
		return Hasher{}, ErrKey
	}
	return Hasher{key: append([]byte(nil), key...)}, nil
}

// hash keeps kinds of values apart, so that a surname never equals a street.
func (h Hasher) hash(kind, normal string) Hash {
	if normal == "" {
		return ""
	}
	mac := hmac.New(sha256.New, h.key)
	mac.Write([]byte(kind + "\x00" + normal))
	return Hash(hex.EncodeToString(mac.Sum(nil)))
}

func (h Hasher) family(name string) Hash { return h.hash("family", normal(name)) }

func (h Hasher) nhs(number string) Hash { return h.hash("nhs", normal(number)) }

func (h Hasher) unit(postcode string) Hash { return h.hash("unit", normal(postcode)) }

// address needs both parts: a street without a postcode is in many towns.
func (h Hasher) address(line, postcode string) Hash {
	if normal(line) == "" || normal(postcode) == "" {
		return ""
	}
	return h.hash("address", normal(line)+"\x00"+normal(postcode))
}

// Find returns the application's number of the patient with an NHS number, ""
// when the list holds nobody with it. Numbers that were merged away lead to the
// one in use.
func (h Hasher) Find(patients []Patient, nhsNumber string) string {
	wanted, found := h.nhs(nhsNumber), ""
	for _, p := range patients {
		switch {
		case !p.NHS.same(wanted):
		case p.MergedInto == "":
			return p.ID
		default:
			found = p.MergedInto
		}
	}
	return found
}

// normal takes case, accents, spaces and punctuation away.
func normal(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if plain, ok := unaccented(r); ok {
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
