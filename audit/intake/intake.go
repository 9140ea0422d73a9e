// Package intake is what every file that comes in has in common: it is read
// line by line, bad lines are left out with a reason, and fields that are not
// known are named once.
//
// A reason names fields and never values, since it goes into logs. Nothing here
// is safe for concurrent use except the checks.
package intake

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/matron-epr/matron/audit/pseudonym"
)

// The mistakes that several kinds of files share.
var (
	ErrTooLong = errors.New("the line is longer")
	errMissing = errors.New("required and not there")
	errTime    = errors.New("not a time of RFC 3339 with its offset")
	errNumber  = errors.New("not a valid NHS number")
	errKind    = errors.New("not one of the kinds")
)

// Reject is one line that was left out. Text is the line itself, only where
// somebody asked for it.
type Reject struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
	Text   string `json:"text,omitempty"`
}

// Report is what reading a file brought to light besides its content.
type Report struct {
	Rejects []Reject
	Unknown []string // fields that are not known, each once, sorted
}

// Reject notes that a line is left out.
func (r *Report) Reject(line int, reason error) {
	r.Rejects = append(r.Rejects, Reject{Line: line, Reason: reason.Error()})
}

// AddUnknown notes fields that are not known.
func (r *Report) AddUnknown(fields ...string) {
	for _, f := range fields {
		if at, found := slices.BinarySearch(r.Unknown, f); !found {
			r.Unknown = slices.Insert(r.Unknown, at, f)
		}
	}
}

// Lines reads a file line by line, with no more than a bounded line in memory.
type Lines struct {
	in     *bufio.Reader
	limit  int
	number int
	line   []byte
	ended  bool
}

// NewLines reads r; a line longer than limit bytes is ErrTooLong.
func NewLines(r io.Reader, limit int) *Lines {
	return &Lines{in: bufio.NewReaderSize(r, 64<<10), limit: limit}
}

// Number is the number of the line that Next has returned, from 1.
func (l *Lines) Number() int { return l.number }

// Next returns the next line that is not blank, valid until the next call. It
// ends with io.EOF and goes on after ErrTooLong.
func (l *Lines) Next() ([]byte, error) {
	for !l.ended {
		l.number++
		long, err := l.read()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read line %d: %w", l.number, err)
		}
		l.ended = err != nil
		if long {
			return nil, fmt.Errorf("%w than %d MiB", ErrTooLong, l.limit>>20)
		}
		if line := bytes.TrimSpace(l.line); len(line) > 0 {
			return line, nil
		}
	}
	return nil, io.EOF
}

// read reads up to the next line break and no more than the limit of it.
func (l *Lines) read() (long bool, err error) {
	l.line = l.line[:0]
	for {
		part, err := l.in.ReadSlice('\n')
		if !long {
			l.line = append(l.line, part...)
			long = len(l.line) > l.limit
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return long, err
		}
	}
}

// Required says that a field is not there.
func Required(field string, there bool) error {
	if there {
		return nil
	}
	return fmt.Errorf("%s: %w", field, errMissing)
}

// OneOf says that a value is none of kinds.
func OneOf(field, value string, kinds ...string) error {
	if slices.Contains(kinds, value) {
		return nil
	}
	return fmt.Errorf("%s: %w", field, errKind)
}

// Moment reads a time; none is the zero time.
func Moment(field, value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", field, errTime)
	}
	return t, nil
}

// NHSNumber checks the length and the modulus 11 check digit; no number is fine.
func NHSNumber(field, value string) error {
	if value == "" || validNumber(value) || validNumber(pseudonym.Normal(value)) {
		return nil
	}
	return fmt.Errorf("%s: %w", field, errNumber)
}

func validNumber(digits string) bool {
	if len(digits) != 10 {
		return false
	}
	sum := 0
	for i := range 10 {
		d := digits[i] - '0'
		if d > 9 {
			return false
		}
		sum += int(d) * (10 - i)
	}
	// The last digit has weight 1 here, so that a valid number sums to 0 modulo 11.
	return sum%11 == 0
}
