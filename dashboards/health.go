package dashboards

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	// clockNotice is for how long a step of the clock is worth a notice.
	clockNotice = 24 * time.Hour
	// lateRuns is after how many runs that did not happen detection is late.
	lateRuns = 3
)

// healthPage says of each part in words whether it works, what that means for
// care and what to do. It names nobody, asks nothing of the index, and refuses
// to be clever: it is read at three in the morning.
type healthPage struct {
	chrome
	State   state
	Parts   summaryList
	Refresh button
	Clock   string
}

// report is one line of the health page.
type report struct {
	name string
	tag  tag
	text string
	more []string // a line each
	todo string   // what to do, "" for nothing
}

// The tags of a part.
func working() tag   { return tag{Text: "Working", Colour: "green"} }
func attention() tag { return tag{Text: "Needs attention", Colour: "yellow"} }
func down() tag      { return tag{Text: "Not working", Colour: "red"} }
func unknown() tag   { return tag{Text: "Unknown", Colour: "grey"} }
func notSetUp() tag  { return tag{Text: "Not set up", Colour: "white"} }

// health shows every part, always in the same order; the sign-in service last, and only
// where something is wrong with it.
func (s *Site) health(r *http.Request) (answer, error) {
	h := s.cfg.Health(r.Context())
	parts := []report{
		s.recordPart(h), s.modesPart(h), s.limitsPart(h), s.diskPart(h), s.indexPart(h), copyPart("Witness", "checkpoints", h.Witness),
		copyPart("Log server", "records", h.LogServer), s.carePart(h), s.probePart(h), noticesPart(h), s.clockPart(h), s.detectionPart(h), s.configurationPart(h),
	}
	if h.SaysNotWhen != "" { // nothing else is known of it
		parts = append(parts, signInPart(h))
	}
	page := healthPage{
		chrome: s.chrome(r, "Health"), State: overall(parts), Clock: s.formatClock(s.cfg.Now()),
		Refresh: button{Text: "Refresh", Href: Base + "health", Variant: "secondary", Small: true},
	}
	for _, p := range parts {
		c := cell{Tag: &p.tag, Text: p.text, Lines: p.more}
		if p.todo != "" {
			c.Lines = append(c.Lines, "To do: "+p.todo)
		}
		page.Parts.Rows = append(page.Parts.Rows, summaryRow{text(p.name), c})
	}
	return answer{template: "health", view: page}, nil
}

// overall is the one line that counts: what does not work, by name.
func overall(parts []report) state {
	var failed, other []string
	for _, p := range parts {
		switch p.tag {
		case down():
			failed = append(failed, p.name)
		case attention(), unknown():
			other = append(other, p.name)
		}
	}
	switch {
	case len(failed) > 0:
		return state{"Not working: " + strings.Join(failed, ", "), "bad", also(other)}
	case len(other) > 0:
		return state{"Needs attention: " + strings.Join(other, ", "), "warn", ""}
	}
	return state{"Everything works", "good", ""}
}

func also(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "Needs attention as well: " + strings.Join(names, ", ") + "."
}

func (s *Site) recordPart(h Health) report {
	p := report{name: "Record"}
	switch {
	case h.Journal == StateFailed:
		p.tag, p.text = down(), "Accesses cannot be written down, so that no patient data is released. Staff need the downtime procedure now."
		p.todo = "look at the disk below and at the log of the gateway. Once the disk takes writes again, restart the gateway."
	case h.SecondSink != "":
		p.tag, p.text = attention(), "The journal's own disk takes no more. Accesses are written down in the second place, "+h.SecondSink+", and care goes on."
		p.todo = "mend the disk, then restart the gateway. There is no third place."
	case h.Journal == StateOK:
		p.tag, p.text = working(), s.newest(h)+"."
	default:
		p.tag, p.text = unknown(), "It is not known whether accesses are written down."
	}
	return p
}

func (s *Site) diskPart(h Health) report {
	d := h.Disk
	full := trimFloat(100*d.Used, 0) + "% used, " + formatBytes(d.Free) + " free."
	p := report{name: "Disk", todo: "make room on the disk or enlarge it. What is refused comes back by itself within seconds."}
	switch {
	case d.ReadOnly:
		p.tag, p.text = down(), "The disk of the record is read-only: nothing can be written to it."
		p.todo = "find out why in the log of the operating system, make it writable and restart the gateway."
	case d.Emergency:
		p.tag, p.text = attention(), "The disk is full and records go to what was kept in reserve. "+refusedAt(3)
		p.todo = "make room on the disk now: when the reserve is used up, care stops."
	case d.Level > 0:
		p.tag, p.text = attention(), full+" "+refusedAt(d.Level)
		if !d.Since.IsZero() {
			p.text += " Since " + s.formatTime(d.Since) + "."
		}
	case d.State == StateOK:
		p.tag, p.text, p.todo = working(), full, ""
	default:
		p.tag, p.text = unknown(), "How full the disk is cannot be read. Nothing is refused because of that."
		p.todo = "check that the file system of the journal answers."
	}
	return p
}

