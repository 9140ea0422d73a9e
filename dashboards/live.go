package dashboards

import (
	"net/http"
	"time"

	"github.com/matron-epr/matron/audit"
)

const (
	liveSpan   = time.Hour
	liveStep   = time.Minute
	newestRows = 20
	quietSpan  = 2 * time.Minute
)

// livePage is how the gateway is now. It names staff but no patient.
type livePage struct {
	chrome
	State   state
	Facts   summaryList
	Quiet   string
	Charts  []chart
	Over    table // whoever is over a budget of patients
	Newest  table
	Empty   *insetText
	Partial string // what could not be read
	Update  string // address to fetch again
	Refresh button
	Clock   string // when the figures were read
}

// state is the largest line on the page.
type state struct {
	Text  string
	Class string // good, warn, bad
	Note  string
}

// live shows the last hour.
func (s *Site) live(r *http.Request) (answer, error) {
	health := s.cfg.Health(r.Context())
	page := livePage{
		chrome:  s.chrome(r, "Live"),
		State:   s.stateLine(health),
		Update:  Base + "live/now",
		Clock:   s.formatClock(s.cfg.Now()),
		Over:    s.overTable(health),
		Refresh: button{Text: "Refresh", Href: Base + "live", Variant: "secondary", Small: true},
	}
	now := s.cfg.Now()
	to := now.Truncate(liveStep).Add(liveStep)
	rates, err := s.cfg.Accesses.Rates(r.Context(), to.Add(-liveSpan), to, liveStep)
	if err != nil {
		page.Partial = "Rates and refusals cannot be read at the moment: they are unknown, not nought."
		page.Facts = s.liveFacts(health, nil)
		return answer{template: "live", view: page}, nil
	}
	page.Facts = s.liveFacts(health, rates)
	page.Quiet = s.quiet(health, rates)
	page.Charts = s.liveCharts(rates)
	denied, err := s.cfg.Accesses.Accesses(r.Context(), audit.Query{Site: s.cfg.Site, Effect: "deny", Identified: true, From: to.Add(-liveSpan), To: to, Limit: newestRows})
	if err != nil {
		page.Partial = "The newest refusals cannot be read at the moment."
		return answer{template: "live", view: page}, nil
	}
	page.Newest = s.refusalTable("Newest refusals of people who were signed in", denied)
	if len(denied) == 0 {
		page.Empty = &insetText{Text: "Refusals in this hour: " + s.count(health, 0) + "."}
	}
	return answer{template: "live", view: page}, nil
}

// stateLine says what the gateway does with requests now.
func (s *Site) stateLine(h Health) state {
	since := ""
	if !h.ModeSince.IsZero() {
		since = "Since " + s.formatTime(h.ModeSince) + "."
	}
	switch {
	case h.Journal == StateFailed:
		return state{"Holding patient data back: accesses cannot be recorded", "bad", since}
	case h.Mode == "enforce":
		return state{"Enforcing", "good", since}
	case h.Mode == "observe":
		return state{"Observing only" + forApps(only("observe", h)) + ": nothing is refused", "warn", since}
	case h.Mode == "bypass":
		return state{"Bypassed" + forApps(only("bypass", h)) + ": nothing is refused", "bad", since}
	}
	return state{"State unknown", "bad", since}
}

// liveFacts lists the health of each part, and the rate of the last whole
// minute. What is not known reads as unknown.
func (s *Site) liveFacts(h Health, rates []audit.Rate) summaryList {
	rate, refused, slow := "Unknown", "Unknown", "Unknown"
	if len(rates) > 1 {
		last := rates[len(rates)-2]
		rate = s.count(h, last.Requests) + " in the last whole minute"
		refused = s.count(h, last.Denials-min(last.Nobody, last.Denials)) + " in the last whole minute, besides " +
			s.count(h, last.Nobody) + " without a session"
		if last.Requests > 0 {
			slow = formatMillis(last.P50) + " for half of the requests, " + formatMillis(last.P99) + " for 99 of 100"
		}
	}
	waiting := plural(h.Waiting, "record waiting", "records waiting")
	if h.Index == StateUnknown {
		waiting = ""
	}
	revision := short(h.PolicyRev)
	if revision == "" {
		revision = "Unknown"
	}
	return summaryList{Rows: []summaryRow{
		{text("Requests"), text(rate)},
		{text("Refused"), text(refused)},
		{text("Time taken"), text(slow)},
		{text("Record"), cell{Tag: stateTag(h.Journal), Text: s.newest(h)}},
		{text("Searchable copy"), cell{Tag: stateTag(h.Index), Text: waiting}},
		{text("Policy in force"), text(revision)},
		{text("Limits"), text(s.limitState(h))},
	}}
}

func (s *Site) newest(h Health) string {
	switch {
	case h.JournalSeq == 0:
		return "No record is known of yet"
	case h.JournalAt.IsZero():
		return "Record " + formatCount(h.JournalSeq) + " is the newest on disk"
	}
	return "Record " + formatCount(h.JournalSeq) + " at " + s.formatClock(h.JournalAt)
}

// short is as much of a hash as people compare.
func short(hash string) string { return hash[:min(len(hash), 12)] }

func stateTag(v State) *tag {
	switch v {
	case StateOK:
		return &tag{Text: "Working", Colour: "green"}
	case StateFailed:
		return &tag{Text: "Not working", Colour: "red"}
	case StateUnknown:
	}
	return &tag{Text: "Unknown", Colour: "grey"}
}

// quiet raises the alarm when nothing arrives: in a hospital that is a fault,
// not a calm minute (GW-02).
func (s *Site) quiet(h Health, rates []audit.Rate) string {
	if s.stale(h) {
		return ""
	}
	for _, rate := range rates {
		if rate.Requests > 0 && !rate.Start.Add(liveStep).Before(s.cfg.Now().Add(-quietSpan)) {
			return ""
		}
	}
	return "No requests for 2 minutes. Check that staff reach the gateway."
}

// liveCharts draws requests and refusals one above the other, each on its own
// scale: on a shared one refusals would vanish.
func (s *Site) liveCharts(rates []audit.Rate) []chart {
	requests, denials := make([]bar, len(rates)), make([]bar, len(rates))
	for i, rate := range rates {
		at := rate.Start.In(s.cfg.Location).Format("15:04")
		requests[i] = bar{at, rate.Requests}
		denials[i] = bar{at, rate.Denials - min(rate.Nobody, rate.Denials)}
	}
	return []chart{
		barChart("requests", "Requests each minute", peak("requests", requests), "Requests", requests),
		barChart("refusals", "Refusals each minute", peak("refusals", denials), "Refusals", denials),
	}
}

// refusalTable lists refusals without naming any patient.
func (s *Site) refusalTable(title string, rows []audit.Access) table {
	t := table{
		ID: "refusals-newest", Caption: caption{Text: title, Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("When"), text("Who"), text("Role"), text("What"), text("Part of the record"), text("Why refused")},
	}
	for _, a := range rows {
		who := a.UserName
		if who == "" {
			who = "Not known"
		}
		area := "Not known"
		if a.Area != "" {
			area = sentenceCase(readable(a.Area))
		}
		t.Rows = append(t.Rows, []cell{
			text(s.formatClock(a.Time)), text(who), text(list(a.Roles, "not known")),
			text(did(a.Action)), text(area), text(sentenceCase(list(a.Reasons, "no reason recorded"))),
		})
	}
	return t
}

// formatMillis writes a duration in milliseconds.
func formatMillis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 10 {
		return trimFloat(ms, 1) + " ms"
	}
	return trimFloat(ms, 0) + " ms"
}
