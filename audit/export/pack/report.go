package pack

import (
	"bytes"
	_ "embed"
	"html/template"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
)

//go:embed report.html
var reportText string

//go:embed readme.txt
var readme string

// page is what report.html shows.
type page struct {
	Contents
	Title  string
	People []person
	Rows   []access
	Other  int // records of the exchanges that are no accesses themselves
}

type person struct {
	ID, Name, Roles string
	Accesses        int
	First, Last     string
}

type access struct {
	Time, Person, Name, Roles  string
	What, Patient, NHSNumber   string
	Decision, Outcome, Receipt string
}

func renderReport(c Contents, list []audit.Access) ([]byte, error) {
	if c.Location == nil {
		c.Location = time.UTC
	}
	p := page{Contents: c, Title: title(c.Question), People: people(c.Location, list), Other: len(c.Entries) - len(list)}
	for i := range list {
		p.Rows = append(p.Rows, row(c.Location, &list[i]))
	}
	t, err := template.New("report").Funcs(template.FuncMap{
		"when": func(t time.Time) string { return when(t, c.Location) },
		"nhs":  spaced, "count": count,
	}).Parse(reportText)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, p)
	return b.Bytes(), err
}

func title(q Question) string {
	switch {
	case q.Case != "":
		return "The accesses of case " + q.Case
	case q.Patient != "" || q.NHSNumber != "":
		return "Who opened this patient's record"
	case q.Person != "":
		return "What this person did"
	}
	return "Accesses"
}

// when writes a time for people, to the second.
func when(t time.Time, l *time.Location) string {
	if t.IsZero() {
		return ""
	}
	return t.In(l).Format("2 January 2006 at 15:04:05 MST")
}

// count writes a number and what there are of it.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// spaced writes an NHS number as 999 123 4567.
func spaced(n string) string {
	if len(n) != 10 {
		return n
	}
	return n[:3] + " " + n[3:6] + " " + n[6:]
}

func row(l *time.Location, a *audit.Access) access {
	return access{
		Time: when(a.Time, l), Person: a.Person, Name: a.UserName, Roles: strings.Join(a.Roles, ", "),
		What: what(a), Patient: a.Patient, NHSNumber: spaced(a.NHSNumber),
		Decision: decision(a), Outcome: outcome(a), Receipt: audit.Receipt{Source: a.Source, Seq: a.Seq}.Place(),
	}
}

func what(a *audit.Access) string {
	if a.Action == "" {
		return strings.ReplaceAll(string(a.Kind), "-", " ")
	}
	return strings.TrimSpace(strings.Join([]string{a.Action, a.Area, a.Resource}, " "))
}

func decision(a *audit.Access) string {
	text := a.Effect
	if a.WouldDeny {
		text += ", and the rules said no (" + a.Mode + " mode)"
	}
	if a.Basis != "" {
		text += ": " + a.Basis
	}
	if len(a.Reasons) > 0 {
		text += " (" + strings.Join(a.Reasons, ", ") + ")"
	}
	return text
}

func outcome(a *audit.Access) string {
	if a.Kind != audit.KindDecision && a.Kind != audit.KindPatient {
		return ""
	}
	if !a.Settled {
		return "not known"
	}
	switch a.Outcome {
	case audit.Success:
		return "released"
	case audit.MinorFailure:
		return "not released"
	default:
		return "failed"
	}
}

// people sums up by person, most accesses first.
func people(l *time.Location, list []audit.Access) []person {
	at := map[string]int{}
	var all []person
	for i := range list {
		a := &list[i]
		n, ok := at[a.Person]
		if !ok {
			n = len(all)
			at[a.Person] = n
			all = append(all, person{ID: a.Person, First: when(a.Time, l)})
		}
		p := &all[n]
		p.Accesses++
		p.Last = when(a.Time, l)
		if a.UserName != "" {
			p.Name, p.Roles = a.UserName, strings.Join(a.Roles, ", ")
		}
	}
	slices.SortStableFunc(all, func(a, b person) int { return b.Accesses - a.Accesses })
	return all
}
