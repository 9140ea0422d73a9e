package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// fhirKit is a fhirServer over an index in memory, with faults to inject.
type fhirKit struct {
	*fhirServer
	t        *testing.T
	rows     []audit.Access
	views    []audit.Record
	away     error // of the index
	full     error // of the journal
	reach    time.Time
	asked    []audit.Query // what the index was asked
	released int           // answers of the index before a look-up was on record
}

// Events is part of events. It checks by itself that the look-up came first.
func (k *fhirKit) Events(_ context.Context, q audit.Query) ([]audit.Access, error) {
	k.asked = append(k.asked, q)
	if len(k.views) == 0 {
		k.released++
	}
	if k.away != nil {
		return nil, k.away
	}
	var found []audit.Access
	for _, r := range k.rows {
		older := q.Before.Time.IsZero() || r.Seq < q.Before.Seq
		if older && len(found) < q.Limit && (q.Patient == "" || r.Patient == q.Patient) {
			found = append(found, r)
		}
	}
	return found, nil
}

// Event is part of events.
func (k *fhirKit) Event(_ context.Context, source string, seq uint64) (audit.Access, error) {
	if k.away != nil {
		return audit.Access{}, k.away
	}
	for _, r := range k.rows {
		if r.Source == source && r.Seq == seq {
			return r, nil
		}
	}
	return audit.Access{}, clickhouse.ErrNoRecord
}

func noon() time.Time { return time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC) }

func newFHIRKit(t *testing.T) *fhirKit {
	t.Helper()
	links, err := newLinkSealer(make([]byte, 32), "RZZ")
	if err != nil {
		t.Fatal(err)
	}
	k := &fhirKit{t: t, reach: noon()}
	k.fhirServer = &fhirServer{
		site: "RZZ", url: "https://gw.example/.matron/fhir", version: "v1", started: noon(), index: k, convert: Converter(), links: links,
		hospitalNumber: func(nhs string) string { return map[string]string{"9990000018": "HN-00017"}[nhs] },
		indexedTo:      func() time.Time { return k.reach },
		record: func(_ context.Context, r *audit.Record) error {
			if k.full == nil {
				k.views = append(k.views, *r)
			}
			return k.full
		},
		may: func(s policy.Subject, area policy.Area, _ policy.Action) bool {
			return area == policy.Home || slices.Contains(s.Roles, "privacy-officer")
		},
		location: time.UTC, now: noon, log: slog.New(slog.DiscardHandler),
	}
	for seq := uint64(7); seq > 0; seq-- {
		k.rows = append(k.rows, audit.Access{Settled: true, Record: audit.Record{
			Site: "RZZ", Source: "gw1", Seq: seq, Time: noon(), Kind: audit.KindDecision, Patient: "HN-00017", NHSNumber: "9990000018",
			Person: "S1", UserSub: "s1", Effect: "allow", Action: "read", Outcome: audit.Success, Status: 200,
		}})
	}
	k.rows = append(k.rows, audit.Access{Record: audit.Record{Site: "RYY", Source: "gw1", Seq: 99, Kind: audit.KindSignIn, Time: noon()}})
	return k
}

// ask sends one request as somebody with a role, "" as nobody.
func (k *fhirKit) ask(role, method, target, form string) (int, http.Header, map[string]any) {
	k.t.Helper()
	r := httptest.NewRequestWithContext(k.t.Context(), method, target, strings.NewReader(form))
	r.RemoteAddr = "10.1.2.3:0"
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if role != "" {
		r = r.WithContext(policy.WithSubject(r.Context(), policy.Subject{Issuer: "https://idp", Sub: "ig", Person: "IG1", Name: "Officer", Roles: []string{role}}))
	}
	w := httptest.NewRecorder()
	w.Header().Set("Matron-Request", "x-1")
	k.handler().ServeHTTP(w, r)
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		k.t.Fatalf("%s %s: %v in %s", method, target, err, w.Body)
	}
	return w.Code, w.Header(), body
}

const officer = "privacy-officer"

// links finds the links of a page and the ids of its events.
func linksOf(page map[string]any) (links map[string]string, ids []string) {
	links = map[string]string{}
	for _, l := range page["link"].([]any) {
		l := l.(map[string]any)
		links[l["relation"].(string)] = l["url"].(string)
	}
	entries, _ := page["entry"].([]any)
	for _, e := range entries {
		if id, ok := e.(map[string]any)["resource"].(map[string]any)["id"].(string); ok {
			ids = append(ids, id)
		}
	}
	return links, ids
}

