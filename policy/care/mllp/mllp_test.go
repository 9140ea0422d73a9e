package mllp_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matron-epr/matron/policy/care/hl7"
	"github.com/matron-epr/matron/policy/care/mllp"
)

// authority issues the certificates of one test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.pool.AddCert(a.cert)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) issue(name string) tls.Certificate {
	a.t.Helper()
	key := newKey(a.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// desk is a handler and observer that keeps what it is given.
type desk struct {
	mu      sync.Mutex
	taken   []string // control ids
	answer  func(control string) error
	refused chan mllp.Refusal
}

func (d *desk) Handle(m *hl7.Message) error {
	control := m.Segment("MSH").Field(10).Text()
	if d.answer != nil {
		if err := d.answer(control); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken = append(d.taken, control)
	return nil
}

func (d *desk) Refused(r mllp.Refusal) { d.refused <- r }

func (d *desk) list() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.taken, " ")
}

// next returns the next refusal.
func (d *desk) next(t *testing.T) mllp.Refusal {
	t.Helper()
	select {
	case r := <-d.refused:
		return r
	case <-time.After(time.Minute):
		t.Fatal("nothing was refused")
		return mllp.Refusal{}
	}
}

type hospital struct {
	*authority
	desk *desk
	l    *mllp.Listener
}

func open(t *testing.T, change func(*mllp.Config)) *hospital {
	t.Helper()
	h := &hospital{authority: newAuthority(t), desk: &desk{refused: make(chan mllp.Refusal, 100)}}
	c := mllp.Config{
		TLS: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{h.issue("matron.test")},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: h.pool,
		},
		Peers:   []mllp.Peer{{Name: "pas.test", Senders: []mllp.Sender{{Application: "PAS", Facility: "RCB"}}}, {Name: "lab.test", Senders: []mllp.Sender{{Application: "LAB"}}}},
		Handler: h.desk, Observer: h.desk, Now: time.Now,
	}
	if change != nil {
		change(&c)
	}
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if h.l, err = mllp.Listen(ln, c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.l.Close() })
	return h
}

type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (h *hospital) connect(certs ...tls.Certificate) (net.Conn, error) {
	d := &tls.Dialer{Config: &tls.Config{RootCAs: h.pool, ServerName: "matron.test", Certificates: certs}}
	return d.DialContext(h.t.Context(), "tcp", h.l.Addr().String())
}

func (h *hospital) dial(cert tls.Certificate) *client {
	h.t.Helper()
	conn, err := h.connect(cert)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	return &client{h.t, conn, bufio.NewReader(conn)}
}

// ask sends bytes and returns the acknowledgement's MSA segment.
func (c *client) ask(data string) string {
	c.t.Helper()
	if _, err := io.WriteString(c, data); err != nil {
		c.t.Fatal(err)
	}
	return c.ack()
}

func (c *client) ack() string {
	c.t.Helper()
	frame, err := c.r.ReadString(0x1c)
	if err != nil {
		c.t.Fatal(err)
	}
	_, _ = c.r.ReadByte()
	m, err := hl7.Parse([]byte(strings.Trim(frame, "\x0b\x1c")))
	if err != nil {
		c.t.Fatalf("%q: %v", frame, err)
	}
	return m.Segment("MSA").Field(1).Text() + " " + m.Segment("MSA").Field(2).Text()
}

func message(application, control string) string {
	return "MSH|^~\\&|" + application + "|RCB|MATRON|GW|20261103||ADT^A01|" + control + "|P|2.4\rPID|1\r"
}

func framed(s string) string { return "\x0b" + s + "\x1c\r" }

