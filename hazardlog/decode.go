package hazardlog

import "errors"

// ErrInvalid is what the error of a refused log wraps.
var ErrInvalid = errors.New("hazard log refused")

// Decode reads a log strictly. Its error wraps ErrInvalid and names, for every
// mistake, the hazard and the field.
func Decode(data []byte) (Log, error) { return Log{}, ErrInvalid }

// Starter returns the embedded log that a deployment starts from: proposed by
// engineers and approved by no clinical safety officer.
func Starter() (Log, error) { return Decode(nil) }
