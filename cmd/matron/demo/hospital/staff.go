package hospital

import (
	"fmt"
	"time"
)

func wards() []Ward {
	return []Ward{
		{ID: "ASH", Name: "Ash ward", Specialty: "general medicine", Kind: "inpatient", Beds: 18},
		{ID: "BEECH", Name: "Beech ward", Specialty: "cardiology", Kind: "inpatient", Beds: 18},
		{ID: "CEDAR", Name: "Cedar ward", Specialty: "general surgery", Kind: "inpatient", Beds: 18},
		{ID: "DAMSON", Name: "Damson ward", Specialty: "trauma and orthopaedics", Kind: "inpatient", Beds: 18},
		{ID: "ELDER", Name: "Elder ward", Specialty: "older people", Kind: "inpatient", Beds: 18},
		{ID: "FERN", Name: "Fern ward", Specialty: "children", Kind: "inpatient", Beds: 12},
		{ID: "GORSE", Name: "Gorse ward", Specialty: "maternity", Kind: "inpatient", Beds: 12},
		{ID: "ITU", Name: "Intensive care", Specialty: "critical care", Kind: "inpatient", Beds: 8},
		{ID: "AE", Name: "Accident and emergency", Specialty: "emergency medicine", Kind: "emergency", Beds: 24},
		{ID: "TH1", Name: "Theatres", Specialty: "anaesthetics", Kind: "theatre", Beds: 6},
		{ID: "OPD", Name: "Outpatients", Specialty: "outpatients", Kind: "outpatient", Beds: 60},
	}
}

// post is one kind of job and where its holders work. An empty ward means the
// whole hospital.
type post struct {
	role       string
	profession string
	grade      string
	activities []string
	wards      []string
}

// posts fills the wards: three nurses and a doctor each, then those who serve
// several, then the offices.
func posts(ws []Ward) []post {
	var out []post
	for _, w := range ws {
		nurse := post{role: Nurse, profession: "registered nurse", grade: "band 5", activities: []string{"B0401"}, wards: []string{w.ID}}
		out = append(out, nurse, nurse, post{role: Doctor, profession: "doctor", grade: "registrar", activities: []string{"B0278", "B0401"}, wards: []string{w.ID}})
		if w.Kind == "inpatient" {
			out = append(out, nurse)
		}
	}
	add := func(role, profession, grade string, activities []string, places ...string) {
		for _, p := range places {
			at := []string{p}
			if p == "" {
				at = nil
			}
			out = append(out, post{role: role, profession: profession, grade: grade, activities: activities, wards: at})
		}
	}
	demographics := []string{"B0825"}
	add(AlliedHealth, "physiotherapist", "band 6", []string{"B0401"}, "DAMSON", "ELDER", "ITU", "OPD")
	add(Pharmacist, "pharmacist", "band 7", []string{"B0278", "B0401"}, "ASH", "CEDAR", "ITU")
	add(Receptionist, "receptionist", "band 2", demographics, "AE", "OPD", "OPD")
	add(WardClerk, "ward clerk", "band 2", demographics, "ASH", "CEDAR", "ELDER")
	add(MedicalSecretary, "medical secretary", "band 4", demographics, "OPD", "OPD")
	add(PrivacyOfficer, "information governance manager", "band 7", nil, "", "")
	add(SecurityAnalyst, "security analyst", "band 6", nil, "")
	add(SafetyOfficer, "clinical safety officer", "band 8a", nil, "")
	add(SystemAdministrator, "system administrator", "band 6", nil, "")
	return out
}

// people fills every post and adds the machine client.
func (g *Maker) people(ws []Ward) []Staff {
	var out []Staff
	for i, p := range posts(ws) {
		sex := g.Sex()
		address := g.Address()
		s := Staff{
			Person: fmt.Sprintf("S%04d", 1001+i), Roles: []string{p.role}, Profession: p.profession,
			Grade: p.grade, Activities: p.activities, Wards: p.wards, Site: Site,
			Name:      Name{Family: g.Family(), Given: g.Given(sex)},
			Start:     g.Birth(2012, 2024),
			BirthDate: g.Birth(1962, 2001), Sex: sex, NHSNumber: g.NHSNumber(), Address: &address,
			Kind: "staff", RoleID: fmt.Sprintf("5559%08d", 1001+i),
		}
		if len(p.wards) > 0 {
			s.Team = "team-" + p.wards[0]
		}
		out = append(out, s)
	}
	return append(out, Staff{
		Person: "M0001", Roles: []string{MachineRole}, Name: Name{Family: "Interface", Given: "Results"},
		Profession: "API client", Site: Site, Start: "2024-01-01", Kind: "machine", RoleID: "555900000001",
	})
}

