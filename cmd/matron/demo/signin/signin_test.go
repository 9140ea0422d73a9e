package signin

import (
	"encoding/json"
	"errors"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/go-cmp/cmp"
	"github.com/jba/templatecheck"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

const callback = "https://localhost:8443/.matron/callback"

// service is a running provider.
type service struct {
	*Provider
	url string
	h   *hospital.Hospital
}

func start(t *testing.T, dir string, change func(*Config)) service {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := hospital.New(1, time.Now())
	cfg := Config{
		Hospital: h, Dir: dir, Issuer: "http://" + listener.Addr().String(), Redirects: []string{callback},
		PostLogout: []string{"https://localhost:8443/"}, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(p)
	server.Listener = listener
	server.Start()
	t.Cleanup(func() {
		server.Close()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return service{p, server.URL, h}
}

func (s service) oauth(t *testing.T) (*oidc.Provider, *oauth2.Config) {
	t.Helper()
	provider, err := oidc.NewProvider(t.Context(), s.url)
	if err != nil {
		t.Fatal(err)
	}
	return provider, &oauth2.Config{
		ClientID: ClientID, ClientSecret: s.ClientSecret(), Endpoint: provider.Endpoint(), RedirectURL: callback,
		Scopes: []string{"openid", "profile"},
	}
}

// browser stops at the first redirect that leaves the provider.
func (s service) browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(req.URL.String(), s.url) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

// reply is an answer, read whole.
type reply struct {
	Status     string
	StatusCode int
	Header     http.Header
	URL        *url.URL // of the last request, after redirects
	Body       string
}

func do(t *testing.T, c *http.Client, method, target string, form url.Values) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.Status, res.StatusCode, res.Header, res.Request.URL, string(body)}
}

// signIn walks from the authorization address to the callback and returns the
// query that the gateway would get.
func (s service) signIn(t *testing.T, authURL, person string) url.Values {
	t.Helper()
	c := s.browser(t)
	page := do(t, c, http.MethodGet, authURL, nil)
	id := page.URL.Query().Get("id")
	if page.StatusCode != http.StatusOK || id == "" {
		t.Fatalf("sign-in page: %s at %s", page.Status, page.URL)
	}
	end := do(t, c, http.MethodPost, s.url+"/sign-in", url.Values{"id": {id}, "person": {person}})
	to, err := url.Parse(end.Header.Get("Location"))
	if err != nil || !strings.HasPrefix(to.String(), callback) {
		t.Fatalf("after choosing: %s to %q (%v): %s", end.Status, to, err, end.Body)
	}
	return to.Query()
}

func TestCodeFlowYieldsTheClaims(t *testing.T) {
	s := start(t, t.TempDir(), nil)
	provider, conf := s.oauth(t)
	nurse := s.h.WithRole(hospital.Nurse)[0]
	verifier := oauth2.GenerateVerifier()
	query := s.signIn(t, conf.AuthCodeURL("state-1", oidc.Nonce("nonce-1"), oauth2.S256ChallengeOption(verifier)), nurse.Person)
	if query.Get("state") != "state-1" {
		t.Errorf("state %q", query.Get("state"))
	}
	token, err := conf.Exchange(t.Context(), query.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := provider.Verifier(&oidc.Config{ClientID: ClientID}).Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	type claims struct {
		Sub, Name, Person, Org, ACR, Nonce string
		Roles, Activities                  []string
		Assurance                          int
		RoleID                             string `json:"selected_roleid"`
	}
	want := claims{
		Sub: subject(nurse.Person), Name: nurse.Name.Full(), Person: nurse.Person, Org: hospital.Site, ACR: "AAL2_ANY", Nonce: "nonce-1",
		Roles: []string{"nurse"}, Activities: []string{"B0401"}, Assurance: 2, RoleID: nurse.RoleID,
	}
	var got claims
	if err := id.Claims(&got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("ID token:\n%s", d)
	}
	var sid struct{ Sid string }
	if err := id.Claims(&sid); err != nil || sid.Sid == "" {
		t.Errorf("no sid in the ID token (%v)", err)
	}
	info, err := provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token))
	if err != nil {
		t.Fatal(err)
	}
	got = claims{ACR: want.ACR, Nonce: want.Nonce} // userinfo has neither
	if err := info.Claims(&got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("userinfo:\n%s", d)
	}
}

func TestACodeWorksOnce(t *testing.T) {
	s := start(t, t.TempDir(), nil)
	_, conf := s.oauth(t)
	person := s.h.Staff[0].Person
	verifier := oauth2.GenerateVerifier()
	challenge := oauth2.S256ChallengeOption(verifier)
	query := s.signIn(t, conf.AuthCodeURL("a", challenge), person)
	if _, err := conf.Exchange(t.Context(), query.Get("code"), oauth2.VerifierOption(verifier)); err != nil {
		t.Fatal(err)
	}
	if _, err := conf.Exchange(t.Context(), query.Get("code"), oauth2.VerifierOption(verifier)); err == nil {
		t.Error("the code worked twice")
	}
	query = s.signIn(t, conf.AuthCodeURL("b", challenge), person)
	if _, err := conf.Exchange(t.Context(), query.Get("code"), oauth2.VerifierOption(oauth2.GenerateVerifier())); err == nil {
		t.Error("another verifier was accepted")
	}
	if _, err := conf.Exchange(t.Context(), query.Get("code"), oauth2.VerifierOption(verifier)); err == nil {
		t.Error("the code still worked after a wrong verifier")
	}
}

func TestFiveTabsAtOnce(t *testing.T) {
	s := start(t, t.TempDir(), nil)
	_, conf := s.oauth(t)
	c := s.browser(t)
	for _, state := range []string{"1", "2", "3", "4", "5"} {
		page := do(t, c, http.MethodGet, conf.AuthCodeURL(state), nil)
		id := page.URL.Query().Get("id")
		defer func() {
			end := do(t, c, http.MethodPost, s.url+"/sign-in", url.Values{"id": {id}, "person": {s.h.Staff[3].Person}})
			to, err := url.Parse(end.Header.Get("Location"))
			if err != nil || to.Query().Get("state") != state {
				t.Errorf("tab %s ended at %q (%v)", state, to, err)
			}
		}()
	}
}

func TestMachineGetsAJWT(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	provider, _ := s.oauth(t)
	conf := clientcredentials.Config{ClientID: APIClientID, ClientSecret: s.APIClientSecret(), TokenURL: s.TokenURL()}
	token, err := conf.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	access, err := provider.Verifier(&oidc.Config{ClientID: APIAudience}).Verify(t.Context(), token.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := access.Claims(&got); err != nil {
		t.Fatal(err)
	}
	if got["sub"] != APIClientID || !cmp.Equal(got["roles"], []any{hospital.MachineRole}) || got["person"] != nil {
		t.Errorf("claims %v", got)
	}
	conf.ClientSecret = "wrong"
	if _, err := conf.Token(t.Context()); err == nil {
		t.Error("a wrong secret was accepted")
	}
}

func TestRestartKeepsKeysAndSecrets(t *testing.T) {
	dir := t.TempDir()
	a, b := start(t, dir, nil), start(t, dir, nil)
	if a.ClientSecret() == "" || a.ClientSecret() != b.ClientSecret() || a.APIClientSecret() != b.APIClientSecret() {
		t.Error("the secrets changed")
	}
	keys := func(s service) string {
		return do(t, &http.Client{}, http.MethodGet, s.url+"/keys", nil).Body
	}
	if d := cmp.Diff(keys(a), keys(b)); d != "" {
		t.Errorf("the keys changed:\n%s", d)
	}
}

func TestRefusesAnIssuerOffThisMachine(t *testing.T) {
	for issuer, ok := range map[string]bool{
		"http://localhost:8444": true, "https://127.0.0.1:8444": true, "http://[::1]:1": true,
		"https://signin.example": false, "http://10.0.0.1:8444": false, "": false,
	} {
		err := checkIssuer(issuer)
		if (err == nil) != ok || (!ok && !errors.Is(err, ErrIssuer)) {
			t.Errorf("%q: %v", issuer, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	s := start(t, t.TempDir(), nil)
	_, conf := s.oauth(t)
	c := s.browser(t)
	if res := do(t, c, http.MethodGet, s.url+"/sign-in?id=nobody", nil); res.StatusCode != http.StatusBadRequest {
		t.Errorf("unknown attempt: %s", res.Status)
	}
	page := do(t, c, http.MethodGet, conf.AuthCodeURL("x"), nil)
	id := page.URL.Query().Get("id")
	for _, person := range []string{"", "nobody", "M0001"} {
		if res := do(t, c, http.MethodPost, s.url+"/sign-in", url.Values{"id": {id}, "person": {person}}); res.StatusCode != http.StatusBadRequest {
			t.Errorf("signing in as %q: %s", person, res.Status)
		}
	}
	other := *conf
	other.RedirectURL = "https://evil.example/"
	if res := do(t, c, http.MethodGet, other.AuthCodeURL("x"), nil); res.StatusCode != http.StatusBadRequest {
		t.Errorf("foreign callback: %s", res.Status)
	}
	silent := do(t, c, http.MethodGet, conf.AuthCodeURL("x", oauth2.SetAuthURLParam("prompt", "none")), nil)
	if to := silent.Header.Get("Location"); !strings.Contains(to, "error=login_required") {
		t.Errorf("prompt=none: %s to %s", silent.Status, to)
	}
}

func TestSignOutTellsTheGateway(t *testing.T) {
	got := make(chan string, 1)
	gateway := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- r.PostFormValue("logout_token")
	}))
	defer gateway.Close()
	s := start(t, t.TempDir(), func(c *Config) { c.BackChannel, c.Client = gateway.URL, gateway.Client() })
	provider, conf := s.oauth(t)
	query := s.signIn(t, conf.AuthCodeURL("a"), s.h.Staff[0].Person)
	token, err := conf.Exchange(t.Context(), query.Get("code"))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := token.Extra("id_token").(string)
	out := do(t, s.browser(t), http.MethodGet, s.url+"/end_session?"+url.Values{
		"id_token_hint": {raw}, "post_logout_redirect_uri": {"https://localhost:8443/"}, "state": {"z"},
	}.Encode(), nil)
	if to := out.Header.Get("Location"); to != "https://localhost:8443/?state=z" {
		t.Errorf("sign-out: %s to %q", out.Status, to)
	}
	id, err := provider.Verifier(&oidc.Config{ClientID: ClientID}).Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	logout, err := provider.Verifier(&oidc.Config{ClientID: ClientID}).Verify(t.Context(), <-got)
	if err != nil {
		t.Fatal(err)
	}
	sids := make([]struct{ Sid string }, 2)
	for i, token := range []*oidc.IDToken{id, logout} {
		if err := token.Claims(&sids[i]); err != nil {
			t.Fatal(err)
		}
	}
	if sids[0] != sids[1] || sids[0].Sid == "" || logout.Subject != id.Subject {
		t.Errorf("the logout token names another session: %v", sids)
	}
	var events struct{ Events map[string]json.RawMessage }
	if err := logout.Claims(&events); err != nil || events.Events["http://schemas.openid.net/event/backchannel-logout"] == nil {
		t.Errorf("events %v (%v)", events, err)
	}
}

func TestTemplatesFitTheirPages(t *testing.T) {
	for name, page := range map[string]any{"form.html": formPage{}, "message.html": messagePage{}} {
		parsed, err := template.ParseFS(files, "pages/layout.html", "pages/"+name)
		if err != nil {
			t.Fatal(err)
		}
		if err := templatecheck.CheckHTML(parsed.Lookup("layout.html"), page); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
