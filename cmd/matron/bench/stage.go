package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
	"github.com/matron-epr/matron/cmd/matron/demo/signin"
	"github.com/matron-epr/matron/cmd/matron/demo/staff"
)

// stage is every process of one run.
type stage struct {
	dir      string
	roots    *x509.CertPool
	commands []*exec.Cmd
	services []*http.Server // sign-in, of each gateway
	proxies  []target
}

func newStage(ctx context.Context, o options, dir string) (_ *stage, err error) {
	s := &stage{dir: dir, roots: x509.NewCertPool()}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.certificate(); err != nil {
		return nil, err
	}
	upstream := freeAddress()
	if err := s.peers(ctx, o, upstream); err != nil {
		return nil, err
	}
	for i, program := range append([]string{o.matron}, o.beside...) {
		name := "matron"
		if i > 0 {
			name = filepath.Base(program)
		}
		matron, err := s.matron(ctx, name, program, upstream)
		if err != nil {
			return nil, err
		}
		s.proxies = append(s.proxies, matron)
	}
	return s, nil
}

// peers starts what the gateway is compared with.
func (s *stage) peers(ctx context.Context, o options, upstream string) error {
	me, err := self()
	if err != nil {
		return err
	}
	if _, err := s.start("upstream", nil, me, "upstream", upstream, ""); err != nil {
		return err
	}
	listening := map[string]string{"upstream": upstream}
	for _, name := range [...]string{"bare", "bare-gogc", "caddy"} {
		if o.gateways && name != "caddy" {
			continue
		}
		address, env, pid := freeAddress(), []string(nil), 0
		if name == "bare-gogc" {
			env = []string{"GOGC=400"}
		}
		if name == "caddy" {
			pid, err = s.caddy(o.caddy, address, upstream)
		} else {
			pid, err = s.start(name, env, me, "bare", address, upstream, s.dir)
		}
		if err != nil {
			return err
		}
		listening[name] = address
		s.proxies = append(s.proxies, s.target(name, address, pid))
	}
	for name, address := range listening {
		if err := s.listening(ctx, name, address); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) target(name, address string, pid int) target {
	_, port, _ := net.SplitHostPort(address)
	return target{name: name, base: "https://localhost:" + port, pid: pid, roots: s.roots, refused: new(atomic.Int64)}
}

// start starts a process that ends with this one; its output goes to a log file.
func (s *stage) start(name string, env []string, program string, args ...string) (pid int, err error) {
	log, err := os.Create(filepath.Join(s.dir, name+".log"))
	if err != nil {
		return 0, err
	}
	c := exec.Command(program, args...) //nolint:noctx // ended by close, after everything that uses it
	c.Stdout, c.Stderr, c.Env = log, log, append(os.Environ(), env...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return 0, fmt.Errorf("start %s: %w", name, err)
	}
	s.commands = append(s.commands, c)
	return c.Process.Pid, nil
}

// said is the end of what a process has printed.
func (s *stage) said(name string) string {
	raw, err := os.ReadFile(filepath.Join(s.dir, name+".log"))
	if err != nil {
		return ""
	}
	return string(raw[max(0, len(raw)-2000):])
}

func (s *stage) caddy(program, address, upstream string) (int, error) {
	_, port, _ := net.SplitHostPort(address)
	file := filepath.Join(s.dir, "Caddyfile")
	text := fmt.Sprintf("{\n\tadmin off\n\tauto_https off\n\tservers {\n\t\tprotocols h1\n\t}\n}\nhttps://localhost:%s {\n\ttls %s/cert.pem %s/key.pem\n\treverse_proxy %s\n}\n",
		port, s.dir, s.dir, upstream)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return 0, err
	}
	return s.start("caddy", []string{"XDG_DATA_HOME=" + s.dir, "XDG_CONFIG_HOME=" + s.dir}, program, "run", "--config", file)
}

