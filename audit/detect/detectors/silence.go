package detectors

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit/detect/table"
	"github.com/matron-epr/matron/audit/feeds"
)

const (
	hourLong = 3600 * micros
	// busyHour records are usual in an hour that counts. Such hours in a row without
	// any, in which silentRecords are usual, are a silence when by chance that were
	// rarer than byChance. Medians need fewestHours.
	busyHour, silentRecords, fewestHours = 3, 60, 5
	byChance                             = 1e-5
	// staffed people on shift are a ward that is open.
	staffed = 2
)

// Silence is a stretch in which something that records wrote nothing down, though
// it usually does at such times and the rest of the hospital went on. It is about
// systems and workstations, never about a person.
type Silence struct {
	Signal
	Of       string // what was silent, e.g. "The workstations of ward ASH"
	From, To time.Time
	Usual    int // records at such times
}

// recorder is something that records, by the hours of the table.
type recorder struct {
	of     string
	counts []int32
	open   []int32 // people whom the rota has there; nil is not asked for
	alone  bool    // there is nothing else to compare with
}

// hours is the table cut into hours of the hospital's day.
type hours struct {
	first int64 // since 1970
	n     int
	class []int8 // hour of a weekday or of a weekend's day
	total []int32
}

func newHours(t *table.Table, location *time.Location) *hours {
	h := &hours{first: t.At[0] / hourLong}
	h.n = int(t.At[t.Len()-1]/hourLong - h.first + 1)
	h.class, h.total = make([]int8, h.n), make([]int32, h.n)
	for i := range h.class {
		at := h.at(i).In(location)
		h.class[i] = int8(at.Hour()) //nolint:gosec // hours of a day
		if d := at.Weekday(); d == time.Saturday || d == time.Sunday {
			h.class[i] += 24
		}
	}
	for _, at := range t.At {
		h.total[at/hourLong-h.first]++
	}
	return h
}

func (h *hours) at(i int) time.Time { return time.Unix((h.first+int64(i))*3600, 0).UTC() }

// usual is the median of each class of hours, 0 where there are too few.
func (h *hours) usual(counts []int32) (of [48]int32) {
	var values [48][]int32
	for i, n := range counts {
		values[h.class[i]] = append(values[h.class[i]], n)
	}
	for c, all := range values {
		if len(all) >= fewestHours {
			slices.Sort(all)
			of[c] = all[(len(all)-1)/2]
		}
	}
	return of
}

// silences finds the stretches without a record. The first and the last hour of the
// table are in part outside it and do not count.
func (h *hours) silences(r *recorder) (out []Silence) {
	usual := h.usual(r.counts)
	rest := make([]int32, h.n)
	for i := range rest {
		rest[i] = h.total[i] - r.counts[i]
	}
	usualRest := h.usual(rest)
	without, busy := 0, 0
	counts := func(i int) bool { return usual[h.class[i]] >= busyHour && (r.open == nil || r.open[i] >= staffed) }
	for i, n := range r.counts {
		if counts(i) {
			busy++
			without += int(yes(n == 0))
		}
	}
	for i := 1; i < h.n-1; i++ {
		if r.counts[i] > 0 {
			continue
		}
		from, to, silent, missed := 0, 0, 0, 0
		var went, would int64 // what the rest recorded, and what it usually does
		for ; i < h.n-1 && r.counts[i] == 0; i++ {
			c := h.class[i]
			if !counts(i) {
				continue
			}
			if silent == 0 {
				from = i
			}
			to, silent, missed = i+1, silent+1, missed+int(usual[c])
			went, would = went+int64(rest[i]), would+int64(usualRest[c])
		}
		// how often such an hour is without a record anyway, this stretch left out
		chance := math.Pow(float64(without-silent+1)/float64(busy-silent+1), float64(silent))
		if chance > byChance || missed < silentRecords || !r.alone && 2*went < would {
			continue
		}
		out = append(out, Silence{
			Signal: Signal{Value: float64(silent), P: chance}, Of: r.of, From: h.at(from), To: h.at(to), Usual: missed,
		})
	}
	return out
}

