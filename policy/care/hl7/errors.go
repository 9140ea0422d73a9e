package hl7

import "strconv"

// The codes of HL7 table 0357 that a reader and its callers answer with.
const (
	SegmentSequence    = 100
	FieldMissing       = 101
	DataType           = 102
	TableValue         = 103
	UnsupportedType    = 200
	UnsupportedVersion = 203
	UnknownKey         = 204
	Internal           = 207
)

// Error says what is wrong with a message and where. It holds no value of the
// message.
type Error struct {
	Code      int    // of table 0357
	Segment   string // "PID"; "" for the message as a whole
	Sequence  int    // which segment of that name, from 1; 0 where there is one
	Field     int    // from 1; 0 for the whole segment
	Component int    // from 1; 0 for the whole field
	What      string
}

// Error names the place as segment-field-component: "PID-3-1: is missing".
func (e *Error) Error() string {
	if e.Segment == "" {
		return "message: " + e.What
	}
	return e.place() + ": " + e.What
}

func (e *Error) place() string {
	s := e.Segment
	if e.Sequence > 1 {
		s += "[" + strconv.Itoa(e.Sequence) + "]"
	}
	for _, n := range []int{e.Field, e.Component} {
		if n == 0 {
			break
		}
		s += "-" + strconv.Itoa(n)
	}
	return s
}
