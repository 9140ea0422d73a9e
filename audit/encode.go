package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// ErrEncoding is what UnmarshalCanonical's error wraps when bytes are not the
// canonical encoding of a record.
var ErrEncoding = errors.New("not a canonical audit record")

// version1 is the first byte of every record. Its bytes never change: a field
// that comes later makes a version 2, which is used only for records that hold
// that field, so that every record keeps exactly one encoding.
const version1 = 1

// AppendCanonical appends the canonical encoding of r to b: the version, then
// tag, length and value of each field that is not empty, by ascending tag.
// Equal records have equal bytes, and times are cut to whole microseconds.
func (r *Record) AppendCanonical(b []byte) []byte {
	c := codec{out: append(b, version1)}
	r.walk(&c)
	return c.out
}

// MarshalCanonical returns the canonical encoding of r.
func (r *Record) MarshalCanonical() []byte {
	return r.AppendCanonical(nil)
}

// UnmarshalCanonical is the inverse of MarshalCanonical. It accepts nothing
// that MarshalCanonical would not write; the error says what is wrong and where.
func UnmarshalCanonical(b []byte) (Record, error) {
	if len(b) == 0 || b[0] != version1 {
		return Record{}, fmt.Errorf("%w: offset 0: version is not %d", ErrEncoding, version1)
	}
	var r Record
	c := codec{decoding: true, in: string(b), off: 1}
	r.walk(&c)
	if c.err == nil && c.off < len(c.in) {
		c.fail(c.off, c.in[c.off], "unknown, repeated or out of order")
	}
	if c.err != nil {
		return Record{}, c.err
	}
	return r, nil
}

// walk visits every field of version 1 in ascending tag order. It is the only
// list of the fields: encoding and decoding both follow it.
func (r *Record) walk(c *codec) {
	c.string(1, &r.Site)
	c.string(2, &r.Source)
	c.uint(3, &r.Seq)
	c.time(4, &r.Time)
	c.bytes16(5, &r.Nonce)
	c.string(6, (*string)(&r.Kind))
	c.string(7, &r.Request)
	c.uint(8, &r.Decision)
	r.walkExchange(c)
	r.walkUser(c)
	r.walkAnswer(c)
}

func (r *Record) walkExchange(c *codec) {
	c.string(9, &r.App)
	c.string(10, &r.Method)
	c.string(11, &r.Target)
	c.string(12, &r.Query)
	c.string(13, &r.Route)
	c.string(14, &r.Action)
	c.string(15, &r.Area)
	c.string(16, &r.Screen)
	c.string(17, &r.Resource)
	c.string(18, &r.ResourceID)
	c.string(19, &r.ResourceVersion)
	c.string(20, &r.Deliberate)
	c.string(21, &r.Patient)
	c.string(22, &r.NHSNumber)
	c.string(23, (*string)(&r.PatientSource))
	c.string(24, (*string)(&r.Certainty))
}

func (r *Record) walkUser(c *codec) {
	c.string(25, &r.UserIssuer)
	c.string(26, &r.UserSub)
	c.string(27, &r.Person)
	c.string(28, &r.UserName)
	c.strings(29, &r.Roles)
	c.strings(30, &r.Activities)
	c.string(31, &r.Org)
	c.string(32, &r.RoleID)
	c.string(33, &r.ACR)
	c.strings(34, &r.AMR)
	c.uint(35, &r.Assurance)
	c.time(36, &r.AuthTime)
	c.string(37, &r.Session)
	c.string(38, &r.Token)
	c.string(39, &r.Purpose)
	c.string(40, &r.Basis)
	c.string(41, &r.ClientIP)
	c.string(42, &r.Device)
	c.string(43, &r.UserAgent)
	c.string(44, &r.ClientCN)
}

func (r *Record) walkAnswer(c *codec) {
	c.string(45, &r.Effect)
	c.strings(46, &r.Reasons)
	c.strings(47, &r.Rules)
	c.string(48, &r.PolicyRev)
	c.string(49, &r.Mode)
	c.bool(50, &r.WouldDeny)
	c.string(51, (*string)(&r.Outcome))
	c.uint(52, &r.Status)
	c.uint(53, &r.BytesIn)
	c.uint(54, &r.BytesOut)
	c.uint(55, &r.Duration)
	c.uint(56, &r.Upstream)
	c.uint(57, &r.Results)
	c.string(58, &r.Error)
	c.string(59, &r.UpstreamTo)
	c.strings(60, &r.Detail)
}

// codec writes fields to out or, when decoding, reads them from in. It is a
// plain struct rather than an interface so that nothing it visits is moved to
// the heap.
type codec struct {
	out []byte

	decoding bool
	in       string // decoded strings share it: one allocation a record
	off      int    // the next byte of in
	err      error  // the first mistake
}

// fail keeps the first mistake.
func (c *codec) fail(off int, tag byte, what string) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: offset %d: field %d %s", ErrEncoding, off, tag, what)
	}
}

// head writes tag and length of a field.
func (c *codec) head(tag byte, length int) {
	c.out = binary.AppendUvarint(append(c.out, tag), uint64(length)) //nolint:gosec // a length is never negative
}

