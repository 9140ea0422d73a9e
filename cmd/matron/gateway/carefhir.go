package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/policy/care/fhir"
)

// fhirFeed asks a FHIR R4 server for what has changed about visits, appointments, care
// teams and numbers of patients: a source beside HL7 messages, or the only one. It is used by one
// goroutine, but for mark.
type fhirFeed struct {
	cfg    config.CareFHIR
	read   fhir.Config
	client *http.Client
	care   *careService
	mark   atomic.Pointer[fhirMark]
	taken  map[[sha256.Size]byte]bool // resources that the last round took in
}

const (
	// fhirOverlap is asked for again, as servers stamp a change before others can
	// find it.
	fhirOverlap = 5 * time.Minute
	// fhirReach is how far back the first round asks: the register keeps no visit of
	// which nothing was heard for longer.
	fhirReach = 400 * 24 * time.Hour
	// Bounds of one round and of one page.
	maxFHIRPages = 100_000
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
	f.mark.Store(&fhirMark{})
	if _, err := f.token(); err != nil {
		return nil, err
	}
	return f, nil
}

// token is read again for each round, since servers give short ones.
func (f *fhirFeed) token() (string, error) {
	if f.cfg.TokenFile == "" {
		return "", nil
	}
	token, err := readSecret(f.cfg.TokenFile)
	if err != nil {
		return "", fmt.Errorf("read token for the FHIR server: %w", err)
	}
	return token, nil
}

// run asks again and again until ctx ends. What fails is logged and asked for again:
// nobody waits for it.
func (f *fhirFeed) run(ctx context.Context) {
	if f == nil {
		return
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

// round asks for all that has changed. Only when it is whole is it known: else the
// next one asks for the same.
func (f *fhirFeed) round(ctx context.Context) error {
	token, err := f.token()
	if err != nil {
		return err
	}
	r := fhirRound{fhirFeed: f, token: token, taken: map[[sha256.Size]byte]bool{}, next: fhirMark{Read: f.read, Heard: f.care.now()}}
	since := r.next.Heard.Add(-fhirReach)
	if last := f.mark.Load(); !last.Since.IsZero() {
		since = last.Since.Add(-fhirOverlap)
	}
	// The newest first: what changes between two pages moves to the front, and nothing
	// slips from a page to come onto one that is past.
	query := url.Values{"_count": {"200"}, "_sort": {"-_lastUpdated"}, "_lastUpdated": {"ge" + since.UTC().Format(time.RFC3339)}}
	for _, kind := range []string{"Patient", "Encounter", "Appointment", "CareTeam"} {
		query.Del("_elements")
		if kind == "Patient" {
			query.Set("_elements", "id,meta,identifier") // and no name or address, where the server can
		}
		for address := f.cfg.Base + "/" + kind + "?" + query.Encode(); address != ""; {
			if address, err = r.page(ctx, address); err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
		}
	}
	f.taken = r.taken
	f.care.register.Heard(f.cfg.Base, r.next.Heard)
	return f.advance(r.next)
}

// fhirRound is one round that is under way.
type fhirRound struct {
	*fhirFeed
	token string
	pages int
	taken map[[sha256.Size]byte]bool
	next  fhirMark
}

// page takes in one page and returns the address of the next, "" for none.
func (r *fhirRound) page(ctx context.Context, address string) (next string, err error) {
	if r.pages++; r.pages > maxFHIRPages {
		return "", fmt.Errorf("%w: more than %d pages", errFHIR, maxFHIRPages)
	}
	res, err := r.fetch(ctx, address)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil && r.next.Since.IsZero() {
		r.next.Since = date // of the clock that stamps the resources
	}
	bundle, err := readBundle(res)
	if err != nil {
		return "", err
	}
	for _, e := range bundle.Entry {
		if err := r.take(e.Resource); err != nil {
			return "", err
		}
	}
	for _, l := range bundle.Link {
		if l.Relation != "next" {
			continue
		}
		u, err := res.Request.URL.Parse(l.URL)
		if err != nil {
			return "", fmt.Errorf("%w: the address of the next page cannot be read", errFHIR)
		}
		if next = u.String(); next == address {
			return "", fmt.Errorf("%w: the next page is the same", errFHIR)
		}
	}
	return next, nil
}

// fetch asks for one page. Its errors hold no address, since a page's may name a
// patient.
func (r *fhirRound) fetch(ctx context.Context, address string) (*http.Response, error) {
	if !strings.HasPrefix(address, r.cfg.Base+"/") && !strings.HasPrefix(address, r.cfg.Base+"?") {
		return nil, fmt.Errorf("%w: the next page is elsewhere: care.fhir.base must be what the server calls itself", errFHIR)
	}
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("%w: the address of a page cannot be read", errFHIR)
	}
	ask.Header.Set("Accept", "application/fhir+json")
	if r.token != "" {
		ask.Header.Set("Authorization", "Bearer "+r.token)
	}
	res, err := r.client.Do(ask)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", errFHIR, whyNoAnswer(err))
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return nil, fmt.Errorf("%w: it answers with status %d", errFHIR, res.StatusCode)
	}
	return res, nil
}

// whyNoAnswer tells what the operator can mend, and nothing of what was asked or
// answered.
func whyNoAnswer(err error) string {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return "no answer in time"
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "its certificate is refused: " + e.Err.Error()
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return "no answer: " + e.Error()
	}
	return "no answer"
}

// fhirBundle is what is read of an answer.
type fhirBundle struct {
	ResourceType string
	Link         []struct{ Relation, URL string }
	Entry        []struct{ Resource json.RawMessage }
}

// readBundle reads an answer. Whatever else a server, or something before it, says
// with status 200 is an error, so that it is not taken for the news that there is none.
func readBundle(res *http.Response) (fhirBundle, error) {
	if kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err == nil && !strings.Contains(kind, "json") {
		return fhirBundle{}, fmt.Errorf("%w: its answer is of the type %q and not JSON", errFHIR, plain(kind))
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxFHIRPage+1))
	if err != nil {
		return fhirBundle{}, fmt.Errorf("%w: its answer breaks off", errFHIR)
	}
	if len(body) > maxFHIRPage {
		return fhirBundle{}, fmt.Errorf("%w: its answer is larger than %d MiB", errFHIR, maxFHIRPage>>20)
	}
	var b fhirBundle
	if err := json.Unmarshal(body, &b); err != nil || b.ResourceType != "Bundle" {
		return fhirBundle{}, fmt.Errorf("%w: its answer is no Bundle", errFHIR)
	}
	return b, nil
}

// take takes in one resource, unless the last round did. One that cannot be read is
// counted and passed over: it must not stop the others.
func (r *fhirRound) take(resource json.RawMessage) error {
	sum := sha256.Sum256(resource)
	if !r.mark.Load().Since.IsZero() { // the first round is of years, this one of minutes
		r.taken[sum] = true
	}
	if r.fhirFeed.taken[sum] {
		return nil
	}
	messages, err := fhir.Read(r.read, resource, r.care.now())
	if err != nil {
		r.care.metrics.care.WithLabelValues("fhir-garbled").Inc()
		return nil //nolint:nilerr // counted
	}
	for _, m := range messages {
		if err := r.care.Accept(m); err != nil {
			return fmt.Errorf("keep a resource: %w", err)
		}
		r.care.metrics.care.WithLabelValues("fhir-accepted").Inc()
	}
	return nil
}