// TestFHIRPagesShowEachEventOnce walks the pages of a search by links that tell
// nothing about the patient.
func TestFHIRPagesShowEachEventOnce(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		k := newFHIRKit(t)
		query := "patient=https%3A%2F%2Ffhir.nhs.uk%2FId%2Fnhs-number%7C9990000018&_count=3"
		target, form := "/.matron/fhir/AuditEvent?"+query, ""
		if method == http.MethodPost {
			target, form = "/.matron/fhir/AuditEvent/_search", query
		}
		var all []string
		for pages := 0; target != ""; pages++ {
			status, _, page := k.ask(officer, method, target, form)
			if status != http.StatusOK || pages > 3 {
				t.Fatalf("%s: %d %v", target, status, page)
			}
			links, ids := linksOf(page)
			all = append(all, ids...)
			for relation, link := range links {
				if method == http.MethodGet && pages == 0 && relation == "self" {
					continue // the client put the number there itself
				}
				if strings.Contains(link, "9990000018") || strings.Contains(link, "HN-00017") {
					t.Errorf("the %s link names the patient: %s", relation, link)
				}
			}
			next, err := url.Parse(links["next"])
			if err != nil {
				t.Fatal(err)
			}
			method, form, target = http.MethodGet, "", next.RequestURI()
			if links["next"] == "" {
				target = ""
			}
		}
		if diff := cmp.Diff([]string{"gw1-7", "gw1-6", "gw1-5", "gw1-4", "gw1-3", "gw1-2", "gw1-1"}, all); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		for i, v := range k.views {
			if v.Kind != audit.KindAuditViewed || v.Patient != "HN-00017" || v.NHSNumber != "9990000018" || v.Certainty != audit.Authoritative ||
				!strings.Contains(v.Query, "patient=") || v.Person != "IG1" || v.ClientIP != "10.1.2.3" || v.Request != "x-1" {
				t.Errorf("view %d: %+v", i, v)
			}
		}
		if len(k.views) != 3 || k.released != 0 {
			t.Errorf("%d views, %d pages before theirs", len(k.views), k.released)
		}
	}
}

// TestNothingOfTheRecordIsReleasedUnrecorded fails the journal: the index is not
// even asked, and an event that was read stays here.
func TestNothingOfTheRecordIsReleasedUnrecorded(t *testing.T) {
	k := newFHIRKit(t)
	k.full = audit.ErrNotDurable
	for _, target := range []string{"/.matron/fhir/AuditEvent?patient=HN-00017", "/.matron/fhir/AuditEvent/gw1-1"} {
		status, header, body := k.ask(officer, http.MethodGet, target, "")
		if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || body["resourceType"] != "OperationOutcome" {
			t.Errorf("%s: %d %v", target, status, body)
		}
	}
	if len(k.asked) > 0 {
		t.Errorf("the index was asked %v", k.asked)
	}
}

func TestFHIRRead(t *testing.T) {
	k := newFHIRKit(t)
	status, header, body := k.ask(officer, http.MethodGet, "/.matron/fhir/AuditEvent/gw1-3", "")
	if status != http.StatusOK || body["id"] != "gw1-3" || header.Get("Cache-Control") != "no-store" || header.Get("Content-Type") != "application/fhir+json; charset=utf-8" {
		t.Errorf("%d %v %v", status, header, body)
	}
	if len(k.views) != 1 || k.views[0].Patient != "HN-00017" || k.views[0].ResourceID != "gw1-3" {
		t.Errorf("views %+v", k.views)
	}
	for _, id := range []string{"gw1-50", "gw1", "gw1-99", "..."} { // 99 is another organisation's
		if status, _, body := k.ask(officer, http.MethodGet, "/.matron/fhir/AuditEvent/"+id, ""); status != http.StatusNotFound {
			t.Errorf("%s: %d %v", id, status, body)
		}
	}
	if len(k.views) != 1 {
		t.Errorf("%d views", len(k.views))
	}
}

