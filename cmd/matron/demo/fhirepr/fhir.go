package fhirepr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const fhirJSON = "application/fhir+json; charset=utf-8"

func (e *EPR) base() string { return e.cfg.Public + FHIRPath }

func (e *EPR) read(w http.ResponseWriter, r *http.Request) {
	v, err := e.current(r)
	if err != nil {
		e.fail(w, r, err)
		return
	}
	if r.Header.Get("If-None-Match") == v.etag() {
		w.Header().Set("ETag", v.etag())
		w.WriteHeader(http.StatusNotModified)
		return
	}
	e.send(w, r, http.StatusOK, v)
}

func (e *EPR) current(r *http.Request) (version, error) {
	v, ok := e.store.latest(key{r.PathValue("type"), r.PathValue("id")})
	if !ok {
		return version{}, notFound()
	}
	if v.Deleted {
		return version{}, &fault{http.StatusGone, "deleted", "The resource has been deleted."}
	}
	return v, nil
}

func notFound() error {
	return &fault{http.StatusNotFound, "not-found", "There is no such resource."}
}

func (e *EPR) vread(w http.ResponseWriter, r *http.Request) {
	versions := e.store.all(key{r.PathValue("type"), r.PathValue("id")})
	n, err := strconv.Atoi(r.PathValue("version"))
	i := slices.IndexFunc(versions, func(v version) bool { return v.N == n })
	switch {
	case err != nil || i < 0:
		e.fail(w, r, notFound())
	case versions[i].Deleted:
		e.fail(w, r, &fault{http.StatusGone, "deleted", "That version records a deletion."})
	default:
		e.send(w, r, http.StatusOK, versions[i])
	}
}

func (e *EPR) history(w http.ResponseWriter, r *http.Request) {
	versions := e.store.all(key{r.PathValue("type"), r.PathValue("id")})
	if len(versions) == 0 {
		e.fail(w, r, notFound())
		return
	}
	slices.Reverse(versions)
	b := bundle{ResourceType: "Bundle", Type: "history", Total: new(len(versions))}
	for _, v := range versions {
		method := http.MethodPut
		switch {
		case v.Deleted:
			method = http.MethodDelete
		case v.N == 1:
			method = http.MethodPost
		}
		b.Entry = append(b.Entry, entry{
			FullURL: e.fullURL(v), Resource: v.Body, Request: &entryRequest{Method: method, URL: v.Type + "/" + v.ID},
			Response: &entryResponse{Status: "200", ETag: v.etag(), LastModified: v.At.Format("2006-01-02T15:04:05.000Z07:00")},
		})
	}
	e.sendJSON(w, r, http.StatusOK, b)
}

func (e *EPR) create(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("If-None-Exist") != "" {
		e.fail(w, r, &fault{http.StatusPreconditionFailed, "not-supported", "This server does not create conditionally."})
		return
	}
	body, err := e.resource(r, r.PathValue("type"))
	if err != nil {
		e.fail(w, r, err)
		return
	}
	e.apply(w, r, http.StatusCreated, change{method: http.MethodPost, key: key{Type: r.PathValue("type")}, body: body})
}

func (e *EPR) update(w http.ResponseWriter, r *http.Request) {
	k := key{r.PathValue("type"), r.PathValue("id")}
	body, err := e.resource(r, k.Type)
	if err == nil && body["id"] != k.ID {
		err = &fault{http.StatusBadRequest, "invalid", "The id in the resource is not the id in the address."}
	}
	if err != nil {
		e.fail(w, r, err)
		return
	}
	e.apply(w, r, http.StatusOK, change{method: http.MethodPut, key: k, body: body, ifMatch: r.Header.Get("If-Match")})
}

func (e *EPR) remove(w http.ResponseWriter, r *http.Request) {
	k := key{r.PathValue("type"), r.PathValue("id")}
	if _, ok := e.store.latest(k); !ok {
		e.fail(w, r, notFound())
		return
	}
	e.apply(w, r, http.StatusNoContent, change{method: http.MethodDelete, key: k, ifMatch: r.Header.Get("If-Match")})
}

func (e *EPR) apply(w http.ResponseWriter, r *http.Request, status int, c change) {
	versions, err := e.store.apply([]change{c})
	if err != nil {
		e.fail(w, r, err)
		return
	}
	v := versions[0]
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	if status == http.StatusCreated {
		w.Header().Set("Location", e.location(v))
	}
	e.send(w, r, status, v)
}

func (e *EPR) location(v version) string {
	return e.fullURL(v) + "/_history/" + strconv.Itoa(v.N)
}

func (e *EPR) fullURL(v version) string { return e.base() + "/" + v.Type + "/" + v.ID }

// resource reads the body as one resource of typ.
func (e *EPR) resource(r *http.Request, typ string) (map[string]any, error) {
	if !slices.Contains(types(), typ) {
		return nil, &fault{http.StatusNotFound, "not-supported", "This server does not hold resources of that type."}
	}
	body, err := readJSON(r)
	if err != nil {
		return nil, err
	}
	return body, checkResource(body, typ)
}

