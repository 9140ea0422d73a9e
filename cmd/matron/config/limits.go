package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// Limits are per person and session, by kind of action, and per person on how many
// different patients they meet: see docs/limits.md. A reload takes in a change of
// all but incident.
type Limits struct {
	// Interactive is care: slowed, never refused. Search, Bulk and Machine are refused
	// with 429. Machine is of machine clients without a rate of their own.
	Interactive Rate `yaml:"interactive"`
	Search      Rate `yaml:"search"`
	Bulk        Rate `yaml:"bulk"`
	Machine     Rate `yaml:"machine"`
	// MaxWait bounds how long one request of care is slowed. At most 10s; default 2s.
	// hazard:GW-03 control:C-13
	MaxWait  time.Duration `yaml:"max_wait"`
	Patients Patients      `yaml:"patients"`
	// hazard:GW-03 control:C-15
	Incident Incident `yaml:"incident"`
}

// Patients are the budgets of different patients whom one person meets. Beyond them
// care is slowed and goes on, exports and searches are refused, and whoever looks
// after the record is told.
type Patients struct {
	// Shift is the longer of the two windows, which slide: from 1h to 24h in steps of
	// five minutes. Default 12h. The shorter one is an hour.
	Shift time.Duration `yaml:"shift"`
	// Pause is how long care waits for each patient beyond the budget, once a patient,
	// at most limits.max_wait. Default 1s.
	Pause time.Duration `yaml:"pause"`
	// Default is the budget of a role that Roles does not name. Default 100 patients an
	// hour and 400 a shift, and in lists 2000 and 6000.
	Default PatientBudget `yaml:"default"`
	// Roles are budgets by role, as the claim of the roles has it. What one leaves out
	// is as in Default. Whoever has several roles has the largest.
	Roles map[string]PatientBudget `yaml:"roles"`
}

// PatientBudget is how many different patients one person may meet: a number up to
// 10000, or none for no budget.
type PatientBudget struct {
	// Hour and Shift are patients whom a request names, or an answer that is no list.
	Hour  Count `yaml:"hour"`
	Shift Count `yaml:"shift"`
	// ListedHour and ListedShift are those in the answers to searches and lists.
	ListedHour  Count `yaml:"listed_hour"`
	ListedShift Count `yaml:"listed_shift"`
}

// Count is a number of patients, or none, which is NoBudget; 0 when it is not given.
type Count int

// NoBudget is the Count that counts nobody.
const NoBudget Count = -1

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Count) UnmarshalText(text []byte) error {
	if string(text) == "none" {
		*c = NoBudget
		return nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 || n > maxCount {
		return fmt.Errorf("%q is not a number of patients: write one from 1 to %d, or none", text, maxCount)
	}
	*c = Count(n)
	return nil
}

// maxCount is how many patients of one person are told apart.
const maxCount = 10_000

// Incident says who may lift the limits for people in a major incident. It is
// declared by command, never here: see docs/limits.md.
type Incident struct {
	// People may declare one, each alone: those who are on call. Default: nobody, so
	// that limits are never lifted.
	People []Approver `yaml:"people"`
	// Longest is how long one may last, at most 24h. Default 12h.
	Longest time.Duration `yaml:"longest"`
}

// Machine is one machine client: a program that asks with a token of its own, such
// as a tracking board or a feed. A machine that is not registered is refused.
type Machine struct {
	// Client is the sub of its tokens, which is its client id with most sign-in
	// services. Required.
	Client string `yaml:"client"`
	// Name, Purpose and Owner are for people: what it is, what it is for and who
	// answers for it. Required.
	Name    string `yaml:"name"`
	Purpose string `yaml:"purpose"`
	Owner   string `yaml:"owner"`
	// Networks are where it asks from, for example 10.1.2.0/24. Required.
	Networks []string `yaml:"networks"`
	// Expires is the last day, in the hospital's time, on which it may ask, for example
	// 2027-03-31. Required.
	Expires Day `yaml:"expires"`
	// Rate is its own. Default: limits.machine.
	Rate Rate `yaml:"rate"`
	// Patients is its budget; beyond it all it asks is refused. What is left out is
	// none.
	Patients PatientBudget `yaml:"patients"`
}

// Day is a day of the calendar. The zero Day is none.
type Day struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Day) UnmarshalText(text []byte) (err error) {
	if d.Time, err = time.Parse(time.DateOnly, string(text)); err != nil {
		return fmt.Errorf("%q is not a day: write for example 2027-03-31", text)
	}
	return nil
}

