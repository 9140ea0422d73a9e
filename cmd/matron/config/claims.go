package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/matron-epr/matron/proxy/signin"
)

// validateClaims checks what is asked of sign-ins and how what they say is read.
func (s SignIn) validateClaims(ps *problems) {
	for _, name := range slices.Sorted(maps.Keys(s.Parameters)) {
		if slices.Contains(signin.Reserved(), name) {
			ps.add("sign_in.parameters."+name, "belongs to the protocol: the gateway sets it")
		}
	}
	ps.within("sign_in.min_assurance", s.MinAssurance, 0, 3)
	if s.MaxAuthAge < 0 {
		ps.add("sign_in.max_auth_age", "must not be negative")
	}
	if (s.Bearer.MachineClaim == "") != (s.Bearer.MachineValue == "") {
		ps.add("sign_in.bearer", "machine_claim and machine_value belong together: give both or neither")
	}
	c := s.Claims
	chosen := c.Selected
	if set := chosen != (SelectedRole{}); set && (chosen.ID == "" || chosen.List == "" || chosen.Key == "") {
		ps.add("sign_in.claims.selected", "id, list and key belong together: give all of them or none")
	} else if !set {
		for name, path := range map[string]string{
			"person": c.Person, "name": c.Name, "roles": c.Roles, "activities": c.Activities, "organisation": c.Organisation,
			"role_id": c.RoleID, "assurance": c.Assurance,
		} {
			if strings.HasPrefix(path, signin.RoleEntry) {
				ps.add("sign_in.claims."+name, "%q looks into the chosen role: say with selected how it is found", path)
			}
		}
	}
}
