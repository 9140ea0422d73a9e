package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/export/auditevent"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/policy"
)

// fhirBase is where the record of accesses stands in the form of FHIR.
const fhirBase = dashboards.Base + "fhir"

const (
	fhirFormBytes = 16 << 10    // of a posted search
	fhirBehind    = time.Minute // how far the index may be behind before a page says so
)

// What problemOf tells apart besides the sentinels of the packages asked.
var (
	errNotPermitted = errors.New("not permitted")
	errViewRecord   = errors.New("look-up not recorded")
	errForm         = errors.New("posted search not understood")
	errAddress      = errors.New("unknown address")
)

// events is what the FHIR side asks of the index.
type events interface {
	Events(ctx context.Context, q audit.Query) ([]audit.Access, error)
	Event(ctx context.Context, source string, seq uint64) (audit.Access, error)
}

// fhirServer answers FHIR R4 searches for AuditEvents, for requests that the
// gateway has identified, decided and recorded. It releases nothing before the
// look-up itself is on record, naming the patient. It is safe for concurrent use.
type fhirServer struct {
	site, url string // url is the base of every link
	version   string
	started   time.Time
	index     events
	convert   auditevent.Converter
	links     linkSealer
	// hospitalNumber finds the application's number for an NHS number, or "".
	hospitalNumber func(nhsNumber string) string
	indexedTo      func() time.Time
	record         func(ctx context.Context, r *audit.Record) error
	may            func(s policy.Subject, area policy.Area, action policy.Action) bool
	location       *time.Location
	now            func() time.Time
	log            *slog.Logger
}

// fhirRoutes are what newPagesMap classifies besides the pages.
func fhirRoutes() []dashboards.Route {
	return []dashboards.Route{
		{ID: "fhir-metadata", Method: http.MethodGet, Path: fhirBase + "/metadata", Area: policy.Home, Action: policy.Read},
		{ID: "fhir-search", Method: http.MethodGet, Path: fhirBase + "/AuditEvent", Area: policy.Audit, Action: policy.Search},
		{ID: "fhir-search-post", Method: http.MethodPost, Path: fhirBase + "/AuditEvent/_search", Area: policy.Audit, Action: policy.Search},
		{ID: "fhir-read", Method: http.MethodGet, Path: fhirBase + "/AuditEvent/{id}", Area: policy.Audit, Action: policy.Read},
	}
}

// handler serves every route behind guard.
func (s *fhirServer) handler() http.Handler {
	answers := map[string]func(*fhirRequest) (any, error){
		"fhir-metadata": s.metadata, "fhir-search": s.search, "fhir-search-post": s.search, "fhir-read": s.read,
	}
	mux := http.NewServeMux()
	for _, route := range fhirRoutes() {
		mux.Handle(route.Method+" "+route.Path, s.guard(route, answers[route.ID]))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, errAddress) })
	return mux
}

// fhirRequest is one request with what its record needs to say.
type fhirRequest struct {
	*http.Request
	id    string // of the exchange
	route dashboards.Route
}

// guard refuses what the policy does not permit, though the gateway has decided
// already: a mistake in a map must not open the record (GW-18).
func (s *fhirServer) guard(route dashboards.Route, answer func(*fhirRequest) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		subject := policy.SubjectFrom(r.Context())
		if !subject.Known() || !s.may(subject, route.Area, route.Action) {
			s.fail(w, r, errNotPermitted)
			return
		}
		resource, err := answer(&fhirRequest{r, w.Header().Get("Matron-Request"), route})
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.send(w, r, http.StatusOK, resource)
	})
}

func (s *fhirServer) metadata(*fhirRequest) (any, error) {
	return auditevent.Statement(s.url, s.version, s.started), nil
}

// read answers with one event. Whom it concerns is known only once it is read,
// so that the look-up is recorded after that and before the answer.
func (s *fhirServer) read(r *fhirRequest) (any, error) {
	source, seq, ok := auditevent.ParseID(r.PathValue("id"))
	if !ok {
		return nil, clickhouse.ErrNoRecord
	}
	ctx, cancel := context.WithTimeout(r.Context(), pageQuery)
	defer cancel()
	event, err := s.index.Event(ctx, source, seq)
	if err != nil {
		return nil, err
	}
	if event.Site != s.site {
		return nil, clickhouse.ErrNoRecord // another organisation's
	}
	view := s.view(r)
	view.ResourceID, view.Patient, view.NHSNumber = r.PathValue("id"), event.Patient, event.NHSNumber
	if event.Patient != "" || event.NHSNumber != "" {
		view.PatientSource, view.Certainty = audit.SourceResponse, audit.Authoritative
	}
	if err := s.recordView(r, view); err != nil {
		return nil, err
	}
	return s.convert.Event(event), nil
}

