package hl7

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Answer is what an acknowledgement says.
type Answer byte

// The answers. The zero value asks the sender to try again.
const (
	TryAgain Answer = iota // AE: nothing is wrong with the message, try later
	Reject                 // AR: it will never be taken
	Accept                 // AA: it is on disk
)

// Header is what an acknowledgement needs of the message it answers.
type Header struct {
	d                                 delimiters
	Application, Facility             string // MSH-3, MSH-4: their first component
	receiver, receiverFacility        string // MSH-5, MSH-6
	kind                              string // MSH-9
	Control                           string // MSH-10
	processing, version               string // MSH-11, MSH-12
	acceptAck, applicationAck, locale string // MSH-15, MSH-16, MSH-18
}

// HeaderOf reads as much of the header as there is, of a message that cannot be
// parsed as well.
func HeaderOf(raw []byte) Header {
	d, s, err := declared(raw)
	if err != nil {
		return Header{d: delimiters{'|', '^', '~', '\\', '&'}}
	}
	f := func(n int) string { return strings.Clone(clean(s.at(n))) }
	name := func(n int) string { return strings.Clone(clean(s.Field(n).Text())) }
	return Header{
		d: *d, Application: name(3), Facility: name(4), receiver: f(5), receiverFacility: f(6), kind: f(9),
		Control: f(10), processing: f(11), version: f(12), acceptAck: f(15), applicationAck: f(16), locale: f(18),
	}
}

// clean leaves what may stand in an acknowledgement: printable ASCII, no more of
// it than a field of a header holds. So what is echoed cannot break the frame.
func clean(s string) string {
	s = s[:min(len(s), 199)]
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
}

// Acknowledge builds the acknowledgement of a message at time now, with the
// sender's own separators. It is nil where the sender wants none: MSH-15 and
// MSH-16 ask for commit and application acknowledgements (enhanced mode); where
// both are empty, every message is answered (original mode).
func (h Header) Acknowledge(a Answer, problem error, now time.Time) []byte {
	code := h.code(a)
	if code == "" {
		return nil
	}
	event := "ACK"
	if _, trigger, ok := strings.Cut(h.kind, string(h.d.component)); ok {
		trigger, _, _ = strings.Cut(trigger, string(h.d.component))
		event += string(h.d.component) + trigger
	}
	version := h.version
	if version == "" {
		version = "2.4"
	}
	processing := h.processing
	if processing == "" {
		processing = "P"
	}
	stamp := now.UTC().Format("20060102150405+0000")
	var b bytes.Buffer
	h.line(&b, "MSH", string([]byte{h.d.component, h.d.repetition, h.d.escape, h.d.sub}), h.receiver, h.receiverFacility,
		h.Application, h.Facility, stamp, "", event, "A"+strconv.FormatInt(now.UnixNano(), 36), processing, version)
	h.line(&b, "MSA", code, h.Control)
	if a != Accept {
		h.line(&b, h.complaint(problem)...)
	}
	return b.Bytes()
}

// code returns MSA-1, "" for no answer.
func (h Header) code(a Answer) string {
	letter := map[Answer]string{TryAgain: "E", Reject: "R", Accept: "A"}[a]
	switch {
	case h.acceptAck == "" && h.applicationAck == "":
		return "A" + letter
	case asked(h.acceptAck, a):
		return "C" + letter
	case asked(h.applicationAck, a):
		return "A" + letter
	}
	return ""
}

// asked reports whether a value of table 0155 asks for this answer.
func asked(condition string, a Answer) bool {
	switch condition {
	case "AL":
		return true
	case "ER":
		return a != Accept
	case "SU":
		return a == Accept
	}
	return false
}

// complaint builds the ERR segment of v2.5, whose first field the earlier
// versions read. It names the place, never a value.
func (h Header) complaint(problem error) []string {
	e := &Error{Code: Internal, What: "cannot be taken now"}
	errors.As(problem, &e)
	c := string(h.d.component)
	where := ""
	if e.Segment != "" {
		where = e.Segment + c + strconv.Itoa(max(e.Sequence, 1))
		for _, n := range []int{e.Field, e.Component} {
			if n == 0 {
				break
			}
			where += c + strconv.Itoa(n)
		}
	}
	return []string{"ERR", "", where, strconv.Itoa(e.Code), "E", "", "", "", e.Error()}
}

func (h Header) line(b *bytes.Buffer, fields ...string) {
	b.WriteString(strings.TrimRight(strings.Join(fields, string(h.d.field)), string(h.d.field)))
	b.WriteByte('\r')
}
