package syslog_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit/export/syslog"
	"github.com/matron-epr/matron/audit/journal"
)

// authority signs certificates of a test.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = template, newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// issue makes NAME.pem and NAME.key.
func (a *authority) issue(name string) (certFile, keyFile string) {
	a.t.Helper()
	key := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".key", "PRIVATE KEY", private)
	return a.path(name + ".pem"), a.path(name + ".key")
}

// collector is a real rsyslogd.
type collector struct {
	t       testing.TB
	dir     string
	address string
	command *exec.Cmd
}

func newCollector(t testing.TB, a *authority, authMode string) *collector {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{t: t, dir: t.TempDir(), address: l.Addr().String()}
	_, port, _ := net.SplitHostPort(c.address)
	_ = l.Close()
	cert, key := a.issue("localhost")
	conf := fmt.Sprintf(`global(workDirectory=%q maxMessageSize="64k" defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile=%q defaultNetstreamDriverCertFile=%q defaultNetstreamDriverKeyFile=%q)
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode=%q)
template(name="raw" type="string" string="%%structured-data%% %%msg%%\n")
ruleset(name="audit") { action(type="omfile" file=%q template="raw") }
input(type="imtcp" address="127.0.0.1" port=%q ruleset="audit")
`, c.dir, a.path("ca.pem"), cert, key, authMode, c.file(), port)
	if err := os.WriteFile(filepath.Join(c.dir, "rsyslog.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	c.start()
	return c
}

func (c *collector) file() string { return filepath.Join(c.dir, "audit.log") }

func (c *collector) start() {
	c.t.Helper()
	pid := filepath.Join(c.dir, "pid")
	_ = os.Remove(pid)
	c.command = exec.Command("rsyslogd", "-n", "-f", filepath.Join(c.dir, "rsyslog.conf"), "-i", pid) //nolint:noctx // the test ends it by signals
	c.command.Stderr = os.Stderr
	if err := c.command.Start(); err != nil {
		c.t.Fatalf("start rsyslogd (make test-deps installs it): %v", err)
	}
}

// freeze returns when every thread stands still.
func (c *collector) freeze() {
	c.t.Helper()
	if err := c.command.Process.Signal(syscall.SIGSTOP); err != nil {
		c.t.Fatal(err)
	}
	until(c.t, "rsyslogd stands still", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", c.command.Process.Pid))
		for _, path := range threads {
			raw, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(raw), ") T ") {
				return false
			}
		}
		return len(threads) > 0
	})
}

// kill is kill -9.
func (c *collector) kill() {
	if c.command == nil {
		return
	}
	_ = c.command.Process.Kill()
	_ = c.command.Wait()
	c.command = nil
}

// messages returns what is in the collector's file, by seq.
func (c *collector) messages() map[uint64][]string {
	raw, err := os.ReadFile(c.file())
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	found := map[uint64][]string{}
	line := regexp.MustCompile(`(?m)^\[matron@32473 source="gw1" seq="(\d+)"[^\]]*\] ` + "\uFEFF?" + `(<\?xml.*</AuditMessage>)$`)
	for _, m := range line.FindAllStringSubmatch(string(raw), -1) {
		seq, _ := strconv.ParseUint(m[1], 10, 64)
		found[seq] = append(found[seq], m[2])
	}
	return found
}

// missing lists the records up to last that the file does not hold.
func (c *collector) missing(last uint64) []uint64 {
	found := c.messages()
	var list []uint64
	for seq := uint64(1); seq <= last; seq++ {
		if len(found[seq]) == 0 {
			list = append(list, seq)
		}
	}
	return list
}

// clock runs with the real one and can be put forward by a window.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward()       { c.ahead.Add(int64(window)) }

// gatewaySide is a real journal and an exporter that runs.
type gatewaySide struct {
	t       testing.TB
	journal *journal.Journal
	cfg     syslog.Config
	clock   *clock
	*syslog.Exporter
	stop func()
}

// window is so long that no machine is too slow for a test: time passes when the
// test says so.
const window = time.Hour

func newGateway(t testing.TB, peer syslog.Peer) *gatewaySide {
	t.Helper()
	dir := t.TempDir()
	g := &gatewaySide{t: t, clock: &clock{}}
	jc := journal.Config{Dir: filepath.Join(dir, "journal"), Source: "gw1", Site: "RBA", Now: time.Now}
	if err := journal.Create(jc); err != nil {
		t.Fatal(err)
	}
	var err error
	if g.journal, err = journal.Open(jc); err != nil {
		t.Fatal(err)
	}
	g.cfg = syslog.Config{
		Source: g.journal, Peer: peer, CursorPath: filepath.Join(dir, "syslog.cursor"), Now: g.clock.now,
		Log: slog.New(slog.DiscardHandler), Window: window, BackOff: 20 * time.Millisecond,
	}
	t.Cleanup(func() {
		if g.stop != nil {
			g.stop()
		}
		_ = g.journal.Close()
	})
	g.run()
	return g
}

func (g *gatewaySide) run() {
	g.t.Helper()
	e, err := syslog.New(g.cfg)
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	g.Exporter = e
	g.stop = func() {
		cancel()
		if err := <-done; err != nil {
			g.t.Errorf("run: %v", err)
		}
		g.stop = nil
	}
}

// add makes n records durable and returns the last seq.
func (g *gatewaySide) add(n int) uint64 {
	g.t.Helper()
	for range n {
		r := visit(0)
		r.Source = ""
		if _, err := g.journal.Append(g.t.Context(), &r); err != nil {
			g.t.Fatal(err)
		}
	}
	return g.journal.Committed()
}

// until waits for a condition; otherwise it says more before it fails.
func until(t testing.TB, what string, ok func() bool, otherwise ...func()) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			for _, say := range otherwise {
				say()
			}
			t.Fatalf("never: %s", what)
		}
	}
}