func checkResource(body map[string]any, typ string) error {
	if body["resourceType"] != typ {
		return &fault{http.StatusBadRequest, "invalid", "The resource is not a " + typ + "."}
	}
	return nil
}

func readJSON(r *http.Request) (map[string]any, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || (media != "application/fhir+json" && media != "application/json") {
		return nil, &fault{http.StatusUnsupportedMediaType, "not-supported", "Send application/fhir+json."}
	}
	data, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, &fault{http.StatusRequestEntityTooLarge, "too-long", "The body is too long."}
	}
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // decimals keep the digits they came with
	var body map[string]any
	if err := dec.Decode(&body); err != nil || body == nil || dec.More() {
		return nil, &fault{http.StatusBadRequest, "structure", "The body is not one JSON object."}
	}
	return body, nil
}

func (e *EPR) searchGet(w http.ResponseWriter, r *http.Request) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		e.fail(w, r, &fault{http.StatusBadRequest, "invalid", "The query cannot be read."})
		return
	}
	e.search(w, r, values, true)
}

// searchPost searches with the parameters in the body, where they stay out of
// logs; so its answer links to no further page: post again with _offset.
func (e *EPR) searchPost(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		e.fail(w, r, &fault{http.StatusBadRequest, "invalid", "The form cannot be read."})
		return
	}
	e.search(w, r, r.Form, false)
}

func (e *EPR) search(w http.ResponseWriter, r *http.Request, values url.Values, links bool) {
	q, err := parseQuery(r.PathValue("type"), values)
	if err != nil {
		e.fail(w, r, err)
		return
	}
	page, total := e.store.search(q)
	b := bundle{ResourceType: "Bundle", Type: "searchset", Total: &total}
	if links {
		b.Link = e.links(q, values, total)
	}
	for _, v := range page {
		b.Entry = append(b.Entry, entry{FullURL: e.fullURL(v), Resource: v.Body, Search: &entrySearch{Mode: "match"}})
	}
	e.sendJSON(w, r, http.StatusOK, b)
}

func (e *EPR) links(q query, values url.Values, total int) []link {
	at := func(offset int) string {
		v := url.Values{}
		for name, all := range values {
			v[name] = all
		}
		v.Set("_offset", strconv.Itoa(offset))
		return e.base() + "/" + q.typ + "?" + v.Encode()
	}
	out := []link{{Relation: "self", URL: at(q.offset)}}
	if q.count > 0 && q.offset+q.count < total {
		out = append(out, link{Relation: "next", URL: at(q.offset + q.count)})
	}
	return out
}

// everything returns the patient with all that is about them.
func (e *EPR) everything(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	b := bundle{ResourceType: "Bundle", Type: "searchset"}
	for _, typ := range types() {
		page, _ := e.store.search(query{typ: typ, count: 1000, terms: []term{{"patient", []string{id}}}})
		for _, v := range page {
			b.Entry = append(b.Entry, entry{FullURL: e.fullURL(v), Resource: v.Body, Search: &entrySearch{Mode: "match"}})
		}
	}
	if len(b.Entry) == 0 {
		e.fail(w, r, notFound())
		return
	}
	b.Total = new(len(b.Entry))
	e.sendJSON(w, r, http.StatusOK, b)
}

func (e *EPR) send(w http.ResponseWriter, r *http.Request, status int, v version) {
	h := w.Header()
	h.Set("ETag", v.etag())
	h.Set("Last-Modified", v.At.UTC().Format(http.TimeFormat))
	e.sendJSON(w, r, status, v.Body)
}

func (e *EPR) sendJSON(w http.ResponseWriter, r *http.Request, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		e.cfg.Log.ErrorContext(r.Context(), "encode answer", slog.String("error", err.Error()))
		http.Error(w, "The record cannot answer.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", fhirJSON)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if _, err := w.Write(data); err != nil {
		e.cfg.Log.DebugContext(r.Context(), "answer not delivered", slog.String("error", err.Error()))
	}
}

// fail answers with an OperationOutcome, or with a page under /ui.
func (e *EPR) fail(w http.ResponseWriter, r *http.Request, err error) {
	var f *fault
	if !errors.As(err, &f) {
		e.cfg.Log.ErrorContext(r.Context(), "record", slog.String("error", err.Error()))
		f = &fault{http.StatusInternalServerError, "exception", "The record cannot answer."}
	}
	if !strings.HasPrefix(r.URL.Path, FHIRPath+"/") && r.URL.Path != FHIRPath {
		e.page(w, r, f.status, "message.html", messagePage{Frame: e.frame(r, "Not done"), Text: f.text})
		return
	}
	e.sendJSON(w, r, f.status, outcome(f))
}

func outcome(f *fault) map[string]any {
	return map[string]any{"resourceType": "OperationOutcome", "issue": []any{
		map[string]any{"severity": "error", "code": f.code, "diagnostics": f.text},
	}}
}
