package syslog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/matron-epr/matron/audit"
)

// DefaultMessage is what every collector of audit messages must take (PS3.15
// A.6); MinMessage is the least that any record can be shortened to.
const (
	DefaultMessage = 32768
	MinMessage     = 8192
)

// structuredID marks our structured data. 32473 is the number that RFC 5612
// keeps for examples: Matron has no enterprise number of its own.
const structuredID = "matron@32473"

// msgID is the MSGID of PS3.15 A.6.
const msgID = "DICOM+RFC3881"

// severities of facility 10 (PS3.15 A.6).
const (
	priNotice  = "<85>"
	priWarning = "<84>"
)

// ErrMessageSize says that the allowed size of a message is too small.
var ErrMessageSize = errors.New("message size")

// EncoderConfig says how messages introduce themselves.
type EncoderConfig struct {
	Hostname   string // of this machine; "" is not known
	ProcID     string // process id; "" is not known
	MaxMessage int    // octets of one message; default DefaultMessage
}

// Encoder makes framed syslog messages of records.
type Encoder struct {
	head string // between time stamp and structured data
	max  int
	msg  []byte // kept between calls
}

// NewEncoder makes an encoder.
func NewEncoder(cfg EncoderConfig) (*Encoder, error) {
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = DefaultMessage
	}
	if cfg.MaxMessage < MinMessage {
		return nil, fmt.Errorf("%w: %d octets: must be at least %d", ErrMessageSize, cfg.MaxMessage, MinMessage)
	}
	head := " " + printable(cfg.Hostname, 255) + " matron " + printable(cfg.ProcID, 128) + " " + msgID + " "
	return &Encoder{head: head, max: cfg.MaxMessage}, nil
}

// Append appends the record as one RFC 5425 frame: the length of the message in
// octets, a space, the message. A record whose message would be larger than
// allowed is sent with shortened fields; the message names them.
func (e *Encoder) Append(b []byte, r audit.Record) []byte {
	for _, to := range bounds() {
		short, names := shorten(r, to)
		e.msg = e.appendMessage(e.msg[:0], &short, names)
		if len(e.msg) <= e.max {
			break
		}
	}
	b = strconv.AppendInt(b, int64(len(e.msg)), 10)
	b = append(b, ' ')
	return append(b, e.msg...)
}

// appendMessage appends an RFC 5424 message. Its text is UTF-8 and so begins
// with a byte order mark (RFC 5424 section 6.4).
func (e *Encoder) appendMessage(b []byte, r *audit.Record, shortened []string) []byte {
	m := convert(r, shortened)
	pri := priNotice
	if warns(r, m.outcome) {
		pri = priWarning
	}
	b = append(b, pri...)
	b = append(b, "1 "...)
	if r.Time.IsZero() {
		b = append(b, '-')
	} else {
		b = append(b, stamp(r.Time)...)
	}
	b = append(b, e.head...)
	b = append(b, "["+structuredID...)
	b = parameter(b, "source", r.Source)
	b = parameter(b, "seq", strconv.FormatUint(r.Seq, 10))
	b = parameter(b, "kind", string(r.Kind))
	if len(shortened) > 0 {
		b = parameter(b, "shortened", strings.Join(shortened, " "))
	}
	b = append(b, "] \uFEFF"...)
	return m.appendXML(b)
}

// warns reports whether somebody should look at the message: something failed,
// was refused to a known person, or went round the rules. That nobody known is
// sent to sign in is everyday.
func warns(r *audit.Record, outcome string) bool {
	switch r.Kind {
	case audit.KindBreakGlassStart, audit.KindBypass, audit.KindIncident, audit.KindLimit, audit.KindCheckpointGap, audit.KindClock:
		return true
	case audit.KindDecision, audit.KindPatient:
		return refused(r) && r.UserSub != ""
	default:
		return outcome != string(audit.Success)
	}
}

// parameter appends an SD-PARAM (RFC 5424 section 6.3.3).
func parameter(b []byte, name, value string) []byte {
	b = append(append(b, ' '), name...)
	b = append(b, `="`...)
	for _, r := range value {
		switch {
		case r == '"' || r == '\\' || r == ']':
			b = append(b, '\\', byte(r))
		case r < 0x20:
			b = append(b, "\uFFFD"...)
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}

// printable is s as a header field: printable ASCII without spaces, at most
// limit octets, "-" for nothing.
func printable(s string, limit int) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len() == limit {
			break
		}
		if r > ' ' && r <= '~' {
			b.WriteRune(r)
		} else {
			b.WriteByte('_')
		}
	}
	return orElse(b.String(), "-")
}
