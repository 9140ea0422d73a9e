package fhirepr

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
	"github.com/jba/templatecheck"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

const audience = "https://epr"

func now() time.Time { return time.Date(2026, 11, 22, 15, 4, 5, 0, time.UTC) }

// bench is a record with a gateway's key.
type bench struct {
	*EPR
	t   *testing.T
	key *ecdsa.PrivateKey
	h   *hospital.Hospital
}

func open(t *testing.T, dir string) bench {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := smallHospital()
	e, err := New(Config{
		Hospital: h, Dir: dir, Keys: []crypto.PublicKey{&k.PublicKey}, Issuer: "gateway", Audience: audience,
		Public: "https://localhost:8443", SignOut: "/.matron/sign-out", Now: now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return bench{e, t, k, h}
}

// smallHospital has few patients, so that tests with the race detector are quick.
func smallHospital() *hospital.Hospital {
	h := hospital.New(1, now())
	h.Patients = h.Patients[:60]
	h.Care = slices.DeleteFunc(h.Care, func(c hospital.Care) bool {
		return !slices.ContainsFunc(h.Patients, func(p hospital.Patient) bool { return p.ID == c.Patient })
	})
	return h
}

func (b bench) token(change func(*jwt.Claims)) string {
	b.t.Helper()
	claims := jwt.Claims{
		Issuer: "gateway", Subject: "user-1", Audience: jwt.Audience{audience},
		IssuedAt: jwt.NewNumericDate(now()), Expiry: jwt.NewNumericDate(now().Add(time.Minute)),
	}
	if change != nil {
		change(&claims)
	}
	return sign(b.t, b.key, claims)
}

func sign(t *testing.T, k *ecdsa.PrivateKey, claims jwt.Claims) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: k}, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jwt.Signed(signer).Claims(claims).Claims(map[string]any{"name": "Ada Testby"}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatalf("%v in %q", err, a.body)
	}
	return m
}

func (b bench) do(method, target, body string, header ...string) answer {
	b.t.Helper()
	r := httptest.NewRequestWithContext(b.t.Context(), method, target, strings.NewReader(body))
	r.Header.Set(identityHeader, b.token(nil))
	r.Header.Set("Content-Type", "application/fhir+json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	data, err := io.ReadAll(w.Result().Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{w.Code, w.Header(), string(data)}
}

// TestNothingGetsRoundTheGateway sends every sort of identity but the right one.
func TestNothingGetsRoundTheGateway(t *testing.T) {
	b := open(t, t.TempDir())
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := b.token(nil)
	for name, values := range map[string][]string{
		"none":           nil,
		"empty":          {""},
		"garbage":        {"x.y.z"},
		"two":            {good, good},
		"another key":    {sign(t, stranger, jwt.Claims{Issuer: "gateway", Subject: "x", Audience: jwt.Audience{audience}, IssuedAt: jwt.NewNumericDate(now()), Expiry: jwt.NewNumericDate(now().Add(time.Minute))})},
		"expired":        {b.token(func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(now().Add(-time.Minute)) })},
		"not yet issued": {b.token(func(c *jwt.Claims) { c.IssuedAt = jwt.NewNumericDate(now().Add(time.Minute)) })},
		"no expiry":      {b.token(func(c *jwt.Claims) { c.Expiry = nil })},
		"no subject":     {b.token(func(c *jwt.Claims) { c.Subject = "" })},
		"other issuer":   {b.token(func(c *jwt.Claims) { c.Issuer = "elsewhere" })},
		"other audience": {b.token(func(c *jwt.Claims) { c.Audience = jwt.Audience{"elsewhere"} })},
	} {
		for _, path := range []string{"/fhir/metadata", "/fhir/Patient/" + b.h.Patients[0].ID, "/ui/patients", "/ui/style.css", "/"} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.Header[identityHeader] = values
			w := httptest.NewRecorder()
			b.ServeHTTP(w, r)
			if w.Code != http.StatusUnauthorized || strings.Contains(w.Body.String(), b.h.Patients[0].NHSNumber) {
				t.Errorf("%s: %s: status %d", name, path, w.Code)
			}
		}
	}
	if got := b.do(http.MethodGet, "/fhir/metadata", ""); got.status != http.StatusOK {
		t.Errorf("the right identity: status %d: %s", got.status, got.body)
	}
}

