package feeds

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matron-epr/matron/audit/intake"
	"github.com/matron-epr/matron/audit/pseudonym"
)

var (
	errDay   = errors.New("not a day written as YYYY-MM-DD")
	errOrder = errors.New("ends before it starts")
)

// Hasher reads lines and keeps what names a person as keyed hashes.
type Hasher struct{ pseudonym.Hasher }

// NewHasher makes a Hasher.
func NewHasher(key []byte) (Hasher, error) {
	h, err := pseudonym.New(key)
	return Hasher{h}, err
}

// digest names a line by what it says.
func digest(line []byte) [16]byte {
	sum := sha256.Sum256(line)
	return [16]byte(sum[:16])
}

// name is a name in its parts, or as one text.
type name struct {
	Family string `json:"family"`
	Given  string `json:"given"`
}

// UnmarshalJSON takes both forms.
func (n *name) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &n.Given)
	}
	type parts name
	return json.Unmarshal(b, (*parts)(n))
}

// whole hashes a name whatever the order of its words: lists write both "Given
// Family" and "Family, Given".
func (h Hasher) whole(n name) Hash {
	words := strings.FieldsFunc(n.Given+" "+n.Family, func(r rune) bool { return r == ' ' || r == ',' || r == ';' || r == '\t' })
	for i, w := range words {
		words[i] = pseudonym.Normal(w)
	}
	slices.Sort(words)
	return h.Of("name", strings.Join(words, ""))
}

type address struct {
	Line     string `json:"line"`
	Postcode string `json:"postcode"`
}

type staffLine struct {
	Person       string   `json:"person"`
	Kind         string   `json:"kind"`
	Roles        []string `json:"roles"`
	Name         name     `json:"name"`
	Profession   string   `json:"profession"`
	Grade        string   `json:"grade"`
	Team         string   `json:"team"`
	Wards        []string `json:"wards"`
	Site         string   `json:"site"`
	CostCentre   string   `json:"cost_centre"`
	Manager      string   `json:"manager"`
	Start        string   `json:"start"`
	End          string   `json:"end"`
	From         string   `json:"valid_from"`
	To           string   `json:"valid_to"`
	Born         string   `json:"date_of_birth"`
	Sex          string   `json:"sex"`
	NHS          string   `json:"nhs_number"`
	Address      address  `json:"address"`
	Registration struct {
		Body   string `json:"body"`
		Number string `json:"number"`
	} `json:"registration"`
	Extra jsontext.Value `json:",embed"`
}

func (h Hasher) staff(line []byte) (Staff, []string, error) {
	var in staffLine
	extra, unknown, err := decode(h.Hasher, line, &in, &in.Extra)
	if err != nil {
		return Staff{}, nil, err
	}
	var c checks
	s := Staff{
		Person: in.Person, Kind: in.Kind, Roles: in.Roles, Profession: in.Profession, Grade: in.Grade, Team: in.Team,
		Wards: in.Wards, Site: in.Site, CostCentre: in.CostCentre, Manager: in.Manager, Sex: in.Sex,
		Start: c.day("start", in.Start), End: c.day("end", in.End), From: c.day("valid_from", in.From), To: c.day("valid_to", in.To),
		Born: c.day("date_of_birth", in.Born), Name: h.whole(in.Name), Family: h.Family(in.Name.Family),
		Address: h.Address(in.Address.Line, in.Address.Postcode), Unit: h.Unit(in.Address.Postcode),
		Sector: h.Sector(in.Address.Postcode), NHS: h.NHS(in.NHS),
		Register: h.Of("registration", in.Registration.Body+in.Registration.Number), Extra: extra,
	}
	c.add(intake.Required("person", in.Person != ""))
	c.add(intake.Required("roles", len(in.Roles) > 0))
	c.add(intake.NHSNumber("nhs_number", in.NHS))
	c.add(intake.OneOf("kind", in.Kind, "", "staff", "bank", "student", "machine"))
	c.inOrder("end", s.Start, s.End)
	c.inOrder("valid_to", s.From, s.To)
	return s, unknown, c.err()
}

