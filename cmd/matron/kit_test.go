package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit/export"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
	"github.com/matron-epr/matron/cmd/matron/demo/signin"
	"github.com/matron-epr/matron/cmd/matron/demo/staff"
)

// site is a gateway as an operator runs it: the real binary, a real sign-in
// service and whatever applications the test puts behind it.
type site struct {
	t        *testing.T
	dir      string
	config   string // path of matron.yaml
	url      string
	hospital *hospital.Hospital
	provider *signin.Provider
	process  *exec.Cmd
	admin    string
	roots    *x509.CertPool
	log      *lines
}

// lines is what the gateway has logged so far.
type lines struct {
	mu  sync.Mutex
	all []string // guarded by mu
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
}

// with returns the lines that hold any of these texts.
func (l *lines) with(texts ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, line := range l.all {
		if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(line, text) }) {
			found = append(found, line)
		}
	}
	return found
}

// newSite writes the configuration and runs "matron init". applications is YAML.
func newSite(t *testing.T, applications string) *site {
	t.Helper()
	return newSiteOf(t, "gw1", applications)
}

// newSiteOf is newSite for a gateway with this source.
func newSiteOf(t *testing.T, source, applications string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), hospital: hospital.New(999, time.Now()), log: &lines{}}
	s.config = filepath.Join(s.dir, "matron.yaml")
	port := freePort(t)
	s.url = fmt.Sprintf("https://localhost:%d", port)
	issuer := s.signInService()
	s.write("client.secret", s.provider.ClientSecret())
	s.write("matron.yaml", fmt.Sprintf(`site: RZZ
source: %s
data_dir: data
external_url: %s
listen: {address: "127.0.0.1:%d", drain_timeout: 10s}
admin: {address: "127.0.0.1:0"}
tls: {mode: local, names: [localhost]}
sign_in:
  issuer: %s
  client_id: matron
  client_secret_file: client.secret
  userinfo: true
  claims: {person: person, assurance: assurance}
  bearer: {audiences: [matron]}
machines:
- {client: results-interface, name: Results, purpose: files results, owner: pathology, networks: [127.0.0.0/8], expires: 2099-12-31}
applications:
%s`, source, s.url, port, issuer, applications))
	s.run("init", "-c", s.config)
	return s
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) signInService() (issuer string) {
	server := httptest.NewUnstartedServer(nil)
	issuer = fmt.Sprintf("http://localhost:%d", server.Listener.Addr().(*net.TCPAddr).Port)
	var err error
	s.provider, err = signin.New(signin.Config{
		Hospital: s.hospital, Dir: s.dir, Issuer: issuer, Redirects: []string{s.url + "/.matron/callback"},
		PostLogout: []string{s.url + "/.matron/signed-out"}, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	server.Config.Handler = s.provider
	server.Start()
	s.t.Cleanup(server.Close)
	return issuer
}

// stranger is a browser that trusts the gateway, follows no redirect and is not
// signed in.
func (s *site) stranger() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// serve runs an application to put behind the gateway and returns its address.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// run runs one command to its end and returns what it printed.
func (s *site) run(args ...string) string {
	s.t.Helper()
	c := command(s.t, args...)
	out, err := c.Output()
	if err != nil {
		s.t.Fatalf("matron %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// start starts "matron serve" and waits until it is ready.
func (s *site) start() {
	s.t.Helper()
	s.process = exec.Command(binary(s.t), "serve", "-c", s.config) //nolint:noctx // the test ends it by signals
	pipe, err := s.process.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	p := s.process
	s.t.Cleanup(func() { _ = p.Process.Kill() })
	ready := make(chan string, 1)
	go s.follow(pipe, ready)
	select {
	case s.admin = <-ready:
	case <-time.After(time.Minute):
		s.t.Fatal("the gateway did not get ready")
	}
	pem, err := os.ReadFile(filepath.Join(s.dir, "data/tls/ca.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.roots = x509.NewCertPool()
	s.roots.AppendCertsFromPEM(pem)
}

func (s *site) follow(pipe io.Reader, ready chan<- string) {
	admin := regexp.MustCompile(`msg="gateway ready".* admin=(\S+)`)
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		s.log.add(lines.Text())
		if m := admin.FindStringSubmatch(lines.Text()); m != nil {
			ready <- "http://" + m[1]
		}
		if testing.Verbose() {
			fmt.Fprintln(os.Stderr, lines.Text())
		}
	}
}

// stop ends the gateway as an operator does.
func (s *site) stop() {
	s.t.Helper()
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := s.process.Wait(); err != nil {
		s.t.Fatalf("matron serve: %v", err)
	}
}

// as signs a member of staff with this role in.
func (s *site) as(role string) *http.Client {
	s.t.Helper()
	return s.enter(s.hospital.WithRole(role)[0].Person)
}

// enter signs one person in. A sign-in that a slow disk could not record is
// refused, and tried again.
func (s *site) enter(person string) (client *http.Client) {
	s.t.Helper()
	s.eventually("sign in", func() (err error) {
		client, err = staff.Enter(s.t.Context(), s.url, s.roots, person, "/.matron/")
		return err
	})
	return client
}

// send sends one request, to the gateway or to a whole address, and returns
// status and body.
func (s *site) send(c *http.Client, method, path, contentType string, body []byte) (int, []byte) {
	s.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = s.url + path
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	res, err := c.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, text
}

// accesses asks "matron audit" until it names at least n accesses.
func (s *site) accesses(n int, args ...string) []export.Line {
	s.t.Helper()
	var got []export.Line
	s.eventually("accesses are searchable", func() error {
		c := exec.CommandContext(s.t.Context(), binary(s.t), append(append([]string{"audit"}, args...), "-c", s.config, "--json")...)
		out, err := c.Output()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		got = nil
		for d := json.NewDecoder(bytes.NewReader(out)); ; {
			var line export.Line
			if err := d.Decode(&line); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return err
			}
			got = append(got, line)
		}
		if len(got) < n {
			return fmt.Errorf("%d accesses, want at least %d", len(got), n)
		}
		return nil
	})
	return got
}

func (s *site) eventually(what string, f func() error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 90*time.Second)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s: %v", what, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// freePort is a port that nobody else is given: not by this function, and not by
// the kernel to a connection while a gateway is down between two starts.
func freePort(t *testing.T) int {
	t.Helper()
	for {
		port := int(nextPort.Add(1))
		if port >= firstEphemeral {
			t.Fatal("no free port")
		}
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
}

// firstEphemeral is where the kernel's own choice begins on Linux.
const firstEphemeral = 32768

// nextPort begins where another run on this machine most probably does not.
var nextPort = func() *atomic.Int32 {
	var n atomic.Int32
	n.Store(int32(20000 + os.Getpid()%100*100))
	return &n
}()
