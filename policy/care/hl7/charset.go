package hl7

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// decode turns the bytes of a message into UTF-8, by the character set that
// MSH-18 names. Many senders name none, or ASCII, and send ISO 8859-1 or UTF-8
// all the same: such bytes are read as what they can be. ISO 8859-15 is read as
// 8859-1, from which it differs in eight signs that no identifier holds.
func decode(raw []byte, charset string) (string, error) {
	if bytes.IndexByte(raw, 0) >= 0 {
		return "", &Error{Code: DataType, What: "holds a zero byte"}
	}
	first, _, _ := strings.Cut(charset, "~")
	switch strings.ToUpper(strings.TrimSpace(first)) {
	case "", "ASCII", "UNICODE":
		if utf8.Valid(raw) {
			return string(raw), nil
		}
		return latin1(raw), nil
	case "UNICODE UTF-8", "UTF-8":
		if !utf8.Valid(raw) {
			return "", &Error{Code: DataType, What: "is not in UTF-8 as it says"}
		}
		return string(raw), nil
	case "8859/1", "8859/15":
		return latin1(raw), nil
	}
	return "", &Error{Code: TableValue, Segment: "MSH", Field: 18, What: "names a character set that is not supported"}
}

func latin1(raw []byte) string {
	var b strings.Builder
	b.Grow(len(raw))
	for _, c := range raw {
		b.WriteRune(rune(c))
	}
	return b.String()
}
