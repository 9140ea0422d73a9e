package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"github.com/matron-epr/matron/audit"
)

// TestWebSocketThroughReloads keeps one open while configuration, map, policy and
// certificate change, until the map closes its route; another ends with its session,
// and a last one with the gateway.
func TestWebSocketThroughReloads(t *testing.T) {
	epr := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		for {
			kind, text, err := c.Read(t.Context())
			if err != nil || c.Write(t.Context(), kind, text) != nil {
				return
			}
		}
	}))
	t.Cleanup(epr.Close)
	s := newSite(t, `- {name: epr, prefix: /ui, upstream: "`+epr.URL+`/ui", map: pages-map.yaml}`+"\n")
	s.copyPagesMap()
	const rule = `- id: live-notes
  match: {method: [GET], path: "/patients/{id}/live"}
  action: read
  area: notes
  patient: [{value: "path:id"}]
`
	pages := s.read("pages-map.yaml")
	s.write("pages-map.yaml", pages+rule)
	s.edit("tls: {mode: local, names: [localhost]}", "tls: {mode: files, certificate_file: gateway.crt, key_file: gateway.key, names: [localhost]}")
	s.edit("applications:", "policy: {dir: rules}\napplications:")
	s.copyRules()
	s.certificate(1)
	s.start()
	open := func(client *http.Client) *websocket.Conn {
		c, _, err := websocket.Dial(t.Context(), s.url+"/ui/patients/P1/live", &websocket.DialOptions{ //nolint:bodyclose // the connection is what is left of it, and is closed
			HTTPClient: &http.Client{Transport: client.Transport, Jar: client.Jar}, HTTPHeader: http.Header{"Origin": {s.url}},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.CloseNow() })
		return c
	}
	echo := func(c *websocket.Conn) error {
		err := c.Write(t.Context(), websocket.MessageText, []byte("hello"))
		if err == nil {
			_, _, err = c.Read(t.Context())
		}
		return err
	}
	reload := func() {
		if line := s.reload(); !strings.Contains(line, "msg=reloaded") {
			t.Fatalf("the reload is refused: %s", line)
		}
	}
	ends := func(c *websocket.Conn, code websocket.StatusCode) {
		if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != code {
			t.Errorf("closed with %v, want %v", err, code)
		}
	}
	doctor := s.as("doctor")
	first := open(doctor)
	s.write("rules/roles.yaml", s.read("rules/roles.yaml")+"# changed\n")
	s.write("pages-map.yaml", "# changed\n"+pages+rule)
	s.certificate(2)
	reload()
	if err := echo(first); err != nil {
		t.Fatalf("after a reload that allows it: %v", err)
	}
	s.write("pages-map.yaml", pages)
	reload()
	ends(first, websocket.StatusPolicyViolation)
	s.write("pages-map.yaml", pages+rule)
	reload()
	doctor = s.as("doctor") // who trusts the new certificate
	second, third := open(doctor), open(s.as("doctor"))
	if status, _ := s.send(doctor, http.MethodPost, "/.matron/sign-out", "application/x-www-form-urlencoded", nil); status >= 400 {
		t.Errorf("sign-out: %d", status)
	}
	ends(second, websocket.StatusPolicyViolation)
	if err := echo(third); err != nil {
		t.Errorf("ended with another session: %v", err)
	}
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ends(third, websocket.StatusGoingAway)
	if err := s.process.Wait(); err != nil {
		t.Errorf("matron serve: %v", err)
	}
	var got []string
	for _, r := range s.records() {
		if r.Kind == audit.KindOutcome && r.Status == http.StatusSwitchingProtocols {
			got = append(got, r.Error)
		}
	}
	if want := "no-longer-allowed session-expired going-away"; strings.Join(got, " ") != want {
		t.Errorf("outcomes %q, want %s", got, want)
	}
}