// or fills in what b leaves out.
func (b PatientBudget) or(other PatientBudget) PatientBudget {
	return PatientBudget{
		cmp.Or(b.Hour, other.Hour), cmp.Or(b.Shift, other.Shift),
		cmp.Or(b.ListedHour, other.ListedHour), cmp.Or(b.ListedShift, other.ListedShift),
	}
}

func (l Limits) validate(ps *problems) {
	for name, r := range map[string]Rate{"interactive": l.Interactive, "search": l.Search, "bulk": l.Bulk, "machine": l.Machine} {
		if r.PerSecond <= 0 || r.Burst < 1 {
			ps.add("limits."+name, "per_second must be above 0 and burst at least 1: a limit of nothing would lock everybody out")
		}
	}
	if l.MaxWait <= 0 || l.MaxWait > 10*time.Second {
		ps.add("limits.max_wait", "%s must be above nothing and at most 10s: nobody waits longer for a page", l.MaxWait)
	}
	p := l.Patients
	if p.Shift < time.Hour || p.Shift > 24*time.Hour || p.Shift%(5*time.Minute) != 0 {
		ps.add("limits.patients.shift", "%s must be from 1h to 24h in steps of five minutes, for example 12h30m", p.Shift)
	}
	if p.Pause <= 0 || p.Pause > l.MaxWait {
		ps.add("limits.patients.pause", "%s must be above nothing and at most limits.max_wait (%s)", p.Pause, l.MaxWait)
	}
	p.Default.validate(ps, "limits.patients.default")
	for role, b := range p.Roles {
		b.validate(ps, "limits.patients.roles."+role)
	}
	if l.Incident.Longest < time.Minute || l.Incident.Longest > 24*time.Hour {
		ps.add("limits.incident.longest", "%s must be from 1m to 24h", l.Incident.Longest)
	}
	ps.people("limits.incident.people", l.Incident.People)
}

// validate refuses an hour that allows more than the shift that it is part of.
func (b PatientBudget) validate(ps *problems, at string) {
	if b.Shift != NoBudget && b.Hour > b.Shift {
		ps.add(at, "hour must not allow more patients than shift, which is %d", b.Shift)
	}
	if b.ListedShift != NoBudget && b.ListedHour > b.ListedShift {
		ps.add(at, "listed_hour must not allow more patients than listed_shift, which is %d", b.ListedShift)
	}
}

func (c Config) validateMachines(ps *problems) {
	seen := map[string]int{}
	for i, m := range c.Machines {
		at := fmt.Sprintf("machines[%d]", i)
		ps.required(at+".client", m.Client)
		if first, ok := seen[m.Client]; ok && m.Client != "" {
			ps.add(at+".client", "%q is taken by machines[%d]", m.Client, first)
		}
		seen[m.Client] = i
		ps.required(at+".name", m.Name)
		ps.required(at+".purpose", m.Purpose)
		ps.required(at+".owner", m.Owner)
		if len(m.Networks) == 0 {
			ps.add(at+".networks", "is missing: name where it asks from, for example [10.1.2.0/24]")
		}
		for j, network := range m.Networks {
			if _, err := netip.ParsePrefix(network); err != nil {
				ps.add(fmt.Sprintf("%s.networks[%d]", at, j), "%q is not a network: write for example 10.1.2.0/24", network)
			}
		}
		if m.Expires.IsZero() {
			ps.add(at+".expires", "is missing: give the last day on which it may ask, for example 2027-03-31")
		}
		if m.Rate != (Rate{}) && (m.Rate.PerSecond <= 0 || m.Rate.Burst < 1) {
			ps.add(at+".rate", "per_second must be above 0 and burst at least 1, or leave both out")
		}
		m.Patients.validate(ps, at+".patients")
	}
	if len(c.Machines) > 0 && len(c.SignIn.Bearer.Audiences) == 0 {
		ps.add("machines", "cannot ask, since no token is accepted: give sign_in.bearer.audiences")
	}
}
