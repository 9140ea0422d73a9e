package breakglass

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

const (
	// Path is where the pages stand.
	Path = "/.matron/emergency"

	defaultLasts = time.Hour
	longestLasts = 2 * time.Hour
	// offerLasts is how long the page that offers emergency access can be used.
	offerLasts = 30 * time.Minute
	// freshFor is how lately somebody must have signed in for a record that asks for
	// it (OWASP ASVS 6.8.4).
	freshFor = 5 * time.Minute
	maxNote  = 500 // characters of what somebody writes
	// maxReasons is how many reasons people choose from: more are not read in a hurry.
	maxReasons = 6
)

// Reason is one of those that people choose from.
type Reason struct {
	Code    string // stable, kebab-case
	Text    string // as staff read it
	Note    bool   // something must be written besides
	Purpose string // HL7 v3 PurposeOfUse code; "" means BTG
}

// DefaultReasons are those of the NHS alert codes (SCR-AlertReason), in the words of
// a ward.
func DefaultReasons() []Reason {
	return []Reason{
		{Code: "emergency", Text: "An emergency: the patient needs care now"},
		{Code: "caring", Text: "I am caring for this patient, and it is not shown yet"},
		{Code: "patient-agrees", Text: "The patient has asked for it or agrees"},
		{Code: "protect-others", Text: "To protect somebody from serious harm"},
		{Code: "law", Text: "The law or a court demands it", Purpose: "HLEGAL"},
		{Code: "other", Text: "Something else", Note: true},
	}
}

// DefaultPurposes are those of daily work.
func DefaultPurposes() []Reason {
	return []Reason{
		{Code: "TREAT", Text: "To treat the patient"},
		{Code: "COC", Text: "To arrange the patient's care"},
		{Code: "PATADMIN", Text: "To administer the patient's visit"},
		{Code: "PATRQT", Text: "The patient has asked for it"},
		{Code: "HQUALIMP", Text: "Clinical audit"},
		{Code: "HLEGAL", Text: "A legal duty"},
	}
}

// Config is what a Service is made of. DB, Log, Logger, Now, Identifier and SignInPath
// are required.
type Config struct {
	DB     *sql.DB // Migrations made its tables
	Log    audit.Log
	Logger *slog.Logger
	Now    func() time.Time
	// Mono is a clock that no step of the wall clock changes, since any fixed moment;
	// nil takes it from the monotonic reading of Now.
	Mono       func() time.Duration
	Identifier proxy.Identifier
	// SignInPath signs in; with the query parameter "again" set to "now" it asks for
	// credentials whatever session there is.
	SignInPath string
	// Lasts is how long a grant lasts; default one hour, at most two.
	Lasts time.Duration
	// Reasons are what people choose from, at most six; default DefaultReasons.
	Reasons []Reason
	// Purposes are what people choose from who are asked what for: codes of HL7 v3
	// PurposeOfUse; default DefaultPurposes.
	Purposes []Reason
	// Fresh reports whether a refused record asks for signing in again; nil means
	// never.
	Fresh func(proxy.Refused) bool
	// SignInWorks reports whether the sign-in service answers. Where it does not,
	// nobody is asked to sign in again, and the record says so. nil means that it does.
	SignInWorks func(context.Context) bool
	// Officer is where notices to whoever looks at it go; "" sends none.
	Officer string
	// Address is where notices to a person go, "" for nowhere; nil means nowhere.
	Address func(policy.Subject) string
	// Authority is who issues the numbers by which an application knows patients, ""
	// where nobody knows: a grant counts in all that use the same. nil knows none.
	Authority func(app string) string
	// Changed is told when a grant has ended, so that what is open under it is looked
	// at again; nil tells nobody.
	Changed func()
	// Reviewer is who looks at it afterwards, in the words of the page; default "the
	// privacy officer".
	Reviewer string
	// Home is where a person goes on who was on no page; default the list of
	// their own grants.
	Home string
	// Location is of the times that people read; default UTC.
	Location *time.Location
	// Service and Organisation stand at the head of pages; default "Matron" and nothing.
	Service, Organisation string
}

var errConfig = errors.New("break-glass configuration")

func (c Config) validate() error {
	switch {
	case c.DB == nil || c.Log == nil || c.Logger == nil || c.Now == nil || c.Identifier == nil || c.SignInPath == "":
		return fmt.Errorf("%w: database, log, logger, clock, identifier and sign-in path are required", errConfig)
	case c.Lasts < 0 || c.Lasts > longestLasts:
		return fmt.Errorf("%w: a grant lasts more than nothing and at most %s", errConfig, longestLasts)
	case len(c.Reasons) > maxReasons:
		return fmt.Errorf("%w: at most %d reasons", errConfig, maxReasons)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Lasts == 0 {
		c.Lasts = defaultLasts
	}
	if len(c.Reasons) == 0 {
		c.Reasons = DefaultReasons()
	}
	if len(c.Purposes) == 0 {
		c.Purposes = DefaultPurposes()
	}
	if c.Fresh == nil {
		c.Fresh = func(proxy.Refused) bool { return false }
	}
	if c.SignInWorks == nil {
		c.SignInWorks = func(context.Context) bool { return true }
	}
	if c.Address == nil {
		c.Address = func(policy.Subject) string { return "" }
	}
	if c.Authority == nil {
		c.Authority = func(string) string { return "" }
	}
	if c.Changed == nil {
		c.Changed = func() {}
	}
	if c.Reviewer == "" {
		c.Reviewer = "the privacy officer"
	}
	if c.Home == "" {
		c.Home = Path
	}
	if c.Mono == nil {
		c.Mono = monotonic(c.Now)
	}
	if c.Location == nil {
		c.Location = time.UTC
	}
	if c.Service == "" {
		c.Service = "Matron"
	}
	return c
}

// Service offers, grants and ends emergency access. It is a proxy.Emergency.
type Service struct {
	cfg     Config
	pages   *template.Template
	handler http.Handler
	taking  sync.Mutex // one offer is used up at a time

	mu     sync.RWMutex        // guards what follows
	grants map[account][]Grant // in force as far as is known here
	turn   uint64              // counts changes of grants made here
	offers map[string]*offer   // made here, by id
	latest map[target]string   // the newest offer of each, so that a page's many requests make one
	owed   []func(context.Context) error
	leases map[string]time.Duration // of grants, by id: when they end by the monotonic clock
	// seenNext is when it is next noted that grants are in force.
	seenNext time.Duration
	dead     map[string]bool // ids of grants that ended here, until the database knows
}

var _ proxy.Emergency = (*Service)(nil)

// account is whoever can be let in.
type account struct{ issuer, sub string }

func accountOf(s policy.Subject) account { return account{s.Issuer, s.Sub} }

// New makes a Service and reads what is in force.
func New(ctx context.Context, cfg Config) (*Service, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	pages, err := parsePages()
	if err != nil {
		return nil, fmt.Errorf("break-glass pages: %w", err)
	}
	s := &Service{
		cfg: cfg.withDefaults(), pages: pages,
		grants: map[account][]Grant{}, offers: map[string]*offer{}, latest: map[target]string{}, dead: map[string]bool{},
		leases: map[string]time.Duration{},
	}
	s.handler = s.routes()
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// clientIP is the address that the gateway found.
func clientIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
