//go:build !linux

package host

import "time"

// ClockError knows nothing here.
func ClockError() (bound time.Duration, known bool, err error) { return 0, false, nil }
