package simulate

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// accessesFile is the one file that is compressed.
const accessesFile = "accesses.ndjson.zst"

// output is the folder that is being filled. Its accesses file has another name
// until it is whole.
type output struct {
	dir    string
	file   *os.File
	packed *zstd.Encoder
	lines  int
	buf    []byte
}

func newOutput(dir string) (*output, error) {
	f, err := os.OpenFile(filepath.Join(dir, accessesFile+".part"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write accesses: %w", err)
	}
	packed, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2))
	if err != nil {
		return nil, fmt.Errorf("write accesses: %w", errors.Join(err, f.Close()))
	}
	return &output{dir: dir, file: f, packed: packed}, nil
}

// abandon leaves nothing of a run that did not finish.
func (o *output) abandon() {
	if o.file != nil {
		_ = o.packed.Close()
		_ = o.file.Close()
		_ = os.Remove(o.file.Name())
	}
}

// accesses writes one day.
func (o *output) accesses(w *world, all []access) error {
	for i := range all {
		o.lines++
		o.buf = w.encode(o.buf[:0], &all[i], o.lines)
		if _, err := o.packed.Write(o.buf); err != nil {
			return fmt.Errorf("write accesses: %w", err)
		}
	}
	return nil
}

// finish closes the accesses and writes the other files.
func (o *output) finish(w *world) (Summary, error) {
	err := errors.Join(o.packed.Close(), o.file.Sync(), o.file.Close())
	part := o.file.Name()
	o.file = nil
	if err == nil {
		err = os.Rename(part, filepath.Join(o.dir, accessesFile))
	}
	if err != nil {
		return Summary{}, fmt.Errorf("write accesses: %w", errors.Join(err, os.Remove(part)))
	}
	h := w.files()
	labels := w.labelLines()
	if err := errors.Join(h.WriteFiles(o.dir), o.writeLines("devices.ndjson", w.deviceLines()), o.writeLines("labels.ndjson", labels)); err != nil {
		return Summary{}, err
	}
	return Summary{
		Staff: len(h.Staff), Patients: len(h.Patients), Care: len(h.Care), Rota: len(h.Rota), Devices: w.placed,
		Accesses: o.lines, Labels: len(labels),
	}, nil
}