type patientLine struct {
	ID      string  `json:"patient"`
	NHS     string  `json:"nhs_number"`
	Name    name    `json:"name"`
	Born    string  `json:"date_of_birth"`
	Sex     string  `json:"sex"`
	Address address `json:"address"`
	Phone   string  `json:"phone"`
	Kin     []struct {
		Name         name   `json:"name"`
		Phone        string `json:"phone"`
		Relationship string `json:"relationship"`
	} `json:"next_of_kin"`
	Flags  []string       `json:"flags"`
	Died   string         `json:"died"`
	Merged string         `json:"merged_into"`
	Extra  jsontext.Value `json:",embed"`
}

func (h Hasher) patient(line []byte) (Patient, []string, error) {
	var in patientLine
	extra, unknown, err := decode(h.Hasher, line, &in, &in.Extra)
	if err != nil {
		return Patient{}, nil, err
	}
	var c checks
	p := Patient{
		ID: in.ID, MergedInto: in.Merged, Born: c.day("date_of_birth", in.Born), Died: c.day("died", in.Died), Sex: in.Sex, Flags: in.Flags,
		Name: h.whole(in.Name), Family: h.Family(in.Name.Family), Address: h.Address(in.Address.Line, in.Address.Postcode),
		Unit: h.Unit(in.Address.Postcode), Sector: h.Sector(in.Address.Postcode), Phone: h.Phone(in.Phone), NHS: h.NHS(in.NHS), Extra: extra,
	}
	for _, k := range in.Kin {
		p.Kin = append(p.Kin, Kin{Name: h.whole(k.Name), Phone: h.Phone(k.Phone), Relationship: k.Relationship})
	}
	c.add(intake.Required("patient", in.ID != ""))
	c.add(intake.NHSNumber("nhs_number", in.NHS))
	for _, f := range in.Flags {
		c.add(intake.OneOf("flags", f, "vip", "staff", "sealed", "s-flag", "deceased"))
	}
	return p, unknown, c.err()
}

type shiftLine struct {
	Person string         `json:"person"`
	Start  string         `json:"start"`
	End    string         `json:"end"`
	Kind   string         `json:"kind"`
	Ward   string         `json:"ward"`
	Extra  jsontext.Value `json:",embed"`
}

func (h Hasher) shift(line []byte) (Shift, []string, error) {
	var in shiftLine
	extra, unknown, err := decode(h.Hasher, line, &in, &in.Extra)
	if err != nil {
		return Shift{}, nil, err
	}
	var c checks
	s := Shift{Person: in.Person, Kind: in.Kind, Ward: in.Ward, Start: c.moment("start", in.Start), End: c.moment("end", in.End), Extra: extra}
	c.add(intake.Required("person", in.Person != ""))
	c.add(intake.Required("start", in.Start != ""))
	c.add(intake.Required("end", in.End != ""))
	c.add(intake.OneOf("kind", in.Kind, "", "shift", "on-call", "leave", "sick"))
	c.inOrder("end", s.Start, s.End)
	return s, unknown, c.err()
}

type careLine struct {
	Patient   string         `json:"patient"`
	Kind      string         `json:"kind"`
	Start     string         `json:"start"`
	End       string         `json:"end"`
	Ward      string         `json:"ward"`
	Bed       string         `json:"bed"`
	Specialty string         `json:"specialty"`
	Team      string         `json:"team"`
	People    []string       `json:"people"`
	Visit     string         `json:"visit"`
	Evidence  string         `json:"evidence"`
	Extra     jsontext.Value `json:",embed"`
}

func (h Hasher) care(line []byte) (Care, []string, error) {
	var in careLine
	extra, unknown, err := decode(h.Hasher, line, &in, &in.Extra)
	if err != nil {
		return Care{}, nil, err
	}
	if in.Evidence == "" {
		in.Evidence = in.Visit
	}
	var c checks
	out := Care{
		Patient: in.Patient, Kind: in.Kind, Start: c.moment("start", in.Start), End: c.moment("end", in.End), Ward: in.Ward, Bed: in.Bed,
		Specialty: in.Specialty, Team: in.Team, People: in.People, Visit: in.Visit, Evidence: in.Evidence, Extra: extra,
	}
	c.add(intake.Required("patient", in.Patient != ""))
	c.add(intake.Required("start", in.Start != ""))
	c.inOrder("end", out.Start, out.End)
	c.add(intake.OneOf("kind", in.Kind, "inpatient", "emergency", "outpatient", "referral", "order", "result", "theatre", "document", "team", "task"))
	return out, unknown, c.err()
}