func TestReadAndVersions(t *testing.T) {
	b := open(t, t.TempDir())
	p := b.h.Patients[20]
	path := "/fhir/Patient/" + p.ID
	first := b.do(http.MethodGet, path, "")
	m := first.json(t)
	if first.status != 200 || m["id"] != p.ID || first.header.Get("ETag") != `W/"1"` {
		t.Fatalf("read: %d %s %s", first.status, first.header.Get("ETag"), first.body)
	}
	m["gender"] = "other"
	changed, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	type step struct {
		name, method, path, body string
		header                   []string
		want                     int
	}
	for _, s := range []step{
		{"update with a stale tag", "PUT", path, string(changed), []string{"If-Match", `W/"7"`}, 412},
		{"update with the tag", "PUT", path, string(changed), []string{"If-Match", `W/"1"`}, 200},
		{"old version", "GET", path + "/_history/1", "", nil, 200},
		{"new version", "GET", path + "/_history/2", "", nil, 200},
		{"no such version", "GET", path + "/_history/3", "", nil, 404},
		{"unchanged", "GET", path, "", []string{"If-None-Match", `W/"2"`}, 304},
		{"id that does not fit", "PUT", "/fhir/Patient/other", string(changed), nil, 400},
		{"update as create", "PUT", "/fhir/Patient/new", `{"resourceType":"Patient","id":"new"}`, nil, 405},
		{"not JSON", "POST", "/fhir/Patient", `{`, nil, 400},
		{"two objects", "POST", "/fhir/Patient", `{"resourceType":"Patient"}{}`, nil, 400},
		{"another type", "POST", "/fhir/Patient", `{"resourceType":"Group"}`, nil, 400},
		{"type not held", "POST", "/fhir/Group", `{"resourceType":"Group"}`, nil, 404},
		{"XML", "POST", "/fhir/Patient", `<Patient/>`, []string{"Content-Type", "application/fhir+xml"}, 415},
		{"too long", "POST", "/fhir/Patient", `{"a":"` + strings.Repeat("x", maxBody) + `"}`, nil, 413},
		{"about nobody", "POST", "/fhir/Observation", `{"resourceType":"Observation","subject":{"reference":"Patient/none"}}`, nil, 422},
		{"conditional create", "POST", "/fhir/Patient", `{"resourceType":"Patient"}`, []string{"If-None-Exist", "identifier=1"}, 412},
		{"delete", "DELETE", path, "", nil, 204},
		{"after that", "GET", path, "", nil, 410},
		{"update after that", "PUT", path, string(changed), nil, 410},
		{"delete nobody", "DELETE", "/fhir/Patient/none", "", nil, 404},
		{"unknown interaction", "PATCH", path, "{}", nil, 404},
	} {
		if got := b.do(s.method, s.path, s.body, s.header...); got.status != s.want {
			t.Errorf("%s: %d, want %d: %s", s.name, got.status, s.want, got.body)
		} else if got.status >= 400 && got.json(t)["resourceType"] != "OperationOutcome" {
			t.Errorf("%s: no OperationOutcome: %s", s.name, got.body)
		}
	}
	old := b.do(http.MethodGet, path+"/_history/1", "").json(t)
	if old["gender"] == "other" {
		t.Error("version 1 shows the change of version 2")
	}
	if got := b.do(http.MethodGet, path+"/_history", "").json(t); got["total"] != 3.0 {
		t.Errorf("history: %v versions, want 3", got["total"])
	}
}

