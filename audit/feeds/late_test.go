package feeds

import (
	"testing"
	"time"
)

// TestFileThatIsTooOldIsLate also where a feed has no times of its own.
func TestFileThatIsTooOldIsLate(t *testing.T) {
	made := time.Date(2026, 11, 1, 6, 0, 0, 0, time.UTC)
	c := Context{Staff: []Staff{}, About: map[Kind]Feed{StaffFeed: {Kind: StaffFeed, AsOf: made}}}
	for days, want := range map[int]string{0: "", 8: "", 9: "not evaluated: the staff feed is of 1 November 2026 06:00"} {
		if got := c.NotEvaluated(made.AddDate(0, 0, days), StaffFeed); got != want {
			t.Errorf("%d days on: %q, want %q", days, got, want)
		}
	}
	c.About = nil
	if got := c.NotEvaluated(made, StaffFeed); got != "" {
		t.Errorf("a file whose age nobody knows: %q", got)
	}
}