// search answers with one page of events.
func (s *fhirServer) search(r *fhirRequest) (any, error) {
	place, err := s.asked(r.Request)
	if err != nil {
		return nil, err
	}
	if err := s.recordView(r, s.searchView(r, place)); err != nil {
		return nil, err
	}
	q := place.Search.Query(s.site)
	q.Before, q.Limit = place.Before, place.Search.Count+1
	ctx, cancel := context.WithTimeout(r.Context(), pageQuery)
	defer cancel()
	found, err := s.index.Events(ctx, q)
	if err != nil {
		return nil, err
	}
	page := auditevent.SearchSet(s.now(), auditevent.Link{Relation: "self", URL: s.self(r.Request, place)})
	if len(found) > place.Search.Count {
		found = found[:place.Search.Count]
		last := found[len(found)-1]
		next := searchPlace{place.Search, audit.Place{Time: last.Time, Source: last.Source, Seq: last.Seq}}
		page.Link = append(page.Link, auditevent.Link{Relation: "next", URL: s.link(next)})
	}
	for _, event := range found {
		page.Add(s.url, s.convert.Event(event))
	}
	if notice := s.behind(); notice != "" {
		page.Warn(notice)
	}
	if place.Search.NHSNumber != "" && place.Search.Patient == "" {
		page.Warn("The hospital number of this NHS number is not known here: events whose record has only the hospital number are missing. Search by it as well.")
	}
	return page, nil
}

// asked reads the search of a request, or the place in one that a link leads to.
func (s *fhirServer) asked(r *http.Request) (searchPlace, error) {
	values, err := searchForm(r)
	if err != nil {
		return searchPlace{}, err
	}
	if sealed, ok := values[pageParameter]; ok {
		if len(values) > 1 || len(sealed) != 1 {
			return searchPlace{}, errLink
		}
		return s.links.open(sealed[0])
	}
	search, err := auditevent.ParseSearch(values, s.location)
	if err != nil {
		return searchPlace{}, err
	}
	if search.NHSNumber != "" {
		search.Patient = s.hospitalNumber(search.NHSNumber)
	}
	return searchPlace{Search: search}, nil
}

// searchForm is the parameters in the address and in a posted form together.
func searchForm(r *http.Request) (url.Values, error) {
	if r.Method == http.MethodPost {
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || kind != "application/x-www-form-urlencoded" {
			return nil, errForm
		}
		r.Body = http.MaxBytesReader(nil, r.Body, fhirFormBytes)
	}
	if err := r.ParseForm(); err != nil {
		return nil, errForm
	}
	return r.Form, nil
}

// self is the address of this page. Patients that were posted, to keep them out
// of addresses, stay out of this one.
func (s *fhirServer) self(r *http.Request, p searchPlace) string {
	if r.Method == http.MethodPost || !p.Before.Time.IsZero() {
		return s.link(p)
	}
	return s.url + "/AuditEvent?" + p.Search.Values().Encode()
}

func (s *fhirServer) link(p searchPlace) string {
	return s.url + "/AuditEvent?" + pageParameter + "=" + s.links.seal(p)
}

// behind says that events may be missing, "" when none is. What is not known
// is said (GW-16).
func (s *fhirServer) behind() string {
	switch to := s.indexedTo(); {
	case to.IsZero():
		return "It is not known how far the searchable copy of the record reaches: events may be missing."
	case s.now().Sub(to) > fhirBehind:
		return "The searchable copy of the record is behind: events after " + to.UTC().Format(time.RFC3339) + " may be missing."
	}
	return ""
}

// searchView is the record of a search. The query is what the server
// understood; the decision of the same exchange has it as received.
func (s *fhirServer) searchView(r *fhirRequest, p searchPlace) *audit.Record {
	view := s.view(r)
	view.Query = p.Search.Values().Encode()
	view.Patient, view.NHSNumber = p.Search.Patient, p.Search.NHSNumber
	view.PatientSource, view.Certainty = audit.SourceResponse, audit.Several
	if view.Patient != "" || view.NHSNumber != "" {
		view.PatientSource, view.Certainty = audit.SourceURL, audit.Authoritative
		if r.Method == http.MethodPost {
			view.PatientSource = audit.SourceBody
		}
	}
	if p.Search.Person != "" {
		view.Detail = append(view.Detail, "person="+p.Search.Person)
	}
	if !p.Before.Time.IsZero() {
		view.Detail = append(view.Detail, "continued=true")
	}
	return view
}

