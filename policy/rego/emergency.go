package rego

import (
	"context"
	"slices"

	"github.com/matron-epr/matron/policy"
)

// emergency is what is left to decide by when the rules give no answer: the lines of
// the table of roles that may break the glass, by area, for each name and national
// code of such a role. It is read when the bundle is, and asks nothing.
type emergency map[string]map[string][]string

// emergencyOf reads the tables of the bundle. One without them offers nothing.
func (c *compiled) emergencyOf(ctx context.Context) emergency {
	e := emergency{}
	t, err := c.tables(ctx)
	if err != nil {
		return e
	}
	for name, role := range t.Roles {
		if role.BreakGlass && !role.Machine {
			e[name] = role.May
		}
	}
	for code, name := range t.Codes {
		if may, ok := e[name]; ok {
			e[code] = may
		}
	}
	return e
}

// covers reports whether q is one that emergency access may be offered for: a person
// in a role that may break the glass, by a known route, about one known patient,
// doing what the table says that the role may.
func (e emergency) covers(q *policy.Request) bool {
	if !q.Subject.Known() || q.Subject.Machine || q.Rule == "" || len(q.Patients) != 1 || q.Patients[0] == "" {
		return false
	}
	if q.Certainty != "authoritative" && q.Certainty != "learned" {
		return false
	}
	return slices.ContainsFunc(q.Subject.Roles, func(role string) bool {
		return slices.Contains(e[role][string(q.Area)], string(q.Action))
	})
}

// withoutRules decides when the rules gave no answer: an error, a timeout or an
// answer that cannot be read. On error: deny (GW-11, GW-12), and say so in a way
// that sends the clinician on (GW-01). Where it is safe that way on is emergency
// access, which must not depend on what failed (GW-10): it lets one person into one
// patient's record.
func (c *compiled) withoutRules(q *policy.Request) policy.Decision {
	d := refuseOnError(c.revision)
	switch {
	case !c.emergency.covers(q):
	case q.Grant != "":
		return policy.Decision{Effect: policy.Allow, Rules: []string{"break-glass-without-rules"}, Revision: c.revision}
	default:
		d.Offer = policy.BreakGlass
	}
	return d
}
