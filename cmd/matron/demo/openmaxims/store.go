package openmaxims

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // the original stores passwords so (S4)
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// patient is a patient as the record holds them.
type patient struct {
	id         int // internal, not shown on screens
	hospitalNo string
	nhs        string // "" when there is none
	unverified bool
	surname    string
	forename   string
	born       string // 2006-01-02
	sex        string // Male, Female
	address    string
	phone      string
	deceased   bool
}

// entry is anything that is recorded about a patient.
type entry struct {
	id      int
	patient int
	kind    string
	when    time.Time
	text    string
	status  string
	by      string
}

// auditRow is one line of the record's own audit.
type auditRow struct {
	when                     time.Time
	user, role, host, action string
	patient                  int
}

// account is somebody who may sign in. The password is kept in clear, as the
// original keeps it in the session and, reversibly, in its database.
type account struct {
	user     string
	name     string
	password string
	roles    []role
	expired  bool
	active   bool
	person   string // of the hospital; "" for default accounts
	ward     string
}

// store is everything the emulated database holds. mu guards all of it.
type store struct {
	h     *hospital.Hospital
	now   func() time.Time
	clock *time.Location

	mu       sync.Mutex
	patients []patient // internal id n is patients[n-1]
	entries  []entry
	accounts map[string]*account
	flags    map[string]string
	audit    []auditRow
	reports  map[string][]byte
	library  map[string]string // report templates
	uploads  map[string][]byte // by path below Base
	services map[string]bool   // SOAP services that are deployed
	stopped  bool              // Axis was stopped
}

func newStore(cfg Config, clock *time.Location) *store {
	s := &store{
		h: cfg.Hospital, now: cfg.Now, clock: clock, accounts: map[string]*account{},
		reports: map[string][]byte{}, uploads: map[string][]byte{},
		flags: map[string]string{
			"LOGIN_ATTEMPTS": fmt.Sprint(cfg.LoginAttempts), "READ_AUDIT_ENABLED": "FALSE", "RELEASE_MODE": "FALSE",
			"REQUEST_LOGGING": "FALSE", "DISPLAY_PATID_TYPE": "HOSPNUM", "SESSION_TIMEOUT": fmt.Sprint(int(cfg.Timeout.Minutes())),
		},
		library: map[string]string{
			"Patient Summary": "<report name=\"Patient Summary\"/>", "Discharge Letter": "<report name=\"Discharge Letter\"/>",
			"Ward List": "<report name=\"Ward List\"/>",
		},
		services: map[string]bool{
			"WebService": true, "MAXIMSWebService": true, "RemoteSessionAdminWebService": true, "AdminService": true, "Version": true,
		},
	}
	s.hire(cfg)
	s.admit()
	return s
}

// Username is the name that a member of staff signs in with.
func Username(m hospital.Staff) string { return strings.ToLower(m.Person) }

// hire makes the accounts: the hospital's staff, and those that come with the
// software and its published password (S5).
func (s *store) hire(cfg Config) {
	for _, m := range s.h.Staff {
		a := &account{user: Username(m), name: m.Name.Full(), password: cfg.Password, roles: rolesOf(m), active: true, person: m.Person}
		if len(m.Wards) > 0 {
			a.ward = m.Wards[0]
		}
		a.expired = slices.Contains(cfg.Expired, a.user)
		s.accounts[a.user] = a
	}
	for _, user := range []string{"admin", "imsadmin"} {
		s.accounts[user] = &account{user: user, name: "System Account", password: "icws", roles: []role{administrator()}, active: true}
	}
}

// hash is how passwords are stored: SHA-1 without a salt.
func hash(password string) string {
	sum := sha1.Sum([]byte(password)) //nolint:gosec // the original stores passwords so (S4)
	return hex.EncodeToString(sum[:])
}

