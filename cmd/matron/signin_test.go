package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/demo/signin"
	"github.com/matron-epr/matron/cmd/matron/demo/staff"
)

// TestWithoutSession asks as nobody: a browser is led to sign in, software is
// told so, and what somebody typed is never lost in a redirect.
// hazard:GW-06 control:C-23
func TestWithoutSession(t *testing.T) {
	t.Parallel()
	s := newRecordSite(t)
	s.start()
	c := s.stranger()
	wantReturn := url.QueryEscape("/ui/patients?name=x")
	for _, tt := range []struct {
		method, path, accept string
		status               int
		location             string
	}{
		{http.MethodGet, "/ui/patients?name=x", asPerson, http.StatusSeeOther, "/.matron/sign-in?return=" + wantReturn},
		{http.MethodGet, "/ui/patients?name=x", asSoftware, http.StatusUnauthorized, ""},
		{http.MethodPost, "/ui/patients/P1/notes", asPerson, http.StatusUnauthorized, ""},
		{http.MethodPost, "/fhir/Observation", asSoftware, http.StatusUnauthorized, ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tt.method, s.url+tt.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", tt.accept)
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != tt.status || res.Header.Get("Location") != tt.location {
			t.Errorf("%s %s as %s: %d to %q", tt.method, tt.path, tt.accept, res.StatusCode, res.Header.Get("Location"))
		}
		if tt.accept == asSoftware {
			got := answer{res.StatusCode, res.Header.Get("Content-Type"), res.Header.Get("Matron-Request"), string(body)}
			checkProblem(t, tt.path, got, tt.status, "no-session", false)
		}
	}
	s.stop()
}

// providerEnds has the sign-in service say that a person's sessions are over. Tokens
// tell the time in whole seconds: a session that began within this one goes on.
func (s *site) providerEnds(person string) {
	s.t.Helper()
	now := time.Now()
	token := s.token("logout+jwt", map[string]any{
		"iss": s.issuer(), "aud": signin.ClientID, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"jti": strconv.FormatInt(now.UnixNano(), 36), "sub": person,
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	})
	form := url.Values{"logout_token": {token}}.Encode()
	status, text := s.send(s.stranger(), http.MethodPost, "/.matron/backchannel-logout", "application/x-www-form-urlencoded", []byte(form))
	if status != http.StatusOK {
		s.t.Fatalf("back-channel logout: %d %s", status, text)
	}
}

// TestSessions follows sessions over a restart of the gateway and to their end
// at either side.
func TestSessions(t *testing.T) {
	t.Parallel()
	s := newRecordSite(t)
	s.start()
	doctor, nurse := s.as("doctor"), s.as("nurse")
	mine := "/fhir/Patient/" + s.hospital.Patients[0].ID
	in := func(c *http.Client) int {
		status, _ := s.send(c, http.MethodGet, mine, "", nil)
		return status
	}
	s.stop()
	s.start()
	if a, b := in(doctor), in(nurse); a != http.StatusOK || b != http.StatusOK {
		t.Errorf("after a restart: %d and %d", a, b)
	}

	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/.matron/sign-out", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := doctor.Do(r) // follows to the sign-in service and back
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if got := res.Request.URL.Path; got != "/.matron/signed-out" || res.StatusCode != http.StatusOK {
		t.Errorf("signing out ends at %s with %d", got, res.StatusCode)
	}
	if a, b := in(doctor), in(nurse); a != http.StatusUnauthorized || b != http.StatusOK {
		t.Errorf("after the doctor has signed out: %d and %d", a, b)
	}

	// Tokens tell the time in whole seconds, and a session that is younger than
	// the token is not meant: ask until the second is over.
	person := "user-" + s.hospital.WithRole("nurse")[0].Person
	s.eventually("the sign-in service ends the session", func() error {
		s.providerEnds(person)
		if got := in(nurse); got != http.StatusUnauthorized {
			return fmt.Errorf("the nurse still gets %d", got)
		}
		return nil
	})
	s.stop()
	var causes []string
	for _, r := range s.records() {
		if r.Kind == audit.KindSignOut {
			causes = append(causes, r.Person+" "+strings.Join(r.Detail, " "))
		}
	}
	want := []string{
		s.hospital.WithRole("doctor")[0].Person + " cause=user",
		s.hospital.WithRole("nurse")[0].Person + " cause=provider",
	}
	if diff := cmp.Diff(want, causes); diff != "" {
		t.Errorf("sign-outs on record (-want +got):\n%s", diff)
	}
}

// issuer is the address of the sign-in service.
func (s *site) issuer() string { return strings.TrimSuffix(s.provider.TokenURL(), "/oauth/token") }

// token signs claims with the sign-in service's own key.
func (s *site) token(typ string, claims map[string]any) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "signin.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	var kept struct{ Key string }
	decode(s.t, text, &kept)
	block, _ := pem.Decode([]byte(kept.Key))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		s.t.Fatal(err)
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "demo-1"}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)),
	)
	if err != nil {
		s.t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		s.t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		s.t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		s.t.Fatal(err)
	}
	return compact
}

