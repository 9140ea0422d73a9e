package dashboards_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/dashboards/internal/fake"
)

// healthRows reads the health page as somebody hears it: the largest line, and
// of each part its name and what is said of it.
func healthRows(t *testing.T, body string) (state string, rows map[string]string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	rows = map[string]string{}
	key := ""
	for n := range doc.Descendants() {
		switch {
		case strings.Contains(classOf(n), "app-state--"):
			state = words(n)
		case n.Data == "dt":
			key = words(n)
		case n.Data == "dd":
			rows[key] = words(n)
		}
	}
	return state, rows
}

func classOf(n *html.Node) string {
	for _, a := range n.Attr {
		if a.Key == "class" {
			return a.Val
		}
	}
	return ""
}

func words(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func unjudged() []dashboards.Unjudged {
	const why = "not evaluated: no rota feed"
	since := fake.Now().Add(-time.Hour)
	return []dashboards.Unjudged{{Detector: "out-of-hours", Reason: why, Since: since}, {Detector: "off-ward", Reason: why, Since: since}}
}

// The list of alerts says what is not looked for, and never "No alerts" then.
// hazard:GW-24 control:C-190
func TestAlertsSayWhatIsNotLookedFor(t *testing.T) {
	b := newBench()
	const gap = "Not evaluated: no rota feed, found on 3 November 2026, 13:02: off ward, out of hours."
	if body := b.get(t, "/.matron/alerts").Body.String(); strings.Contains(body, "Not everything is looked for") {
		t.Error("a gap is spoken of where there is none")
	}
	b.health.Unjudged = unjudged()
	for _, found := range [][]dashboards.Alert{b.reader.Found, nil} {
		b.reader.Found = found
		if body := b.get(t, "/.matron/alerts").Body.String(); !strings.Contains(body, gap) || strings.Contains(body, "No alerts.") {
			t.Errorf("with %d alerts the page does not say what is not looked for", len(found))
		}
	}
	if body := b.get(t, "/.matron/").Body.String(); strings.Contains(body, "No alerts.") {
		t.Error("the home page says that there are none")
	}
	b.health = fake.Healthy()
	if body := b.get(t, "/.matron/alerts").Body.String(); !strings.Contains(body, "No alerts.") {
		t.Error("none is not said")
	}
}

// hazard:GW-24 control:C-190
func TestHealthPageNamesWhatDoesNotWork(t *testing.T) {
	for _, tt := range []struct {
		name, state, part, says string
		change                  func(*dashboards.Health)
	}{
		{"all well", "Everything works", "Record", "Working Record 1,204,881 is the newest", func(h *dashboards.Health) { h.JournalAt = time.Time{} }},
		{"journal", "Not working: Record", "Record", "Not working Accesses cannot be written down", func(h *dashboards.Health) { h.Journal = dashboards.StateFailed }},
		{"second sink", "Needs attention: Record", "Record", "in the second place, /srv/second,", func(h *dashboards.Health) { h.SecondSink = "/srv/second" }},
		{"disk", "Everything works", "Disk", "Working 41% used, 312 GB free.", func(*dashboards.Health) {}},
		{"no exports", "Needs attention: Disk", "Disk", "Needs attention 83% used, 9.9 GB free. Exports and other bulk work are refused. Patients' records open as usual. Since 3 November", func(h *dashboards.Health) {
			h.Disk.Used, h.Disk.Free, h.Disk.Level, h.Disk.Since = .83, 9_900_000_000, 1, fake.Now()
		}},
		{"no searches", "Needs attention: Disk", "Disk", "searches that are not about one patient, are refused", func(h *dashboards.Health) { h.Disk.Level = 2 }},
		{"care only", "Needs attention: Disk", "Disk", "Everything but patient care is refused", func(h *dashboards.Health) { h.Disk.Level = 3 }},
		{"emergency", "Needs attention: Disk", "Disk", "when the reserve is used up, care stops", func(h *dashboards.Health) { h.Disk.Level, h.Disk.Emergency = 3, true }},
		{"read-only", "Not working: Disk", "Disk", "read-only", func(h *dashboards.Health) { h.Disk.ReadOnly = true }},
		{"unmeasured", "Needs attention: Disk", "Disk", "Unknown How full the disk is cannot be read. Nothing is refused", func(h *dashboards.Health) { h.Disk = dashboards.Disk{} }},
		{"database gone", "Not working: Search index", "Search index", "Its database is gone (clickhouse-81). Care goes on and nothing is lost: 12 records wait", func(h *dashboards.Health) {
			h.Index, h.IndexCode = dashboards.StateFailed, "clickhouse-81"
		}},
		{"index down", "Not working: Search index", "Search index", "ClickHouse does not answer (unreachable)", func(h *dashboards.Health) {
			h.Index, h.IndexCode = dashboards.StateFailed, "unreachable"
		}},
		{"index behind", "Needs attention: Search index", "Search index", "It is behind: 12 records", func(h *dashboards.Health) { h.IndexedTo = fake.Now().Add(-time.Hour) }},
		{"index unknown", "Needs attention: Search index", "Search index", "not known", func(h *dashboards.Health) { h.Index = dashboards.StateUnknown }},
		{"witness down", "Not working: Witness", "Witness", "Checkpoints that are not there yet: 7, the oldest for 3 minutes", func(h *dashboards.Health) {
			h.Witness = dashboards.Copy{Set: true, State: dashboards.StateFailed, Waiting: 7, Behind: 3 * time.Minute}
		}},
		{"no witness", "Everything works", "Witness", "Not set up", func(h *dashboards.Health) { h.Witness = dashboards.Copy{} }},
		{"log server behind", "Needs attention: Log server", "Log server", "It is behind", func(h *dashboards.Health) {
			h.LogServer = dashboards.Copy{Set: true, State: dashboards.StateOK, Waiting: 7, Behind: 3 * time.Minute}
		}},
		{"sign-in service", "Needs attention: Sign-in service", "Sign-in service", "https://id.example sends no auth_time: sign-in again for protected records cannot be proved", func(h *dashboards.Health) {
			h.SaysNotWhen = "https://id.example"
		}},
		{"no register", "Everything works", "Care relationships", "Not set up", func(*dashboards.Health) {}},
		{"register", "Everything works", "Care relationships", "Working 48,211 patients; the last message came at 3 November", func(h *dashboards.Health) {
			h.Care = dashboards.Care{Set: true, Patients: 48_211, AsOf: fake.Now()}
		}},
		{"silent", "Needs attention: Care relationships", "Care relationships", "(PAS/RBA). Meanwhile nobody is refused", func(h *dashboards.Health) {
			h.Care = dashboards.Care{Set: true, AsOf: fake.Now(), Silent: []string{"PAS/RBA"}}
		}},
		{"loading", "Needs attention: Care relationships", "Care relationships", "is being read", func(h *dashboards.Health) { h.Care = dashboards.Care{Set: true, Loading: true} }},
		{"unreadable", "Not working: Care relationships", "Care relationships", "tries again by itself", func(h *dashboards.Health) { h.Care = dashboards.Care{Set: true, Failed: true} }},
		{"clock", "Needs attention: Clock", "Clock", "put forward by 2 hours", func(h *dashboards.Health) { h.ClockAt, h.ClockBy = fake.Now().Add(-time.Hour), 2*time.Hour }},
		{"old step", "Everything works", "Clock", "Working It last stepped", func(h *dashboards.Health) { h.ClockAt, h.ClockBy = fake.Now().Add(-25*time.Hour), time.Hour }},
		{"put back", "Needs attention: Clock", "Clock", "put back by 3 seconds", func(h *dashboards.Health) { h.ClockAt, h.ClockBy = fake.Now(), -3*time.Second }},
		{"detection late", "Needs attention: Detection", "Detection", "is late", func(h *dashboards.Health) { h.DetectedAt = fake.Now().Add(-10 * time.Minute) }},
		{"detection without a feed", "Needs attention: Detection", "Detection", "Needs attention It last finished at 14:00:11. Not everything is looked for, so that alerts may be missing. Not evaluated: no rota feed, found on 3 November 2026, 13:02: off ward, out of hours. To do: Run \"matron detect feeds\"", func(h *dashboards.Health) { h.Unjudged = unjudged() }},
		{"detection late and without a feed", "Needs attention: Detection", "Detection", "To do: Look at the search index and at the log of the gateway. Run", func(h *dashboards.Health) {
			h.DetectedAt, h.Unjudged = fake.Now().Add(-10*time.Minute), unjudged()
		}},
		{"detection behind", "Needs attention: Detection", "Detection", "It is behind: it has looked at accesses up to", func(h *dashboards.Health) { h.DetectBehind = fake.Now().Add(-10 * time.Minute) }},
		{"detection never", "Needs attention: Detection", "Detection", "has not looked", func(h *dashboards.Health) { h.DetectedAt = time.Time{} }},
		{"reload", "Needs attention: Configuration", "Configuration", "was refused; what was in force before stays so", func(h *dashboards.Health) { h.ReloadBad = true }},
		{"observing", "Needs attention: Decisions", "Decisions", "Observing only", func(h *dashboards.Health) { h.Mode = "observe" }},
		{"one observed", "Needs attention: Decisions", "Decisions", "Needs attention ui is only observed: what the rules refuse is recorded and goes on.", func(h *dashboards.Health) {
			h.Mode, h.Modes = "observe", []dashboards.AppMode{{App: "fhir", Mode: "enforce"}, {App: "ui", Mode: "observe"}}
		}},
		{"bypassed", "Needs attention: Decisions", "Decisions", "asked for by ann, approved by bob: charts do not open. What the rules refuse is recorded and goes on.", func(h *dashboards.Health) {
			h.Mode, h.Modes = "bypass", []dashboards.AppMode{fake.Bypassed()}
		}},
		{"mode unknown", "Needs attention: Decisions", "Decisions", "It is not known whether decisions are enforced.", func(h *dashboards.Health) { h.Mode = "" }},
		{"limits", "Everything works", "Limits", "Working Limits are in force.", func(*dashboards.Health) {}},
		{"limits lifted", "Needs attention: Limits", "Limits", "until 5 November 2026, 09:30, declared by ann: coach crash.", func(h *dashboards.Health) {
			h.Limits.Lifted = []dashboards.Lifting{{Reason: "coach crash", By: "ann", Since: fake.Now(), Until: time.Date(2026, 11, 5, 9, 30, 0, 0, time.UTC)}}
		}},
		{"over budget", "Everything works", "Limits", "Limits are in force. 1 budget of patients is used up (Live).", func(h *dashboards.Health) {
			h.Limits.Over = []dashboards.OverBudget{{Sub: "x"}}
		}},
		{"uncounted", "Needs attention: Limits", "Limits", "7 were not counted.", func(h *dashboards.Health) { h.Limits.Uncounted = 7 }},
		{"machine runs out", "Needs attention: Limits", "Limits", "The registration of A&E board runs out on", func(h *dashboards.Health) {
			h.Limits.Expiring = []dashboards.Expiry{{Name: "A&E board", At: fake.Now().Add(time.Hour)}}
		}},
		{"machine ran out", "Needs attention: Limits", "Limits", "The registration of A&E board ran out on", func(h *dashboards.Health) {
			h.Limits.Expiring = []dashboards.Expiry{{Name: "A&E board", At: fake.Now()}}
		}},
		{"several", "Not working: Record", "Disk", "care is refused", func(h *dashboards.Health) {
			h.Journal, h.Disk.Level = dashboards.StateFailed, 3
		}},
	} {
		b := newBench()
		tt.change(&b.health)
		state, rows := healthRows(t, b.get(t, "/.matron/health").Body.String())
		if state != tt.state || !strings.Contains(rows[tt.part], tt.says) {
			t.Errorf("%s: %q, %s is %q; want %q and %q", tt.name, state, tt.part, rows[tt.part], tt.state, tt.says)
		}
		want := 13
		if tt.part == "Sign-in service" { // shown only where something is wrong with it
			want++
		}
		if len(rows) != want {
			t.Errorf("%s: %d parts, want %d", tt.name, len(rows), want)
		}
	}
}

// A gateway of which nothing is known is never said to work.
func TestHealthThatIsUnknownIsSaidToBe(t *testing.T) {
	b := newBench()
	b.health = dashboards.Health{}
	state, rows := healthRows(t, b.get(t, "/.matron/health").Body.String())
	if want := "Needs attention: Record, Decisions, Disk, Search index, Detection, Configuration"; state != want {
		t.Errorf("%q, want %q", state, want)
	}
	for _, name := range []string{"Record", "Disk", "Search index", "Detection", "Configuration"} {
		if !strings.HasPrefix(rows[name], "Unknown ") {
			t.Errorf("%s: %q", name, rows[name])
		}
	}
}

// The page that says that the index is down does not need the index, and the
// page that says that the disk is full does not write to it.
func TestHealthPageAsksNothingOfTheIndex(t *testing.T) {
	b := newBench()
	b.cfg.Accesses, b.cfg.Alerts = &panicking{}, &panicking{}
	if w := b.get(t, "/.matron/health"); w.Code != 200 {
		t.Errorf("got %d", w.Code)
	}
	if n := len(b.journal.Records()); n != 0 {
		t.Errorf("%d records", n)
	}
	vital := map[string]bool{}
	for _, r := range dashboards.Routes() {
		if r.Vital {
			vital[r.ID] = true
		}
	}
	if diff := cmp.Diff(map[string]bool{"health": true}, vital); diff != "" {
		t.Error(diff)
	}
}

// panicking is an index that nobody may ask.
type panicking struct {
	dashboards.AccessReader
	dashboards.AlertReader
}
