package journal

import (
	"errors"
	"fmt"
)

// What callers branch on.
var (
	ErrExists    = errors.New("journal already exists")
	ErrMissing   = errors.New("no journal here")
	ErrLocked    = errors.New("journal is in use by another process")
	ErrSource    = errors.New("journal belongs to another source")
	ErrCorrupt   = errors.New("journal is damaged")
	ErrClosed    = errors.New("journal is closed")
	ErrElsewhere = errors.New("records are in a place that is not there")
	ErrTooLarge  = errors.New("record is too large")
)

// Damage is one place where a file does not hold what was written. It is
// an error that wraps ErrCorrupt.
type Damage struct {
	File   string
	Offset int64
	What   string
}

// Error names the place.
func (d *Damage) Error() string {
	return fmt.Sprintf("%v: %s at offset %d: %s", ErrCorrupt, d.File, d.Offset, d.What)
}

// Unwrap lets errors.Is find ErrCorrupt.
func (d *Damage) Unwrap() error { return ErrCorrupt }
