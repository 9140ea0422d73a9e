package learn

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/audit/intake"
)

// Outcome is what a reviewer says of a case.
type Outcome string

// The outcomes. Misuse, PolicyBreach and Training say that the case was worth asking
// about, Justified that it was not, nor Systemic: justified, and it will come again
// since no feed shows it. The others say nothing about detectors.
const (
	Misuse       Outcome = "misuse"
	PolicyBreach Outcome = "policy-breach"
	Training     Outcome = "training"
	Justified    Outcome = "justified"
	Systemic     Outcome = "systemic"
	Insufficient Outcome = "insufficient"
	Duplicate    Outcome = "duplicate"
)

// Outcomes lists them.
func Outcomes() []Outcome {
	return []Outcome{Misuse, PolicyBreach, Training, Justified, Systemic, Insufficient, Duplicate}
}

func (o Outcome) right() bool { return o == Misuse || o == PolicyBreach || o == Training }

func (o Outcome) wrong() bool { return o == Justified || o == Systemic }

func (o Outcome) speaks() bool { return o.right() || o.wrong() }

// Disposition is what one reviewer said of one case.
type Disposition struct {
	Case    string    `json:"case"`
	Outcome Outcome   `json:"disposition"`
	By      string    `json:"by"`
	At      time.Time `json:"at"`
	File    string    `json:"-"` // where it was read
	Line    int       `json:"-"`
}

// Note is what is to be said of one line of a file of dispositions.
type Note struct {
	File   string
	Line   int
	Reason string
	Counts bool // it went in all the same
}

// maxLine bounds one disposition.
const maxLine = 1 << 20

// Read reads a file of dispositions. Lines that are none are noted, without their
// values; fields that the format does not have are named.
func Read(in io.Reader, file string) (out []Disposition, notes []Note, unknown []string, err error) {
	lines := intake.NewLines(in, maxLine)
	var report intake.Report
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return out, notes, report.Unknown, nil
		}
		if err != nil && !errors.Is(err, intake.ErrTooLong) {
			return nil, nil, nil, fmt.Errorf("read %s: %w", file, err)
		}
		var d Disposition
		var fields []string
		if err == nil {
			d, fields, err = parse(line)
		}
		if err != nil {
			notes = append(notes, Note{File: file, Line: lines.Number(), Reason: err.Error()})
			continue
		}
		report.AddUnknown(fields...)
		d.File, d.Line = file, lines.Number()
		out = append(out, d)
	}
}

func parse(line []byte) (Disposition, []string, error) {
	var in struct {
		Disposition
		At    string                    `json:"at"`
		Extra map[string]jsontext.Value `json:",embed"`
	}
	if err := json.Unmarshal(line, &in); err != nil {
		return Disposition{}, nil, intake.Mistake(line, err)
	}
	d := in.Disposition
	errs := []error{intake.Required("case", d.Case != ""), intake.Required("disposition", d.Outcome != ""), intake.Required("by", d.By != ""), intake.Required("at", in.At != "")}
	if d.Outcome != "" && !slices.Contains(Outcomes(), d.Outcome) {
		errs = append(errs, errors.New("disposition: not one of misuse, policy-breach, training, justified, systemic, insufficient and duplicate"))
	}
	if in.At != "" {
		var err error
		if d.At, err = time.Parse(time.RFC3339, in.At); err != nil {
			errs = append(errs, errors.New("at: not a time of RFC 3339 with its offset"))
		}
	}
	var fields []string
	for name := range in.Extra {
		fields = append(fields, name)
	}
	return d, fields, errors.Join(errs...)
}

// Cases are the cases that dispositions are about.
type Cases map[string]*cases.Case

// Add takes cases in. Of two lists that have the same case the later one counts.
func (c Cases) Add(all []cases.Case) {
	for i := range all {
		c[all[i].ID] = &all[i]
	}
}

// late is after how long a disposition is named: the roles, feeds and detectors of
// then may be others than those of today.
const late = 90 * 24 * time.Hour

// Settle takes the one disposition of each case that counts, in the order of cases,
// and notes each line that does not count, and why. now is what no disposition can
// be later than.
func Settle(all []Disposition, known Cases, now time.Time) (out []Disposition, notes []Note) {
	byCase := map[string][]Disposition{}
	for _, d := range all {
		if why := misfit(d, known[d.Case], now); why != "" {
			notes = append(notes, d.note(why))
			continue
		}
		byCase[d.Case] = append(byCase[d.Case], d)
	}
	for id, given := range byCase {
		last, more := lastOfEach(given)
		notes = append(notes, more...)
		if clash := contradiction(last); clash != nil {
			notes = append(notes, clash...)
			continue
		}
		for _, d := range last {
			if d.At.Sub(known[id].MadeAt) > late {
				n := d.note("late: more than 90 days after the newest access of the case; it counts")
				n.Counts = true
				notes = append(notes, n)
			}
		}
		if i := slices.IndexFunc(last, func(d Disposition) bool { return d.Outcome.speaks() }); i >= 0 {
			out = append(out, last[i])
		}
	}
	slices.SortFunc(out, func(a, b Disposition) int { return cmp.Compare(a.Case, b.Case) })
	slices.SortFunc(notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Reason, b.Reason))
	})
	return out, notes
}

func (d Disposition) note(reason string) Note {
	return Note{File: d.File, Line: d.Line, Reason: reason}
}

// misfit says why a disposition cannot be about a case.
func misfit(d Disposition, c *cases.Case, now time.Time) string {
	switch {
	case c == nil:
		return "case: not among the cases; name the run that made it with --cases"
	case d.At.Before(c.MadeAt):
		return "at: before the newest access of the case"
	case d.At.After(now):
		return "at: lies in the future"
	}
	return ""
}

// lastOfEach takes what each reviewer said last. The others are noted.
func lastOfEach(given []Disposition) (last []Disposition, notes []Note) {
	slices.SortStableFunc(given, func(a, b Disposition) int {
		return cmp.Or(cmp.Compare(a.By, b.By), a.At.Compare(b.At), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	for i, d := range given {
		if i+1 == len(given) || given[i+1].By != d.By {
			last = append(last, d)
			continue
		}
		next := given[i+1]
		what := "replaced by what the same reviewer said later"
		if next.Outcome == d.Outcome {
			what = "said again by the same reviewer"
		}
		notes = append(notes, d.note(fmt.Sprintf("%s (%s line %d)", what, next.File, next.Line)))
	}
	return last, notes
}

// contradiction notes every line when reviewers do not agree whether there was
// misuse.
func contradiction(last []Disposition) []Note {
	right := slices.IndexFunc(last, func(d Disposition) bool { return d.Outcome.right() })
	wrong := slices.IndexFunc(last, func(d Disposition) bool { return d.Outcome.wrong() })
	if right < 0 || wrong < 0 {
		return nil
	}
	var notes []Note
	for _, d := range last {
		if !d.Outcome.speaks() {
			continue
		}
		other := last[wrong]
		if !d.Outcome.right() {
			other = last[right]
		}
		notes = append(notes, d.note(fmt.Sprintf("another reviewer says otherwise (%s line %d): neither counts until they agree", other.File, other.Line)))
	}
	return notes
}