// refusedAt says what is refused at a level of the disk.
func refusedAt(level int) string {
	const care = " Patients' records open as usual."
	switch level {
	case 0:
		return "Nothing is refused."
	case 1:
		return "Exports and other bulk work are refused." + care
	case 2:
		return "Exports, and searches that are not about one patient, are refused." + care
	}
	return "Everything but patient care is refused: finding a patient, ward lists and patients' records work as usual."
}

func (s *Site) indexPart(h Health) report {
	p := report{name: "Search index"}
	waiting := plural(h.Waiting, "record waits", "records wait") + " on disk to become searchable."
	switch {
	case h.Index == StateUnknown:
		p.tag, p.text = unknown(), "It is not known whether records become searchable. Care does not depend on it."
	case h.IndexCode == "clickhouse-81" || h.IndexCode == "clickhouse-60":
		p.tag, p.text = down(), "Its database is gone ("+h.IndexCode+"). Care goes on and nothing is lost: "+waiting
		p.todo = "nothing, if it is gone on purpose: it is made anew and filled from the journal. If this line stays, the account of the gateway may not make it: run \"matron audit grants\"."
	case h.Index == StateFailed:
		p.tag, p.text = down(), "ClickHouse does not answer"+inBrackets(h.IndexCode)+". Care goes on and nothing is lost: "+waiting
		p.todo = "look at ClickHouse and at the log of the gateway. It catches up by itself."
	case s.stale(h):
		p.tag, p.text = attention(), "It is behind: "+waiting
		p.todo = "wait. If the number grows, look at ClickHouse."
	default:
		p.tag, p.text = working(), "Searchable to "+s.formatClock(h.IndexedTo)+"."
	}
	return p
}

func inBrackets(code string) string {
	if code == "" {
		return ""
	}
	return " (" + code + ")"
}

// copyPart says how far something is that follows the record elsewhere.
func copyPart(name, what string, c Copy) report {
	p := report{name: name}
	behind := sentenceCase(what) + " that are not there yet: " + formatCount(c.Waiting) + ", the oldest for " + formatSpan(c.Behind) + "."
	switch {
	case !c.Set:
		p.tag, p.text = notSetUp(), "Nothing is sent to one."
	case c.State == StateFailed:
		p.tag, p.text = down(), "It does not take what is sent. Care goes on. "+behind
		p.todo = "look at it and at the network between. It catches up by itself."
	case c.State == StateUnknown:
		p.tag, p.text = unknown(), "It is not known whether it takes what is sent."
	case c.Behind > staleAfter:
		p.tag, p.text = attention(), "It is behind. "+behind
	default:
		p.tag, p.text = working(), "It has everything."
		if c.Waiting > 0 {
			p.text = behind
		}
	}
	return p
}

// probePart says whether emergency access works: it is tried every few minutes.
func (s *Site) probePart(h Health) report {
	p := report{name: "Emergency access"}
	switch {
	case !h.Probe.Set:
		p.tag, p.text = notSetUp(), "It is not tried by the gateway itself."
	case h.Probe.State == StateOK:
		p.tag, p.text = working(), "It was tried at "+s.formatClock(h.Probe.At)+" and worked."
	case h.Probe.State == StateFailed:
		p.tag = attention()
		if h.Probe.Failed > 1 {
			p.tag = down()
		}
		p.text = "It was tried at " + s.formatClock(h.Probe.At) + " and did not work (" + h.Probe.Step + "). Staff may be refused with no way on."
		p.todo = "tell staff the downtime procedure now, and look at the log of the gateway."
	default:
		p.tag, p.text = unknown(), "It has not been tried since the gateway started."
	}
	return p
}

// signInPart says that the sign-in service keeps something shut.
func signInPart(h Health) report {
	return report{
		name: "Sign-in service", tag: attention(),
		text: h.SaysNotWhen + " sends no auth_time: sign-in again for protected records cannot be proved, so that they stay shut, also in an emergency.",
		todo: "have whoever looks after it add auth_time to its ID tokens (OpenID Connect Core, 2; it must where max_age is asked for).",
	}
}

// noticesPart says whether messages about emergency access go out.
func noticesPart(h Health) report { return copyPart("Messages", "messages", h.Notices) }

