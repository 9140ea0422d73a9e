package fhirepr

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxEntries bounds one transaction.
const maxEntries = 500

// bundle is the part of a FHIR Bundle that this server reads and writes.
type bundle struct {
	ResourceType string  `json:"resourceType"`
	Type         string  `json:"type"`
	Total        *int    `json:"total,omitempty"`
	Link         []link  `json:"link,omitempty"`
	Entry        []entry `json:"entry,omitempty"`
}

type link struct {
	Relation string `json:"relation"`
	URL      string `json:"url"`
}

type entry struct {
	FullURL  string          `json:"fullUrl,omitempty"`
	Resource json.RawMessage `json:"resource,omitempty"`
	Search   *entrySearch    `json:"search,omitempty"`
	Request  *entryRequest   `json:"request,omitempty"`
	Response *entryResponse  `json:"response,omitempty"`
}

type entrySearch struct {
	Mode string `json:"mode"`
}

type entryRequest struct {
	Method  string `json:"method"`
	URL     string `json:"url"`
	IfMatch string `json:"ifMatch,omitempty"`
}

type entryResponse struct {
	Status       string `json:"status"`
	Location     string `json:"location,omitempty"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"lastModified,omitempty"`
	Outcome      any    `json:"outcome,omitempty"`
}

// transaction does everything in a Bundle or, for type transaction, nothing.
func (e *EPR) transaction(w http.ResponseWriter, r *http.Request) {
	b, err := readBundle(r)
	if err != nil {
		e.fail(w, r, err)
		return
	}
	var out bundle
	if b.Type == "batch" {
		out = e.batch(b)
	} else {
		out, err = e.atomic(b)
	}
	if err != nil {
		e.fail(w, r, err)
		return
	}
	e.sendJSON(w, r, http.StatusOK, out)
}

func readBundle(r *http.Request) (bundle, error) {
	body, err := readJSON(r)
	if err != nil {
		return bundle{}, err
	}
	data, err := json.Marshal(body)
	if err != nil {
		return bundle{}, fmt.Errorf("encode bundle: %w", err)
	}
	var b bundle
	if err := json.Unmarshal(data, &b); err != nil || b.ResourceType != "Bundle" {
		return bundle{}, &fault{http.StatusBadRequest, "structure", "The body is not a Bundle."}
	}
	if b.Type != "transaction" && b.Type != "batch" {
		return bundle{}, &fault{http.StatusBadRequest, "not-supported", "Send a Bundle of type transaction or batch."}
	}
	if len(b.Entry) > maxEntries {
		return bundle{}, &fault{http.StatusRequestEntityTooLarge, "too-long", "The Bundle has too many entries."}
	}
	for _, en := range b.Entry {
		if en.Request == nil {
			return bundle{}, &fault{http.StatusBadRequest, "required", "An entry of the Bundle has no request."}
		}
	}
	return b, nil
}

// batch does each entry on its own.
func (e *EPR) batch(b bundle) bundle {
	out := bundle{ResourceType: "Bundle", Type: "batch-response"}
	for _, en := range b.Entry {
		one, err := e.atomic(bundle{Type: "transaction", Entry: []entry{en}})
		var f *fault
		switch {
		case err == nil:
			out.Entry = append(out.Entry, one.Entry...)
		case errors.As(err, &f):
			out.Entry = append(out.Entry, entry{Response: &entryResponse{Status: strconv.Itoa(f.status), Outcome: outcome(f)}})
		default:
			out.Entry = append(out.Entry, entry{Response: &entryResponse{Status: "500"}})
		}
	}
	return out
}

// atomic does the entries in the order that FHIR lays down: deletes, creates,
// updates, reads. All or nothing.
func (e *EPR) atomic(b bundle) (bundle, error) {
	changes, places, err := plan(b)
	if err != nil {
		return bundle{}, err
	}
	out := bundle{ResourceType: "Bundle", Type: "transaction-response", Entry: make([]entry, len(b.Entry))}
	versions, err := e.store.apply(changes)
	if err != nil {
		return bundle{}, err
	}
	for i, v := range versions {
		out.Entry[places[i]] = e.done(changes[i].method, v)
	}
	for i, en := range b.Entry {
		if en.Request.Method == http.MethodGet {
			if out.Entry[i], err = e.get(en.Request.URL); err != nil {
				return bundle{}, err
			}
		}
	}
	return out, nil
}

