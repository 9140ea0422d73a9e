package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/policy/care/fhir"
)

// fhirFeed asks a FHIR R4 server for what has changed about visits, appointments and
// care teams: a second source beside HL7 messages. It is used by one goroutine.
type fhirFeed struct {
	cfg    config.CareFHIR
	read   fhir.Config
	client *http.Client
	token  string
	care   *careService
	since  time.Time // what has changed before is known
}

const (
	// fhirOverlap is asked for again, as servers stamp a change before others can
	// find it.
	fhirOverlap = 5 * time.Minute
	// Bounds of one round and of one page.
	maxFHIRPages = 10_000
	maxFHIRPage  = 16 << 20
)

var errFHIR = errors.New("ask the FHIR server")

func newFHIRFeed(c config.CareFHIR, s *careService) (*fhirFeed, error) {
	if c.Base == "" {
		return nil, nil // no feed is no error
	}
	client, err := httpClient(c.CAFile)
	if err != nil {
		return nil, err
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // the token is for this server alone
	f := &fhirFeed{
		cfg: c, client: client, care: s,
		read: fhir.Config{Source: c.Base, Patients: c.Patients, Practitioners: c.Practitioners, Systems: c.Systems},
	}
	if c.TokenFile != "" {
		if f.token, err = readSecret(c.TokenFile); err != nil {
			return nil, fmt.Errorf("read token for the FHIR server: %w", err)
		}
	}
	return f, nil
}

// run asks again and again until ctx ends. What fails is logged and asked for again:
// nobody waits for it.
func (f *fhirFeed) run(ctx context.Context) {
	if f == nil {
		return
	}
	for _, known := range f.care.register.Feeds() {
		if known.Source == f.cfg.Base {
			f.since = known.Last
		}
	}
	tick := time.NewTicker(f.cfg.Every)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := f.round(ctx); err != nil && ctx.Err() == nil {
			f.care.metrics.care.WithLabelValues("fhir-failed").Inc()
			f.care.log.LogAttrs(ctx, slog.LevelError, "care relationships are not fetched from the FHIR server; it is asked again", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// round asks for all that has changed. Only when it is whole is it known.
func (f *fhirFeed) round(ctx context.Context) error {
	began := f.care.now()
	query := url.Values{"_count": {"200"}}
	if !f.since.IsZero() {
		query.Set("_lastUpdated", "ge"+f.since.Add(-fhirOverlap).UTC().Format(time.RFC3339))
	}
	pages := 0
	for _, kind := range []string{"Encounter", "Appointment", "CareTeam"} {
		for address := f.cfg.Base + "/" + kind + "?" + query.Encode(); address != ""; pages++ {
			if pages >= maxFHIRPages {
				return fmt.Errorf("%w: more than %d pages", errFHIR, maxFHIRPages)
			}
			var err error
			if address, err = f.page(ctx, address); err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
		}
	}
	f.since = began
	f.care.register.Heard(f.cfg.Base, f.care.now())
	return nil
}

// page takes in one page and returns the address of the next, "" for none.
func (f *fhirFeed) page(ctx context.Context, address string) (next string, err error) {
	if !strings.HasPrefix(address, f.cfg.Base+"/") && !strings.HasPrefix(address, f.cfg.Base+"?") {
		return "", fmt.Errorf("%w: the next page is elsewhere", errFHIR)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", fmt.Errorf("%w: the address of a page cannot be read", errFHIR)
	}
	r.Header.Set("Accept", "application/fhir+json")
	if f.token != "" {
		r.Header.Set("Authorization", "Bearer "+f.token)
	}
	res, err := f.client.Do(r)
	if err != nil {
		return "", fmt.Errorf("%w: no answer", errFHIR) // the error would hold the address, and that a patient
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%w: it answers with status %d", errFHIR, res.StatusCode)
	}
	var bundle struct {
		Link  []struct{ Relation, URL string }
		Entry []struct{ Resource json.RawMessage }
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxFHIRPage)).Decode(&bundle); err != nil {
		return "", fmt.Errorf("%w: its answer is no bundle", errFHIR)
	}
	for _, e := range bundle.Entry {
		if err := f.take(e.Resource); err != nil {
			return "", err
		}
	}
	for _, l := range bundle.Link {
		if l.Relation == "next" {
			next = l.URL
		}
	}
	return next, nil
}

// take takes in one resource. One that cannot be read is counted and passed over: it
// must not stop the others.
func (f *fhirFeed) take(resource json.RawMessage) error {
	messages, err := fhir.Read(f.read, resource, f.care.now())
	if err != nil {
		f.care.metrics.care.WithLabelValues("fhir-garbled").Inc()
		return nil //nolint:nilerr // counted
	}
	for _, m := range messages {
		if err := f.care.Accept(m); err != nil {
			return fmt.Errorf("keep a resource: %w", err)
		}
		f.care.metrics.care.WithLabelValues("fhir-accepted").Inc()
	}
	return nil
}