func total(t *testing.T, a answer) float64 {
	t.Helper()
	n, ok := a.json(t)["total"].(float64)
	if !ok {
		t.Fatalf("%d: %s", a.status, a.body)
	}
	return n
}

func TestSearch(t *testing.T) {
	b := open(t, t.TempDir())
	p := b.h.Patients[33]
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	for query, want := range map[string]float64{
		"Patient?_id=" + p.ID:                                       1,
		"Patient?identifier=" + p.NHSNumber:                         1,
		"Patient?identifier=" + nhsNumberSystem + "|" + p.NHSNumber: 1,
		"Patient?family=nobodyatall":                                0,
		"Patient?_id=" + p.ID + "&family=nobodyatall":               0,
		"Patient?_id=" + p.ID + "," + b.h.Patients[34].ID:           2,
		"Patient?birthdate=" + p.BirthDate + "&_id=" + p.ID:         1,
		"Patient?_count=1":                                          float64(len(b.h.Patients)),
	} {
		typ, params, _ := strings.Cut(query, "?")
		params = strings.ReplaceAll(params, "|", "%7C")
		if got := total(t, b.do(http.MethodGet, "/fhir/"+typ+"?"+params, "")); got != want {
			t.Errorf("GET %s: %v, want %v", query, got, want)
		}
		if got := total(t, b.do(http.MethodPost, "/fhir/"+typ+"/_search", params, form...)); got != want {
			t.Errorf("POST %s: %v, want %v", query, got, want)
		}
	}
	for _, typ := range types()[1:] {
		bare := total(t, b.do(http.MethodGet, "/fhir/"+typ+"?patient="+p.ID, ""))
		if typ != "AllergyIntolerance" && total(t, b.do(http.MethodGet, "/fhir/"+typ+"?subject=Patient/"+p.ID, "")) != bare {
			t.Errorf("%s: subject and patient differ", typ)
		}
		for _, e := range entries(b.do(http.MethodGet, "/fhir/"+typ+"?patient="+p.ID, "").json(t)) {
			if got := patientID(text(e, "resource", subjectField(typ), "reference")); got != p.ID {
				t.Errorf("%s of %s is about %s", typ, p.ID, got)
			}
		}
	}
	for _, bad := range []string{"Patient?colour=red", "Patient?name:exact=x", "Patient?_count=x", "Patient?_include=Patient:x", "Patient?_sort=family", "Observation?date=2020"} {
		if got := b.do(http.MethodGet, "/fhir/"+bad, ""); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d, want 400: a filter that is left out shows too many patients", bad, got.status)
		}
	}
}

func entries(m map[string]any) []any { return slice(m["entry"]) }

func TestPagesCoverEverythingOnce(t *testing.T) {
	b := open(t, t.TempDir())
	seen := map[string]bool{}
	next := "https://localhost:8443/fhir/Patient?_count=7"
	for next != "" {
		u, err := url.Parse(next)
		if err != nil {
			t.Fatal(err)
		}
		m := b.do(http.MethodGet, u.RequestURI(), "").json(t)
		for _, e := range entries(m) {
			id := text(e, "resource", "id")
			if seen[id] {
				t.Errorf("%s twice", id)
			}
			seen[id] = true
		}
		next = ""
		for _, l := range slice(m["link"]) {
			if dig(l, "relation") == "next" {
				next = text(l, "url")
			}
		}
	}
	if len(seen) != len(b.h.Patients) {
		t.Errorf("%d patients, want %d", len(seen), len(b.h.Patients))
	}
}

func TestTransactionIsAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	p := b.h.Patients[5].ID
	good := `{"resource":{"resourceType":"Patient","name":[{"family":"Newby"}]},"fullUrl":"urn:uuid:1","request":{"method":"POST","url":"Patient"}}`
	obs := `{"resource":{"resourceType":"Observation","subject":{"reference":"urn:uuid:1"}},"request":{"method":"POST","url":"Observation"}}`
	read := `{"request":{"method":"GET","url":"Patient/` + p + `"}}`
	bad := `{"resource":{"resourceType":"Observation","subject":{"reference":"Patient/none"}},"request":{"method":"POST","url":"Observation"}}`
	send := func(typ string, entries ...string) answer {
		return b.do(http.MethodPost, "/fhir", `{"resourceType":"Bundle","type":"`+typ+`","entry":[`+strings.Join(entries, ",")+`]}`)
	}
	before := total(t, b.do(http.MethodGet, "/fhir/Patient?family=Newby", ""))
	if got := send("transaction", good, bad); got.status != http.StatusUnprocessableEntity {
		t.Errorf("half bad: %d: %s", got.status, got.body)
	}
	if after := total(t, b.do(http.MethodGet, "/fhir/Patient?family=Newby", "")); after != before {
		t.Error("half a transaction was done")
	}
	res := send("transaction", read, obs, good)
	if res.status != http.StatusOK {
		t.Fatalf("good: %d: %s", res.status, res.body)
	}
	out := entries(res.json(t))
	id := text(out[2], "resource", "id")
	if len(out) != 3 || text(out[0], "resource", "id") != p || id == "" || text(out[1], "resource", "subject", "reference") != "Patient/"+id {
		t.Errorf("answer: %s", res.body)
	}
	mixed := entries(send("batch", good, bad).json(t))
	if len(mixed) != 2 || text(mixed[0], "response", "status") != "201" || text(mixed[1], "response", "status") != "422" {
		t.Errorf("batch: %v", mixed)
	}
	for name, body := range map[string]string{
		"no request": `{"resourceType":"Bundle","type":"transaction","entry":[{}]}`,
		"collection": `{"resourceType":"Bundle","type":"collection"}`,
		"foreign":    `{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"GET","url":"../admin"}}]}`,
		"no bundle":  `{"resourceType":"Patient"}`,
	} {
		if got := b.do(http.MethodPost, "/fhir", body); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d: %s", name, got.status, got.body)
		}
	}
}

