package dashboards_test

import (
	"html"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/dashboards/internal/fake"
)

// seen is an access to patient H7, minutes before now.
func seen(minutes int, person string, change func(*audit.Access)) audit.Access {
	a := audit.Access{Settled: true, Record: audit.Record{
		Site: fake.Site, Source: "gw1", Seq: uint64(10_000 - minutes), Time: fake.Now().Add(-time.Duration(minutes) * time.Minute),
		Person: person, UserName: "Nora Secret", UserSub: "u-" + person, Roles: []string{"ward-clerk"}, Patient: "H7", Certainty: audit.Authoritative,
		Action: "read", Area: "sexual-health", Effect: "allow", Outcome: audit.Success,
	}}
	if change != nil {
		change(&a)
	}
	return a
}

var (
	rowOf   = regexp.MustCompile(`(?s)<tr class="nhsuk-table__row" role="row">(.*?)</tr>`)
	cellOf  = regexp.MustCompile(`(?s)<td.*?</span>(.*?)</td>`)
	timesOf = regexp.MustCompile(`([0-9,]+) times$`)
	element = regexp.MustCompile(`<[^>]*>`)
)

// rowsOf reads the cells of the body of the only table of a page.
func rowsOf(page string) [][]string {
	var out [][]string
	for _, row := range rowOf.FindAllStringSubmatch(page, -1) {
		var cells []string
		for _, c := range cellOf.FindAllStringSubmatch(row[1], -1) {
			words := html.UnescapeString(element.ReplaceAllString(strings.ReplaceAll(c[1], "</p>", "; "), ""))
			cells = append(cells, strings.ReplaceAll(strings.Trim(words, "; "), "\u00a0", " "))
		}
		if cells != nil {
			out = append(out, cells)
		}
	}
	return out
}

// The patient reads one line for what a person did on a day, with what explains it, or
// that nothing has been matched yet, in neutral words.
// hazard:GW-29 control:C-221
func TestLetterSaysWhoAndWhyToThePatient(t *testing.T) {
	b := newBench()
	b.cfg.Ward = func(person string) string { return map[string]string{"N1": "ASH"}[person] }
	b.cfg.Explain = func(l dashboards.Look) []dashboards.Ground {
		if l.Person == "N1" && l.Patient == "H7" {
			return []dashboards.Ground{{Reviewer: "For reviewers.", Patient: "You were cared for on ward ASH."}}
		}
		return nil
	}
	b.reader.Rows = []audit.Access{
		seen(1, "N1", nil),
		seen(2, "N2", func(a *audit.Access) { a.Effect = "deny" }),
		seen(3, "N1", func(a *audit.Access) { a.Action = "update" }),
		seen(4, "N3", func(a *audit.Access) { a.Basis = "break-glass:BG-7" }),
		seen(5, "N4", nil),
		seen(6, "N4", func(a *audit.Access) { a.Action, a.PatientSource = "list", audit.SourceResponse }),
		seen(7, "N5", func(a *audit.Access) { a.Settled = false }),
		seen(8, "", func(a *audit.Access) { a.Detail, a.Roles = []string{audit.DetailMachine}, []string{"api-client"} }),
		seen(60*24, "N1", nil),
	}
	body := b.get(t, b.find(t, "hospital", "H7")+"&view=letter").Body.String()
	const none = "We have not matched this to your care yet. That does not mean that it was wrong."
	want := [][]string{
		{"3 November 2026, 13:59 to 14:01, 2 times", "Ward clerk, ASH", "Looked at your record; Changed your record", "You were cared for on ward ASH."},
		{"3 November 2026, 14:00", "Ward clerk", "They tried to open your record. They were stopped, and saw nothing.", "Nothing of your record was shown."},
		{"3 November 2026, 13:58", "Ward clerk", "Looked at your record", "They opened it in an emergency and had to say why. Somebody else checks each emergency."},
		{"3 November 2026, 13:57", "Ward clerk", "Looked at your record", none},
		{"3 November 2026, 13:56", "Ward clerk", "Your name was in a list. Your record was not opened.", "Staff use lists to find the right patient."},
		{"3 November 2026, 13:55", "Ward clerk", "They asked for your record. We do not know if it was shown.", none},
		{"3 November 2026, 13:54", "A computer system, not a person", "Looked at your record", none},
		{"2 November 2026, 14:02", "Ward clerk, ASH", "Looked at your record", "You were cared for on ward ASH."},
	}
	if d := cmp.Diff(want, rowsOf(body)); d != "" {
		t.Error(d)
	}
	for _, private := range []string{"Secret", "N1", "For reviewers", "exual"} {
		if strings.Contains(body, private) {
			t.Errorf("the letter has %q", private)
		}
	}
	last := b.journal.Records()
	if r := last[len(last)-1]; r.Screen != "who-viewed-letter" || r.Patient != "H7" {
		t.Errorf("recorded as %s of %s", r.Screen, r.Patient)
	}
}

// A letter says so when it does not hold everything.
func TestLetterSaysWhatIsMissing(t *testing.T) {
	b := newBench()
	b.reader.Rows = nil
	for i := range 5001 {
		b.reader.Rows = append(b.reader.Rows, seen(i, "N1", nil))
	}
	address := b.find(t, "hospital", "H7") + "&view=letter"
	body := b.get(t, address).Body.String()
	if !strings.Contains(body, "more looks before this") {
		t.Error("what does not fit is not spoken of")
	}
	total := 0
	for _, row := range rowsOf(body) {
		n := 1
		if times := timesOf.FindStringSubmatch(row[0]); times != nil {
			n, _ = strconv.Atoi(strings.ReplaceAll(times[1], ",", ""))
		}
		total += n
	}
	if total != 5000 {
		t.Errorf("%d looks are told of", total)
	}
	b.reader.Rows = b.reader.Rows[:3]
	if body := b.get(t, address).Body.String(); strings.Contains(body, "looks before this") {
		t.Error("a whole letter says that something is missing")
	}
	b.health.IndexedTo = fake.Now().Add(-time.Hour)
	if body := b.get(t, address).Body.String(); !strings.Contains(body, "newest looks may be missing") {
		t.Error("a copy that is behind is not spoken of")
	}
}
