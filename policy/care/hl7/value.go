package hl7

import (
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"
)

// Value is a field or a part of one, as it was sent.
type Value struct {
	raw string
	d   *delimiters
}

// Repetitions returns the repetitions of a field that hold anything.
func (v Value) Repetitions() []Value {
	var out []Value
	for raw := range strings.SplitSeq(v.raw, v.separator(func(d *delimiters) byte { return d.repetition })) {
		if raw != "" {
			out = append(out, Value{raw, v.d})
		}
	}
	return out
}

// Component returns component n, from 1, of the first repetition.
func (v Value) Component(n int) Value {
	first, _, _ := strings.Cut(v.raw, v.separator(func(d *delimiters) byte { return d.repetition }))
	return Value{part(first, v.separator(func(d *delimiters) byte { return d.component }), n), v.d}
}

// Sub returns sub-component n, from 1, of the first component.
func (v Value) Sub(n int) Value {
	c := v.Component(1)
	return Value{part(c.raw, v.separator(func(d *delimiters) byte { return d.sub }), n), v.d}
}

// separator returns one that cannot occur in v where v has none.
func (v Value) separator(which func(*delimiters) byte) string {
	if v.d == nil || which(v.d) == 0 {
		return "\r"
	}
	return string(which(v.d))
}

// part returns the n-th of the parts of s, from 1.
func part(s, separator string, n int) string {
	for ; n > 1; n-- {
		_, rest, ok := strings.Cut(s, separator)
		if !ok {
			return ""
		}
		s = rest
	}
	s, _, _ = strings.Cut(s, separator)
	return s
}

// Empty reports whether nothing was sent. A null (two quotation marks) is sent.
func (v Value) Empty() bool { return v.raw == "" }

// Null reports whether the sender asks to delete the value.
func (v Value) Null() bool { return v.raw == `""` }

// Text is the first sub-component of the first component, escapes resolved and
// spaces trimmed; "" for a null. It is what codes and identifiers are read with.
func (v Value) Text() string {
	if v.Null() {
		return ""
	}
	return strings.TrimSpace(v.Sub(1).String())
}

// String is the whole value with escapes resolved.
func (v Value) String() string {
	if v.d == nil || v.d.escape == 0 || !strings.Contains(v.raw, string(v.d.escape)) {
		return v.raw
	}
	var b strings.Builder
	rest := v.raw
	for {
		before, after, ok := strings.Cut(rest, string(v.d.escape))
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		code, next, closed := strings.Cut(after, string(v.d.escape))
		text, known := v.d.unescape(code)
		if !closed || !known { // no escape after all: it is kept as it was sent
			b.WriteByte(v.d.escape)
			rest = after
			continue
		}
		b.WriteString(text)
		rest = next
	}
}

// unescape returns what an escape sequence stands for.
func (d *delimiters) unescape(code string) (string, bool) {
	switch code {
	case "F":
		return string(d.field), true
	case "S":
		return string(d.component), true
	case "T":
		return string(d.sub), true
	case "R":
		return string(d.repetition), true
	case "E":
		return string(d.escape), true
	case "H", "N": // highlighting on and off
		return "", true
	case ".br":
		return "\n", true
	}
	digits, ok := strings.CutPrefix(code, "X")
	if !ok || digits == "" {
		return "", false
	}
	data, err := hex.DecodeString(digits)
	if err != nil {
		return "", false
	}
	if !utf8.Valid(data) {
		return latin1(data), true
	}
	return string(data), true
}

// errTime is what a caller that knows the place wraps.
var errTime = &Error{Code: DataType, What: "is no time"}

// Time reads a DTM or TS value. Without an offset it is a time of the place
// where the sender stands. In the hour that a clock change repeats, a time
// without offset is ambiguous.
func (v Value) Time(where *time.Location) (time.Time, error) {
	s := v.Text()
	if i := strings.LastIndexAny(s, "+-"); i >= 0 {
		zone, err := time.Parse("-0700", s[i:])
		if err != nil {
			return time.Time{}, errTime
		}
		s, where = s[:i], zone.Location()
	}
	digits, fraction, _ := strings.Cut(s, ".")
	const layout = "20060102150405"
	if len(digits) < 4 || len(digits) > len(layout) || len(digits)%2 != 0 || len(fraction) > 9 {
		return time.Time{}, errTime
	}
	if fraction == "" {
		return parsed(time.ParseInLocation(layout[:len(digits)], digits, where))
	}
	return parsed(time.ParseInLocation(layout+"."+strings.Repeat("0", len(fraction)), digits+"."+fraction, where))
}

func parsed(t time.Time, err error) (time.Time, error) {
	if err != nil {
		return time.Time{}, errTime
	}
	return t, nil
}
