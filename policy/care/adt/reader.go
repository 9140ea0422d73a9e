package adt

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/policy/care"
	"github.com/matron-epr/matron/policy/care/hl7"
)

// Config says how a hospital uses the fields that hospitals use differently.
type Config struct {
	Where *time.Location // of times without offset
	// Ward is the component of PV1-3 that names the ward. HL7 says 1; systems that
	// send the site first have it in 2. Default 1.
	Ward int
	// NHS are the authorities (PID-3-4) and types (PID-3-5) that mark NHS numbers,
	// besides NHS and NH.
	NHS []string
}

// Reader reads messages of one hospital.
type Reader struct{ c Config }

// New returns a reader.
func New(c Config) (*Reader, error) {
	if c.Where == nil {
		return nil, errors.New("adt: the place of times without offset is needed")
	}
	if c.Ward == 0 {
		c.Ward = 1
	}
	if c.Ward < 1 || c.Ward > 9 {
		return nil, errors.New("adt: the ward is a component of PV1-3, from 1")
	}
	c.NHS = append([]string{"NHS", "NH"}, c.NHS...)
	return &Reader{c}, nil
}

// Source is what the evidence calls the sender of a message: its application and
// facility.
func Source(m *hl7.Message) string {
	msh := m.Segment("MSH")
	return msh.Field(3).Text() + "/" + msh.Field(4).Text()
}

// Read returns the changes that a message means, none for one that means nothing
// here. The error is always an *hl7.Error: such a message will never be read.
func (r *Reader) Read(m *hl7.Message) (care.Message, error) {
	msh := m.Segment("MSH")
	kind := msh.Field(9).Component(1).Text()
	trigger := msh.Field(9).Component(2).Text()
	if trigger == "" {
		trigger = m.Segment("EVN").Field(1).Text()
	}
	if kind == "" {
		return nil, missing("MSH", 9, 1)
	}
	read, ok := r.events()[kind+trigger]
	if !ok {
		return nil, nil
	}
	b, err := r.base(m)
	if err != nil {
		return nil, err
	}
	out, err := read(b, m)
	if err != nil {
		return nil, err
	}
	if kind == "ADT" {
		out = append(out, r.flags(b, m)...)
	}
	if err := out.Check(); err != nil {
		return nil, &hl7.Error{Code: hl7.DataType, What: err.Error()}
	}
	return out, nil
}

// event reads the messages of one trigger event from a change that holds what
// every message says.
type event func(base care.Change, m *hl7.Message) (care.Message, error)

// events are the trigger events that mean something here, by type and trigger.
func (r *Reader) events() map[string]event {
	stay, update, end := r.visit(care.Stay), r.visit(care.Update), r.visit(care.End)
	plan := r.visit(care.Plan)
	merge, identify := r.merge, r.identify
	booked, cancelled := r.appointment(care.Plan), r.appointment(care.CancelPlan)
	return map[string]event{
		"ADTA01": stay, "ADTA02": stay, "ADTA03": end, "ADTA04": stay, "ADTA05": plan, "ADTA06": stay, "ADTA07": stay,
		"ADTA08": update, "ADTA11": r.visit(care.CancelStay), "ADTA12": r.visit(care.CancelMove), "ADTA13": r.visit(care.CancelEnd),
		"ADTA14": plan, "ADTA17": stay, "ADTA23": r.visit(care.CancelStay), "ADTA27": r.visit(care.CancelPlan), "ADTA38": r.visit(care.CancelPlan),
		"ADTA54": update, "ADTA55": r.visit(care.CancelMove), "ADTA28": identify, "ADTA31": identify,
		"ADTA18": merge, "ADTA30": merge, "ADTA34": merge, "ADTA36": merge, "ADTA39": merge, "ADTA40": merge, "ADTA43": merge,
		"ADTA46": merge, "ADTA47": merge, "ADTA42": r.move, "ADTA44": r.move, "ADTA45": r.move, "ADTA50": r.move,
		"SIUS12": booked, "SIUS13": booked, "SIUS14": booked, "SIUS15": cancelled, "SIUS16": cancelled, "SIUS17": cancelled, "SIUS26": cancelled,
		"REFI12": r.referral(care.Referral), "REFI13": r.referral(care.Referral), "REFI14": r.referral(care.CancelPlan),
	}
}

