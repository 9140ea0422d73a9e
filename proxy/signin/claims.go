package signin

// ClaimMap says which claims describe a person. Each value is the name of a
// claim or a dotted path into nested ones ("realm_access.roles"); a path goes
// through arrays, and a claim whose own name holds dots is found first. A path
// that begins with "$role." looks into the role entry that Selected names.
type ClaimMap struct {
	Person       string // default "sub"
	Name         string // default "name"
	Roles        string // default "roles"
	Activities   string
	Organisation string
	RoleID       string
	Assurance    string // a number or a string such as "3"
	Selected     SelectedRole
	// RoleSeparator keeps only what follows the last separator of each role:
	// ":" turns S8000:G8000:R8001 into R8001.
	RoleSeparator string
}

// SelectedRole finds the role that a person chose at sign-in among all they
// hold: the entry of List whose Key equals the claim ID. A list without that
// entry yields no role at all.
type SelectedRole struct {
	ID   string // e.g. "selected_roleid"
	List string // e.g. "nhsid_nrbac_roles"
	Key  string // e.g. "person_roleid"
}

func (m ClaimMap) withDefaults() ClaimMap {
	if m.Person == "" {
		m.Person = "sub"
	}
	if m.Name == "" {
		m.Name = "name"
	}
	if m.Roles == "" {
		m.Roles = "roles"
	}
	return m
}
