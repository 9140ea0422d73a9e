package store

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/matron-epr/matron/policy/care"
)

// errCode says that bytes are no message.
var errCode = errors.New("no message of care")

// leastChange is how many bytes a change has that says nothing.
const leastChange = 3 + 1 + 6 + 2 + 4 + 1

// version is the first byte of each encoded message.
const version = 1

// entry is what a frame holds: a message, and when which source was heard of with
// it.
type entry struct {
	source   string
	received time.Time
	message  care.Message
}

// encode appends an entry. Numbers are varints, texts follow their length.
func encode(b []byte, e entry) []byte {
	m := e.message
	b = append(b, version)
	b = stamp(text(b, e.source), e.received)
	b = binary.AppendUvarint(b, uint64(len(m)))
	for i := range m {
		b = encodeChange(b, &m[i])
	}
	return b
}

func encodeChange(b []byte, c *care.Change) []byte {
	clinic := byte(0)
	if c.Clinic {
		clinic = 1
	}
	b = append(b, byte(c.Kind), byte(c.Class), clinic)
	b = binary.AppendUvarint(b, uint64(len(c.Patient)))
	for _, p := range c.Patient {
		b = identifier(b, p)
	}
	for _, s := range []string{c.Source, c.Control, c.Visit, c.Ward, c.Team, c.PriorVisit} {
		b = text(b, s)
	}
	b = identifier(b, c.Prior)
	for _, t := range []time.Time{c.At, c.Sent, c.Start, c.End} {
		b = stamp(b, t)
	}
	b = binary.AppendUvarint(b, uint64(len(c.People)))
	for _, p := range c.People {
		referring := byte(0)
		if p.Referring {
			referring = 1
		}
		b = identifier(append(b, referring), p.ID)
	}
	if c.Kind == care.Flag {
		b = append(b, byte(c.Flags), byte(c.Said))
	}
	return b
}

func text(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func identifier(b []byte, id care.ID) []byte { return text(text(b, id.Authority), id.Value) }

// stamp writes milliseconds, 0 for no time.
func stamp(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendUvarint(b, 0)
	}
	return binary.AppendUvarint(b, uint64(max(t.UnixMilli(), 1)))
}

// decoder reads what encode wrote. After an error every value is zero.
type decoder struct {
	b   []byte
	err error
}

// decode reads one entry.
func decode(b []byte) (entry, error) {
	d := &decoder{b: b}
	if d.byte() != version {
		return entry{}, errCode
	}
	e := entry{source: d.text(), received: d.time()}
	m := make(care.Message, d.count(leastChange))
	for i := range m {
		d.change(&m[i])
	}
	if d.err == nil && len(d.b) > 0 {
		d.err = errCode
	}
	if d.err == nil {
		d.err = m.Check()
	}
	if d.err != nil {
		return entry{}, d.err
	}
	e.message = m
	return e, nil
}

func (d *decoder) change(c *care.Change) {
	c.Kind, c.Class, c.Clinic = care.Kind(d.byte()), care.Class(d.byte()), d.byte() == 1
	c.Patient = make([]care.ID, d.count(2))
	for i := range c.Patient {
		c.Patient[i] = d.identifier()
	}
	for _, s := range []*string{&c.Source, &c.Control, &c.Visit, &c.Ward, &c.Team, &c.PriorVisit} {
		*s = d.text()
	}
	c.Prior = d.identifier()
	for _, t := range []*time.Time{&c.At, &c.Sent, &c.Start, &c.End} {
		*t = d.time()
	}
	if n := d.count(3); n > 0 {
		c.People = make([]care.Clinician, n)
	}
	for i := range c.People {
		c.People[i] = care.Clinician{Referring: d.byte() == 1, ID: d.identifier()}
	}
	if c.Kind == care.Flag {
		c.Flags, c.Said = care.Flags(d.byte()), care.Flags(d.byte())
	}
}

func (d *decoder) fail() { d.b, d.err = nil, errCode }

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads how many things follow, of which each has least bytes at least.
func (d *decoder) count(least uint64) int {
	n := d.number()
	if n > uint64(len(d.b))/least {
		d.fail()
		return 0
	}
	return int(n) //nolint:gosec // no more than there are bytes
}

func (d *decoder) text() string {
	n := d.count(1)
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) identifier() care.ID { return care.ID{Authority: d.text(), Value: d.text()} }

func (d *decoder) time() time.Time {
	n := d.number()
	if n == 0 || n > 1<<53 {
		return time.Time{}
	}
	return time.UnixMilli(int64(n))
}
