package adt

import (
	"slices"
	"strings"

	"github.com/matron-epr/matron/policy/care"
	"github.com/matron-epr/matron/policy/care/hl7"
)

// flags reads what a message says of each of its patients beyond their visits:
// PV1-16 (somebody whom many know), PD1-12 (protected) and PID-29, PID-30 (dead).
// What it does not say stays as it was.
func (r *Reader) flags(base care.Change, m *hl7.Message) care.Message {
	var out care.Message
	for _, g := range m.Groups() {
		c := base
		c.Kind = care.Flag
		var err error
		if c.Patient, err = r.patient(g.Segment("PID")); err != nil {
			continue // a group without a patient has no flags either
		}
		flag(&c, care.VIP, g.Segment("PV1").Field(16))
		flag(&c, care.Protected, g.Segment("PD1").Field(12))
		flag(&c, care.Deceased, g.Segment("PID").Field(30))
		if died := g.Segment("PID").Field(29); !died.Empty() && !died.Null() {
			c.Said, c.Flags = c.Said|care.Deceased, c.Flags|care.Deceased
		}
		if c.Said != 0 {
			out = append(out, c)
		}
	}
	return out
}

// flag takes in one field. A code other than no is a yes: which codes there are for
// people whom many know is left to the hospital (HL7 table 0099).
func flag(c *care.Change, which care.Flags, v hl7.Value) {
	if v.Empty() {
		return
	}
	c.Said |= which
	if no := []string{"", "N", "NO", "0"}; !v.Null() && !slices.Contains(no, strings.ToUpper(v.Text())) {
		c.Flags |= which
	}
}