type deviceLine struct {
	Device string         `json:"device"`
	Ward   string         `json:"ward"`
	Kind   string         `json:"kind"`
	From   string         `json:"from"`
	To     string         `json:"to"`
	Extra  jsontext.Value `json:",embed"`
}

func (h Hasher) device(line []byte) (Device, []string, error) {
	var in deviceLine
	extra, unknown, err := decode(h.Hasher, line, &in, &in.Extra)
	if err != nil {
		return Device{}, nil, err
	}
	var c checks
	d := Device{Device: in.Device, Ward: in.Ward, Kind: in.Kind, From: c.moment("from", in.From), To: c.moment("to", in.To), Extra: extra}
	c.add(intake.Required("device", in.Device != ""))
	c.inOrder("to", d.From, d.To)
	return d, unknown, c.err()
}

func (h Hasher) label(line []byte) (Label, []string, error) {
	var in struct {
		Person  string         `json:"person"`
		Day     string         `json:"day"`
		Kind    string         `json:"kind"`
		Patient string         `json:"patient"`
		Extra   jsontext.Value `json:",embed"`
	}
	_, unknown, err := decode(h.Hasher, line, &in, &in.Extra)
	if err != nil {
		return Label{}, nil, err
	}
	var c checks
	c.day("day", in.Day)
	c.add(intake.Required("person", in.Person != ""))
	c.add(intake.Required("day", in.Day != ""))
	c.add(intake.Required("kind", in.Kind != ""))
	return Label{Person: in.Person, Day: in.Day, Kind: in.Kind, Patient: in.Patient}, unknown, c.err()
}

// checks collects everything that is wrong with a line.
type checks struct{ errs []error }

func (c *checks) add(err error) {
	if err != nil {
		c.errs = append(c.errs, err)
	}
}

func (c *checks) err() error { return errors.Join(c.errs...) }

func (c *checks) day(field, value string) time.Time {
	if value == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.DateOnly, value)
	if err != nil {
		c.add(fmt.Errorf("%s: %w", field, errDay))
	}
	return t
}

// moment is in UTC: a zone of its own would cost more memory than all of a line.
func (c *checks) moment(field, value string) time.Time {
	t, err := intake.Moment(field, value)
	c.add(err)
	return t.UTC()
}

func (c *checks) inOrder(field string, start, end time.Time) {
	if !end.IsZero() && end.Before(start) {
		c.add(fmt.Errorf("%s: %w", field, errOrder))
	}
}

// The spans of rows that can contradict each other, and what they say of them.

func staffSpan(s *Staff) (from, to time.Time, place string) {
	if !s.To.IsZero() {
		to = s.To.Add(24 * time.Hour)
	}
	return s.From, to, strings.Join(s.Roles, ";") + "|" + strings.Join(s.Wards, ";")
}

func shiftSpan(s *Shift) (from, to time.Time, place string) {
	if s.Kind == "leave" || s.Kind == "sick" {
		return s.Start, s.End, s.Kind
	}
	return s.Start, s.End, s.Ward
}

func bedSpan(c *Care) (from, to time.Time, place string) {
	if c.Kind == "inpatient" {
		place = c.Ward
	}
	return c.Start, c.End, place
}

func deviceSpan(d *Device) (from, to time.Time, place string) { return d.From, d.To, d.Ward }

// Find returns the application's number of the patient with an NHS number, ""
// when the list holds nobody with it. Numbers that were merged away lead to the
// one in use.
func (h Hasher) Find(patients []Patient, nhsNumber string) string {
	wanted, found := h.NHS(nhsNumber), ""
	for i := range patients {
		p := &patients[i]
		switch {
		case !p.NHS.Same(wanted):
		case p.MergedInto == "":
			return p.ID
		default:
			found = p.MergedInto
		}
	}
	return found
}
