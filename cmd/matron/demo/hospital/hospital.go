// Package hospital makes up the demonstration hospital: wards, staff, patients
// and who lies where, the same every time for the same seed.
//
// Nobody in it exists: NHS numbers come from the 999 test range, surnames are
// visibly invented, postcodes lie in ZZ99 and telephone numbers in the ranges
// set aside for drama. It reads no clock. A Hospital never changes after New and
// is safe for concurrent use.
package hospital

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Site is the organisation code of the demonstration hospital, which no real
// organisation has.
const Site = "DEM01"

// Role codes of the demonstration staff, as the default policy knows them.
const (
	Nurse               = "nurse"
	Doctor              = "doctor"
	AlliedHealth        = "allied-health-professional"
	Pharmacist          = "pharmacist"
	Receptionist        = "receptionist"
	WardClerk           = "ward-clerk"
	MedicalSecretary    = "medical-secretary"
	PrivacyOfficer      = "privacy-officer"
	SecurityAnalyst     = "security-analyst"
	SafetyOfficer       = "clinical-safety-officer"
	SystemAdministrator = "system-administrator"
)

// Name is a person's name.
type Name struct {
	Family string `json:"family"`
	Given  string `json:"given"`
}

// Full is the name as one would write it.
func (n Name) Full() string { return n.Given + " " + n.Family }

// Address is a home address; every postcode lies in ZZ99.
type Address struct {
	Line     string `json:"line"`
	Postcode string `json:"postcode"`
}

// Kin is a patient's next of kin.
type Kin struct {
	Name         string `json:"name"`
	Phone        string `json:"phone"`
	Relationship string `json:"relationship"`
}

// Staff is one member of staff, or the one machine client.
type Staff struct {
	Person     string   `json:"person"`
	Roles      []string `json:"roles"`
	Name       Name     `json:"name"`
	Profession string   `json:"profession"`
	Grade      string   `json:"grade,omitempty"`
	Team       string   `json:"team,omitempty"`
	Wards      []string `json:"wards,omitempty"`
	Site       string   `json:"site"`
	CostCentre string   `json:"cost_centre,omitempty"`
	Manager    string   `json:"manager,omitempty"`
	Start      string   `json:"start"`
	End        string   `json:"end,omitempty"`
	ValidFrom  string   `json:"valid_from,omitempty"`
	ValidTo    string   `json:"valid_to,omitempty"`
	BirthDate  string   `json:"date_of_birth,omitempty"`
	Sex        string   `json:"sex,omitempty"`
	NHSNumber  string   `json:"nhs_number,omitempty"`
	Address    *Address `json:"address,omitempty"`
	Kind       string   `json:"kind"`

	Activities []string `json:"-"` // NHS activity codes for the sign-in service
	RoleID     string   `json:"-"` // this person in this role at this organisation
	PatientID  string   `json:"-"` // their own record, when they are a patient here
}

// Role is the role the person works in.
func (s Staff) Role() string { return s.Roles[0] }

// Machine reports whether this is an API client and not a person.
func (s Staff) Machine() bool { return s.Kind == "machine" }

// Patient is one patient.
type Patient struct {
	ID        string   `json:"patient"`
	NHSNumber string   `json:"nhs_number"`
	Name      Name     `json:"name"`
	BirthDate string   `json:"date_of_birth"`
	Sex       string   `json:"sex"`
	Address   Address  `json:"address"`
	Phone     string   `json:"phone"`
	NextOfKin []Kin    `json:"next_of_kin,omitempty"`
	Flags     []string `json:"flags,omitempty"`
	Merged    string   `json:"merged_into,omitempty"`
}

// Care is one stretch or event of care. A zero End means that it goes on.
type Care struct {
	Patient   string
	Kind      string
	Start     time.Time
	End       time.Time
	Ward      string
	Bed       string
	Specialty string
	Team      string
	People    []string
	Visit     string
	Evidence  string
}

// Covers reports whether the care was under way at t.
func (c Care) Covers(t time.Time) bool {
	return !t.Before(c.Start) && (c.End.IsZero() || t.Before(c.End))
}

// Shift is one planned stretch of work.
type Shift struct {
	Person string
	Kind   string
	Ward   string
	Start  time.Time
	End    time.Time
}

