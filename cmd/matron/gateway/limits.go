package gateway

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/host"
	"github.com/matron-epr/matron/cmd/matron/incident"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/limit"
)

// IncidentFile is where the major incidents of c's gateway are.
func IncidentFile(c config.Config) string { return filepath.Join(c.DataDir, "incident.ledger") }

// IncidentRules say whose signature counts for a major incident of c's gateway.
func IncidentRules(c config.Config) (incident.Rules, error) {
	people, err := people("limits.incident.people", c.Limits.Incident.People)
	return incident.Rules{Origin: merkle.Origin(c.Site, c.Source), People: people, Longest: c.Limits.Incident.Longest}, err
}

// openLimits begins with limits in force; Run finds what was declared.
func (g *Gateway) openLimits(context.Context) error {
	rules, err := IncidentRules(g.cfg)
	if err != nil {
		return err
	}
	g.incident = incident.NewControl(incident.ControlConfig{
		Path: IncidentFile(g.cfg), Rules: rules, Read: host.NewReader(g.now), Record: g.record, Log: g.log,
	})
	g.limiter, err = limit.New(limit.Config{Rules: limitRules(g.cfg), Lifted: g.incident.Lifted, Now: g.now})
	if err != nil {
		return err
	}
	return g.setMachines(g.cfg)
}

// limitRules are the limits as proxy/limit has them.
func limitRules(c config.Config) limit.Rules {
	l := c.Limits
	r := limit.Rules{
		Kinds: map[proxy.LimitKind]limit.Rate{
			proxy.Interactive:   limit.Rate(l.Interactive),
			proxy.SearchKind:    limit.Rate(l.Search),
			proxy.Bulk:          limit.Rate(l.Bulk),
			proxy.MachineClient: limit.Rate(l.Machine),
		},
		MaxWait: l.MaxWait, Shift: l.Patients.Shift, Pause: l.Patients.Pause,
		Budget: budgetOf(l.Patients.Default), Budgets: map[string]limit.Budget{}, Machines: map[string]limit.Machine{},
	}
	for role, b := range l.Patients.Roles {
		r.Budgets[role] = budgetOf(b)
	}
	for _, m := range c.Machines {
		r.Machines[m.Client] = limit.Machine{Rate: limit.Rate(m.Rate), Budget: budgetOf(m.Patients)}
	}
	return r
}

func budgetOf(b config.PatientBudget) limit.Budget {
	n := func(c config.Count) int { return max(int(c), 0) } // config.NoBudget is none
	return limit.Budget{Opened: limit.Number{Hour: n(b.Hour), Shift: n(b.Shift)}, Listed: limit.Number{Hour: n(b.ListedHour), Shift: n(b.ListedShift)}}
}

// machine is a registered machine client as it is asked about.
type machine struct {
	networks []netip.Prefix
	expires  time.Time // first moment after its last day
	name     string
}

// setMachines replaces the machine clients that may ask.
func (g *Gateway) setMachines(c config.Config) error {
	known := make(map[string]machine, len(c.Machines))
	for i, m := range c.Machines {
		y, month, d := m.Expires.Date()
		one := machine{name: m.Name, expires: time.Date(y, month, d+1, 0, 0, 0, 0, g.detection.location)}
		for j, text := range m.Networks {
			network, err := netip.ParsePrefix(text)
			if err != nil {
				return fmt.Errorf("machines[%d].networks[%d]: %w", i, j, err)
			}
			one.networks = append(one.networks, network.Masked())
		}
		known[m.Client] = one
	}
	g.machines.Store(&known)
	return nil
}

// admit says whether a machine client may ask from an address now. On error: it may
// not.
func (g *Gateway) admit(s policy.Subject, ip string) error {
	if s.Issuer == policy.ProbeIssuer { // the gateway itself: no token has this issuer
		return nil
	}
	m, ok := (*g.machines.Load())[s.Sub]
	if !ok {
		return proxy.ErrMachineUnknown
	}
	if !g.now().Before(m.expires) {
		return proxy.ErrMachineExpired
	}
	from, err := netip.ParseAddr(ip)
	if err != nil {
		return proxy.ErrMachineNetwork
	}
	for _, network := range m.networks {
		if network.Contains(from.Unmap()) {
			return nil
		}
	}
	return proxy.ErrMachineNetwork
}

// expiring are the registrations that run out soon or have, soonest first.
func (g *Gateway) expiring() (list []dashboards.Expiry) {
	for _, m := range *g.machines.Load() {
		if m.expires.Sub(g.now()) < expiryNotice {
			list = append(list, dashboards.Expiry{Name: m.name, At: m.expires})
		}
	}
	slices.SortFunc(list, func(a, b dashboards.Expiry) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Name, b.Name)) })
	return list
}

// expiryNotice is how long before a registration runs out the health page says so.
const expiryNotice = 14 * 24 * time.Hour

// limitHealth adds to a page's health how the limits are.
func (g *Gateway) limitHealth(h *dashboards.Health) {
	for _, i := range g.incident.InForce() {
		h.Limits.Lifted = append(h.Limits.Lifted, dashboards.Lifting{Reason: i.Reason, By: i.DeclaredBy, Since: i.DeclaredAt, Until: i.Until()})
	}
	for _, o := range g.limiter.Overs() {
		h.Limits.Over = append(h.Limits.Over, dashboards.OverBudget{
			Name: o.Subject.Name, Sub: o.Subject.Sub, Roles: o.Subject.Roles, Machine: o.Subject.Machine, Listed: o.Listed, Shift: o.Window == "shift", Patients: o.Patients, Of: o.Of,
		})
	}
	h.Limits.Expiring, h.Limits.Uncounted = g.expiring(), g.limiter.Uncounted()
}

// limitsCheck is a line of /readyz that tells and does not decide.
func (g *Gateway) limitsCheck() check {
	c := check{Name: "limits (not required)", OK: true, Note: "in force"}
	for _, i := range g.incident.InForce() {
		c.OK, c.Note = false, "lifted for a major incident until "+i.Until().UTC().Format(time.RFC3339)
	}
	return c
}

// watchLimits shows on /metrics how the limits are, without naming anybody.
func (g *Gateway) watchLimits() {
	for _, m := range []struct {
		name, help string
		value      func() float64
	}{
		{"matron_limits_lifted", "1 while limits are lifted for people in a major incident.", func() float64 { return truth(g.incident.Lifted()) }},
		{"matron_limits_lifted_remaining_seconds", "Time until they are in force again by themselves, 0 when they are.", func() (left float64) {
			for _, i := range g.incident.InForce() {
				left = max(left, i.Until().Sub(g.now()).Seconds())
			}
			return left
		}},
		{"matron_limits_people", "People, machines and addresses that the limits remember.", func() float64 { return float64(g.limiter.Len()) }},
		{"matron_limits_over_budget_people", "Budgets of patients that somebody is over now.", func() float64 { return float64(len(g.limiter.Overs())) }},
		{"matron_limits_uncounted_total", "Patients that were not counted against a budget for want of memory.", func() float64 { return float64(g.limiter.Uncounted()) }},
		{"matron_machines_registered", "Machine clients that are registered.", func() float64 { return float64(len(*g.machines.Load())) }},
		{"matron_machines_expiring", "Machine clients whose registration runs out within 14 days, or has.", func() float64 { return float64(len(g.expiring())) }},
	} {
		g.metrics.watch(m.name, m.help, m.value)
	}
}
