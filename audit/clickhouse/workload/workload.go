// Package workload makes audit records as a hospital's gateway would write
// them, for measurements: staff on shifts, patients who are opened several times
// in a row, days and weeks with their quiet hours.
//
// It makes no record that is meant for anything but a measurement, and every
// NHS number begins with 999. A Generator belongs to one goroutine.
package workload

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/matron-epr/matron/audit"
)

const (
	people   = 8_000
	patients = 70_000
	stations = 3_000
	active   = 400 // sessions at a time
	wards    = 60
)

// person is a member of staff.
type person struct {
	id, name, sub, role string
	ward                int
}

// session is one person's shift at one workstation.
type session struct {
	who      person
	ip       string
	agent    string
	id       string
	signedIn time.Time
	left     int // accesses until it ends
	patient  int
	onIt     int // accesses until the next patient
}

// Generator makes accesses in the order of time, each a decision and its
// outcome, as proxy fills them.
type Generator struct {
	rnd      *rand.Rand
	now      time.Time
	perDay   float64
	seq      uint64
	sessions []session
	open     []audit.Record // outcomes that are due, latest first
}

// New makes a generator that begins at start and makes about perDay accesses a
// day. The same seed makes the same records.
func New(seed uint64, start time.Time, perDay int) *Generator {
	g := &Generator{rnd: rand.New(rand.NewPCG(seed, 1)), now: start.UTC(), perDay: float64(perDay)} //nolint:gosec // a measurement needs no secrets
	g.sessions = make([]session, active)
	for i := range g.sessions {
		g.sessions[i] = g.signIn()
	}
	return g
}

// Fill overwrites records with the next ones.
func (g *Generator) Fill(records []audit.Record) {
	for i := range records {
		records[i] = g.next()
		g.seq++
		records[i].Source, records[i].Seq = "gw1", g.seq
		for j := range 2 {
			binary.BigEndian.PutUint64(records[i].Nonce[8*j:], g.rnd.Uint64())
		}
		if records[i].Kind == audit.KindDecision {
			g.due(&records[i])
		}
	}
}

// next is the outcome that is due, or another decision.
func (g *Generator) next() audit.Record {
	at := g.now.Add(g.pause())
	if n := len(g.open) - 1; n >= 0 && g.open[n].Time.Before(at) {
		r := g.open[n]
		g.open = g.open[:n]
		g.now = r.Time
		return r
	}
	g.now = at
	return g.decision()
}

// pause is the time until the next access: short at eleven on a weekday, long
// at four on a Sunday.
func (g *Generator) pause() time.Duration {
	hour := float64(g.now.Hour()) + float64(g.now.Minute())/60
	level := 0.25 + 0.9*math.Exp(-(hour-11)*(hour-11)/9) + 0.8*math.Exp(-(hour-15)*(hour-15)/9)
	if d := g.now.Weekday(); d == time.Saturday || d == time.Sunday {
		level *= 0.45
	}
	const mean = 0.52 // of level over a week
	perSecond := g.perDay / 86_400 * level / mean
	return time.Duration(g.rnd.ExpFloat64() / perSecond * 1e9)
}

func (g *Generator) signIn() session {
	s := session{
		who: staff(g.rnd.IntN(people)), id: g.label(),
		signedIn: g.now.Truncate(time.Second), left: 20 + g.rnd.IntN(200),
	}
	station := (s.who.ward*stations/wards + g.rnd.IntN(stations/wards)) % stations
	s.ip = fmt.Sprintf("10.20.%d.%d", station/250, station%250+1)
	s.agent = agents()[station%len(agents())]
	return s
}

// label is 128 random bits in hexadecimal, as the gateway abbreviates sessions.
func (g *Generator) label() string {
	return fmt.Sprintf("%016x%016x", g.rnd.Uint64(), g.rnd.Uint64())
}