// matron starts the gateway with a real sign-in service and signs a nurse in.
func (s *stage) matron(ctx context.Context, name, program, upstream string) (target, error) {
	address := freeAddress()
	t := s.target(name, address, 0)
	dir := filepath.Join(s.dir, "gateway-"+name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return t, err
	}
	issuer, err := s.signInService(ctx, dir, t.base)
	if err != nil {
		return t, err
	}
	file := filepath.Join(dir, "matron.yaml")
	if err := os.WriteFile(file, []byte(configuration(t.base, address, issuer, upstream)), 0o600); err != nil {
		return t, err
	}
	if out, err := exec.CommandContext(ctx, program, "init", "-c", file).CombinedOutput(); err != nil {
		return t, fmt.Errorf("%s init: %w\n%s", name, err, out)
	}
	if t.pid, err = s.start(name, nil, program, "serve", "-c", file); err != nil {
		return t, err
	}
	if err := s.listening(ctx, name, address); err != nil {
		return t, err
	}
	cookie, err := s.signIn(ctx, t.base)
	t.header = http.Header{"Cookie": {cookie}, "Accept": {"application/fhir+json"}}
	return t, err
}

func configuration(base, address, issuer, upstream string) string {
	return fmt.Sprintf(`site: RZZ
source: bench
data_dir: data
external_url: %s
listen: {address: %q}
admin: {address: "127.0.0.1:0"}
tls: {mode: files, certificate_file: ../cert.pem, key_file: ../key.pem}
sign_in: {issuer: %q, client_id: matron, client_secret_file: client.secret, userinfo: true, claims: {person: person, assurance: assurance}}
limits: {interactive: {per_second: 1000000, burst: 1000000}, patients: {default: {hour: 10000, shift: 10000}}}
applications:
- {name: fhir, prefix: /fhir, upstream: "http://%s/fhir", map: fhir-r4}
log: {level: warn}
`, base, address, issuer, upstream)
}

func (s *stage) signInService(ctx context.Context, dir, base string) (issuer string, err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	issuer = fmt.Sprintf("http://localhost:%d", l.Addr().(*net.TCPAddr).Port)
	p, err := signin.New(signin.Config{
		Hospital: hospital.New(999, time.Now()), Dir: dir, Issuer: issuer, Redirects: []string{base + "/.matron/callback"},
		PostLogout: []string{base + "/.matron/signed-out"}, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "client.secret"), []byte(p.ClientSecret()), 0o600); err != nil {
		return "", err
	}
	service := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	s.services = append(s.services, service)
	go func() { _ = service.Serve(l) }()
	return issuer, nil
}

// signIn signs a nurse in and returns the session cookie.
func (s *stage) signIn(ctx context.Context, base string) (string, error) {
	nurse := hospital.New(999, time.Now()).WithRole("nurse")[0]
	client, err := staff.Enter(ctx, base, s.roots, nurse.Person, "/fhir/metadata")
	if err != nil {
		return "", err
	}
	home, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	for _, cookie := range client.Jar.Cookies(home) {
		if cookie.Name == "__Host-matron" {
			return cookie.Name + "=" + cookie.Value, nil
		}
	}
	return "", errors.New("signing in gave no session")
}

// certificate makes one self-signed certificate for all.
func (s *stage) certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	s.roots.AppendCertsFromPEM(cert)
	return errors.Join(
		os.WriteFile(filepath.Join(s.dir, "cert.pem"), cert, 0o600),
		os.WriteFile(filepath.Join(s.dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600),
	)
}

func (s *stage) close() {
	for _, c := range s.commands {
		_ = c.Process.Signal(os.Interrupt)
	}
	for _, c := range s.commands {
		done := time.AfterFunc(10*time.Second, func() { _ = c.Process.Kill() })
		_ = c.Wait()
		done.Stop()
	}
	for _, service := range s.services {
		_ = service.Close()
	}
}

// listening waits until the process answers at address.
func (s *stage) listening(ctx context.Context, name, address string) error {
	var last error
	for range 300 {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
		if err == nil {
			return c.Close()
		}
		last = err
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("%s does not answer: %w\n%s", name, last, s.said(name))
}

func freeAddress() string {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		return "127.0.0.1:0"
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
