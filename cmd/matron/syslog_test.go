package main

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// siem is a syslog collector that keeps what it is sent.
type siem struct {
	mu  sync.Mutex
	got bytes.Buffer // guarded by mu
}

func (s *siem) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.Write(b)
}

func (s *siem) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.String()
}

// collect runs a collector and returns its address and certificate.
func collect(t *testing.T) (s *siem, address, certificate string) {
	t.Helper()
	issuer := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	t.Cleanup(issuer.Close)
	plain, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := tls.NewListener(plain, &tls.Config{Certificates: issuer.TLS.Certificates, MinVersion: tls.VersionTLS12})
	t.Cleanup(func() { _ = l.Close() })
	s = &siem{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(s, c); _ = c.Close() }()
		}
	}()
	return s, l.Addr().String(), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw}))
}

func (s *site) fromAdmin(path string) string {
	s.t.Helper()
	_, text := s.send(&http.Client{}, http.MethodGet, s.admin+path, "", nil)
	return string(text)
}

func TestAuditMessagesGoToSyslog(t *testing.T) {
	t.Parallel()
	collector, address, certificate := collect(t)
	s := newSite(t, fmt.Sprintf(`- {name: fhir, prefix: /fhir, upstream: "http://127.0.0.1:1", map: fhir-r4}
export: {syslog: {address: %q, ca_file: collector.pem, window: 1s}}
`, address))
	s.write("collector.pem", certificate)
	s.run("check-config", "-c", s.config)
	s.start()
	s.ask(s.stranger(), http.MethodGet, "/fhir/Patient/1", "application/json", "")
	holds := func(where func() string, texts ...string) func() error {
		return func() error {
			got := where()
			for _, text := range texts {
				if !strings.Contains(got, text) {
					return fmt.Errorf("%q is not in %s", text, got)
				}
			}
			return nil
		}
	}
	s.eventually("messages arrive", holds(collector.String,
		`[matron@32473 source="gw1" seq="1" kind="start"]`, `kind="decision"`, `csd-code="110120"`, `csd-code="110113"`, `AuditEnterpriseSiteID="RZZ"`))
	cursor := filepath.Join(s.dir, "data/syslog.cursor")
	s.eventually("the cursor moves", func() error { _, err := os.Stat(cursor); return err })
	s.eventually("readiness", holds(func() string { return s.fromAdmin("/readyz") }, `"syslog (not required)","ok":true`))
	s.eventually("metrics", holds(func() string { return s.fromAdmin("/metrics") }, "matron_syslog_connected 1", "matron_syslog_lag_records 0"))
	s.stop()

	// A cursor that cannot be trusted ends the export, not the gateway.
	if err := os.WriteFile(cursor, []byte("rubbish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	if got := s.fromAdmin("/readyz"); !strings.Contains(got, `"ready":true`) || !strings.Contains(got, "cannot begin") {
		t.Errorf("readiness: %s", got)
	}
	s.eventually("the log says what to do", func() error {
		if len(s.log.with("export.syslog.from")) == 0 {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	s.stop()
}