// TestSearchLimit searches faster than anybody types until it is told to wait,
// while the care of one patient at a time goes on.
// hazard:GW-02 control:C-11
// hazard:GW-03 control:C-14
func TestSearchLimit(t *testing.T) {
	s := newRecordSite(t)
	s.edit("applications:", "limits: {search: {per_second: 0.01, burst: 5}}\napplications:")
	s.start()
	doctor := s.as("doctor")
	limited := 0
	for range 45 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/fhir/Patient?family=Smith", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := doctor.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusTooManyRequests {
			continue
		}
		limited++
		if wait, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || wait < 1 {
			t.Errorf("Retry-After %q", res.Header.Get("Retry-After"))
		}
	}
	if limited != 40 {
		t.Errorf("%d of 45 searches are refused, want 40", limited)
	}
	if status, _ := s.send(doctor, http.MethodGet, "/fhir/Patient/"+s.hospital.Patients[0].ID, "", nil); status != http.StatusOK {
		t.Errorf("one patient's record: %d", status)
	}
	s.stop()
	// A flood has one record for several events, and the last of them counts
	// what came after: no event goes unseen.
	events, flood := 0, 0
	records := s.records()
	if last := records[len(records)-1]; last.Kind != audit.KindStop {
		t.Errorf("the last record is %s, not the stop", last.Kind)
	}
	for _, r := range records {
		if r.Kind != audit.KindLimit || r.UserSub != "user-"+s.hospital.WithRole("doctor")[0].Person || !slices.Contains(r.Reasons, "rate-limited") {
			continue
		}
		if r.Request != "" {
			events++
		}
		for _, d := range r.Detail {
			if n, ok := strings.CutPrefix(d, "unrecorded="); ok {
				missed, err := strconv.Atoi(n)
				if err != nil {
					t.Fatal(err)
				}
				flood += missed
			}
		}
	}
	t.Logf("%d events, %d counted", events, flood)
	if events+flood != limited || events == 0 {
		t.Errorf("%d limit events on record and %d counted, want %d", events, flood, limited)
	}
}