// MachineRole is the role of the API client.
const MachineRole = "api-client"

// care lays patients on wards around h.Day: inpatients who are still there,
// emergencies and clinics of the day, theatre lists, and stays long over.
func (g *Maker) care(h *Hospital) []Care {
	var out []Care
	next := 0
	for _, w := range h.Wards {
		for bed := range w.Beds {
			if w.Kind == "theatre" || next >= len(h.Patients)-40 {
				continue
			}
			c := g.stay(h, w, bed)
			c.Patient = h.Patients[(next*97+13)%len(h.Patients)].ID
			c.Visit = fmt.Sprintf("V%06d", 500_001+len(out))
			c.Evidence = "adt:" + c.Visit
			next++
			out = append(out, c)
		}
	}
	return append(out, g.theatre(h, out)...)
}

func (g *Maker) stay(h *Hospital, w Ward, bed int) Care {
	c := Care{Kind: w.Kind, Ward: w.ID, Specialty: w.Specialty, Team: "team-" + w.ID, People: h.doctorsOf(w.ID)}
	switch w.Kind {
	case "inpatient":
		c.Start = h.Day.Add(-time.Duration(1+g.rng.IntN(9)) * 24 * time.Hour).Add(time.Duration(g.rng.IntN(24)) * time.Hour)
		c.Bed = fmt.Sprintf("%s-%02d", w.ID, bed+1)
	case "emergency":
		c.Start = h.Day.Add(-time.Duration(g.rng.IntN(12)) * time.Hour)
	default:
		c.Start = h.Day.Add(time.Duration(8+bed%9) * time.Hour)
		c.End = c.Start.Add(time.Hour)
	}
	return c
}

// theatre puts some surgical inpatients on the day's list.
func (g *Maker) theatre(h *Hospital, stays []Care) []Care {
	var out []Care
	for _, c := range stays {
		if (c.Ward != "CEDAR" && c.Ward != "DAMSON") || g.rng.IntN(6) != 0 {
			continue
		}
		start := h.Day.Add(time.Duration(8+g.rng.IntN(9)) * time.Hour)
		out = append(out, Care{
			Patient: c.Patient, Kind: "theatre", Start: start, End: start.Add(2 * time.Hour), Ward: "TH1",
			Specialty: c.Specialty, Team: "team-TH1", People: h.doctorsOf("TH1"), Visit: c.Visit,
			Evidence: fmt.Sprintf("theatre:%s-%d", c.Visit, len(out)+1),
		})
	}
	return out
}

func (h *Hospital) doctorsOf(ward string) []string {
	var out []string
	for _, s := range h.Staff {
		if s.Role() == Doctor && len(s.Wards) > 0 && s.Wards[0] == ward {
			out = append(out, s.Person)
		}
	}
	return out
}

// rota plans a fortnight of day and night shifts around h.Day.
func (g *Maker) rota(h *Hospital) []Shift {
	var out []Shift
	for day := -7; day < 7; day++ {
		for _, s := range h.Staff {
			if s.Machine() || g.rng.IntN(7) < 2 {
				continue
			}
			start := h.Day.Add(time.Duration(day*24+7) * time.Hour)
			if g.rng.IntN(4) == 0 && len(s.Wards) > 0 {
				start = start.Add(12 * time.Hour)
			}
			shift := Shift{Person: s.Person, Kind: "shift", Start: start, End: start.Add(12*time.Hour + 30*time.Minute)}
			if len(s.Wards) > 0 {
				shift.Ward = s.Wards[0]
			}
			out = append(out, shift)
		}
	}
	return out
}