// admit fills the record with the hospital's patients and what is known of them.
func (s *store) admit() {
	//nolint:gosec // the same hospital must give the same record; nothing here is secret
	rng := rand.New(rand.NewPCG(s.h.Seed, 0x6d6178696d73))
	inCare := map[string]bool{}
	for _, c := range s.h.Care {
		inCare[c.Patient] = true
	}
	for i, p := range s.h.Patients {
		sex := "Male"
		if p.Sex == "female" {
			sex = "Female"
		}
		s.patients = append(s.patients, patient{
			id: i + 1, hospitalNo: p.ID, nhs: p.NHSNumber, unverified: i%40 == 39, surname: p.Name.Family, forename: p.Name.Given,
			born: p.BirthDate, sex: sex, address: p.Address.Line + ", " + p.Address.Postcode, phone: p.Phone,
			deceased: !inCare[p.ID] && i%5 == 4,
		})
	}
	// Names and gaps that a list of plain ones would never show.
	for i, p := range []patient{
		{surname: "O'Sampleton", forename: "Siobhán", born: "1958-03-17", sex: "Female"},
		{surname: "Ångström-Test", forename: "Zoë", born: "1991-11-05", sex: "Female"},
		{surname: "Unknown", forename: "Male <ED>", born: "1980-01-01", sex: "Male"},
	} {
		p.id, p.hospitalNo, p.address = len(s.patients)+1, fmt.Sprintf("H9%05d", i+1), "No fixed abode"
		s.patients = append(s.patients, p)
	}
	for _, p := range s.patients {
		s.history(rng, p)
	}
	for _, c := range s.h.Care {
		s.visit(rng, c)
	}
}

// history is what is known of a patient from before.
func (s *store) history(rng *rand.Rand, p patient) {
	draw := func(from ...string) string { return from[rng.IntN(len(from))] }
	add := func(kind, text, status string) {
		by := s.h.WithRole(hospital.Doctor)
		ago := time.Duration(1+rng.IntN(14*24*60)) * time.Minute
		s.entries = append(s.entries, entry{
			id: len(s.entries) + 1, patient: p.id, kind: kind, when: s.h.Day.Add(-ago), text: text, status: status,
			by: by[rng.IntN(len(by))].Name.Full(),
		})
	}
	add("note", draw("Reviewed. Comfortable. Plan: continue.", "Mobilised with one. Home when safe.", "Symptoms improved. Review in clinic."), "Final")
	add("pathology", draw("Full blood count", "Urea and electrolytes", "C-reactive protein", "Liver function tests"), draw("New", "Seen", "Checked"))
	if rng.IntN(2) == 0 {
		add("radiology", draw("Chest X-ray", "CT head", "Ultrasound abdomen"), draw("New", "Seen"))
	}
	if rng.IntN(2) == 0 {
		add("prescription", draw("Paracetamol 1 g four times a day", "Amlodipine 5 mg once a day", "Salbutamol 2 puffs as needed"), "Active")
	}
	if rng.IntN(3) == 0 {
		add("allergy", draw("Penicillin", "Latex", "Ibuprofen"), "Active")
	}
	if rng.IntN(8) == 0 {
		add("elective", draw("Cataract surgery", "Hernia repair", "Knee arthroscopy"), "Waiting")
	}
	if rng.IntN(3) == 0 {
		add("referral", draw("General practitioner, to cardiology", "General practitioner, to orthopaedics"), draw("Clock running", "Clock stopped"))
	}
}