// TestUnmappedRoute asks for what no map knows: refused in enforce mode, let
// through and marked in observe mode, on record as unknown in both.
// hazard:GW-20 control:C-81
func TestUnmappedRoute(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	upstream := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	s := newSite(t, fmt.Sprintf(`- {name: enforced, prefix: /enforced, upstream: %[1]q, map: pages-map.yaml}
- {name: observed, prefix: /observed, upstream: %[1]q, map: pages-map.yaml, mode: observe}
`, upstream))
	s.copyPagesMap()
	s.start()
	doctor := s.as("doctor")
	for path, want := range map[string]int{"/enforced/secrets": http.StatusForbidden, "/observed/secrets": http.StatusOK} {
		if status, _ := s.send(doctor, http.MethodGet, path, "", nil); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	if n := reached.Load(); n != 1 {
		t.Errorf("%d requests were forwarded, want 1", n)
	}
	s.stop()
	got := map[string]string{}
	for _, r := range s.records() {
		if r.Kind == audit.KindDecision && strings.HasSuffix(r.Target, "/secrets") {
			got[r.App] = fmt.Sprint(r.Effect, " ", r.Certainty, " ", r.Reasons, " ", r.WouldDeny)
		}
	}
	want := map[string]string{"enforced": "deny unknown [unmapped-route] false", "observed": "allow unknown [unmapped-route] true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// TestMalformedRequests sends what no browser sends, with a good session: each
// is refused and recorded, none is forwarded.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	upstream := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	s := newSite(t, fmt.Sprintf("- {name: epr, prefix: /ui, upstream: %q, map: pages-map.yaml}\n", upstream))
	s.copyPagesMap()
	s.start()
	cookie := s.cookie(s.as("doctor"))
	head := func(line string, headers ...string) string {
		return line + " HTTP/1.1\r\nHost: " + strings.TrimPrefix(s.url, "https://") + "\r\nCookie: " + cookie + "\r\n" + strings.Join(append(headers, "", ""), "\r\n")
	}
	want := map[string]int{}
	for _, tt := range []struct {
		text   string
		status int
		code   string
	}{
		{head("POST /ui/patients/P1/notes", "Transfer-Encoding: chunked", "Content-Length: 5") + "0\r\n\r\n", 400, "ambiguous-framing"},
		{head("GET /ui/patients%2fP1"), 400, "ambiguous-target"},
		{head("GET /ui/x/../patients/P1"), 400, "ambiguous-target"},
		{head("GET /ui//patients/P1"), 400, "ambiguous-target"},
		{head("GET /ui/patients/P1;v=1"), 400, "ambiguous-target"},
		{head("GET /ui/patients/P1", "Some_Header: 1"), 400, "header-name"},
		{head("GET /ui/patients/P1", "X-Forwarded-User: root"), 400, "identity-header"},
		{head("GET /ui/patients/P1", "Matron-Identity: e30.e30.e30"), 400, "identity-header"},
		{head("GET /ui/patients/P1", "X-HTTP-Method-Override: DELETE"), 400, "method-override"},
		{head("GET /ui/patients/P1", "X-Long: "+strings.Repeat("x", 70<<10)), 400, "header-too-large"},
		{"this is not HTTP\r\n\r\n", 400, "malformed"},
	} {
		want[tt.code]++
		if got := s.raw(tt.text); got != tt.status {
			t.Errorf("%.60q (%s): status %d, want %d", tt.text, tt.code, got, tt.status)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d malformed requests were forwarded", n)
	}
	if got := s.raw(head("GET /ui/patients/P1", "Connection: close")); got != http.StatusOK || reached.Load() != 1 {
		t.Errorf("a good request: status %d, %d forwarded", got, reached.Load())
	}
	s.stop()
	got := map[string]int{}
	for _, r := range s.records() {
		if r.Kind == audit.KindDecision && r.Effect == "deny" {
			got[r.Reasons[0]]++
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("refusals on record (-want +got):\n%s", diff)
	}
}

// cookie is the session that a browser carries.
func (s *site) cookie(c *http.Client) string {
	s.t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, cookie := range c.Jar.Cookies(u) {
		if strings.HasPrefix(cookie.Name, "__Host-matron") {
			return cookie.Name + "=" + cookie.Value
		}
	}
	s.t.Fatal("no session cookie")
	return ""
}

// raw sends bytes over TLS and returns the status of the answer.
func (s *site) raw(text string) int {
	s.t.Helper()
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: s.roots, ServerName: "localhost", MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}}
	conn, err := dialer.DialContext(s.t.Context(), "tcp", strings.TrimPrefix(s.url, "https://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		s.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.t.Fatalf("%.60q: %v", text, err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	if err := res.Body.Close(); err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode
}

// TestAPIClient lets a program in with the access token of its client
// credentials, as far as the policy lets it, and with no other token.
func TestAPIClient(t *testing.T) {
	t.Parallel()
	s := newRecordSite(t)
	s.edit("bearer: {audiences: [matron]}", "bearer: {audiences: ["+signin.APIAudience+"], types: [JWT]}")
	s.start()
	good, claims := s.apiToken()
	with := func(changes map[string]any) string {
		c := maps.Clone(claims)
		maps.Copy(c, changes)
		return s.token("JWT", c)
	}
	patient := s.hospital.Patients[0].ID
	about := `"status":"final","intent":"order","subject":{"reference":"Patient/` + patient + `"},"code":{"text":"x"}}`
	for _, tt := range []struct {
		what, token, method, path, body string
		status                          int
	}{
		{"reads", good, http.MethodGet, "/fhir/Patient/" + patient, "", http.StatusOK},
		{"files a result", good, http.MethodPost, "/fhir/Observation", `{"resourceType":"Observation",` + about, http.StatusCreated},
		{"prescribes", good, http.MethodPost, "/fhir/MedicationRequest", `{"resourceType":"MedicationRequest",` + about, http.StatusForbidden},
		{"signed anew", with(nil), http.MethodGet, "/fhir/Patient/" + patient, "", http.StatusOK},
		{"expired", with(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), http.MethodGet, "/fhir/Patient/" + patient, "", http.StatusUnauthorized},
		{"wrong audience", with(map[string]any{"aud": "another"}), http.MethodGet, "/fhir/Patient/" + patient, "", http.StatusUnauthorized},
		{"wrong issuer", with(map[string]any{"iss": "https://elsewhere.example"}), http.MethodGet, "/fhir/Patient/" + patient, "", http.StatusUnauthorized},
		{"altered", good[:len(good)-8] + "AAAAAAAA", http.MethodGet, "/fhir/Patient/" + patient, "", http.StatusUnauthorized},
		{"wrong type", s.token("logout+jwt", claims), http.MethodGet, "/fhir/Patient/" + patient, "", http.StatusUnauthorized},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tt.method, s.url+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+tt.token)
		r.Header.Set("Accept", "application/fhir+json")
		r.Header.Set("Content-Type", "application/fhir+json")
		res, err := s.stranger().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.what, res.StatusCode, text, tt.status)
		}
		if challenge := res.Header.Get("WWW-Authenticate"); strings.HasPrefix(challenge, "Bearer") != (tt.status == http.StatusUnauthorized) {
			t.Errorf("%s: WWW-Authenticate %q", tt.what, challenge)
		}
	}
	s.stop()
	got := map[string]int{}
	for _, r := range s.records() {
		if r.Kind == audit.KindDecision {
			got[r.Effect+" "+r.UserSub]++
			if r.Person != "" || r.UserSub != "" && r.Token == "" {
				t.Errorf("record %d names person %q and token %q", r.Seq, r.Person, r.Token)
			}
		}
	}
	if diff := cmp.Diff(map[string]int{"allow " + signin.APIClientID: 3, "deny " + signin.APIClientID: 1, "deny ": 5}, got); diff != "" {
		t.Errorf("decisions by client (-want +got):\n%s", diff)
	}
}

// apiToken gets an access token by the client credentials grant, and what it
// says.
func (s *site) apiToken() (token string, claims map[string]any) {
	s.t.Helper()
	form := strings.NewReader("grant_type=client_credentials")
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.provider.TokenURL(), form)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(signin.APIClientID, url.QueryEscape(s.provider.APIClientSecret()))
	res, err := (&http.Client{}).Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var got struct {
		AccessToken string `json:"access_token"`
	}
	decode(s.t, text, &got)
	signed, err := jose.ParseSignedCompact(got.AccessToken, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		s.t.Fatalf("%v in %s", err, text)
	}
	decode(s.t, signed.UnsafePayloadWithoutVerification(), &claims)
	return got.AccessToken, claims
}