// take reads the value of the field tag, and false when it is not the next one.
// at is the offset of the value.
func (c *codec) take(tag byte) (value string, at int, ok bool) {
	if c.err != nil || c.off == len(c.in) || c.in[c.off] != tag {
		return "", 0, false
	}
	length, n, what := uvarint(c.in[c.off+1:])
	at = c.off + 1 + n
	switch {
	case what != "":
		c.fail(c.off+1, tag, "length "+what)
		return "", 0, false
	case length == 0:
		c.fail(c.off+1, tag, "empty but present")
		return "", 0, false
	case length > uint64(len(c.in)-at): //nolint:gosec // at is within in
		c.fail(c.off+1, tag, "longer than the record")
		return "", 0, false
	}
	c.off = at + int(length) //nolint:gosec // bounded by len(in) above
	return c.in[at:c.off], at, true
}

func (c *codec) string(tag byte, v *string) {
	if c.decoding {
		if value, _, ok := c.take(tag); ok {
			*v = value
		}
		return
	}
	if *v != "" {
		c.head(tag, len(*v))
		c.out = append(c.out, *v...)
	}
}

// strings holds each item behind its length. An empty list is not written and
// is read back as nil.
func (c *codec) strings(tag byte, v *[]string) {
	if c.decoding {
		if value, at, ok := c.take(tag); ok {
			*v = c.items(tag, value, at)
		}
		return
	}
	if len(*v) == 0 {
		return
	}
	size := 0
	for _, s := range *v {
		size += uvarintLen(len(s)) + len(s)
	}
	c.head(tag, size)
	for _, s := range *v {
		c.out = binary.AppendUvarint(c.out, uint64(len(s)))
		c.out = append(c.out, s...)
	}
}

func (c *codec) items(tag byte, value string, at int) []string {
	var list []string
	for rest := value; rest != ""; {
		here := at + len(value) - len(rest)
		length, n, what := uvarint(rest)
		if what != "" {
			c.fail(here, tag, "item length "+what)
			return nil
		}
		rest = rest[n:]
		if length > uint64(len(rest)) {
			c.fail(here, tag, "item longer than the field")
			return nil
		}
		list = append(list, rest[:length])
		rest = rest[length:]
	}
	return list
}

// uint is big-endian without leading zero bytes, which is what unhex(hex(n))
// gives in ClickHouse.
func (c *codec) uint(tag byte, v *uint64) {
	if c.decoding {
		if value, at, ok := c.take(tag); ok {
			*v = c.number(tag, value, at)
		}
		return
	}
	if *v == 0 {
		return
	}
	var be [8]byte
	binary.BigEndian.PutUint64(be[:], *v)
	skip := 0
	for be[skip] == 0 {
		skip++
	}
	c.head(tag, 8-skip)
	c.out = append(c.out, be[skip:]...)
}

func (c *codec) number(tag byte, value string, at int) uint64 {
	if len(value) > 8 || value[0] == 0 {
		c.fail(at, tag, "not a minimal number")
		return 0
	}
	var n uint64
	for i := range len(value) {
		n = n<<8 | uint64(value[i])
	}
	return n
}

func (c *codec) bool(tag byte, v *bool) {
	var n uint64
	if *v {
		n = 1
	}
	at := c.off
	c.uint(tag, &n)
	if n > 1 {
		c.fail(at, tag, "neither true nor absent")
	}
	*v = n == 1
}

// time is eight bytes, big-endian two's complement: microseconds since 1970.
// The zero time is not written.
func (c *codec) time(tag byte, v *time.Time) {
	if c.decoding {
		if value, at, ok := c.take(tag); ok {
			*v = c.instant(tag, value, at)
		}
		return
	}
	if us := v.UnixMicro(); us != (time.Time{}).UnixMicro() {
		c.head(tag, 8)
		c.out = binary.BigEndian.AppendUint64(c.out, uint64(us))
	}
}

func (c *codec) instant(tag byte, value string, at int) time.Time {
	if len(value) != 8 {
		c.fail(at, tag, "not eight bytes")
		return time.Time{}
	}
	us := int64(binary.BigEndian.Uint64([]byte(value))) //nolint:gosec // two's complement is the format
	if us == (time.Time{}).UnixMicro() {
		c.fail(at, tag, "empty but present")
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func (c *codec) bytes16(tag byte, v *[16]byte) {
	if !c.decoding {
		if *v != [16]byte{} {
			c.head(tag, len(v))
			c.out = append(c.out, v[:]...)
		}
		return
	}
	value, at, ok := c.take(tag)
	if !ok {
		return
	}
	if copy(v[:], value); len(value) != len(v) || *v == [16]byte{} {
		c.fail(at, tag, "not sixteen bytes, or all zero")
	}
}

// uvarint reads a minimal unsigned varint and its size; what says what is wrong.
func uvarint(s string) (n uint64, size int, what string) {
	for i := range min(len(s), binary.MaxVarintLen64) {
		b := s[i]
		if i == binary.MaxVarintLen64-1 && b > 1 {
			break
		}
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if b == 0 && i > 0 {
				return 0, 0, "not minimal"
			}
			return n, i + 1, ""
		}
	}
	return 0, 0, "cut short or too large"
}

// uvarintLen is the size of n as an unsigned varint.
func uvarintLen(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}