// base reads what every change of a message has in common.
func (r *Reader) base(m *hl7.Message) (care.Change, error) {
	msh, evn := m.Segment("MSH"), m.Segment("EVN")
	c := care.Change{Source: Source(m), Control: msh.Field(10).Text()}
	if c.Control == "" {
		return c, missing("MSH", 10, 0)
	}
	if msh.Field(3).Text() == "" {
		return c, missing("MSH", 3, 0)
	}
	var err error
	if c.Sent, err = r.time(msh, 7); err != nil {
		return c, err
	}
	if c.At, err = r.time(evn, 2); err != nil {
		return c, err
	}
	if c.At.IsZero() {
		c.At = c.Sent
	}
	if c.At.IsZero() {
		return c, missing("EVN", 2, 0)
	}
	return c, nil
}

// time reads a field, zero where nothing was sent.
func (r *Reader) time(s hl7.Segment, field int) (time.Time, error) {
	v := s.Field(field)
	if v.Empty() || v.Null() {
		return time.Time{}, nil
	}
	t, err := v.Time(r.c.Where)
	if err != nil {
		e := &hl7.Error{Code: hl7.DataType, Segment: s.Name, Field: field, What: "is no time"}
		return time.Time{}, e
	}
	return t, nil
}

// loose reads a time that is worth having and not worth refusing a message for.
func (r *Reader) loose(s hl7.Segment, field int) time.Time {
	t, err := r.time(s, field)
	if err != nil || t.Unix() <= 0 {
		return time.Time{}
	}
	return t
}

// Which components of a CX, an XCN and a PLN hold what.
const (
	cxAuthority, cxType = 4, 5
	xcnAuthority        = 9
	plnAuthority        = 2
)

// patients reads the identifiers of a patient, the hospital's own before the NHS
// number. An NHS number with a wrong check digit is nobody's and is left out.
func (r *Reader) patients(v hl7.Value) []care.ID {
	var out, numbers []care.ID
	for _, cx := range v.Repetitions() {
		id := care.ID{Authority: cx.Component(cxAuthority).Text(), Value: cx.Component(1).Text()}
		if id.Value == "" || cx.Null() {
			continue
		}
		if slices.Contains(r.c.NHS, id.Authority) || slices.Contains(r.c.NHS, cx.Component(cxType).Text()) {
			id = care.ID{Authority: care.NHS, Value: strings.NewReplacer(" ", "", "-", "").Replace(id.Value)}
			if care.ValidNHS(id.Value) && !slices.Contains(numbers, id) {
				numbers = append(numbers, id)
			}
		} else if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return append(out, numbers...)
}

// patient reads the identifiers of the patient of a PID segment.
func (r *Reader) patient(pid hl7.Segment) ([]care.ID, error) {
	if !pid.Present() {
		return nil, &hl7.Error{Code: hl7.SegmentSequence, Segment: "PID", What: "is missing"}
	}
	ids := r.patients(pid.Field(3))
	if len(ids) == 0 {
		ids = r.patients(pid.Field(2)) // where the old versions have it
	}
	if len(ids) == 0 {
		return nil, missing("PID", 3, 1)
	}
	return ids, nil
}

// clinicians reads the people of fields, each once, those of referring fields as
// referring. More than a change can hold are left out.
func clinicians(people []care.Clinician, referring bool, authority int, fields ...hl7.Value) []care.Clinician {
	for _, f := range fields {
		for _, v := range f.Repetitions() {
			id := care.ID{Authority: v.Component(authority).Text(), Value: v.Component(1).Text()}
			c := care.Clinician{ID: id, Referring: referring}
			if id.Value != "" && !v.Null() && len(people) < care.MaxPeople && !slices.Contains(people, c) {
				people = append(people, c)
			}
		}
	}
	return people
}

func missing(segment string, field, component int) error {
	return &hl7.Error{Code: hl7.FieldMissing, Segment: segment, Field: field, Component: component, What: "is missing"}
}