func (e *EPR) done(method string, v version) entry {
	res := &entryResponse{Status: "200", ETag: v.etag(), LastModified: v.At.Format("2006-01-02T15:04:05.000Z07:00")}
	switch method {
	case http.MethodPost:
		res.Status, res.Location = "201", e.location(v)
	case http.MethodDelete:
		res.Status = "204"
	}
	return entry{Resource: v.Body, Response: res}
}

// plan turns entries into changes; places says which entry each comes from.
func plan(b bundle) (changes []change, places []int, err error) {
	ids := map[string]string{} // urn:uuid:… → Type/id
	for i, en := range b.Entry {
		if en.Request.Method == http.MethodGet {
			if err := checkGet(en.Request.URL); err != nil {
				return nil, nil, err
			}
			continue
		}
		c, err := entryChange(en)
		if err != nil {
			return nil, nil, err
		}
		if c.method == http.MethodPost {
			c.key.ID = newID()
			if strings.HasPrefix(en.FullURL, "urn:uuid:") {
				ids[en.FullURL] = c.key.Type + "/" + c.key.ID
			}
		}
		changes, places = append(changes, c), append(places, i)
	}
	for _, c := range changes {
		resolve(c.body, ids)
	}
	order := make([]int, len(changes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rank(changes[a].method), rank(changes[b].method)) })
	sorted, from := make([]change, len(order)), make([]int, len(order))
	for i, o := range order {
		sorted[i], from[i] = changes[o], places[o]
	}
	return sorted, from, nil
}

func rank(method string) int {
	return slices.Index([]string{http.MethodDelete, http.MethodPost, http.MethodPut}, method)
}

func entryChange(en entry) (change, error) {
	typ, id, _ := strings.Cut(en.Request.URL, "/")
	c := change{method: en.Request.Method, key: key{typ, id}, ifMatch: en.Request.IfMatch}
	bad := &fault{http.StatusBadRequest, "invalid", "An entry of the Bundle has a request that this server does not understand."}
	if !slices.Contains(types(), typ) || strings.ContainsAny(id, "/?") || rank(c.method) < 0 || (c.method == http.MethodPost) != (id == "") {
		return change{}, bad
	}
	if c.method == http.MethodDelete {
		return c, nil
	}
	dec := json.NewDecoder(strings.NewReader(string(en.Resource)))
	dec.UseNumber()
	if err := dec.Decode(&c.body); err != nil || c.body == nil {
		return change{}, bad
	}
	if c.method == http.MethodPut && c.body["id"] != id {
		return change{}, bad
	}
	return c, checkResource(c.body, typ)
}

// resolve replaces references to other entries by the ids those were given.
func resolve(v any, ids map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["reference"].(string); ok && ids[ref] != "" {
			v["reference"] = ids[ref]
		}
		for _, child := range v {
			resolve(child, ids)
		}
	case []any:
		for _, child := range v {
			resolve(child, ids)
		}
	}
}

// get answers a read or a search inside a Bundle.
func (e *EPR) get(target string) (entry, error) {
	path, rawQuery, search := strings.Cut(target, "?")
	typ, id, _ := strings.Cut(path, "/")
	if !search && id != "" {
		v, ok := e.store.latest(key{typ, id})
		if !ok || v.Deleted {
			return entry{}, notFound()
		}
		return entry{FullURL: e.fullURL(v), Resource: v.Body, Response: &entryResponse{Status: "200", ETag: v.etag()}}, nil
	}
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return entry{}, &fault{http.StatusBadRequest, "invalid", "The query of an entry cannot be read."}
	}
	q, err := parseQuery(typ, values)
	if err != nil {
		return entry{}, err
	}
	page, total := e.store.search(q)
	b := bundle{ResourceType: "Bundle", Type: "searchset", Total: &total}
	for _, v := range page {
		b.Entry = append(b.Entry, entry{FullURL: e.fullURL(v), Resource: v.Body, Search: &entrySearch{Mode: "match"}})
	}
	data, err := json.Marshal(b)
	if err != nil {
		return entry{}, fmt.Errorf("encode bundle: %w", err)
	}
	return entry{Resource: data, Response: &entryResponse{Status: "200"}}, nil
}

// checkGet refuses what get would refuse before anything is changed.
func checkGet(target string) error {
	path, rawQuery, search := strings.Cut(target, "?")
	typ, id, _ := strings.Cut(path, "/")
	if !slices.Contains(types(), typ) || strings.ContainsAny(id, "/") || (search && id != "") {
		return &fault{http.StatusBadRequest, "invalid", "An entry of the Bundle asks for something that this server does not have."}
	}
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return &fault{http.StatusBadRequest, "invalid", "The query of an entry cannot be read."}
	}
	_, err = parseQuery(typ, values)
	return err
}