// TestChosenNationalRole reads roles as NHS CIS2 gives them: of all that somebody
// holds only the one that they chose counts, and a sign-in that is not sure enough is
// none.
func TestChosenNationalRole(t *testing.T) {
	t.Parallel()
	s := newRecordSite(t)
	s.edit("claims: {person: person, assurance: assurance}", `claims:
    person: person
    assurance: assurance
    roles: $role.role_code
    activities: $role.activity_codes
    organisation: $role.org_code
    role_separator: ":"
    selected: {id: selected_roleid, list: nhsid_nrbac_roles, key: person_roleid}
  max_auth_age: 1h
  parameters: {acr_values: AAL2_ANY}`)
	s.start()
	patient, nurse := s.hospital.Patients[0].ID, s.hospital.WithRole("nurse")[0]
	client := s.enter(nurse.Person)
	if status, body := s.send(client, http.MethodGet, "/fhir/Observation?patient="+patient, "", nil); status != http.StatusOK {
		t.Errorf("a nurse reads results: %d %s", status, body)
	}
	if status, _ := s.send(client, http.MethodPost, "/fhir/MedicationRequest", "application/fhir+json",
		fmt.Appendf(nil, `{"resourceType":"MedicationRequest","subject":{"reference":"Patient/%s"}}`, patient)); status != http.StatusForbidden {
		t.Errorf("what a nurse holds elsewhere counts here: %d", status)
	}
	s.stop()
	s.edit("max_auth_age: 1h", "max_auth_age: 1h\n  min_assurance: 3")
	s.start()
	if _, err := staff.Enter(t.Context(), s.url, s.roots, nurse.Person, "/ui/patients"); err == nil {
		t.Error("a sign-in below the least assurance is taken")
	}
	s.stop()
	for _, r := range s.records() {
		if r.Kind == audit.KindDecision && r.Person == nurse.Person && r.Area == "results" {
			got := []any{r.Roles, r.Activities, r.Org, r.RoleID}
			want := []any{[]string{"R8001"}, nurse.Activities, nurse.Site, nurse.RoleID}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			return
		}
	}
	t.Error("what the nurse read is not on record")
}
