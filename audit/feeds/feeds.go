// Package feeds takes in what the hospital tells about staff, rota, patients,
// care and workstations, and how fresh each of it is: the context in which an
// access is judged.
//
// Names, addresses, telephone numbers and NHS numbers become keyed hashes as
// they are read and are kept in no other form. A feed that is missing or late
// is never taken for one that says nothing. It reads no clock. A Context does
// not change once it is read and may be read concurrently.
package feeds

import (
	"embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit/pseudonym"
)

//go:embed schemas/*.json
var schemas embed.FS

// Kind is which feed it is: the name of its file.
type Kind string

// The feeds. Labels say what really happened and serve evaluation only.
const (
	StaffFeed    Kind = "staff"
	RotaFeed     Kind = "rota"
	PatientsFeed Kind = "patients"
	CareFeed     Kind = "care"
	DevicesFeed  Kind = "devices"
	LabelsFeed   Kind = "labels"
)

// Kinds lists every feed.
func Kinds() []Kind {
	return []Kind{StaffFeed, RotaFeed, PatientsFeed, CareFeed, DevicesFeed, LabelsFeed}
}

// Schema is the JSON Schema of one line of a feed.
func Schema(k Kind) (string, error) {
	b, err := schemas.ReadFile("schemas/" + string(k) + ".schema.json")
	if err != nil {
		return "", fmt.Errorf("no feed is called %q", k)
	}
	return string(b), nil
}

// Hash is the keyed hash of something that names a person.
type Hash = pseudonym.Hash

// Staff is one line of the staff file: a person, or one period of theirs.
type Staff struct {
	Person     string
	Kind       string // staff, bank, student, machine; "" is staff
	Roles      []string
	Profession string
	Grade      string
	Team       string
	Wards      []string
	Site       string
	CostCentre string
	Manager    string
	Start, End time.Time // of employment, days; zero means not known
	From, To   time.Time // of this line, days; zero means open, To is included
	Born       time.Time // day; zero means not known
	Sex        string
	Name       Hash // the whole name, whatever the order of its words
	Family     Hash
	Address    Hash // line and postcode unit
	Unit       Hash // postcode unit, e.g. ZZ99 1AA
	Sector     Hash // postcode sector, e.g. ZZ99 1
	NHS        Hash
	Register   Hash // body and number of a registration
	Extra      string
}

// Patient is one line of the patients file.
type Patient struct {
	ID         string
	MergedInto string
	Born       time.Time
	Died       time.Time
	Sex        string
	Flags      []string // vip, staff, sealed, s-flag, deceased
	Name       Hash
	Family     Hash
	Address    Hash
	Unit       Hash
	Sector     Hash
	Phone      Hash
	NHS        Hash
	Kin        []Kin
	Extra      string
}

// Kin is somebody whom a patient named as next of kin.
type Kin struct {
	Name         Hash // the whole name
	Phone        Hash
	Relationship string
}

// Shift is one planned stretch of the rota.
type Shift struct {
	Person     string
	Start, End time.Time
	Kind       string // shift, on-call, leave, sick; "" is shift
	Ward       string
	Extra      string
}

// Care is one stretch or event of care.
type Care struct {
	Patient   string
	Kind      string
	Start     time.Time
	End       time.Time // zero: it goes on, or it is a moment
	Ward      string
	Bed       string
	Specialty string
	Team      string
	People    []string
	Visit     string
	Evidence  string // what to look up, the visit where the file names nothing
	Extra     string
}

// Device is where a workstation stands.
type Device struct {
	Device   string
	Ward     string
	Kind     string
	From, To time.Time
	Extra    string
}

// Label is one misuse that really happened, for evaluation only.
type Label struct {
	Person  string
	Day     string // YYYY-MM-DD in the hospital's time zone
	Kind    string
	Patient string
}

// Feed is what is known of one feed besides its content.
type Feed struct {
	Kind           Kind      `json:"feed"`
	File           string    `json:"file"`
	AsOf           time.Time `json:"as_of"`            // when the hospital made the file
	SHA256         string    `json:"sha256,omitempty"` // of the file, in hex
	Rows           int       `json:"rows"`
	Rejected       int       `json:"rejected"`
	Duplicates     int       `json:"duplicates"`     // lines that say what another one says; left out
	Contradictions int       `json:"contradictions"` // lines that another one contradicts; kept
	Unmatched      int       `json:"unmatched"`      // rota lines of people who are not in the staff list
	Unknown        []string  `json:"unknown"`        // fields that the format does not have
	From           time.Time `json:"from,omitzero"`  // what it covers, where it has times
	Until          time.Time `json:"until,omitzero"`
}

// Context is what the hospital has told. A nil slice or nil lines are a feed that
// is missing, which is not an empty feed.
type Context struct {
	Staff    []Staff
	Rota     []Shift
	Patients []Patient
	Care     *CareLines
	Devices  []Device
	About    map[Kind]Feed // of the feeds that are there
}

// Match counts rota lines of people who are not in the staff list. Whoever fills
// a Context calls it once.
func (c *Context) Match() {
	f, ok := c.About[RotaFeed]
	if !ok || c.Staff == nil {
		return
	}
	known := make(map[string]bool, len(c.Staff))
	for i := range c.Staff {
		known[c.Staff[i].Person] = true
	}
	for i := range c.Rota {
		if !known[c.Rota[i].Person] {
			f.Unmatched++
		}
	}
	c.About[RotaFeed] = f
}

// has reports whether a feed is there.
func (c *Context) has(k Kind) bool {
	switch k {
	case StaffFeed:
		return c.Staff != nil
	case RotaFeed:
		return c.Rota != nil
	case PatientsFeed:
		return c.Patients != nil
	case CareFeed:
		return c.Care != nil
	case DevicesFeed:
		return c.Devices != nil
	case LabelsFeed:
	}
	return false
}

// maxLag is how far a feed with times may end before the accesses that it is to
// explain: staff look at records before the next nightly file is there.
const maxLag = 36 * time.Hour

// maxAge is how much older than the accesses the file of a feed without times may
// be: it comes each week, and a day late.
const maxAge = 8 * 24 * time.Hour

// NotEvaluated says why whatever needs these feeds cannot be evaluated for
// accesses up to a time, for example "not evaluated: no rota feed"; "" means
// that it can.
func (c *Context) NotEvaluated(until time.Time, needs ...Kind) string {
	var missing, late []string
	for _, k := range needs {
		switch at, made := c.About[k].Until, c.About[k].AsOf; {
		case !c.has(k):
			missing = append(missing, string(k))
		case (k == RotaFeed || k == CareFeed) && !at.IsZero() && at.Before(until.Add(-maxLag)):
			late = append(late, fmt.Sprintf("the %s feed ends on %s", k, at.UTC().Format("2 January 2006 15:04")))
		case at.IsZero() && !made.IsZero() && made.Before(until.Add(-maxAge)):
			late = append(late, fmt.Sprintf("the %s feed is of %s", k, made.UTC().Format("2 January 2006 15:04")))
		}
	}
	slices.Sort(missing)
	switch {
	case len(missing) > 0:
		return "not evaluated: no " + strings.Join(missing, " feed, no ") + " feed"
	case len(late) > 0:
		return "not evaluated: " + strings.Join(late, ", ")
	}
	return ""
}

// People counts who can be reviewed: everybody in the staff list but machines,
// each once.
func (c *Context) People() int {
	seen := map[string]bool{}
	for i := range c.Staff {
		if s := &c.Staff[i]; s.Kind != "machine" {
			seen[s.Person] = true
		}
	}
	return len(seen)
}
