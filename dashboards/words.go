package dashboards

import (
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
)

// formatDay writes 3 November 2026.
func (s *Site) formatDay(t time.Time) string {
	return t.In(s.cfg.Location).Format("2 January 2006")
}

// formatTime writes 3 November 2026, 14:02.
func (s *Site) formatTime(t time.Time) string {
	if t.IsZero() {
		return "not known"
	}
	return t.In(s.cfg.Location).Format("2 January 2006, 15:04")
}

// formatClock writes 14:02:11, for times of today, and with the day otherwise.
func (s *Site) formatClock(t time.Time) string {
	if t.IsZero() {
		return "not known"
	}
	local, now := t.In(s.cfg.Location), s.cfg.Now().In(s.cfg.Location)
	if local.YearDay() == now.YearDay() && local.Year() == now.Year() {
		return local.Format("15:04:05")
	}
	return local.Format("15:04:05 on 2 January 2006")
}

// ago writes how long ago t was, in the coarsest unit that is not zero.
func (s *Site) ago(t time.Time) string {
	return formatSpan(s.cfg.Now().Sub(t))
}

// formatSpan writes a span of time in one unit.
func formatSpan(d time.Duration) string {
	switch {
	case d < time.Minute:
		return plural(uint64(max(d, 0)/time.Second), "second", "seconds")
	case d < time.Hour:
		return plural(uint64(d/time.Minute), "minute", "minutes")
	case d < 48*time.Hour:
		return plural(uint64(d/time.Hour), "hour", "hours")
	}
	return plural(uint64(d/(24*time.Hour)), "day", "days")
}

// formatCount groups digits by comma.
func formatCount(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// plural writes a count with its noun.
func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return formatCount(n) + " " + many
}

// sentenceCase makes a code readable: "break-glass" becomes "Break-glass".
func sentenceCase(code string) string {
	if code == "" {
		return ""
	}
	return strings.ToUpper(code[:1]) + code[1:]
}

// readable turns a role or reason code into words: "ward-clerk" becomes "ward
// clerk".
func readable(code string) string {
	return strings.ReplaceAll(strings.ReplaceAll(code, "-", " "), "_", " ")
}

// list joins words as in a sentence; none gives the words for nothing.
func list(words []string, none string) string {
	if len(words) == 0 {
		return none
	}
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = readable(w)
	}
	return strings.Join(out, ", ")
}

// did says what somebody did, in the words of information governance.
func did(action string) string {
	switch action {
	case "read":
		return "Viewed"
	case "search":
		return "Searched"
	case "list":
		return "Viewed in a list"
	case "create":
		return "Added to"
	case "update":
		return "Changed"
	case "delete":
		return "Deleted from"
	case "print":
		return "Printed"
	case "export":
		return "Exported"
	case "":
		return "Not known"
	}
	return sentenceCase(readable(action))
}

// result says how an exchange ended. An outcome that is not known is never
// shown as a success.
func result(a audit.Access) tag {
	switch {
	case a.Effect == "deny":
		return tag{Text: "Refused", Colour: "red"}
	case a.Effect == "challenge":
		return tag{Text: "Asked for more", Colour: "orange"}
	case a.Effect != "allow":
		return tag{Text: "Not known", Colour: "grey"}
	case !a.Settled:
		return tag{Text: "Outcome not known", Colour: "grey"}
	case a.Outcome == audit.Success && a.WouldDeny:
		return tag{Text: "Let through, observing", Colour: "yellow"}
	case a.Outcome == audit.Success:
		return tag{Text: "Shown", Colour: "green"}
	}
	return tag{Text: "Did not succeed", Colour: "grey"}
}

// trimFloat writes a number with at most that many decimals.
func trimFloat(f float64, decimals int) string {
	return strconv.FormatFloat(f, 'f', decimals, 64)
}
