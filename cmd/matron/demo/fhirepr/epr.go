// Package fhirepr is the demonstration's patient record: a FHIR R4 server and a
// few plain pages over the made-up hospital.
//
// It answers nobody who does not bring the gateway's signed identity, so that
// nothing gets round the gateway, and it decides nothing: who may do what is the
// gateway's business. What changes is appended to a file in its folder; the rest
// follows from the hospital. An EPR is safe for concurrent use.
package fhirepr

import (
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// Prefixes of the two faces of the record.
const (
	FHIRPath = "/fhir"
	UIPath   = "/ui"
)

// maxBody bounds every request body.
const maxBody = 1 << 20

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

var errNoKeys = errors.New("a record needs at least one key of the gateway")

// EPR is the running record: FHIR under /fhir, pages under /ui.
type EPR struct {
	cfg   Config
	store *store
	mux   *http.ServeMux

	clock *time.Location // of the times on the pages
}

// New opens the record in Config.Dir.
func New(cfg Config) (*EPR, error) {
	if len(cfg.Keys) == 0 {
		return nil, errNoKeys
	}
	location, err := time.LoadLocation("Europe/London")
	if err != nil {
		return nil, fmt.Errorf("time zone: %w", err)
	}
	s := newStore(cfg.Now)
	for _, r := range seed(cfg.Hospital) {
		if err := s.plant(r, cfg.Hospital.Day); err != nil {
			return nil, fmt.Errorf("fill the record: %w", err)
		}
	}
	if err := s.open(filepath.Join(cfg.Dir, "epr.ndjson")); err != nil {
		return nil, err
	}
	e := &EPR{cfg: cfg, store: s, mux: http.NewServeMux(), clock: location}
	e.routes()
	return e, nil
}

func (e *EPR) routes() {
	e.mux.HandleFunc("GET /fhir/metadata", e.capabilities)
	e.mux.HandleFunc("POST /fhir", e.transaction)
	e.mux.HandleFunc("POST /fhir/{$}", e.transaction)
	e.mux.HandleFunc("GET /fhir/{type}", e.searchGet)
	e.mux.HandleFunc("POST /fhir/{type}/_search", e.searchPost)
	e.mux.HandleFunc("POST /fhir/{type}", e.create)
	e.mux.HandleFunc("GET /fhir/{type}/{id}", e.read)
	e.mux.HandleFunc("PUT /fhir/{type}/{id}", e.update)
	e.mux.HandleFunc("DELETE /fhir/{type}/{id}", e.remove)
	e.mux.HandleFunc("GET /fhir/{type}/{id}/_history", e.history)
	e.mux.HandleFunc("GET /fhir/{type}/{id}/_history/{version}", e.vread)
	e.mux.HandleFunc("GET /fhir/Patient/{id}/$everything", e.everything)
	e.mux.HandleFunc("/fhir/", func(w http.ResponseWriter, r *http.Request) {
		e.fail(w, r, &fault{http.StatusNotFound, "not-supported", "This server has no such interaction."})
	})
	e.mux.HandleFunc("GET /{$}", e.uiStart)
	e.mux.HandleFunc("GET /ui/{$}", e.uiStart)
	e.mux.HandleFunc("GET /ui/patients", e.uiPatients)
	e.mux.HandleFunc("GET /ui/wards/{ward}", e.uiWard)
	e.mux.HandleFunc("GET /ui/patients/{id}", e.uiPatient)
	e.mux.HandleFunc("GET /ui/patients/{id}/{tab}", e.uiTab)
	e.mux.HandleFunc("POST /ui/patients/{id}/notes", e.uiAddNote)
	e.mux.HandleFunc("POST /ui/patients/{id}/prescriptions", e.uiPrescribe)
	e.mux.HandleFunc("GET /ui/style.css", e.uiStyle)
}

// ServeHTTP answers a request that proves it came through the gateway.
func (e *EPR) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who, err := e.identify(r)
	if err != nil {
		e.cfg.Log.WarnContext(r.Context(), "request without the gateway's identity", slog.String("error", err.Error()))
		e.fail(w, r, &fault{http.StatusUnauthorized, "security", "This record is reached through the gateway only."})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	e.mux.ServeHTTP(w, r.WithContext(withCaller(r.Context(), who)))
}

// Close puts everything on disk and ends the record.
func (e *EPR) Close() error { return e.store.close() }