func agents() []string {
	const head, tail = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/", ".0.0.0 Safari/537.36"
	return []string{head + "141" + tail, head + "142" + tail, head + "142" + tail + " Edg/142.0.0.0", "EPR-Mobile/4.2 (iOS 19.1)", head + "139" + tail}
}

func staff(n int) person {
	families := []string{"WALSH", "PATEL", "SMITH", "OKAFOR", "JONES", "NOWAK", "KHAN", "TAYLOR", "BROWN", "EVANS"}
	given := []string{"Orla", "Asha", "John", "Ngozi", "Mary", "Piotr", "Imran", "Kate", "Tom", "Rhys"}
	roles := []string{"nurse", "nurse", "nurse", "doctor", "doctor", "clerk", "physiotherapist", "pharmacist"}
	return person{
		id: fmt.Sprintf("p-%05d", 10_000+n), sub: fmt.Sprintf("5550%08d", 36_000_000+n*37),
		name: fmt.Sprintf("%s%02d, %s", families[n%10], n/100, given[n/10%10]),
		role: roles[n%len(roles)], ward: n % wards,
	}
}

// patientOf picks a patient: mostly one of the ward's, some of them far more often.
func (g *Generator) patientOf(ward int) int {
	n := g.rnd.IntN(patients)
	if g.rnd.Float64() < 0.7 {
		n = ward*30 + g.rnd.IntN(30) + g.now.YearDay()*1_800 // the ward's beds, other people each day
	}
	return n * 48_271 % patients // who lies in one ward has numbers far apart
}

// NHSNumber is the synthetic number of a patient, check digit included.
func NHSNumber(patient int) string {
	for n := patient * 2; ; n++ {
		digits := fmt.Sprintf("999%06d", n%1_000_000)
		sum := 0
		for i, c := range digits {
			sum += int(c-'0') * (10 - i)
		}
		switch check := 11 - sum%11; check {
		case 10:
		case 11:
			return digits + "0"
		default:
			return digits + string(rune('0'+check))
		}
	}
}

// kindOf is one sort of exchange and how often it happens.
type kindOf struct {
	weight                                     float64
	app, method, route, action, area, resource string
	byID                                       bool // reads one resource by its id, or else searches
}

func kinds() []kindOf {
	return []kindOf{
		{20, "epr", "GET", "fhir-search", "search", "results", "Observation", false},
		{14, "epr", "GET", "fhir-read", "read", "results", "DiagnosticReport", true},
		{12, "epr", "GET", "fhir-read", "read", "demographics", "Patient", true},
		{10, "epr", "GET", "fhir-search", "search", "prescribing", "MedicationRequest", false},
		{8, "epr", "GET", "fhir-search", "search", "encounters", "Encounter", false},
		{8, "epr", "GET", "fhir-read", "read", "documents", "DocumentReference", true},
		{8, "epr", "POST", "fhir-create", "create", "notes", "ClinicalImpression", false},
		{5, "epr", "PUT", "fhir-update", "update", "notes", "CarePlan", true},
		{8, "imaging", "GET", "dicomweb-study", "read", "results", "ImagingStudy", true},
		{7, "letters", "GET", "letters-show", "read", "documents", "Binary", true},
	}
}

func (g *Generator) kind() kindOf {
	w := g.rnd.Float64() * 100
	for _, k := range kinds() {
		if w -= k.weight; w < 0 {
			return k
		}
	}
	return kinds()[0]
}