// Garbled messages between good ones are refused one by one; every good one is
// taken, in order.
// hazard:GW-21 control:C-169
func TestGarbledMessagesNeverStopTheFeed(t *testing.T) {
	t.Parallel()
	h := open(t, func(c *mllp.Config) { c.MaxBytes = 2000 })
	c := h.dial(h.issue("pas.test"))
	for _, row := range []struct{ sent, want string }{
		{framed(message("PAS", "1")), "AA 1"},
		{framed("this is no message"), "AR "},
		{framed(""), "AR "},
		{framed(strings.Replace(message("PAS", "2"), "PID", "pid", 1)), "AR 2"},
		{"noise\r\n" + framed(message("PAS", "3")), "AA 3"},
		{framed(message("PAS", "4") + "NTE|" + strings.Repeat("x", 5000)), "AR 4"},
		{"\x0bMSH|^~\\&|PAS|RCB|half a mess" + framed(message("PAS", "5")), "AA 5"},
		{"\x0b" + message("PAS", "6") + "\x1c", "AA 6"}, // no carriage return after it
		{framed(message("PAS", "7")), "AA 7"},
	} {
		if got := c.ask(row.sent); got != row.want {
			t.Errorf("%.30q is answered %q, want %q", row.sent, got, row.want)
		}
	}
	if got := h.desk.list(); got != "1 3 5 6 7" {
		t.Errorf("taken: %s", got)
	}
	for _, want := range []string{"", "", "2", "4"} {
		if r := h.desk.next(t); r.Control != want || r.Peer != "pas.test" {
			t.Errorf("refused: %+v, want control %q", r, want)
		}
	}
}

func TestBatchIsAnsweredMessageByMessage(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	c := h.dial(h.issue("pas.test"))
	if got := c.ask(framed("BHS|^~\\&|PAS\r" + message("PAS", "1") + message("PAS", "2") + "BTS|2\r")); got != "AA 1" {
		t.Error(got)
	}
	if got := c.ack(); got != "AA 2" {
		t.Error(got)
	}
}

// Nothing is acknowledged as accepted that the handler has not taken.
// hazard:GW-21 control:C-170
func TestOnlyDurableMessagesAreAccepted(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	h.desk.answer = func(control string) error {
		switch control {
		case "1":
			return errors.New("disk is full")
		case "2":
			return &hl7.Error{Code: hl7.FieldMissing, Segment: "PID", Field: 3, What: "is missing"}
		case "3":
			panic("a fault")
		}
		return nil
	}
	c := h.dial(h.issue("pas.test"))
	for control, want := range map[string]string{"1": "AE 1", "2": "AR 2", "3": "AR 3", "4": "AA 4"} {
		if got := c.ask(framed(message("PAS", control))); got != want {
			t.Errorf("%s: %s", control, got)
		}
	}
	if got := h.desk.list(); got != "4" {
		t.Errorf("taken: %s", got)
	}
	if n := len(h.desk.refused); n != 3 {
		t.Errorf("%d refusals", n)
	}
}