func (o *output) writeLines(name string, rows []any) (err error) {
	f, err := os.OpenFile(filepath.Join(o.dir, name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	buf := bufio.NewWriter(io.Writer(f))
	enc := json.NewEncoder(buf)
	for _, r := range rows {
		err = errors.Join(err, enc.Encode(r))
	}
	return errors.Join(err, buf.Flush(), f.Close())
}

// idOf is the number of a patient on a day: the old one until it was merged.
func (w *world) idOf(p int32, day int) string {
	if one := &w.patients[p]; one.old != "" && day < one.merged {
		return one.old
	}
	return w.patients[p].id
}

// encode writes one line. Every text in it is plain ASCII without quotes.
func (w *world) encode(b []byte, a *access, n int) []byte {
	field := func(name, value string) {
		if value != "" {
			b = append(append(append(append(append(b, ',', '"'), name...), '"', ':', '"'), value...), '"')
		}
	}
	p := &w.people[a.person]
	at := time.UnixMicro(a.at).In(w.cfg.Start.Location())
	day := w.dayOf(a.at / 1e6)
	b = append(b, `{"id":"A`...)
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, `","time":"`...)
	b = at.AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	b = append(b, '"')
	field("person", p.id)
	field("action", a.action.String())
	field("source", "epr")
	field("app", "epr")
	field("role", p.post.role)
	if a.session > 0 {
		b = append(b, `,"session":"T`...)
		b = strconv.AppendInt(b, int64(a.session), 10)
		b = append(b, '"')
	}
	field("device", w.devices[a.device].id)
	b = append(b, `,"ip":"10.20.`...)
	b = strconv.AppendInt(b, int64(a.device/250), 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(a.device%250+1), 10)
	b = append(b, '"')
	field("screen", a.screen)
	if a.patient >= 0 {
		field("patient", w.idOf(a.patient, day))
	}
	for i, one := range a.many {
		b = append(b, [...]string{`,"patients":["`, `","`}[min(i, 1)]...)
		b = append(b, w.idOf(one, day)...)
	}
	if len(a.many) > 0 {
		b = append(b, `"]`...)
	}
	b = append(b, [...]string{"", `,"deliberate":false`, `,"deliberate":true`}[a.deliberate+1]...)
	if a.patient >= 0 {
		field("purpose", "TREAT")
	}
	if a.glass {
		b = append(b, `,"break_glass":true`...)
	}
	field("reason", a.reason)
	field("outcome", "success")
	if a.bytes > 0 {
		b = append(b, `,"bytes":`...)
		b = strconv.AppendUint(b, uint64(a.bytes), 10)
	}
	if a.action == search {
		b = append(b, `,"results":`...)
		b = strconv.AppendUint(b, uint64(a.results), 10)
	}
	return append(b, '}', '\n')
}

// files is the hospital in the form in which its files are written.
func (w *world) files() *hospital.Hospital {
	h := &hospital.Hospital{Seed: w.cfg.Seed, Day: w.cfg.Start}
	for i := range w.people {
		if w.people[i].inHR {
			h.Staff = append(h.Staff, w.staffLines(&w.people[i])...)
		}
	}
	for i := range w.patients {
		p := &w.patients[i]
		l := hospital.Patient{ID: p.id, NHSNumber: p.nhs, Name: p.name, BirthDate: p.born, Sex: p.sex, Address: p.home, Flags: p.flags}
		if p.kin != nil {
			l.NextOfKin = []hospital.Kin{*p.kin}
		}
		h.Patients = append(h.Patients, l)
		if p.old != "" {
			l.ID, l.Merged = p.old, p.id
			h.Patients = append(h.Patients, l)
		}
	}
	when := func(t int64) time.Time {
		if t == 0 {
			return time.Time{}
		}
		return time.Unix(t, 0).In(w.cfg.Start.Location())
	}
	for i := range w.facts {
		f := &w.facts[i]
		if f.lost {
			continue
		}
		c := hospital.Care{
			Patient: w.patients[f.patient].id, Kind: f.kind.String(), Start: when(f.start + f.late), End: when(f.end), Team: f.team,
			Evidence: f.kind.String() + ":" + strconv.Itoa(i+1),
		}
		if f.end > 0 && f.start+f.late > f.end {
			c.Start = c.End
		}
		if f.ward >= 0 {
			c.Ward, c.Specialty = w.wards[f.ward].id, w.wards[f.ward].specialty
		}
		if f.visit > 0 {
			c.Visit = "V" + strconv.Itoa(int(f.visit))
		}
		for _, n := range f.people {
			c.People = append(c.People, w.people[n].id)
		}
		h.Care = append(h.Care, c)
	}
	h.Rota = w.rotaLines(when)
	return h
}

// staffLines is one line, or two for somebody who moves.
func (w *world) staffLines(p *person) []hospital.Staff {
	at := &w.wards[p.ward]
	s := hospital.Staff{
		Person: p.id, Roles: []string{p.post.role}, Profession: p.post.profession, Grade: p.post.grade, Team: p.team, Wards: []string{at.id},
		Site: hospital.Site, CostCentre: "CC-" + at.id, Manager: w.people[p.boss].id, Name: p.name, BirthDate: p.born, Sex: p.sex,
		NHSNumber: p.nhs, Address: &p.home, Kind: p.post.kind, Start: "2019-04-01",
	}
	if p.machine() {
		s.Address, s.Manager, s.Wards, s.Team, s.CostCentre = nil, "", nil, "", ""
	}
	date := func(day int) string { return w.cfg.Start.AddDate(0, 0, day).Format(time.DateOnly) }
	if p.from > 0 {
		s.Start = date(p.from)
	}
	if p.until < w.cfg.Days {
		s.End = date(p.until - 1)
	}
	if p.movedOn == 0 {
		return []hospital.Staff{s}
	}
	old, before := s, &w.wards[p.moved]
	old.Wards, old.Team, old.CostCentre = []string{before.id}, before.team(), "CC-"+before.id
	old.ValidTo, s.ValidFrom = date(p.movedOn-1), date(p.movedOn)
	return []hospital.Staff{old, s}
}

func (w *world) rotaLines(when func(int64) time.Time) []hospital.Shift {
	var out []hospital.Shift
	for i := range w.shifts {
		s := &w.shifts[i]
		if !s.inRota {
			continue
		}
		l := hospital.Shift{Person: w.people[s.person].id, Kind: "shift", Start: when(s.start), End: when(s.end), Ward: w.wards[s.planned].id}
		if s.onCall {
			l.Kind, l.Ward = "on-call", ""
		}
		out = append(out, l)
	}
	for _, a := range w.absences {
		out = append(out, hospital.Shift{Person: w.people[a.person].id, Kind: a.kind, Start: when(a.start), End: when(a.end)})
	}
	slices.SortStableFunc(out, func(a, b hospital.Shift) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Person, b.Person))
	})
	return out
}

func (w *world) deviceLines() []any {
	out := make([]any, 0, w.placed)
	for _, d := range w.devices[:w.placed] {
		out = append(out, map[string]string{"device": d.id, "ward": w.wards[d.ward].id, "kind": d.kind})
	}
	return out
}

func (w *world) labelLines() []any {
	all := make([]label, 0, len(w.labels))
	for l := range w.labels {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b label) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Person, b.Person), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Patient, b.Patient))
	})
	out := make([]any, len(all))
	for i, l := range all {
		out[i] = l
	}
	return out
}