// systems are what writes records on its own: applications, and the accounts of
// machines. Where there is one application, it is everything.
func (s *scanned) systems(*feeds.Context) []Silence {
	h := newHours(s.t, s.location)
	all := []*recorder{{of: "Everything that records", counts: h.total, alone: true}}
	for system, counts := range s.t.Hours {
		r := &recorder{of: "The application " + cmp.Or(system.App, "without a name"), counts: make([]int32, h.n)}
		if system.Source != "" {
			r.of += " of the source " + system.Source
		}
		for hour, n := range counts {
			if i := hour - h.first; i >= 0 && i < int64(h.n) {
				r.counts[i] = n
			}
		}
		if len(s.t.Hours) > 1 {
			all = append(all, r)
		} else {
			all[0].of = r.of
		}
	}
	machines := map[uint32]*recorder{}
	for row, p := range s.t.Person {
		if !s.people[p].machine {
			continue
		}
		if machines[p] == nil {
			machines[p] = &recorder{of: "The interface account " + s.t.People.Text(p), counts: make([]int32, h.n)}
			all = append(all, machines[p])
		}
		machines[p].counts[s.t.At[row]/hourLong-h.first]++
	}
	return h.all(all)
}

// wardsSilent are the workstations of wards where the rota has people at work.
func (s *scanned) wardsSilent(c *feeds.Context) []Silence {
	h := newHours(s.t, s.location)
	wards := make([]*recorder, s.wards.Len())
	for row, device := range s.t.Device {
		ward := s.devices[device]
		if ward == 0 {
			continue
		}
		if wards[ward] == nil {
			wards[ward] = &recorder{of: "The workstations of ward " + s.wards.Text(ward), counts: make([]int32, h.n), open: make([]int32, h.n)}
		}
		wards[ward].counts[s.t.At[row]/hourLong-h.first]++
	}
	for i := range c.Rota {
		shift := &c.Rota[i]
		ward, ok := s.wards.Find(shift.Ward)
		if !ok || wards[ward] == nil || shift.Kind == "leave" || shift.Kind == "sick" {
			continue
		}
		from, to := (shift.Start.Unix()+3599)/3600-h.first, shift.End.Unix()/3600-h.first // whole hours
		for k := max(from, 0); k < min(to, int64(h.n)); k++ {
			wards[ward].open[k]++
		}
	}
	return h.all(slices.DeleteFunc(wards, func(r *recorder) bool { return r == nil }))
}

// all finds the silences of several, in a fixed order.
func (h *hours) all(recorders []*recorder) (out []Silence) {
	for _, r := range recorders {
		out = append(out, h.silences(r)...)
	}
	slices.SortFunc(out, func(a, b Silence) int { return cmp.Or(a.From.Compare(b.From), strings.Compare(a.Of, b.Of)) })
	return out
}

// ofSystems are detectors of what records.
func ofSystems() []Definition {
	return []Definition{
		{
			ID: "audit-silence", Version: 1, Title: "An application stopped recording",
			Description:    "An application of a source, or the account of an interface, recorded nothing for so many hours in a row, sixty records in them usual, that by chance it were less than one in 100,000, while the rest recorded at least half of what is usual; or everything fell silent. Usual is the median of the same hour on weekdays or at weekends, from five such days on.",
			FalsePositives: "Planned downtime; bank holidays of clinics; an application that was replaced; a file of history that was not brought in.",
			Runbook:        "For security: look whether the application was up, whether it was used without the gateway, and whether its records arrive late. Check the record with \"matron audit verify\". Bring in what the application wrote down itself.",
			silence:        (*scanned).systems,
		},
		{
			ID: "ward-silence", Version: 1, Title: "Workstations of a ward stopped recording", Needs: []feeds.Kind{feeds.RotaFeed, feeds.DevicesFeed},
			Description:    "The workstations of a ward recorded nothing for so many hours in a row, sixty records in them usual, that by chance it were less than one in 100,000, while the ward was open by the rota and the rest of the hospital recorded at least half of what is usual.",
			FalsePositives: "A ward that closed or moved; new workstations that the list does not have; network maintenance.",
			Runbook:        "For security: look whether the ward's network and workstations were up, and by what way the record was used meanwhile. It says nothing about the people on the ward.",
			silence:        (*scanned).wardsSilent,
		},
	}
}
