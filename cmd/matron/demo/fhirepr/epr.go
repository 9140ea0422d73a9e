// Package fhirepr is the demonstration's patient record: a FHIR R4 server and a
// few plain pages over the made-up hospital.
//
// It answers nobody who does not bring the gateway's signed identity, so that
// nothing gets round the gateway. Its state is a file of resource versions in
// its folder. An EPR is safe for concurrent use.
package fhirepr

import (
	"crypto"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// Config is what an EPR needs.
type Config struct {
	Hospital *hospital.Hospital
	Dir      string             // where the state lives; must exist
	Keys     []crypto.PublicKey // keys that may have signed Matron-Identity (ES256)
	Issuer   string             // required iss of Matron-Identity; "" accepts any
	Audience string             // required aud of Matron-Identity; "" accepts any
	// Public is the address under which clients see this server, scheme and host
	// without a trailing slash, for links and Location; "" makes them relative.
	Public string
	// SignOut is where the pages' sign-out link leads; "" leaves it out.
	SignOut string
	Now     func() time.Time
	Log     *slog.Logger
}

// EPR is the running record: FHIR under /fhir/, pages under /ui/.
type EPR struct {
	http.Handler
}

// New opens the record in Config.Dir, filling it from the hospital the first time.
func New(Config) (*EPR, error) { return nil, errors.ErrUnsupported }

// Close puts everything on disk and ends the record.
func (e *EPR) Close() error { return nil }
