package learn

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// errLine is the error of a line of exported accesses that says nothing about an
// address. It holds nothing of the line.
var errLine = errors.New("not an access with a path, a time and a person")

// access is one line of an accesses file, with the fields that files often have
// besides: an address in parts, or in screen or resource.
type access struct {
	Time     time.Time `json:"time"`
	Person   string    `json:"person"`
	Action   string    `json:"action"`
	App      string    `json:"app"`
	Screen   string    `json:"screen"`
	Resource string    `json:"resource"`
	Outcome  string    `json:"outcome"`
	Method   string    `json:"method"`
	Path     string    `json:"path"`
	Target   string    `json:"target"`
	URL      string    `json:"url"`
	Query    string    `json:"query"`
	Status   uint64    `json:"status"`
}

// AddAccess takes in one line of an accesses file. Lines of other applications and
// times are passed over. Every access counts: a file does not say what a map knew.
func (t *Tally) AddAccess(line []byte) error {
	var a access
	if err := json.Unmarshal(line, &a); err != nil || a.Time.IsZero() || a.Person == "" {
		return errLine
	}
	path, query := a.address()
	if path == "" {
		return errLine
	}
	q := t.query
	if q.App != "" && a.App != "" && a.App != q.App || !q.From.IsZero() && a.Time.Before(q.From) || !q.To.IsZero() && !a.Time.Before(q.To) {
		return nil
	}
	r := Request{Method: a.Method, Path: path, Query: query, Person: a.Person, Time: a.Time, Status: a.Outcome}
	if a.Status > 0 {
		r.Status = statusClass(a.Status)
	} else if r.Status != "success" && r.Status != "denied" && r.Status != "failed" {
		r.Status = ""
	}
	if r.Method == "" {
		r.Method, r.Guessed = methodFor(a.Action), true
	}
	t.Add(r)
	return nil
}

// address is the first of the fields that holds one.
func (a *access) address() (path, query string) {
	for _, text := range []string{a.Path, a.Target, a.URL, a.Screen, a.Resource} {
		u, err := url.Parse(text)
		if err != nil || !strings.HasPrefix(u.Path, "/") {
			continue
		}
		return u.EscapedPath(), cmp.Or(u.RawQuery, strings.TrimPrefix(a.Query, "?"))
	}
	return "", ""
}

func methodFor(action string) string {
	switch action {
	case "create":
		return http.MethodPost
	case "update":
		return http.MethodPut
	case "delete":
		return http.MethodDelete
	}
	return http.MethodGet
}