// TestFHIRErrorsSayWhatIsWrong holds every refusal to its status and words.
func TestFHIRErrorsSayWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		role, method, target, form string
		away                       error
		status                     int
		code, say                  string
	}{
		"unknown parameter": {officer, "GET", "/AuditEvent?colour=red", "", nil, 400, "not-supported", "colour"},
		"bad date":          {officer, "GET", "/AuditEvent?date=yesterday", "", nil, 400, "invalid", "date"},
		"bad NHS number":    {officer, "GET", "/AuditEvent?patient=https://fhir.nhs.uk/Id/nhs-number%7C9990000019", "", nil, 400, "invalid", "patient"},
		"damaged link":      {officer, "GET", "/AuditEvent?_page=AAAA", "", nil, 400, "invalid", "link"},
		"link and more":     {officer, "GET", "/AuditEvent?_page=AAAA&patient=HN-00017", "", nil, 400, "invalid", "link"},
		"too much posted":   {officer, "POST", "/AuditEvent/_search", "patient=" + strings.Repeat("x", fhirFormBytes), nil, 400, "invalid", "16 KiB"},
		"nothing posted":    {officer, "POST", "/AuditEvent/_search", "", nil, 400, "invalid", "x-www-form-urlencoded"},
		"nurse":             {"nurse", "GET", "/AuditEvent?patient=HN-00017", "", nil, 403, "forbidden", "role"},
		"nurse reads":       {"nurse", "GET", "/AuditEvent/gw1-1", "", nil, 403, "forbidden", "role"},
		"nobody":            {"", "GET", "/AuditEvent?patient=HN-00017", "", nil, 403, "forbidden", "role"},
		"nobody, metadata":  {"", "GET", "/metadata", "", nil, 403, "forbidden", "role"},
		"another type":      {officer, "GET", "/Patient", "", nil, 404, "not-supported", "metadata"},
		"no index":          {officer, "GET", "/AuditEvent?patient=HN-00017", "", errNoIndex, 503, "transient", "did not answer"},
		"no index, read":    {officer, "GET", "/AuditEvent/gw1-1", "", errNoIndex, 503, "transient", "did not answer"},
		"index breaks":      {officer, "GET", "/AuditEvent?patient=HN-00017", "", errors.New("HN-00017 in SELECT *"), 503, "transient", "did not answer"},
	} {
		k := newFHIRKit(t)
		k.away = c.away
		status, header, body := k.ask(c.role, c.method, "/.matron/fhir"+c.target, c.form)
		text := fmt.Sprint(body)
		if status != c.status || body["resourceType"] != "OperationOutcome" || !strings.Contains(text, "code:"+c.code) || !strings.Contains(text, c.say) {
			t.Errorf("%s: %d %s", name, status, text)
		}
		if (header.Get("Retry-After") != "") != (status == 503) || strings.Contains(text, "SELECT") || strings.Contains(text, "9990000019") {
			t.Errorf("%s: %v %s", name, header, text)
		}
	}
}

// TestFHIRPagesSayWhenEventsMayBeMissing never lets an index that is behind look
// complete.
func TestFHIRPagesSayWhenEventsMayBeMissing(t *testing.T) {
	for reach, want := range map[time.Time]string{
		noon():                   "",
		noon().Add(-time.Hour):   "events after 2026-11-25T11:00:00Z may be missing",
		{}:                       "not known",
		noon().Add(-time.Second): "",
	} {
		k := newFHIRKit(t)
		k.reach = reach
		_, _, page := k.ask(officer, http.MethodGet, "/.matron/fhir/AuditEvent?patient=nobody", "")
		text := fmt.Sprint(page["entry"])
		if want == "" && page["entry"] != nil || !strings.Contains(text, want) || strings.Contains(text, "mode:match") {
			t.Errorf("reaching to %s: %s", reach, text)
		}
	}
}

// TestSearchByNHSNumberSaysWhenItCannotBeWhole has a number that the patient
// list does not know.
func TestSearchByNHSNumberSaysWhenItCannotBeWhole(t *testing.T) {
	for number, want := range map[string]bool{"9990000018": false, "9990000026": true} {
		_, _, page := newFHIRKit(t).ask(officer, http.MethodGet, "/.matron/fhir/AuditEvent?patient=https://fhir.nhs.uk/Id/nhs-number%7C"+number, "")
		if got := strings.Contains(fmt.Sprint(page["entry"]), "hospital number"); got != want {
			t.Errorf("%s: warned %v, want %v: %v", number, got, want, page)
		}
	}
}

// TestFHIRRoutesAreMapped keeps the map and the server together: what is served
// is mapped with its area, and refusals have the form of FHIR.
func TestFHIRRoutesAreMapped(t *testing.T) {
	m := newPagesMap()
	for target, want := range map[string]proxy.Access{
		"GET /.matron/fhir/AuditEvent":          {Rule: "page-fhir-search", Action: policy.Search, Area: policy.Audit, Resource: "AuditEvent", Kind: proxy.SearchKind},
		"POST /.matron/fhir/AuditEvent/_search": {Rule: "page-fhir-search-post", Action: policy.Search, Area: policy.Audit, Resource: "AuditEvent", Kind: proxy.SearchKind},
		"GET /.matron/fhir/AuditEvent/gw1-7":    {Rule: "page-fhir-read", Action: policy.Read, Area: policy.Audit, Resource: "AuditEvent", ID: "gw1-7", Kind: proxy.Interactive},
		"GET /.matron/fhir/metadata":            {Rule: "page-fhir-metadata", Action: policy.Read, Area: policy.Home, Kind: proxy.Interactive},
		"DELETE /.matron/fhir/AuditEvent/gw1-7": {},
		"GET /.matron/fhir/Patient":             {},
	} {
		method, path, _ := strings.Cut(target, " ")
		got, err := m.Classify(httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody), nil)
		if err != nil {
			t.Fatal(err)
		}
		if want.Deny = proxy.DenyOperationOutcome; want.Rule != "" {
			want.Certainty, want.Source = audit.None, audit.SourceNone
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", target, diff)
		}
	}
	page, err := m.Classify(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/.matron/lookup", http.NoBody), nil)
	if err != nil || page.Deny != proxy.DenyAuto || page.Screen != "lookup" || page.Deliberate != "true" {
		t.Errorf("a page: %+v, %v", page, err)
	}
}