func (g *Generator) decision() audit.Record {
	s := &g.sessions[g.rnd.IntN(active)]
	if s.left--; s.left < 0 {
		*s = g.signIn()
	}
	if s.onIt--; s.onIt < 0 {
		s.patient, s.onIt = g.patientOf(s.who.ward), g.rnd.IntN(10)
	}
	k := g.kind()
	mrn := fmt.Sprintf("%d", 9_000_000+s.patient)
	r := audit.Record{
		Site: "RBA", Time: g.now.Truncate(time.Microsecond), Kind: audit.KindDecision, Request: g.requestID(),
		App: k.app, Method: k.method, Route: k.route, Action: k.action, Area: k.area, Resource: k.resource,
		Patient: mrn, NHSNumber: NHSNumber(s.patient), PatientSource: audit.SourceURL, Certainty: audit.Authoritative,
		UserIssuer: "https://am.nhsidentity.spineservices.nhs.uk:443/openam/oauth2/realms/root/realms/NHSIdentity/realms/Healthcare",
		UserSub:    s.who.sub, Person: s.who.id, UserName: s.who.name, Roles: []string{s.who.role, "R8" + s.who.sub[10:]}, Activities: []string{"B0360", "B0278"},
		Org: "RBA", RoleID: "5" + s.who.sub, ACR: "AAL3_ANY", AMR: []string{"N3_SMARTCARD"}, Assurance: 3, AuthTime: s.signedIn,
		Session: s.id, ClientIP: s.ip, UserAgent: s.agent,
		Effect: "allow", Rules: []string{"role/" + s.who.role, "care/ward"}, PolicyRev: "9b1f6a0c52d84e7fa3b0c1d2e3f40516", Mode: "enforce",
	}
	switch {
	case k.byID && k.resource == "Patient":
		r.ResourceID = mrn
		r.Target = "/fhir/Patient/" + mrn
	case k.byID:
		r.ResourceID = fmt.Sprintf("%d", s.patient*400+g.rnd.IntN(400))
		r.Target = "/fhir/" + k.resource + "/" + r.ResourceID
	case k.method == "GET":
		r.Target, r.Query = "/fhir/"+k.resource, "patient="+mrn+"&_count=50"
	default:
		r.Target, r.PatientSource = "/fhir/"+k.resource, audit.SourceBody
	}
	if g.rnd.Float64() < 0.01 {
		r.Effect, r.Reasons = "challenge", []string{"no-care-relationship"}
	}
	return r
}

// requestID is a UUID version 7, as proxy mints it.
func (g *Generator) requestID() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(g.now.UnixMilli())<<16|g.rnd.Uint64()&0xfff|0x7000)
	binary.BigEndian.PutUint64(b[8:], g.rnd.Uint64()&(1<<62-1)|1<<63)
	t := hex.EncodeToString(b[:])
	return t[:8] + "-" + t[8:12] + "-" + t[12:16] + "-" + t[16:20] + "-" + t[20:]
}

// due makes the outcome of a decision, to come when the exchange has ended.
func (g *Generator) due(d *audit.Record) {
	upstream := math.Exp(g.rnd.NormFloat64()*0.9 + 10.3) // µs, median 30 ms
	whole := upstream + math.Exp(g.rnd.NormFloat64()*0.5+7)
	o := audit.Record{
		Site: d.Site, Kind: audit.KindOutcome, Time: d.Time.Add(time.Duration(whole) * time.Microsecond), Request: d.Request, Decision: d.Seq,
		App: d.App, Route: d.Route, Mode: d.Mode, Patient: d.Patient, Person: d.Person, Outcome: audit.Success, Status: 200,
		BytesOut: uint64(math.Exp(g.rnd.NormFloat64()*1.2 + 8.5)), Duration: uint64(whole), Upstream: uint64(upstream), UpstreamTo: d.App + ".rba.nhs.uk:8443",
	}
	switch {
	case d.Effect != "allow":
		o.Status, o.Outcome, o.Error, o.Upstream, o.UpstreamTo = 403, audit.MinorFailure, "challenged", 0, ""
	case d.Method != "GET":
		o.Status, o.BytesIn = 201, uint64(math.Exp(g.rnd.NormFloat64()+7))
	case d.Action == "search":
		o.Results = g.rnd.Uint64N(50)
	}
	at, _ := slices.BinarySearchFunc(g.open, o.Time, func(r audit.Record, t time.Time) int { return cmp.Compare(t.UnixNano(), r.Time.UnixNano()) })
	g.open = slices.Insert(g.open, at, o)
}
