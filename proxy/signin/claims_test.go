package signin

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/jba/templatecheck"

	"github.com/matron-epr/matron/policy"
)

// cis2 maps the claims of NHS CIS2 Authentication.
func cis2() ClaimMap {
	return ClaimMap{
		Person: "nhsid_useruid", Roles: "$role.role_code", Activities: "$role.activity_codes", Organisation: "$role.org_code",
		RoleID: "selected_roleid", Assurance: "authentication_assurance_level", RoleSeparator: ":",
		Selected: SelectedRole{ID: "selected_roleid", List: "nhsid_nrbac_roles", Key: "person_roleid"},
	}.withDefaults()
}

const cis2Claims = `{"sub":"787","nhsid_useruid":"787","name":"USERQ RANDOM Mr","acr":"AAL3_ANY","amr":["N3_SMARTCARD"],
	"authentication_assurance_level":LEVEL,"selected_roleid":SELECTED,"nhsid_nrbac_roles":[
	{"person_roleid":"555","org_code":"RBA","role_code":"S8000:G8000:R8001","activity_codes":["B0278","B0401"]},
	{"person_roleid":"556","org_code":"RBB","role_code":"S8000:G8000:R8000","activity_codes":["B0420"]}]}`

// hazard:GW-07 control:C-31
func TestClaims(t *testing.T) {
	plain := ClaimMap{Organisation: "org", Assurance: "level"}.withDefaults()
	nurse := policy.Subject{Issuer: "iss", Sub: "s", Person: "s"}
	with := func(change func(*policy.Subject)) *policy.Subject {
		s := nurse
		change(&s)
		return &s
	}
	selected := func(level, id string) string {
		return strings.NewReplacer("LEVEL", level, "SELECTED", id).Replace(cis2Claims)
	}
	person := policy.Subject{
		Issuer: "iss", Sub: "787", Person: "787", Name: "USERQ RANDOM Mr", ACR: "AAL3_ANY", AMR: []string{"N3_SMARTCARD"},
		Assurance: 3, RoleID: "555", Roles: []string{"R8001"}, Activities: []string{"B0278", "B0401"}, Organisation: "RBA",
	}
	noRole := policy.Subject{
		Issuer: "iss", Sub: "787", Person: "787", Name: "USERQ RANDOM Mr", ACR: "AAL3_ANY", AMR: []string{"N3_SMARTCARD"},
		Assurance: 3, RoleID: "557",
	}
	tests := []struct {
		name string
		m    ClaimMap
		raw  string
		want *policy.Subject // nil: refused
	}{
		{"sub alone", plain, `{"sub":"s"}`, &nurse},
		{"roles as text", plain, `{"sub":"s","roles":"nurse"}`, with(func(s *policy.Subject) { s.Roles = []string{"nurse"} })},
		{"roles as list", plain, `{"sub":"s","roles":["nurse","doctor","nurse",7]}`, with(func(s *policy.Subject) { s.Roles = []string{"nurse", "doctor", "7"} })},
		{"nested roles", ClaimMap{Roles: "realm_access.roles"}.withDefaults(), `{"sub":"s","realm_access":{"roles":["nurse"]}}`, with(func(s *policy.Subject) { s.Roles = []string{"nurse"} })},
		{"roles in objects", ClaimMap{Roles: "groups.code"}.withDefaults(), `{"sub":"s","groups":[{"code":"a"},{"code":["b","c"]},{"x":1}]}`, with(func(s *policy.Subject) { s.Roles = []string{"a", "b", "c"} })},
		{"name with dots", ClaimMap{Roles: "https://trust.nhs.uk/roles"}.withDefaults(), `{"sub":"s","https://trust.nhs.uk/roles":["nurse"]}`, with(func(s *policy.Subject) { s.Roles = []string{"nurse"} })},
		{"level as number", plain, `{"sub":"s","level":3}`, with(func(s *policy.Subject) { s.Assurance = 3 })},
		{"level as text", plain, `{"sub":"s","level":"2"}`, with(func(s *policy.Subject) { s.Assurance = 2 })},
		{"level unknown", plain, `{"sub":"s","level":"AAL9"}`, &nurse},
		{"level out of range", plain, `{"sub":"s","level":4}`, &nurse},
		{"person as number", plain, `{"sub":12345678901234567890}`, with(func(s *policy.Subject) { s.Sub, s.Person = "12345678901234567890", "12345678901234567890" })},
		{"name with a line feed", plain, `{"sub":"s","name":"A\nB"}`, with(func(s *policy.Subject) { s.Name = "A B" })},
		{"null", plain, `{"sub":"s","roles":null,"name":null}`, &nurse},
		{"an e-mail address says nothing", plain, `{"sub":"s","email":"admin@evil.test@trust.nhs.uk","email_verified":true,"preferred_username":"admin"}`, &nurse},
		{"selected role", cis2(), selected("3", `"555"`), &person},
		{"selected role, all text", cis2(), selected(`"3"`, `"555"`), &person},
		{"selected role not listed", cis2(), selected("3", `"557"`), &noRole},
		{"no object", plain, `[]`, nil},
		{"nothing", plain, `null`, nil},
		{"no sub", plain, `{}`, nil},
		{"two subs", plain, `{"sub":["a","b"]}`, nil},
		{"sub is an object", plain, `{"sub":{}}`, nil},
		{"sub with a control character", plain, `{"sub":"a\u0000b"}`, nil},
		{"sub too long", plain, `{"sub":"` + strings.Repeat("a", 300) + `"}`, nil},
		{"role is true", plain, `{"sub":"s","roles":[true]}`, nil},
		{"role is null", plain, `{"sub":"s","roles":["a",null]}`, nil},
		{"role is an object", plain, `{"sub":"s","roles":{"a":1}}`, nil},
		{"auth_time is text", plain, `{"sub":"s","auth_time":"yesterday"}`, nil},
		{"auth_time before time", plain, `{"sub":"s","auth_time":-1}`, nil},
		{"two organisations", plain, `{"sub":"s","org":["a","b"]}`, nil},
		{"roles list is garbled", cis2(), `{"sub":"787","nhsid_useruid":"787","selected_roleid":"1","nhsid_nrbac_roles":["x"]}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parseClaims([]byte(tt.raw))
			var got policy.Subject
			if err == nil {
				got, err = tt.m.subject("iss", c)
			}
			switch {
			case tt.want == nil && !errors.Is(err, errClaims):
				t.Errorf("%+v, %v", got, err)
			case tt.want != nil && err != nil:
				t.Error(err)
			case tt.want != nil:
				if diff := cmp.Diff(*tt.want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// Where ID token and userinfo both speak, the signed one counts.
func TestSignedClaimsWin(t *testing.T) {
	signed, info := claims{"sub": "s", "roles": "nurse"}, claims{"sub": "s", "roles": "doctor", "org": "RBA"}
	if diff := cmp.Diff(claims{"sub": "s", "roles": "nurse", "org": "RBA"}, signed.over(info)); diff != "" {
		t.Error(diff)
	}
}

// Whatever a provider sends, reading it neither panics nor yields a subject
// that names nobody or brings control characters along.
func FuzzClaims(f *testing.F) {
	f.Add(strings.NewReplacer("LEVEL", "3", "SELECTED", `"555"`).Replace(cis2Claims))
	f.Add(`{"sub":"s","roles":[["a"],[["b"]]],"auth_time":1e400}`)
	f.Add(`{"sub":1e3,"name":{"a":1},"amr":"x","acr":7}`)
	f.Add(`{"sub":"s","nhsid_nrbac_roles":{"person_roleid":[]},"selected_roleid":[[]]}`)
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := parseClaims([]byte(raw))
		if err != nil {
			return
		}
		for _, m := range []ClaimMap{ClaimMap{}.withDefaults(), cis2(), {Roles: "a.b.c", Activities: "$role.", Organisation: "."}} {
			s, err := m.subject("iss", c)
			if err != nil {
				if !errors.Is(err, errClaims) {
					t.Errorf("unknown error %v", err)
				}
				continue
			}
			if !s.Known() || s.Assurance < 0 || s.Assurance > 3 {
				t.Errorf("%+v", s)
			}
			all := append([]string{s.Sub, s.Person, s.Name, s.Organisation, s.RoleID, s.ACR}, s.Roles...)
			for _, text := range append(append(all, s.Activities...), s.AMR...) {
				if len(text) > maxClaimValue || strings.ContainsFunc(text, unicode.IsControl) {
					t.Errorf("%q", text)
				}
			}
		}
	})
}

func TestPageTemplate(t *testing.T) {
	parsed, err := parsePage()
	if err != nil {
		t.Fatal(err)
	}
	if err := templatecheck.CheckHTML(parsed, page{}); err != nil {
		t.Error(err)
	}
}

// Every reason has an answer of its own, and what is not known refuses.
func TestRefusals(t *testing.T) {
	codes := map[string]bool{}
	for _, f := range append(refusals(), refusalOf(errors.New("surprise"))) {
		if codes[f.code] || f.status < 400 || f.title == "" || len(f.text) == 0 {
			t.Errorf("%+v", f)
		}
		codes[f.code] = true
	}
}
