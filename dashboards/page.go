package dashboards

import (
	"net/http"
	"strings"
	"time"

	"github.com/matron-epr/matron/policy"
)

// staleAfter is how far the index may be behind before pages say so.
const staleAfter = time.Minute

// navItem is one entry of the main navigation.
type navItem struct {
	Text    string
	Href    string
	Current bool
}

// banner is one line about something that does not work as it should.
type banner struct{ Text string }

// chrome is what every page has around its content.
type chrome struct {
	Title        string // of the document; never an identifier
	Problems     errorSummary
	Organisation string
	Service      string
	User         string
	Role         string
	Nav          []navItem
	Banners      []banner
	Freshness    string
	Recorded     bool // whether this viewer's look-ups are recorded here
	Made         string
	CSS          string
	JS           string
	Icon         string
	Skip         skipLink
}

// chrome builds what is around the content, for the subject of r.
func (s *Site) chrome(r *http.Request, title string) chrome {
	subject := policy.SubjectFrom(r.Context())
	health := s.cfg.Health(r.Context())
	return chrome{
		Title:        title,
		Organisation: s.cfg.Branding.Organisation,
		Service:      s.cfg.Branding.Service,
		User:         subject.Name,
		Role:         list(subject.Roles, ""),
		Nav:          s.nav(r),
		Banners:      append(s.banners(health), s.openEmergencies(subject)...),
		Freshness:    s.freshness(health),
		Recorded:     s.permits(r.Context(), policy.Audit, policy.Read),
		Made:         s.formatTime(s.cfg.Now()),
		CSS:          s.assets.url("matron.css"),
		JS:           s.assets.url("matron.js"),
		Icon:         s.assets.url("favicon.svg"),
		Skip:         skipLink{Text: "Skip to main content", Href: "#maincontent"},
	}
}

// nav lists the pages that the subject may open, always in the same order.
func (s *Site) nav(r *http.Request) []navItem {
	all := []struct {
		item navItem
		area policy.Area
	}{
		{navItem{Text: "Home", Href: Base}, policy.Home},
		{navItem{Text: "Alerts", Href: Base + "alerts"}, policy.Audit},
		{navItem{Text: "Emergencies", Href: Base + "emergencies"}, policy.Audit},
		{navItem{Text: "Look up", Href: Base + "lookup"}, policy.Audit},
		{navItem{Text: "Live", Href: Base + "live"}, policy.Live},
		{navItem{Text: "Health", Href: Base + "health"}, policy.Live},
		{navItem{Text: "Modes", Href: Base + "modes"}, policy.Live},
		{navItem{Text: "Safety", Href: safetyBase}, policy.Safety},
		{navItem{Text: "Rules", Href: Base + "rules"}, policy.Rules},
	}
	var items []navItem
	for _, entry := range all {
		if !s.permits(r.Context(), entry.area, policy.Read) || entry.item.Text == "Emergencies" && s.cfg.Emergencies == nil {
			continue
		}
		item := entry.item
		item.Current = current(r.URL.Path, item.Href)
		items = append(items, item)
	}
	return items
}

// freshness says until when the lists are complete. Unknown is said, not hidden.
func (s *Site) freshness(h Health) string {
	if h.IndexedTo.IsZero() {
		return "It is not known how far these lists reach."
	}
	return "Complete to " + s.formatClock(h.IndexedTo) + ", " + s.ago(h.IndexedTo) + " ago."
}

// banners names what does not work as it should, the gravest first.
func (s *Site) banners(h Health) []banner {
	var out []banner
	add := func(bad bool, text string) {
		if bad {
			out = append(out, banner{text})
		}
	}
	add(h.Journal == StateFailed, "The record of accesses cannot be written. Patient data is held back until it can.")
	add(h.SecondSink != "", "The disk of the record takes no more. Accesses are recorded in the second place, and care goes on.")
	add(h.Disk.ReadOnly, "The disk of the record is read-only.")
	add(h.Disk.Level > 0, "The disk of the record is filling up. "+refusedAt(h.Disk.Level))
	add(h.Mode == "bypass", "The gateway is bypassed"+s.bypassed(h)+": requests are passed on and recorded, and nothing is refused.")
	add(h.Mode == "observe", "The gateway observes only"+forApps(only("observe", h))+": it records what it would refuse and refuses nothing.")
	add(len(h.Limits.Lifted) > 0, "Major incident: limits are lifted for people"+s.lifted(h)+". Every access is decided and recorded as ever.")
	care := s.careBanner(h.Care)
	add(care != "", care)
	add(h.Index == StateFailed, "The searchable copy of the record does not answer. Care goes on and every access is still recorded; lists and counts cannot be trusted to be complete.")
	unknown := h.Index == StateUnknown || h.IndexedTo.IsZero()
	add(h.Index != StateFailed && unknown, "It is not known whether lists are complete. Counts are at least what is shown.")
	add(h.Index == StateOK && !unknown && s.stale(h), "Lists are behind: "+plural(h.Waiting, "record is", "records are")+" waiting to become searchable. Counts are at least what is shown.")
	add(s.clockStepped(h), "The clock of this machine was "+putBy(h.ClockBy)+" at "+s.formatClock(h.ClockAt)+". Times before and after cannot be compared; the order of records is not affected.")
	add(h.ProtectionUnknown, "It is not known which records are protected beyond the usual: the list could not be read. Whoever is not known to care for a patient needs emergency access to open clinical parts of their record.")
	for _, line := range h.Rules {
		add(true, line)
	}
	add(h.ReloadBad, "The last change of configuration or policy was refused at "+s.formatClock(h.ReloadAt)+". The one before stays in force.")
	return out
}

// stale reports whether counts may be too low. What is not known is stale.
func (s *Site) stale(h Health) bool {
	return h.Index != StateOK || h.IndexedTo.IsZero() || s.cfg.Now().Sub(h.IndexedTo) > staleAfter
}

// count writes a count that the index gave: never a plain nought when the index
// may not have everything.
func (s *Site) count(h Health, n uint64) string {
	if !s.stale(h) {
		return formatCount(n)
	}
	if n == 0 {
		return "Unknown"
	}
	return "At least " + formatCount(n)
}

// current reports whether a page belongs to an entry of the menu. What a look-up
// leads to belongs to Look up, hazards belong to Safety.
func current(path, href string) bool {
	if href == safetyBase && (path == hazardsBase || strings.HasPrefix(path, hazardsBase+"/")) {
		return true
	}
	if href == Base+"lookup" && (strings.HasPrefix(path, Base+"patients/") || strings.HasPrefix(path, Base+"staff/") || strings.HasPrefix(path, Base+"decisions/")) {
		return true
	}
	return path == href || (href != Base && strings.HasPrefix(path, href+"/"))
}
