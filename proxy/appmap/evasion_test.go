package appmap

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// mounted is the FHIR map as the gateway mounts it: the prefix is cut off before
// the map sees the path, and the application answers under another address.
func mounted(t *testing.T) *Map {
	t.Helper()
	m, err := Builtin("fhir-r4")
	if err != nil {
		t.Fatal(err)
	}
	return m.WithBase("", "https://epr.example/fhir", "http://10.0.0.5:8080/hapi/fhir")
}

// try takes one request through the map.
func try(t *testing.T, m *Map, method, target, contentType, body string, header ...string) Trial {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://epr.example"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return Try(m, Exchange{Request: r, RequestBody: []byte(body)})
}

func ids(patients []proxy.Patient) []string {
	var list []string
	for _, p := range patients {
		list = append(list, p.ID+p.NHSNumber)
	}
	return list
}

const fhirType = "application/fhir+json"

// Whoever writes to somebody by a whole address must not be recorded as having
// written to somebody else.
// hazard:GW-08 control:C-35
func TestPatientIsRecordedByTheSameNameWhateverTheReference(t *testing.T) {
	for reference, want := range map[string]string{
		"Patient/p1":                                            "p1",
		"https://epr.example/fhir/Patient/p1":                   "p1",
		"https://EPR.example:443/fhir/Patient/p1":               "p1",
		"http://10.0.0.5:8080/hapi/fhir/Patient/p1":             "p1",
		"https://10.0.0.5:8080/hapi/fhir/Patient/p1/_history/3": "p1",
		"https://epr.example/fhir/%50atient/p1":                 "p1",
		"https://other.example/fhir/Patient/p1":                 "https://other.example/fhir/Patient/p1",
		"http://10.0.0.5:8080/other/Patient/p1":                 "refused",
		"http://10.0.0.5:8080/hapi/fhir//Patient/p1":            "refused",
		"http://u@10.0.0.5:8080/hapi/fhir/Patient/p1":           "refused",
		"https://epr.example/Patient/p1":                        "refused",
	} {
		body := fmt.Sprintf(`{"resourceType":"Observation","subject":{"reference":%q}}`, reference)
		got := try(t, mounted(t), "POST", "/Observation", fhirType, body)
		switch {
		case want == "refused":
			if !errors.Is(got.Refused, ErrMalformed) {
				t.Errorf("%s: %+v", reference, got)
			}
		case got.Refused != nil || !cmp.Equal(ids(got.Access.Patients), []string{want}):
			t.Errorf("%s: %v %v, want %s", reference, ids(got.Access.Patients), got.Refused, want)
		}
	}
}

// An entry of a transaction that calls itself Patient/p2 must not make a
// reference to the real p2 look like one to itself.
func TestEntryCannotHideAPatientBehindItsAddress(t *testing.T) {
	for _, row := range []struct {
		name, fullURL, method, url, resource string
		want                                 []string // nil means refused
	}{
		{"a group called like a patient", "Patient/p2", "POST", "List", `{"resourceType":"List","subject":{"reference":"Patient/p1"}}`, nil},
		{"another patient called like this one", "Patient/p2", "PUT", "Patient/p3", `{"resourceType":"Patient","id":"p3"}`, nil},
		{"a new patient called like this one", "Patient/p2", "POST", "Patient", `{"resourceType":"Patient"}`, []string{"p2"}},
		{"itself", "Patient/p2", "PUT", "Patient/p2", `{"resourceType":"Patient","id":"p2"}`, []string{"p2"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			body := fmt.Sprintf(`{"resourceType":"Bundle","type":"transaction","entry":[
				{"fullUrl":%q,"request":{"method":%q,"url":%q},"resource":%s},
				{"request":{"method":"POST","url":"Observation"},"resource":{"resourceType":"Observation","subject":{"reference":"Patient/p2"}}}]}`,
				row.fullURL, row.method, row.url, row.resource)
			got := try(t, mounted(t), "POST", "/", fhirType, body)
			if row.want == nil {
				if !errors.Is(got.Refused, ErrMalformed) {
					t.Errorf("got %v %v", ids(got.Access.Patients), got.Refused)
				}
				return
			}
			if diff := cmp.Diff(row.want, ids(got.Access.Patients)); diff != "" || got.Refused != nil {
				t.Errorf("%v\n%s", got.Refused, diff)
			}
		})
	}
}

func TestEntryOfAnotherHostIsRefused(t *testing.T) {
	for _, address := range []string{"//other.example/Patient/p1", "https://other.example/Patient/p1", "/../Patient/p1", "Patient//p1"} {
		body := fmt.Sprintf(`{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":%q}}]}`, address)
		if got := try(t, mounted(t), "POST", "/", fhirType, body); !errors.Is(got.Refused, ErrMalformed) {
			t.Errorf("%s: %+v", address, got)
		}
	}
}

