package gateway

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/proxy/breakglass"
)

// post is a mail server that keeps what it is sent. It takes mail from one account.
type post struct {
	mu     sync.Mutex
	refuse bool
	to     []string
	mail   []string
}

func (p *post) NewSession(*smtp.Conn) (smtp.Session, error) { return &posting{p: p}, nil }

type posting struct {
	p      *post
	proved bool
}

func (*posting) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *posting) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "matron" || password != "correct horse" {
			return smtp.ErrAuthFailed
		}
		s.proved = true
		return nil
	}), nil
}

func (s *posting) Mail(string, *smtp.MailOptions) error {
	if !s.proved {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (s *posting) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.p.refuse {
		return &smtp.SMTPError{Code: 450, Message: "mailbox of " + to + " is busy"}
	}
	s.p.to = append(s.p.to, to)
	return nil
}

func (s *posting) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.mail = append(s.p.mail, string(text))
	return err
}

func (*posting) Reset()        {}
func (*posting) Logout() error { return nil }

// serve runs the mail server and returns the settings that reach it.
func (p *post) serve(t *testing.T, starttls bool) config.Config {
	t.Helper()
	lender := httptest.NewTLSServer(nil) // its certificate is for 127.0.0.1
	t.Cleanup(lender.Close)
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	server := smtp.NewServer(p)
	server.TLSConfig = &tls.Config{Certificates: lender.TLS.Certificates, MinVersion: tls.VersionTLS12}
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if !starttls {
		ln = tls.NewListener(ln, server.TLSConfig)
	}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	return config.Config{
		ExternalURL: "https://epr.example.org", Branding: config.Branding{ServiceName: "Matron"},
		Notices: config.Notices{
			Server: address, STARTTLS: starttls, From: "matron@example.org", Officer: "privacy@example.org", User: "matron",
			PasswordFile: write("password", []byte("correct horse\n")),
			CAFile:       write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: lender.Certificate().Raw})),
		},
	}
}

func notice(reader breakglass.Reader) breakglass.Notice {
	return breakglass.Notice{
		ID: "N1", Grant: "BG-ABCD-EFGH-JKLM", Reader: reader, Address: "ada@example.org", Began: time.Date(2026, 11, 3, 14, 2, 0, 0, time.UTC),
	}
}

// A notice goes out over TLS, with the account, and says nothing but the reference.
// hazard:GW-09 control:C-38
func TestNoticesGoByMail(t *testing.T) {
	for _, starttls := range []bool{false, true} {
		p := &post{}
		m, err := newMailer(p.serve(t, starttls), time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		for _, reader := range []breakglass.Reader{breakglass.Accessor, breakglass.Officer} {
			if err := m.send(t.Context(), notice(reader)); err != nil {
				t.Fatalf("STARTTLS %v: %v", starttls, err)
			}
		}
		if len(p.mail) != 2 || p.to[0] != "ada@example.org" {
			t.Fatalf("%v %q", p.to, p.mail)
		}
		for i, want := range []string{"https://epr.example.org/.matron/emergency", "https://epr.example.org/.matron/emergencies"} {
			if text := p.mail[i]; !strings.Contains(text, want) || !strings.Contains(text, "BG-ABCD-EFGH-JKLM") || !strings.Contains(text, "on 3 November 2026") || !strings.Contains(text, "N1@epr.example.org") {
				t.Errorf("%s", text)
			}
		}
	}
}

// What a mail server refuses, or cannot be trusted with, is not sent, and the error
// names nobody.
func TestMailThatCannotGo(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *post, *config.Config){
		"refused":            func(_ *testing.T, p *post, _ *config.Config) { p.refuse = true },
		"a stranger":         func(_ *testing.T, _ *post, c *config.Config) { c.Notices.CAFile = "" },
		"nobody there":       func(_ *testing.T, _ *post, c *config.Config) { c.Notices.Server = "127.0.0.1:1" },
		"TLS from the start": func(_ *testing.T, _ *post, c *config.Config) { c.Notices.STARTTLS = true },
		"wrong password": func(t *testing.T, _ *post, c *config.Config) {
			t.Helper()
			if err := os.WriteFile(c.Notices.PasswordFile, []byte("guess"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		p := &post{}
		c := p.serve(t, false)
		change(t, p, &c)
		m, err := newMailer(c, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		m.within = 2 * time.Second
		if err = m.send(t.Context(), notice(breakglass.Accessor)); err == nil || strings.Contains(err.Error(), "ada@") || strings.Contains(err.Error(), "correct horse") {
			t.Errorf("%s: %v", name, err)
		}
		if len(p.mail) != 0 {
			t.Errorf("%s: it was sent", name)
		}
	}
}

func TestNoMailServerIsConfigured(t *testing.T) {
	if m, err := newMailer(config.Config{}, time.UTC); m != nil || err != nil || m.health().Set {
		t.Errorf("%v %v", m, err)
	}
	if _, err := newMailer(config.Config{Notices: config.Notices{Server: "x:465", PasswordFile: "/none"}}, time.UTC); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
