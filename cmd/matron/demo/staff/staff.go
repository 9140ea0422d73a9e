// Package staff makes the demonstration hospital's staff work: they sign in
// through the real gateway over real HTTPS, look patients up, read, write and
// search, mostly on their own ward, with some misuse among it.
//
// It knows nothing of the gateway's inside; it sends requests as browsers and
// applications do and counts what it sent and what came back.
package staff

import (
	"context"
	"crypto/x509"
	"log/slog"
	"time"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// Class says what a request must leave behind in the record.
type Class string

// The classes.
const (
	// Application requests reached the gateway under an application's prefix:
	// each must have exactly one decision.
	Application Class = "application"
	// Dashboard requests asked for Matron's own pages: each must have exactly one
	// decision too.
	Dashboard Class = "dashboard"
	// SignIn requests went to the gateway's own sign-in routes: they leave
	// sign-in and sign-out records, not decisions.
	SignIn Class = "sign-in"
	// Provider requests went to the sign-in service and not to the gateway.
	Provider Class = "provider"
)

// Config is what Run needs.
type Config struct {
	Gateway  string         // e.g. https://localhost:8443
	CA       *x509.CertPool // whom to trust; nil trusts the system
	Hospital *hospital.Hospital
	Rate     float64 // application requests a second over everybody; 0 means 5
	People   int     // how many work at the same time; 0 means 12
	Seed     uint64
	// FHIR and UI are the prefixes of the applications; "" means /fhir and /ui.
	FHIR, UI string
	// Dashboards are pages under Internal that privacy officers, security
	// analysts and safety officers open now and then.
	Dashboards []string
	// Internal is the prefix of the gateway's own routes; "" means /.matron.
	// Every path under it that is not in Dashboards counts as SignIn.
	Internal string
	// TokenURL, ClientID and ClientSecret are the API client's; an empty TokenURL
	// leaves the API client out.
	TokenURL, ClientID, ClientSecret string
	Now                              func() time.Time
	Log                              *slog.Logger
}

// Counts is what was sent and what came back. For each class the requests equal
// the responses of every status plus the failures.
type Counts struct {
	Requests  map[Class]uint64         `json:"requests"`
	Responses map[Class]map[int]uint64 `json:"responses"`
	// Failures got no response: whether they reached the gateway is not known.
	Failures map[Class]uint64 `json:"failures"`
	SignIns  uint64           `json:"sign_ins"` // sign-ins completed
	// Denials is how many application and dashboard requests were answered 403.
	Denials uint64 `json:"denials"`
	// Misuse counts the misuse that was acted out, by kind.
	Misuse map[string]uint64 `json:"misuse"`
}

// Run lets the staff work until ctx ends, lets requests in flight finish, and
// returns what was counted.
func Run(context.Context, Config) Counts { return Counts{} }