// Ward is a place where patients are cared for.
type Ward struct {
	ID        string
	Name      string
	Specialty string
	Kind      string // kind of care: inpatient, emergency, theatre, outpatient
	Beds      int
}

// Hospital is the whole of it.
type Hospital struct {
	Seed     uint64
	Day      time.Time // midnight UTC of the day that care and rota are built around
	Wards    []Ward
	Staff    []Staff
	Patients []Patient
	Care     []Care
	Rota     []Shift
	// Households names, for each person who has one, the patients who share
	// their surname and address and are not themselves.
	Households map[string][]string

	staff    map[string]int
	patients map[string]int
}

// New makes the hospital of seed as it stands on the day of now.
func New(seed uint64, now time.Time) *Hospital {
	g := NewMaker(seed)
	h := &Hospital{
		Seed: seed, Day: now.UTC().Truncate(24 * time.Hour), Wards: wards(),
		Households: map[string][]string{},
	}
	h.Staff = g.people(h.Wards)
	h.Patients = g.patients(h)
	h.index()
	h.Care = g.care(h)
	h.Rota = g.rota(h)
	return h
}

// index makes people and patients quick to find.
func (h *Hospital) index() {
	h.staff, h.patients = map[string]int{}, map[string]int{}
	for i, s := range h.Staff {
		h.staff[s.Person] = i
	}
	for i, p := range h.Patients {
		h.patients[p.ID] = i
	}
}

// ErrSeed says that the folder holds the hospital of another seed.
var ErrSeed = errors.New("the folder holds a hospital with another seed")

// anchor is what Open keeps: everything else follows from it.
type anchor struct {
	Seed uint64    `json:"seed"`
	Day  time.Time `json:"day"`
}

// Open makes the hospital of seed, built around the day on which dir was first
// used, so that accesses made before a restart keep their explanations.
func Open(dir string, seed uint64, now time.Time) (*Hospital, error) {
	path := filepath.Join(dir, "hospital.json")
	data, err := os.ReadFile(path) //nolint:gosec // the path is the demonstration's own folder
	if errors.Is(err, fs.ErrNotExist) {
		return found(path, seed, now)
	}
	if err != nil {
		return nil, fmt.Errorf("read hospital anchor: %w", err)
	}
	var a anchor
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if a.Seed != seed {
		return nil, fmt.Errorf("open %s: %w", path, ErrSeed)
	}
	return New(seed, a.Day), nil
}

func found(path string, seed uint64, now time.Time) (*Hospital, error) {
	h := New(seed, now)
	data, err := json.Marshal(anchor{Seed: seed, Day: h.Day})
	if err != nil {
		return nil, fmt.Errorf("encode hospital anchor: %w", err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return nil, fmt.Errorf("write hospital anchor: %w", err)
	}
	return h, nil
}

// Person finds a member of staff.
func (h *Hospital) Person(id string) (Staff, bool) {
	i, ok := h.staff[id]
	if !ok {
		return Staff{}, false
	}
	return h.Staff[i], true
}

// Patient finds a patient.
func (h *Hospital) Patient(id string) (Patient, bool) {
	i, ok := h.patients[id]
	if !ok {
		return Patient{}, false
	}
	return h.Patients[i], true
}

// WithRole lists the staff who work in role.
func (h *Hospital) WithRole(role string) []Staff {
	var out []Staff
	for _, s := range h.Staff {
		if !s.Machine() && slices.Contains(s.Roles, role) {
			out = append(out, s)
		}
	}
	return out
}

// Ward finds a ward.
func (h *Hospital) Ward(id string) (Ward, bool) {
	i := slices.IndexFunc(h.Wards, func(w Ward) bool { return w.ID == id })
	if i < 0 {
		return Ward{}, false
	}
	return h.Wards[i], true
}

// OnWard lists the ids of the patients who are cared for on the ward at t.
func (h *Hospital) OnWard(ward string, t time.Time) []string {
	var out []string
	for _, c := range h.Care {
		if c.Ward == ward && c.Covers(t) && !slices.Contains(out, c.Patient) {
			out = append(out, c.Patient)
		}
	}
	return out
}
