package detectors

import (
	"slices"
	"time"

	"github.com/matron-epr/matron/audit/detect/table"
)

// Found is what the detectors say about days that hold something.
type Found struct {
	Days         []Day     // in the order of person and date
	Silences     []Silence // of what records, in the order of time
	NotEvaluated []Missing
	Accesses     int // deliberate looks at patients
	Explained    int // of them, by strong evidence
	People       int // who were seen, machines left out
	index        *index
}

// Day is one person's day.
type Day struct {
	Person   string
	Role     string
	Date     int32   // days since 1970 in the hospital's time zone
	Patients int     // opened on the day, explained or not
	Usual    float64 // patients of a day in the role, the mean
	Visits   []Visit
	Rows     []uint32 // of what was printed and exported
	Signals  []Signal // of the day as a whole
}

// Visit is what one person did to one patient on one day and no strong evidence
// explains. A look at one's own record is a visit whatever explains it.
type Visit struct {
	Patient  string
	Rows     []uint32
	Looks    int  // explained ones too
	Wrote    bool // for the patient on that day
	Covering bool // wrote for others of the patient's ward on that day
	Weak     bool // every look has a weak explanation
	Signals  []Signal
}

// Run looks at all accesses.
func Run(in Input) Found {
	if in.Accesses.Len() == 0 {
		return Found{}
	}
	s := scan(in)
	f := Found{NotEvaluated: s.evaluate(&in.Context)}
	f.Silences = s.silences
	for i := range in.Accesses.Len() {
		if in.Accesses.Counts(i) && !s.people[in.Accesses.Person[i]].machine {
			f.Accesses++
			if in.Explained[i] == Strong {
				f.Explained++
			}
		}
	}
	usual := map[string]float64{}
	for role, days := range s.active {
		usual[role] = float64(s.visits[role]) / float64(max(days, 1))
	}
	people := map[uint32]bool{}
	for i := range s.days {
		d := &s.days[i]
		people[d.person] = true
		if len(d.visits) == 0 && len(d.signals) == 0 {
			continue
		}
		f.Days = append(f.Days, s.tell(d, usual[s.people[d.person].role]))
	}
	f.People = len(people)
	f.index = s.index
	return f
}

// tell says what was found about a day.
func (x *index) tell(d *day, usual float64) Day {
	out := Day{
		Person: x.t.People.Text(d.person), Role: x.people[d.person].role, Date: d.date, Patients: int(d.patients), Usual: usual, Rows: d.rows, Signals: d.signals,
	}
	for k := range d.visits {
		v := &d.visits[k]
		out.Visits = append(out.Visits, Visit{
			Patient: x.ids.Text(v.patient), Rows: v.rows, Looks: v.looks, Wrote: v.is(wrote), Covering: v.is(covering), Weak: v.is(weakly),
			Signals: v.signals,
		})
	}
	return out
}

// Counts says whether a row is a look by a person.
func (f *Found) Counts(t *table.Table, row int) bool {
	return t.Counts(row) && !f.index.people[t.Person[row]].machine
}

// DateOf is the day of a row, as a case writes it.
func (f *Found) DateOf(t *table.Table, row int) string {
	return f.DayOf(t.Time(row))
}

// DayOf is the day of a moment, as a case writes it.
func (f *Found) DayOf(at time.Time) string { return at.In(f.index.location).Format(time.DateOnly) }

// InUse is the patient of a row, under the number in use.
func (f *Found) InUse(t *table.Table, row int) string {
	return f.index.ids.Text(f.index.canon[t.Patient[row]])
}

// Has says whether a detector measured at least least.
func (d *Day) Has(id string, least float64) bool { return has(d.Signals, id, least) }

// Has says whether a detector measured at least least.
func (v *Visit) Has(id string, least float64) bool { return has(v.Signals, id, least) }

func has(signals []Signal, id string, least float64) bool {
	return slices.ContainsFunc(signals, func(g Signal) bool { return g.Detector == id && g.Value >= least })
}