// view begins the record of a look-up: who looks, and from where.
func (s *fhirServer) view(r *fhirRequest) *audit.Record {
	subject := policy.SubjectFrom(r.Context())
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	return &audit.Record{
		Site: s.site, Kind: audit.KindAuditViewed, Time: s.now().UTC().Truncate(time.Microsecond), Request: r.id,
		App: pagesName, Method: r.Method, Target: r.URL.Path, Route: pageRule(r.route), Action: string(r.route.Action),
		Area: string(r.route.Area), Screen: r.route.ID, Resource: "AuditEvent",
		PatientSource: audit.SourceNone, Certainty: audit.None,
		UserIssuer: subject.Issuer, UserSub: subject.Sub, Person: subject.Person, UserName: subject.Name,
		Roles: subject.Roles, Activities: subject.Activities, Org: subject.Organisation, RoleID: subject.RoleID,
		ACR: subject.ACR, AMR: subject.AMR, Assurance: uint64(max(subject.Assurance, 0)), AuthTime: subject.AuthTime,
		Session: subject.Session, Token: subject.Token, ClientIP: ip, UserAgent: r.UserAgent(),
		Effect: policy.Allow.String(), Outcome: audit.Success,
	}
}

// recordView makes a look-up durable. On error: nothing is released, though the
// record may have been written after all (GW-12).
func (s *fhirServer) recordView(r *fhirRequest, view *audit.Record) error {
	if err := s.record(r.Context(), view); err != nil {
		return fmt.Errorf("%w: %w", errViewRecord, err)
	}
	return nil
}

// send writes a resource, made whole in memory first.
func (s *fhirServer) send(w http.ResponseWriter, r *http.Request, status int, resource any) {
	body, err := json.Marshal(resource)
	if err != nil {
		s.log.LogAttrs(r.Context(), slog.LevelError, "FHIR resource not made", slog.String("error", err.Error()))
		http.Error(w, "This resource could not be made.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", auditevent.MediaType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer") // the address of a search may name a patient
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		s.log.LogAttrs(r.Context(), slog.LevelDebug, "FHIR answer not sent")
	}
}

// fail answers with an OperationOutcome. The error's text is shown only where
// this program wrote all of it, and logged never: it may hold what was asked for.
func (s *fhirServer) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, code, say := fhirProblem(err)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "10")
	}
	s.log.LogAttrs(r.Context(), slog.LevelWarn, "FHIR request refused",
		slog.Int("status", status), slog.String("code", code), slog.String("request", w.Header().Get("Matron-Request")))
	s.send(w, r, status, auditevent.Outcome("error", code, say))
}

// fhirProblem maps an error to a status, a code of the value set issue-type and
// what to say. What it does not know is the index, which answers with anything.
func fhirProblem(err error) (status int, code, say string) {
	switch {
	case errors.Is(err, auditevent.ErrUnsupported):
		return http.StatusBadRequest, "not-supported", err.Error()
	case errors.Is(err, auditevent.ErrParameter):
		return http.StatusBadRequest, "invalid", err.Error()
	case errors.Is(err, errForm):
		return http.StatusBadRequest, "invalid", "Post the parameters as application/x-www-form-urlencoded, no more than 16 KiB, or send them in the address of a GET."
	case errors.Is(err, errLink):
		return http.StatusBadRequest, "invalid", "The link to this page is damaged or older than the gateway's key. Search again."
	case errors.Is(err, errNotPermitted):
		return http.StatusForbidden, "forbidden", "Your role does not include the record of who looked at what. If your work needs it, ask information governance."
	case errors.Is(err, errAddress):
		return http.StatusNotFound, "not-supported", "There is nothing here. See " + fhirBase + "/metadata for what there is."
	case errors.Is(err, clickhouse.ErrNoRecord):
		return http.StatusNotFound, "not-found", "There is no event with this id, or it cannot be found yet: outcomes and heartbeats are no events of their own."
	case errors.Is(err, errViewRecord):
		return http.StatusServiceUnavailable, "transient", "Nothing is shown because your look-up could not be recorded. Try again in a minute."
	}
	return http.StatusServiceUnavailable, "transient", "The searchable copy of the record did not answer. Nothing is lost: the record itself is still being written. Try again in a few minutes."
}