// visit is what belongs to a stay, an attendance, a clinic or an operation.
func (s *store) visit(rng *rand.Rand, c hospital.Care) {
	p := s.byNumber(c.Patient)
	if p == nil {
		return
	}
	e := entry{id: len(s.entries) + 1, patient: p.id, when: c.Start, by: c.Specialty}
	switch c.Kind {
	case "emergency":
		e.kind, e.text = "attendance", []string{"Chest pain", "Fall", "Short of breath", "Abdominal pain"}[rng.IntN(4)]
		e.status = []string{"Waiting for triage", "Waiting to be seen", "Being seen", "Referred"}[rng.IntN(4)]
	case "theatre":
		e.kind, e.text, e.status = "operation", []string{"Hip replacement", "Hernia repair", "Laparoscopic cholecystectomy"}[rng.IntN(3)], "Listed"
	case "outpatient":
		e.kind, e.text, e.status = "appointment", "Clinic, "+c.Ward, "Booked"
	default:
		e.kind, e.text, e.status = "stay", c.Ward+" "+c.Bed, "In"
	}
	s.entries = append(s.entries, e)
}

// byNumber finds a patient by hospital number; the caller holds mu or is alone.
func (s *store) byNumber(hospitalNo string) *patient {
	for i := range s.patients {
		if s.patients[i].hospitalNo == hospitalNo {
			return &s.patients[i]
		}
	}
	return nil
}

// patient finds a patient by internal id.
func (s *store) patient(id int) (patient, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id < 1 || id > len(s.patients) {
		return patient{}, false
	}
	return s.patients[id-1], true
}

// find lists the patients that match, by surname.
func (s *store) find(match func(patient) bool) []patient {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []patient
	for _, p := range s.patients {
		if match(p) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b patient) int { return cmp.Compare(a.surname, b.surname) })
	return out
}

// keep stores a patient, a new one when the id is 0, and returns the id.
func (s *store) keep(p patient) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.id == 0 {
		p.id = len(s.patients) + 1
		p.hospitalNo = fmt.Sprintf("H%06d", 800_000+p.id)
		s.patients = append(s.patients, p)
	}
	s.patients[p.id-1] = p
	return p.id
}

// list is what is recorded of the kinds, newest first; patient 0 is everybody.
func (s *store) list(patient int, kinds ...string) []entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []entry
	for _, e := range s.entries {
		if (patient == 0 || e.patient == patient) && slices.Contains(kinds, e.kind) {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b entry) int { return b.when.Compare(a.when) })
	return out
}

// record adds an entry.
func (s *store) record(e entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.id, e.when = len(s.entries)+1, s.now()
	s.entries = append(s.entries, e)
}

// mark changes the status of an entry.
func (s *store) mark(id int, status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id >= 1 && id <= len(s.entries) {
		s.entries[id-1].status = status
	}
}

func (s *store) flag(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flags[name]
}

func (s *store) setFlag(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flags[name] = value
}

func (s *store) log(row auditRow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	row.when = s.now()
	s.audit = append(s.audit, row)
}

// check is whether the password is the account's: a copy of the account when it
// is. The salt is "" unless the client hashed.
func (s *store) check(user, pass, salt string) (account, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accounts[user]
	if !ok || !a.active {
		return account{}, false
	}
	want := a.password
	if salt != "" {
		want = hash(a.password + salt)
	}
	return *a, pass == want
}

// change changes an account, if there is one.
func (s *store) change(user string, apply func(*account)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accounts[user]
	if ok {
		apply(a)
	}
	return ok
}

// users lists the accounts by user name.
func (s *store) users() []account {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []account
	for _, a := range s.accounts {
		out = append(out, *a)
	}
	slices.SortFunc(out, func(a, b account) int { return cmp.Compare(a.user, b.user) })
	return out
}

// settings lists the configuration flags by name.
func (s *store) settings() [][2]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out [][2]string
	for _, name := range slices.Sorted(maps.Keys(s.flags)) {
		out = append(out, [2]string{name, s.flags[name]})
	}
	return out
}

// audited lists the record's own audit.
func (s *store) audited() []auditRow {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.audit)
}

// templates lists the names of the report templates.
func (s *store) templates() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.library))
}

func (s *store) template(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.library[name]
}

func (s *store) putTemplate(name, body string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.library) >= maxReports {
		return false
	}
	s.library[name] = body
	return true
}
