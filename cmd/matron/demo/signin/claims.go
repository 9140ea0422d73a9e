package signin

import (
	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

func claimNames() []string {
	return []string{
		"sub", "aud", "exp", "iat", "iss", "auth_time", "nonce", "acr", "amr", "sid", "name", "given_name", "family_name",
		"person", "roles", "activities", "org", "assurance", "selected_roleid", "nhsid_nrbac_roles",
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
		claims["nhsid_nrbac_roles"] = nationalRoles(s)
	}
	return claims
}

// nationalRoles lists the roles that somebody holds as NHS CIS2 does: the one that
// they chose, and one elsewhere that they did not.
func nationalRoles(s hospital.Staff) []map[string]any {
	const elsewhere = "RXX"
	codes := map[string]string{
		hospital.Doctor: "S8000:G8000:R8000", hospital.Nurse: "S8000:G8000:R8001", hospital.AlliedHealth: "S8000:G8000:R8003",
		hospital.Receptionist: "S8001:G8002:R8009", hospital.WardClerk: "S8001:G8002:R8010", hospital.MedicalSecretary: "S8001:G8002:R8006",
		hospital.SystemAdministrator: "S8001:G8005:R8015",
	}
	return []map[string]any{
		{"person_roleid": "1" + s.RoleID, "org_code": elsewhere, "role_code": codes[hospital.Doctor], "activity_codes": []string{"B0420"}},
		{"person_roleid": s.RoleID, "org_code": s.Site, "role_code": codes[s.Roles[0]], "activity_codes": list(s.Activities)},
	}
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
