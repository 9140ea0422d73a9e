package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// Mode says what the gateway does with what the rules refuse. The zero value
// refuses it.
type Mode uint8

// The modes.
const (
	// Enforce refuses what the rules refuse.
	Enforce Mode = iota
	// Observe forwards what the rules refuse and marks it in the record.
	Observe
	// Bypass forwards and records only, for an emergency in which the decisions
	// of the gateway hinder care. Nobody can set it: Config.Bypassed says for
	// which applications it holds, and for how long.
	Bypass
)

// String returns the word that records carry.
func (m Mode) String() string {
	switch m {
	case Observe:
		return "observe"
	case Bypass:
		return "bypass"
	case Enforce:
	}
	return "enforce"
}

// App is one application behind the gateway: one EPR, one FHIR server, or pages
// of our own.
type App struct {
	Name string
	// Site is the ODS code of the organisation whose record this is; empty for
	// the site of the log.
	Site string
	// Prefix is the path below which the application answers, "/" or "/fhir/".
	// The longest prefix wins.
	Prefix string
	Mode   Mode
	Map    Map

	// Upstream is where the application answers. StripPrefix takes Prefix off
	// the path, so that the map and the application both see their own paths.
	// KeepHost forwards the client's Host header instead of Upstream's.
	Upstream    *url.URL
	StripPrefix bool
	KeepHost    bool
	// Authorization is the scheme of the application's own sessions in the header of
	// that name, never Bearer: it is forwarded as cookies of the application are. Any
	// other Authorization is taken off.
	Authorization string
	// Transport is copied and hardened; nil means a plain one. Its TLS settings
	// and dialler are kept.
	Transport *http.Transport
	// Handler is an application within this process, instead of Upstream. It
	// finds who is asking with policy.SubjectFrom.
	Handler http.Handler

	// Voucher tells this application who is asking, in place of Config.Voucher.
	Voucher Voucher
	// BindReads makes a token for each read too, good for that request alone.
	BindReads bool

	MaxBody int64 // longest request body; 0 means 64 MiB
	MaxRead int64 // longest request body that its map reads; 0 means 16 MiB
	MaxHeld int64 // longest response that is held in memory; 0 means 8 MiB
	// MaxSpooled is the longest response that is held in Config.Spool; 0 means 256
	// MiB, and below MaxHeld nothing is spooled.
	MaxSpooled int64
	Timeout    time.Duration // until the response header; 0 means 60 s
}

// Config is what a Gateway is made of. Fields without a stated default are
// required.
type Config struct {
	Apps       []App
	Identifier Identifier
	Decider    Decider
	Limiter    Limiter
	// Sensitivity is the protection that patients of an application call for together,
	// beyond the usual. It is asked several times for every exchange and must answer from
	// memory; nil means that there is no source, so that nobody has any.
	Sensitivity func(app string, patients []Patient) policy.Sensitivity
	// Care is what is known of the care relationships between who asks, from a network
	// address, and patients of an application. It is asked several times for every
	// exchange and must answer from memory; nil means that no register is kept.
	Care func(s policy.Subject, address, app string, patients []Patient) policy.Care
	// Ward is the ward where a patient of an application is, for the record: "" where
	// nobody knows. It must answer from memory; nil means that no register is kept.
	Ward   func(app string, p Patient) string
	Log    audit.Log
	Logger *slog.Logger
	Now    func() time.Time

	// Voucher tells applications who is asking. Without one, NoVoucher must say
	// that this is meant.
	Voucher   Voucher
	NoVoucher bool

	// TrustedProxies are the networks whose X-Forwarded-For and
	// X-Forwarded-Proto are believed. Default none.
	TrustedProxies []netip.Prefix
	// MaxHeader is the longest request header in bytes; default 32 KiB.
	MaxHeader int
	// MaxKept is how many bytes of held responses, and of request bodies that maps
	// read, may be in memory at once; default 128 MiB.
	MaxKept int64
	// Spool keeps held responses that are too long for memory. Without one they are
	// refused.
	Spool Spool
	// SessionCookie is never forwarded nor taken from an application; default
	// "__Host-matron".
	SessionCookie string
	// SignInPath is where browser navigation without a session is sent, with
	// the wanted address in the query parameter "return".
	SignInPath string
	// StepUp is what clients are told to ask of the sign-in service where the rules
	// demand more than a sign-in has; SignInPath asks for it when the query parameter
	// "again" is "stronger".
	StepUp StepUp
	// Emergency is asked for and offers emergency access; nil for none.
	Emergency Emergency
	// Public answers PublicPaths to anybody: sign-in pages and their assets. A
	// path that ends in a slash stands for everything below it.
	Public      http.Handler
	PublicPaths []string
	// Began is when the session of somebody began, from memory; nil means long ago.
	Began func(policy.Subject) time.Time
	// SignInWorks reports whether the sign-in service answers. It is asked before
	// somebody who could have emergency access instead is sent there for a stronger
	// sign-in; nil means that it does.
	SignInWorks func(context.Context) bool
	// Home is where GET / leads when no application answers there, and what
	// refusal pages offer as a way on; "" for neither.
	Home string
	// Service and Organisation stand at the head of refusal pages; default
	// "Matron" and nothing.
	Service, Organisation string
	// StrictTransport tells browsers to come back over TLS only, for a year. Not
	// for trials on this machine: there it would bind every other service on the
	// same host name.
	StrictTransport bool
	// Location is of the times that people read; default UTC.
	Location *time.Location
	// Admit says whether a machine client may come in from an address: nil, or an
	// error that wraps ErrMachineUnknown, ErrMachineExpired or ErrMachineNetwork. It is
	// asked for every exchange of a machine and must answer from memory; nil admits
	// every machine.
	Admit func(s policy.Subject, ip string) error
	// Space says how far the disk of the record has filled up. It is asked once
	// for every exchange and must answer from memory; nil means no shortage.
	Space func() Shortage
	// Bypassed reports whether the application is bypassed now. It is asked once
	// for every exchange and must answer from memory; nil means never.
	Bypassed func(app string) bool
	// Observe is told of every exchange when it has ended; nil for nobody. It
	// must return quickly.
	Observe func(Event)
}