func TestStateSurvivesARestartAndATornTail(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	body := `{"resourceType":"Observation","status":"final","subject":{"reference":"Patient/` + b.h.Patients[1].ID + `"},"valueQuantity":{"value":1.10}}`
	made := b.do(http.MethodPost, "/fhir/Observation", body)
	if made.status != http.StatusCreated || !strings.Contains(made.body, "1.10") {
		t.Fatalf("create: %d %s", made.status, made.body)
	}
	location := made.header.Get("Location")
	if !strings.HasPrefix(location, "https://localhost:8443/fhir/Observation/") {
		t.Errorf("Location %q", location)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "epr.ndjson"), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(`[{"type":"Observation","id":"torn`); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	if data, err := os.ReadFile(filepath.Join(dir, "epr.ndjson")); err != nil || !strings.HasSuffix(string(data), "]\n") {
		t.Errorf("the torn tail is still there (%v)", err)
	}
	path := strings.TrimPrefix(location, "https://localhost:8443")
	if got := again.do(http.MethodGet, path, ""); got.body != made.body {
		t.Errorf("after the restart: %d\n%s", got.status, cmp.Diff(made.body, got.body))
	}
	if got := again.do(http.MethodPost, "/fhir/Observation", body); got.status != http.StatusCreated {
		t.Errorf("writing after the cut: %d", got.status)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestEverything(t *testing.T) {
	b := open(t, t.TempDir())
	id := b.h.Patients[2].ID
	got := b.do(http.MethodGet, "/fhir/Patient/"+id+"/$everything", "")
	for _, e := range entries(got.json(t)) {
		typ := text(e, "resource", "resourceType")
		if typ == "Patient" && text(e, "resource", "id") != id || typ != "Patient" && patientID(text(e, "resource", subjectField(typ), "reference")) != id {
			t.Errorf("%s of somebody else", typ)
		}
	}
	if n := len(entries(got.json(t))); n < 5 {
		t.Errorf("%d resources", n)
	}
	if got := b.do(http.MethodGet, "/fhir/Patient/none/$everything", ""); got.status != http.StatusNotFound {
		t.Errorf("of nobody: %d", got.status)
	}
}

func TestPagesForPeople(t *testing.T) {
	b := open(t, t.TempDir())
	p := b.h.Patients[40]
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	ward := b.h.OnWard("ASH", now())[0]
	type row struct {
		method, path, body string
		want               int
		contains           string
	}
	for _, r := range []row{
		{"GET", "/", "", 303, ""},
		{"GET", "/ui/patients", "", 200, "Find a patient"},
		{"GET", "/ui/patients?q=" + p.NHSNumber, "", 200, p.ID},
		{"GET", "/ui/patients?q=" + p.Name.Family, "", 200, strings.ToUpper(p.Name.Family)},
		{"GET", "/ui/wards/ASH", "", 200, ward},
		{"GET", "/ui/wards/NONE", "", 303, "/ui/patients"},
		{"GET", "/ui/patients/" + p.ID, "", 200, p.Address.Line},
		{"GET", "/ui/patients/" + p.ID + "/results", "", 200, "Results"},
		{"GET", "/ui/patients/" + p.ID + "/allergies", "", 200, "Allergies"},
		{"GET", "/ui/patients/" + p.ID + "/nonsense", "", 404, "no such"},
		{"GET", "/ui/patients/none", "", 404, "no such"},
		{"POST", "/ui/patients/" + p.ID + "/notes", "text=Hello+%3Cb%3E", 303, ""},
		{"GET", "/ui/patients/" + p.ID + "/notes", "", 200, "Hello &lt;b&gt;"},
		{"POST", "/ui/patients/" + p.ID + "/notes", "text=", 400, "nothing to save"},
		{"POST", "/ui/patients/none/notes", "text=x", 422, "not in this record"},
		{"POST", "/ui/patients/" + p.ID + "/prescriptions", "text=Senna", 303, ""},
		{"GET", "/ui/patients/" + p.ID + "/prescriptions", "", 200, "Senna"},
	} {
		got := b.do(r.method, r.path, r.body, form...)
		if got.status != r.want || !strings.Contains(got.body, r.contains) {
			t.Errorf("%s %s: %d, want %d with %q:\n%s", r.method, r.path, got.status, r.want, r.contains, got.body)
		}
		if got.status < 300 && (!strings.Contains(got.body, "Ada Testby") || !strings.Contains(got.body, "/.matron/sign-out")) {
			t.Errorf("%s: the page does not say who is signed in", r.path)
		}
	}
	if d := cmp.Diff([]string{p.ID}, b.do("GET", "/ui/patients?q="+p.NHSNumber, "").header.Values("X-Patient")); d != "" {
		t.Errorf("the header does not name whom the list shows:\n%s", d)
	}
	if n := len(b.do("GET", "/ui/wards/ASH", "").header.Values("X-Patient")); n != len(b.h.OnWard("ASH", now())) {
		t.Errorf("the header names %d of the ward's patients", n)
	}
	if got := b.do("GET", "/ui/style.css", ""); got.status != 200 || !strings.Contains(got.header.Get("Content-Type"), "text/css") {
		t.Errorf("style: %d %s", got.status, got.header.Get("Content-Type"))
	}
}

func TestTemplatesFitTheirPages(t *testing.T) {
	for name, page := range map[string]any{"patients.html": listPage{}, "record.html": recordPage{}, "message.html": messagePage{}} {
		parsed, err := template.ParseFS(files, "pages/layout.html", "pages/"+name)
		if err != nil {
			t.Fatal(err)
		}
		if err := templatecheck.CheckHTML(parsed.Lookup("layout.html"), page); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
