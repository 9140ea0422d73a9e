package auditevent

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of what one element holds: a record may be garbled, but an event never
// is, and it stays of a size that receivers take.
const (
	maxText = 2048 // runes of a text
	maxCode = 256  // runes of a code or address
)

// text makes any string a FHIR string: UTF-8 without control characters or
// leading and trailing spaces, "" when nothing is left. What is too long is cut
// and says so.
func text(s string) string {
	return shorten(strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r' || r == ' ':
			return r
		case unicode.IsSpace(r), r == '\ufeff':
			return ' ' // FHIR has four kinds of space
		case unicode.IsControl(r), unicode.Is(unicode.Co, r), r == '\ufffe', r == '\uffff':
			return utf8.RuneError // not allowed in XML
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))), maxText)
}

// code makes any string a FHIR code or uri: no spaces at all.
func code(s string) string {
	return shorten(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return '_'
		}
		return r
	}, text(s)), maxCode)
}

func shorten(s string, limit int) string {
	if len(s) <= limit || utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}

// isID reports whether s may be the id of a FHIR resource.
func isID(s string) bool {
	return s != "" && len(s) <= 64 && only(s, func(c byte) bool { return isLetter(c) || isDigit(c) || c == '-' || c == '.' })
}

// isType reports whether s may be the name of a FHIR resource type.
func isType(s string) bool {
	return s != "" && len(s) <= 64 && 'A' <= s[0] && s[0] <= 'Z' && only(s, isLetter)
}

// only reports whether every byte of s is allowed.
func only(s string, allowed func(byte) bool) bool {
	for i := range len(s) {
		if !allowed(s[i]) {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

// instant writes a time as FHIR does, "" when FHIR cannot.
func instant(t time.Time) string {
	t = t.UTC()
	if t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return ""
	}
	return t.Format("2006-01-02T15:04:05.000000Z")
}

// facts gathers details and leaves out what is not known.
type facts []Detail

func (f *facts) add(key, value string) {
	if key, value = text(key), text(value); key != "" && value != "" {
		*f = append(*f, Detail{key, value})
	}
}

func (f *facts) number(key string, n uint64) {
	if n != 0 {
		f.add(key, strconv.FormatUint(n, 10))
	}
}

func (f *facts) list(key string, values []string) { f.add(key, strings.Join(values, " ")) }

// pairs adds details that the record holds as key=value.
func (f *facts) pairs(details []string) {
	for _, d := range details {
		key, value, ok := strings.Cut(d, "=")
		if !ok {
			key, value = "detail", d
		}
		f.add(key, value)
	}
}

// detail finds the value of a key among key=value pairs.
func detail(details []string, key string) string {
	for _, d := range details {
		if k, value, ok := strings.Cut(d, "="); ok && k == key {
			return value
		}
	}
	return ""
}
