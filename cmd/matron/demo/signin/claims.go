package signin

import (
	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

func claimNames() []string {
	return []string{
		"sub", "aud", "exp", "iat", "iss", "auth_time", "nonce", "acr", "amr", "sid", "name", "given_name", "family_name",
		"person", "roles", "activities", "org", "assurance", "selected_roleid",
	}
}

// subject is a person's sub: theirs for good, and not the person id, so that a
// gateway that mixes the two up is found out.
func subject(person string) string { return "user-" + person }

// describe is what the service says about somebody.
func describe(s hospital.Staff, assurance int) map[string]any {
	claims := map[string]any{
		"roles": s.Roles, "activities": list(s.Activities), "org": s.Site,
		"assurance": assurance, "selected_roleid": s.RoleID,
	}
	if !s.Machine() {
		claims["person"] = s.Person
	}
	return claims
}

// list makes sure that a claim is an array and never null.
func list(in []string) []string {
	if in == nil {
		return []string{}
	}
	return in
}

func setUserInfo(u *oidc.UserInfo, s hospital.Staff, assurance int) {
	u.Subject = subject(s.Person)
	u.Name = s.Name.Full()
	u.GivenName, u.FamilyName = s.Name.Given, s.Name.Family
	for name, value := range describe(s, assurance) {
		u.AppendClaims(name, value)
	}
}