// A message in a name that its sender may not use is refused and recorded.
// hazard:GW-21 control:C-169
func TestUnknownSenderIsRefusedAndRecorded(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	c := h.dial(h.issue("pas.test"))
	for i, application := range []string{"OTHER", "LAB", ""} {
		if got := c.ask(framed(message(application, "9"))); got != "AR 9" {
			t.Error(got)
		}
		r := h.desk.next(t)
		if !errors.Is(r.Reason, mllp.ErrSender) || r.Sender.Application != application || r.Control != "9" || r.At.IsZero() || r.Address == "" {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if got := c.ask(framed(message("PAS", "10"))); got != "AA 10" {
		t.Errorf("afterwards: %s", got)
	}
	if got := h.desk.list(); got != "10" {
		t.Errorf("taken: %s", got)
	}
}

// Whoever has no certificate, one of somebody else's, or one that names no
// known system gets no further than the handshake.
// hazard:GW-21 control:C-169
func TestUnknownCertificateIsRefusedAndRecorded(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	stranger := newAuthority(t)
	for name, row := range map[string]struct {
		cert []tls.Certificate
		want error
	}{
		"none":            {nil, mllp.ErrCertificate},
		"other authority": {[]tls.Certificate{stranger.issue("pas.test")}, mllp.ErrCertificate},
		"other name":      {[]tls.Certificate{h.issue("printer.test")}, mllp.ErrPeer},
	} {
		conn, err := h.connect(row.cert...)
		if err == nil {
			_, _ = io.WriteString(conn, framed(message("PAS", "1")))
			if answer, _ := io.ReadAll(conn); len(answer) > 0 {
				t.Errorf("%s is answered %q", name, answer)
			}
			_ = conn.Close()
		}
		if r := h.desk.next(t); !errors.Is(r.Reason, row.want) {
			t.Errorf("%s: %v", name, r.Reason)
		}
	}
	if h.desk.list() != "" {
		t.Error("a message was taken")
	}
}

// A sender that stops in the middle of a message loses its connection, and
// nobody else does.
func TestSlowSenderIsCutOff(t *testing.T) {
	t.Parallel()
	h := open(t, func(c *mllp.Config) { c.Message = 50 * time.Millisecond })
	slow := h.dial(h.issue("pas.test"))
	if _, err := io.WriteString(slow, "\x0bMSH|^~\\&|PAS"); err != nil {
		t.Fatal(err)
	}
	if _, err := slow.r.ReadByte(); err == nil {
		t.Error("half a message is answered")
	}
	if r := h.desk.next(t); !errors.Is(r.Reason, mllp.ErrSlow) {
		t.Error(r.Reason)
	}
}

func TestIdleConnectionIsClosedQuietly(t *testing.T) {
	t.Parallel()
	h := open(t, func(c *mllp.Config) { c.Idle = 50 * time.Millisecond })
	if _, err := h.dial(h.issue("pas.test")).r.ReadByte(); err == nil {
		t.Error("something is answered to nothing")
	}
	if err := h.l.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(h.desk.refused); n != 0 {
		t.Errorf("%d refusals", n)
	}
}

func TestEndlessNoiseIsCutOff(t *testing.T) {
	t.Parallel()
	h := open(t, func(c *mllp.Config) { c.MaxBytes = 1000 })
	c := h.dial(h.issue("pas.test"))
	_, _ = io.WriteString(c, strings.Repeat("x", 2000))
	if r := h.desk.next(t); !errors.Is(r.Reason, mllp.ErrNoise) {
		t.Error(r.Reason)
	}
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	h := open(t, func(c *mllp.Config) { c.MaxConnections = 1 })
	first := h.dial(h.issue("pas.test"))
	if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", h.l.Addr().String()); err == nil {
		defer func() { _ = conn.Close() }()
	}
	if r := h.desk.next(t); !errors.Is(r.Reason, mllp.ErrCrowded) {
		t.Error(r.Reason)
	}
	if got := first.ask(framed(message("PAS", "1"))); got != "AA 1" {
		t.Error(got)
	}
}

// What has arrived when the listener is closed is answered.
func TestCloseAnswersWhatHasArrived(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	inside, release := make(chan bool), make(chan bool)
	h.desk.answer = func(string) error { close(inside); <-release; return nil }
	c := h.dial(h.issue("pas.test"))
	_, _ = io.WriteString(c, framed(message("PAS", "1")))
	<-inside
	closed := make(chan error)
	go func() { closed <- h.l.Close() }()
	close(release)
	if got := c.ack(); got != "AA 1" {
		t.Error(got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// A configuration that would let anybody in is none.
func TestListenerNeedsMutualTLSAndNames(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	d := &desk{}
	good := mllp.Config{
		TLS:   &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool},
		Peers: []mllp.Peer{{Name: "a", Senders: []mllp.Sender{{Application: "A"}}}}, Handler: d, Observer: d, Now: time.Now,
	}
	for name, change := range map[string]func(*mllp.Config){
		"no TLS":          func(c *mllp.Config) { c.TLS = nil },
		"no certificates": func(c *mllp.Config) { c.TLS = &tls.Config{ClientCAs: a.pool} },
		"any certificate": func(c *mllp.Config) { c.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, ClientCAs: a.pool} },
		"no authority":    func(c *mllp.Config) { c.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert} },
		"nobody":          func(c *mllp.Config) { c.Peers = nil },
		"no name":         func(c *mllp.Config) { c.Peers = []mllp.Peer{{Senders: []mllp.Sender{{Application: "A"}}}} },
		"no sender":       func(c *mllp.Config) { c.Peers = []mllp.Peer{{Name: "a"}} },
		"empty sender":    func(c *mllp.Config) { c.Peers = []mllp.Peer{{Name: "a", Senders: []mllp.Sender{{}}}} },
		"twice":           func(c *mllp.Config) { c.Peers = append(c.Peers, c.Peers[0]) },
		"no observer":     func(c *mllp.Config) { c.Observer = nil },
	} {
		c := good
		change(&c)
		if _, err := mllp.Listen(nil, c); err == nil {
			t.Errorf("%s: a listener", name)
		}
	}
}
