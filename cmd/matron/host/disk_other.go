//go:build !linux

package host

import (
	"errors"
	"fmt"
)

// Measure knows nothing here: the level stays at none, and the append alone
// guards what cannot be recorded.
func Measure(dir string) (Usage, error) {
	return Usage{}, fmt.Errorf("measure %s: %w", dir, errors.ErrUnsupported)
}
