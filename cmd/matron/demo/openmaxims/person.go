package openmaxims

import (
	"fmt"
	"strings"
	"time"
)

func (p patient) title(age int) string {
	switch {
	case p.sex == "Male" && age < 16:
		return "Master"
	case p.sex == "Male":
		return "Mr"
	case age < 16:
		return "Miss"
	}
	return "Ms"
}

func (p patient) age(now time.Time) int {
	born, err := time.Parse(time.DateOnly, p.born)
	if err != nil {
		return 0
	}
	age := now.Year() - born.Year()
	if now.YearDay() < born.YearDay() {
		age--
	}
	return age
}

// dob is the date of birth as the screens write it.
func (p patient) dob() string {
	born, err := time.Parse(time.DateOnly, p.born)
	if err != nil {
		return p.born
	}
	return born.Format("02/01/2006")
}

func (p patient) called(now time.Time) string {
	return p.title(p.age(now)) + " " + p.forename + " " + strings.ToUpper(p.surname)
}

// banner is the line that every screen shows of the current patient.
func (p patient) banner(now time.Time, ward, idType string) string {
	label, value := "Hospital No.", p.hospitalNo
	if idType == "NHSN" && p.nhs != "" {
		label, value = "NHS Number", p.nhs
		if p.unverified {
			value = "***" + value
		}
	}
	prefix := ""
	if p.deceased {
		prefix = "RIP "
	}
	line := fmt.Sprintf("%s%s : %s Age: %d  %s. %s: %s", prefix, p.called(now), p.dob(), p.age(now), p.sex, label, value)
	if ward != "" {
		line += " (" + ward + ")"
	}
	return line
}

// tooltip is the alert with everything that identifies the patient: HTML, which
// the response escapes once more.
func (p patient) tooltip(now time.Time) string {
	var b strings.Builder
	b.WriteString("<font face='Tahoma'><b>Demographic Details</b><br>")
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "<b>%s:</b>&nbsp;%s<br>", name, escape(value))
		}
	}
	line("Name", p.called(now))
	line("Date of Birth", p.dob())
	line("Address", p.address)
	line("Phone", p.phone)
	b.WriteString("<b>Identifiers</b><br>")
	nhs := p.nhs
	if p.unverified && nhs != "" {
		nhs = "***" + nhs
	}
	line("NHS Number", nhs)
	line("Hospital No.", p.hospitalNo)
	b.WriteString("</font>")
	return b.String()
}

// cells are the columns of Patient Search.
func (p patient) cells(now time.Time) []string {
	return []string{strings.ToUpper(p.surname), p.forename, p.hospitalNo, p.sex, fmt.Sprint(p.age(now)), p.dob(), p.address}
}

func patientColumns() []string {
	return []string{"Surname", "Forename", "Hospital No.", "Sex", "Age", "DOB", "Address"}
}

// escape is text as XML and HTML take it, spelt as the original spells it.
func escape(s string) string {
	if !strings.ContainsAny(s, `&<>"'`) { // nearly every cell of a grid
		return s
	}
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;").Replace(s)
}
