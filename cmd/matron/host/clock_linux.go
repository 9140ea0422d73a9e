package host

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// ClockError is by how much this machine's clock may be off at most, as the kernel
// knows it from the time service (adjtimex(2): maxerror). known is false while no
// time service keeps the clock.
func ClockError() (bound time.Duration, known bool, err error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return 0, false, fmt.Errorf("ask for the state of the clock: %w", err)
	}
	return time.Duration(t.Maxerror) * time.Microsecond, t.Status&unix.STA_UNSYNC == 0, nil
}
