package gateway

import (
	"testing"
	"time"
)

// Weekends are left out, and the clocks going back change no time of day.
// hazard:GW-09 control:C-39
// hazard:GW-14 control:C-59
func TestWorkingDays(t *testing.T) {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	const layout = "Mon 2 January 2006 15:04"
	for _, row := range []struct {
		from string
		days int
		want string
	}{
		{"Tue 3 November 2026 14:02", 1, "Wed 4 November 2026 14:02"},
		{"Tue 3 November 2026 14:02", 5, "Tue 10 November 2026 14:02"},
		{"Fri 6 November 2026 23:30", 1, "Mon 9 November 2026 23:30"},
		{"Sat 7 November 2026 03:00", 1, "Mon 9 November 2026 03:00"},
		{"Sun 8 November 2026 03:00", 5, "Fri 13 November 2026 03:00"},
		{"Fri 23 October 2026 09:00", 1, "Mon 26 October 2026 09:00"},
	} {
		from, err := time.ParseInLocation(layout, row.from, london)
		if err != nil {
			t.Fatal(err)
		}
		if got := workingDays(from.UTC(), row.days, london).Format(layout); got != row.want {
			t.Errorf("%d working days after %s: %s, want %s", row.days, row.from, got, row.want)
		}
	}
}