// The answer to a conditional create may be somebody else's resource.
func TestConditionalCreateNamesWhomItAsksAboutAndIsHeld(t *testing.T) {
	const observation = `{"resourceType":"Observation","subject":{"reference":"Patient/p1"}}`
	for _, row := range []struct {
		name   string
		header []string
		want   []string // nil means refused
	}{
		{"the same patient", []string{"subject=Patient/p1&code=x"}, []string{"p1"}},
		{"another patient", []string{"?patient=p2&code=x"}, []string{"p1", "p2"}},
		{"with its type", []string{"Observation?patient=p2"}, []string{"p1", "p2"}},
		{"with another type", []string{"Patient?_id=p2"}, nil},
		{"twice", []string{"patient=p1", "patient=p2"}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			var header []string
			for _, text := range row.header {
				header = append(header, "If-None-Exist", text)
			}
			got := try(t, mounted(t), "POST", "/Observation", fhirType, observation, header...)
			if row.want == nil {
				if !errors.Is(got.Refused, ErrMalformed) {
					t.Errorf("got %+v", got)
				}
				return
			}
			if diff := cmp.Diff(row.want, ids(got.Access.Patients)); diff != "" || !got.Access.Hold || got.Refused != nil {
				t.Errorf("held %v %v\n%s", got.Access.Hold, got.Refused, diff)
			}
		})
	}
	entry := `{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"POST","url":"Observation","ifNoneExist":%q},"resource":` + observation + `}]}`
	if got := try(t, mounted(t), "POST", "/", fhirType, fmt.Sprintf(entry, "patient=p2")); !cmp.Equal(ids(got.Access.Entries[0].Access.Patients), []string{"p1", "p2"}) {
		t.Errorf("in an entry: %+v", got)
	}
	if got := try(t, mounted(t), "POST", "/", fhirType, fmt.Sprintf(entry, "patient.name=x")); got.Access.Entries[0].Access.Rule != "" || got.Refused != nil {
		t.Errorf("a chain in an entry: %+v", got)
	}
}

// Bytes that an application reads in another encoding are not what the map reads.
func TestBodyInAnotherEncodingIsNotRead(t *testing.T) {
	const form, observation = "patient=p1", `{"resourceType":"Observation","subject":{"reference":"Patient/p1"}}`
	for charset, mapped := range map[string]bool{"": true, "; charset=UTF-8": true, "; charset=ibm037": false, "; charset=utf-7": false} {
		search := try(t, mounted(t), "POST", "/Observation/_search", "application/x-www-form-urlencoded"+charset, form)
		create := try(t, mounted(t), "POST", "/Observation", fhirType+charset, observation)
		if (search.Access.Rule != "") != mapped || (create.Access.Rule != "") != mapped {
			t.Errorf("%q: search %q, create %q", charset, search.Access.Rule, create.Access.Rule)
		}
	}
}

// Some applications read a form whatever the method.
func TestSearchWithAFormByGetIsUnmapped(t *testing.T) {
	if got := try(t, mounted(t), "GET", "/Observation?patient=p1", "application/x-www-form-urlencoded", "patient=p2"); got.Access.Rule != "" {
		t.Errorf("got %+v", got)
	}
}

// However much one request names, telling it apart takes a bounded time.
func TestNamingIsBounded(t *testing.T) {
	var list, members, formats strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&list, ",p%d", i)
		fmt.Fprintf(&members, `,{"entity":{"reference":"Patient/p%d"}}`, i)
		fmt.Fprintf(&formats, "&_format=json;%d", i)
	}
	const form = "application/x-www-form-urlencoded"
	for name, got := range map[string]Trial{
		"a list":     try(t, mounted(t), "POST", "/Observation/_search", form, "patient=p"+list.String()),
		"members":    try(t, mounted(t), "POST", "/Group", fhirType, `{"resourceType":"Group","member":[{"entity":{"reference":"Patient/p"}}`+members.String()+`]}`),
		"parameters": try(t, mounted(t), "POST", "/Observation/_search", form, "_format=json"+formats.String()),
	} {
		if !errors.Is(got.Refused, ErrMalformed) {
			t.Errorf("%s: %d patients, %v", name, len(got.Access.Patients), got.Refused)
		}
	}
}

func TestResponseThatNamesTooManyIsUnreadable(t *testing.T) {
	for n, want := range map[int]error{maxPatients: nil, maxPatients + 1: ErrUnreadable} {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,{"resource":{"resourceType":"Patient","id":"p%d"}}`, i)
		}
		body := `{"resourceType":"Bundle","type":"searchset","entry":[` + b.String()[1:] + `]}`
		a := proxy.Access{Rule: "fhir-search", Area: "demographics", Certainty: audit.Unknown, Hold: true}
		res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(""))}
		if _, err := mounted(t).Settle(a, res, proxy.Short([]byte(body))); !errors.Is(err, want) {
			t.Errorf("%d patients: %v", n, err)
		}
	}
}