// clockStepped reports whether the clock has stepped of late. A time in the
// future is one as well: the clock was put back since.
func (s *Site) clockStepped(h Health) bool {
	return !h.ClockAt.IsZero() && s.cfg.Now().Sub(h.ClockAt) < clockNotice
}

func (s *Site) clockPart(h Health) report {
	p := report{name: "Clock", tag: working(), text: "It has not stepped since the gateway started."}
	switch {
	case s.clockStepped(h):
		p.tag = attention()
		p.text = "It was " + putBy(h.ClockBy) + " at " + s.formatClock(h.ClockAt) + ". The order of records is not affected; times before and after cannot be compared."
		p.todo = "check the time service (NTP) of this machine, and tell whoever reads times out of the record."
	case !h.ClockAt.IsZero():
		p.text = "It last stepped at " + s.formatClock(h.ClockAt) + ", when it was " + putBy(h.ClockBy) + "."
	}
	return p
}

// putBy says which way a clock was put.
func putBy(by time.Duration) string {
	if by < 0 {
		return "put back by " + formatSpan(-by)
	}
	return "put forward by " + formatSpan(by)
}

func (s *Site) detectionPart(h Health) report {
	p := report{name: "Detection", more: s.unjudged(h)}
	switch {
	case !h.DetectBehind.IsZero():
		p.tag, p.text = attention(), "It is behind: it has looked at accesses up to "+s.formatClock(h.DetectBehind)+". Care does not depend on it; alerts come late."
		p.todo = "wait; look who causes so many accesses."
	case h.DetectedAt.IsZero():
		p.tag, p.text = unknown(), "It has not looked at the record since the gateway started."
		p.todo = "wait a few minutes. It needs the search index."
	case s.detectionLate(h):
		p.tag, p.text = attention(), "It last finished at "+s.formatClock(h.DetectedAt)+" and is late. Care does not depend on it; alerts are missing."
		p.todo = "look at the search index and at the log of the gateway."
	default:
		p.tag, p.text = working(), "It last finished at "+s.formatClock(h.DetectedAt)+"."
	}
	if len(p.more) == 0 {
		return p
	}
	if p.tag == working() {
		p.tag = attention()
	}
	p.text += " Not everything is looked for, so that alerts may be missing."
	p.todo = strings.TrimSpace(sentenceCase(p.todo) + " " + feedsTodo)
	return p
}

// feedsTodo is what to do about a feed that is missing or too old.
const feedsTodo = "Run \"matron detect feeds\": it says which feeds there are and until when each reaches. " +
	"Name the file of a missing feed under detection in the configuration; ask whoever delivers a late one for a newer file, which is taken in without a restart."

func (s *Site) detectionLate(h Health) bool {
	return h.DetectEvery > 0 && s.cfg.Now().Sub(h.DetectedAt) > lateRuns*h.DetectEvery+staleAfter
}

// unjudged says which detectors are not evaluated, why and since when, those for one
// reason together.
func (s *Site) unjudged(h Health) []string {
	type group struct{ reason, since string }
	names, order := map[group][]string{}, []group{}
	for _, u := range h.Unjudged {
		g := group{u.Reason, s.formatTime(u.Since)}
		if names[g] == nil {
			order = append(order, g)
		}
		names[g] = append(names[g], readable(u.Detector))
	}
	var out []string
	for _, g := range order {
		slices.Sort(names[g])
		out = append(out, sentenceCase(g.reason)+", found on "+g.since+": "+strings.Join(names[g], ", ")+".")
	}
	return out
}

func (s *Site) configurationPart(h Health) report {
	p := report{name: "Configuration", tag: working(), text: "Policy " + short(h.PolicyRev) + " is in force."}
	switch {
	case h.PolicyRev == "":
		p.tag, p.text = unknown(), "Which policy is in force is not known."
	case h.ReloadBad:
		p.tag = attention()
		p.text = "The change of " + s.formatClock(h.ReloadAt) + " was refused; what was in force before stays so. " + p.text
		p.todo = "the log of the gateway says what is wrong and in which line. Mend it and reload."
	}
	return p
}

// formatBytes writes a size in the unit that people compare.
func formatBytes(n uint64) string {
	const step = 1000
	value, unit := float64(n), "bytes"
	for _, u := range []string{"kB", "MB", "GB", "TB"} {
		if value < step {
			break
		}
		value, unit = value/step, u
	}
	if value < 10 && unit != "bytes" {
		return trimFloat(value, 1) + " " + unit
	}
	return trimFloat(value, 0) + " " + unit
}
