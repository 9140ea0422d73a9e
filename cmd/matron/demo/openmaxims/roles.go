package openmaxims

import "github.com/matron-epr/matron/cmd/matron/demo/hospital"

// Functional areas, which are the top groups of the menu.
const (
	areaPAS         = "Patient Administration"
	areaED          = "Emergency Department"
	areaWards       = "Wards"
	areaTheatres    = "Theatres"
	areaOutpatients = "Outpatients"
	areaClinical    = "Clinical Notes"
	areaOrders      = "Orders and Results"
	areaMedicines   = "Prescribing"
	areaAdmin       = "Administration"
)

// role is an application role: in the original, a menu and little else.
type role struct {
	id    string
	name  string
	areas []string
}

func administrator() role {
	return role{"1", "System Administrator", []string{areaPAS, areaAdmin}}
}

// rolesOf are the application roles of a member of staff. Doctors have two, so
// that they must choose.
func rolesOf(m hospital.Staff) []role {
	place := ""
	if len(m.Wards) > 0 {
		place = m.Wards[0]
	}
	clinical := []string{areaPAS, areaWards, areaClinical, areaOrders, areaMedicines}
	switch place {
	case "AE":
		clinical = append(clinical, areaED)
	case "TH1":
		clinical = append(clinical, areaTheatres)
	case "OPD":
		clinical = append(clinical, areaOutpatients)
	}
	switch m.Role() {
	case hospital.Nurse:
		switch place {
		case "AE":
			return []role{{"11", "ED Nurse", clinical}}
		case "TH1":
			return []role{{"12", "Theatre Nurse", clinical}}
		}
		return []role{{"10", "Ward Nurse", clinical}}
	case hospital.Doctor:
		return []role{
			{"20", "Doctor", append(clinical, areaTheatres)},
			{"21", "Clinic Doctor", []string{areaPAS, areaOutpatients, areaClinical, areaOrders, areaMedicines}},
		}
	case hospital.Pharmacist:
		return []role{{"30", "Pharmacist", []string{areaPAS, areaWards, areaMedicines, areaOrders}}}
	case hospital.AlliedHealth:
		return []role{{"31", "Therapist", []string{areaPAS, areaWards, areaClinical}}}
	case hospital.Receptionist, hospital.WardClerk, hospital.MedicalSecretary:
		areas := []string{areaPAS, areaOutpatients, areaWards}
		if place == "AE" {
			areas = append(areas, areaED)
		}
		return []role{{"40", "Clerk", areas}}
	case hospital.SystemAdministrator:
		return []role{administrator()}
	case hospital.MachineRole:
		return []role{{"90", "Interface", nil}}
	}
	return []role{{"50", "Information Governance", []string{areaPAS, areaAdmin}}}
}
