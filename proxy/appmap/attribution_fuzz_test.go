package appmap

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// seeds are the exchanges of the FHIR corpora.
func seeds(f *testing.F) []Recorded {
	f.Helper()
	files, err := filepath.Glob("testdata/fhir-*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatalf("no corpus: %v", err)
	}
	var all []Recorded
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		recording, err := ReadExchanges(src)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, recording.Exchanges...)
	}
	return all
}

// FuzzFHIR: whatever a request and its answer hold, nobody's is only what
// mentions no patient, and what is withheld names nobody.
func FuzzFHIR(f *testing.F) {
	m, err := Builtin("fhir-r4")
	if err != nil {
		f.Fatal(err)
	}
	m = m.WithBase("/fhir")
	for _, e := range seeds(f) {
		f.Add(e.Request.Method, e.Request.URL.RequestURI(), e.Request.Header.Get("Content-Type"), e.RequestBody, e.ResponseBody, e.Response == nil || e.Response.StatusCode < 400)
	}
	f.Fuzz(func(t *testing.T, method, target, contentType string, body, answer []byte, succeeds bool) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://epr.example"+target, nil)
		if err != nil {
			return
		}
		r.Header.Set("Content-Type", contentType)
		status := http.StatusOK
		if !succeeds {
			status = http.StatusForbidden
		}
		got := Try(m, Exchange{
			Request: r, RequestBody: body, ResponseBody: answer,
			Response: &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {fhirType}}, Request: r},
		})
		a := &got.Access
		if got.Refused != nil || a.Rule == "" {
			return
		}
		for i := range a.Entries {
			if e := &a.Entries[i]; e.Access.Certainty == audit.None && (len(e.Access.Patients) > 0 || e.Access.Action.Writes() && mentionsPatient(body[e.From:e.To])) {
				t.Fatalf("%s is nobody's: %+v", body[e.From:e.To], e)
			}
		}
		if a.Certainty == audit.None && (len(a.Patients) > 0 || len(a.Entries) == 0 && a.Action.Writes() && mentionsPatient(body)) {
			t.Fatalf("%s is nobody's: %+v", body, a)
		}
		if a.Certainty == audit.Authoritative && len(a.Patients) != 1 || a.Certainty == audit.Several && len(a.Patients) == 0 {
			t.Fatalf("certainty %s of %d patients", a.Certainty, len(a.Patients))
		}
		s := &got.Settlement
		if got.Settled && got.Withheld == nil && len(a.Entries) == 0 {
			checkEntries(t, s, answer, succeeds)
		}
		switch {
		case !got.Settled:
		case got.Withheld != nil:
			if !errors.Is(got.Withheld, ErrUnreadable) || len(s.Patients) > 0 {
				t.Fatalf("withheld with %+v: %v", s, got.Withheld)
			}
		case s.Certainty == audit.None && (len(s.Patients) > 0 || succeeds && mentionsPatient(answer)):
			t.Fatalf("%s is nobody's: %+v", answer, s)
		}
	})
}

// checkEntries: each entry that may be left out stands where it is said to, and is
// nobody's only if it mentions no patient.
func checkEntries(t *testing.T, s *proxy.Settlement, answer []byte, succeeds bool) {
	t.Helper()
	if s.Bundle == nil {
		return
	}
	at := s.Bundle.From
	for _, e := range s.Bundle.Entries {
		if e.From <= at || e.To > s.Bundle.To || answer[e.From] != '{' || answer[e.To-1] != '}' {
			t.Fatalf("an entry at %v of %q", e.Span, answer)
		}
		at = e.To - 1
		if nobodys := len(e.Patients) == 0 && !e.Stranger; nobodys && succeeds && mentionsPatient(answer[e.From:e.To]) {
			t.Fatalf("%s is nobody's", answer[e.From:e.To])
		}
	}
}

// mentionsPatient looks for a patient in a body in the plainest way there is.
func mentionsPatient(body []byte) bool {
	doc, err := slowJSON(body)
	return err == nil && anyPatient(doc)
}

func anyPatient(n any) bool {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			if anyPatient(e) {
				return true
			}
		}
	case *object:
		id, refers := strings.CutPrefix(n.text("reference"), "Patient/")
		if refers && isFHIRID(id) || n.text("resourceType") == "Patient" {
			return true
		}
		for _, m := range n.members {
			outside := n.text("resourceType") == "Bundle" && m.key != "entry" || n.text("resourceType") == "OperationOutcome"
			envelope := m.key == "request" || m.key == "search" || m.key == "link"
			if !outside && !envelope && anyPatient(m.value) {
				return true
			}
		}
	}
	return false
}

// FuzzExchanges: a recording is read or refused with the reason, and what was
// read can be explained.
func FuzzExchanges(f *testing.F) {
	m, err := Load("testdata/wardbook.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("GET /a HTTP/1.1\nHost: x\n\nbody\nHTTP/1.1 200 OK\n\n{}\n"))
	f.Add([]byte("map: x\nbase: /y\n-- a.request --\nPOST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab\n-- a.response --\nHTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\nx\n0\n\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		recording, err := ReadExchanges(src)
		if (recording == nil) == (err == nil) || err != nil && !errors.Is(err, ErrRecording) {
			t.Fatalf("%v", err)
		}
		if err != nil {
			return
		}
		for _, e := range recording.Exchanges {
			if x := Explain(m, e.Exchange); len(x.Rules) != len(m.rules) && x.Trial.Refused == nil {
				t.Fatalf("%d of %d rules explained", len(x.Rules), len(m.rules))
			}
		}
	})
}

// A recording is read as it was framed.
func TestRecordingIsReadAsFramed(t *testing.T) {
	for name, row := range map[string]struct{ src, request, response string }{
		"plain":    {"POST /a HTTP/1.1\nHost: x\n\none\ntwo\nHTTP/1.1 200 OK\n\nthree\n", "one\ntwo", "three"},
		"returns":  {"POST /a HTTP/1.1\r\nHost: x\r\n\r\none\r\nHTTP/1.1 200 OK\r\n\r\nthree", "one\r", "three"},
		"measured": {"POST /a HTTP/1.1\nHost: x\nContent-Length: 2\n\none\nHTTP/1.1 200 OK\nContent-Length: 3\n\nthree\n", "on", "thr"},
		"chunked":  {"GET /a HTTP/1.1\nHost: x\n\nHTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\r\nabc\r\n0\r\n\r\n", "", "abc"},
	} {
		recording, err := ReadExchanges([]byte(row.src))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		e := recording.Exchanges[0]
		if string(e.RequestBody) != row.request || string(e.ResponseBody) != row.response {
			t.Errorf("%s: %q and %q", name, e.RequestBody, e.ResponseBody)
		}
	}
	for _, src := range []string{"", "hello", "GET /a HTTP/1.1\nContent-Length: 9\n\nx", "-- a.want --\nx", "-- a.request --\nGET /a HTTP/1.1\nHost: x\n-- a.request --\nGET /b HTTP/1.1\nHost: x\n"} {
		if _, err := ReadExchanges([]byte(src)); !errors.Is(err, ErrRecording) {
			t.Errorf("%q: %v", src, err)
		}
	}
}