// Event is what metrics learn of one exchange. It never names a person or a
// patient.
type Event struct {
	App       string
	Mode      Mode
	Action    string
	Effect    string // allow, deny, challenge
	Code      string // code of a refusal or failure, "" for none
	Kind      LimitKind
	Status    int
	WouldDeny bool
	Slowed    time.Duration // added by the limiter
	// Budget is whose window is used up, as "opened hour", "opened shift", "listed
	// hour" or "listed shift", "" for none; BudgetTold says that it was recorded.
	Budget     string
	BudgetTold bool
	Deciding   time.Duration // spent in the Decider
	Recording  time.Duration // waited for stable storage
	Upstream   time.Duration // until the application's response header
	Whole      time.Duration
	BytesIn    int64
	BytesOut   int64
}

const (
	defaultMaxBody  = 64 << 20
	defaultMaxRead  = 16 << 20
	defaultHeader   = 32 << 10
	defaultMaxHeld  = 8 << 20
	defaultSpooled  = 256 << 20
	defaultMaxKept  = 128 << 20
	defaultTimeout  = 60 * time.Second
	defaultCookie   = "__Host-matron"
	ownPrefix       = "/.matron/"
	stylesheetPath  = ownPrefix + "gateway/refusal.css"
	identityHeader  = "Matron-Identity"
	requestHeader   = "Matron-Request"
	receiptHeader   = "Matron-Receipt"
	slowedHeader    = "Matron-Slowed"
	strictHeader    = "Strict-Transport-Security"
	returnParameter = "return"
)

// validate reports everything that is wrong with c at once.
func (c *Config) validate() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New("proxy: "+what))
		}
	}
	need(c.Identifier != nil, "no Identifier")
	need(c.Decider != nil, "no Decider")
	need(c.Limiter != nil, "no Limiter")
	need(c.Log != nil, "no Log")
	need(c.Logger != nil, "no Logger")
	need(c.Now != nil, "no Now")
	need((c.Voucher != nil) != c.NoVoucher, "want a Voucher or NoVoucher, one of them")
	need(strings.HasPrefix(c.SignInPath, "/"), "SignInPath is not a path")
	need(c.Home == "" || len(c.Home) > 1 && c.Home[0] == '/' && c.Home[1] != '/' && c.Home[1] != '\\', "Home is not a path below /")
	need(c.Public != nil || len(c.PublicPaths) == 0, "PublicPaths without Public")
	for i := range c.Apps {
		if err := c.Apps[i].validate(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// validate reports the first thing that is wrong with a.
func (a *App) validate() error {
	switch {
	case a.Name == "":
		return errors.New("proxy: application without a name")
	case a.Map == nil:
		return fmt.Errorf("proxy: application %s has no map", a.Name)
	case !strings.HasPrefix(a.Prefix, "/"):
		return fmt.Errorf("proxy: application %s: prefix %q does not start with a slash", a.Name, a.Prefix)
	case (a.Upstream == nil) == (a.Handler == nil):
		return fmt.Errorf("proxy: application %s wants either an upstream or a handler", a.Name)
	case a.Mode > Observe:
		return fmt.Errorf("proxy: application %s: mode %d cannot be set", a.Name, a.Mode)
	case a.Upstream != nil && (a.Upstream.Host == "" || a.Upstream.Scheme != "http" && a.Upstream.Scheme != "https"):
		return fmt.Errorf("proxy: application %s: upstream is not an http or https address", a.Name)
	}
	return nil
}
