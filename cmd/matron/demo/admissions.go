package demo

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// admissions is the hospital's admission system: it tells the gateway by HL7 messages
// over MLLP, with mutual TLS, who is in which ward. One goroutine uses it.
type admissions struct {
	hospital *hospital.Hospital
	address  string
	tls      *tls.Config
	mail     tls.Certificate // of the mailbox, which the same authority vouches for
	log      *slog.Logger

	conn  net.Conn
	reply *bufio.Reader
	told  time.Time // what has happened before is told
}

// The names of both ends in their certificates, and of the system in its messages.
const (
	admissionsName = "pas.demo.invalid"
	receiverName   = "hl7.demo.invalid"
	mailName       = "localhost" // the gateway reaches it by this name
	admissionsApp  = "PAS"
)

// newAdmissions makes the certificates of both ends and the list of staff, and leaves
// in dir what the gateway needs of them.
func newAdmissions(h *hospital.Hospital, dir, address string, log *slog.Logger) (*admissions, error) {
	certs, err := demoCertificates(dir)
	if err != nil {
		return nil, err
	}
	var list strings.Builder
	list.WriteString("person,roles,wards\n")
	for _, s := range h.Staff {
		if !s.Machine() {
			fmt.Fprintf(&list, "%s,%s,%s\n", s.Person, strings.Join(s.Roles, ";"), strings.Join(s.Wards, ";"))
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "staff.csv"), []byte(list.String()), 0o600); err != nil {
		return nil, err
	}
	return &admissions{
		hospital: h, address: address, log: log, mail: certs.mail,
		tls: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: certs.authority, ServerName: receiverName, Certificates: []tls.Certificate{certs.sender}},
	}, nil
}

// certificates are what the demonstration's own systems show the gateway.
type certificates struct {
	sender, mail tls.Certificate
	authority    *x509.CertPool
}

// demoCertificates makes an authority and a certificate for each end, and leaves in dir
// those of the gateway.
func demoCertificates(dir string) (c certificates, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Demonstration authority of messages"}, NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		return c, err
	}
	files := map[string][]byte{"hl7-ca.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	c.authority = x509.NewCertPool()
	c.authority.AppendCertsFromPEM(files["hl7-ca.pem"])
	issue := func(name string) (cert tls.Certificate, err error) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return cert, err
		}
		text, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: root.NotAfter,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		}, root, own.Public(), key)
		return tls.Certificate{Certificate: [][]byte{text}, PrivateKey: own}, err
	}
	var receiver tls.Certificate
	for name, to := range map[string]*tls.Certificate{admissionsName: &c.sender, mailName: &c.mail, receiverName: &receiver} {
		if *to, err = issue(name); err != nil {
			return c, err
		}
	}
	secret, err := x509.MarshalPKCS8PrivateKey(receiver.PrivateKey)
	if err != nil {
		return c, err
	}
	files["hl7.pem"] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: receiver.Certificate[0]})
	files["hl7.key"] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	return c, err
}

// history tells everything that has happened so far, so that nobody who cares for a
// patient is refused when work begins. Whom staff know as patients or from home was in
// their ward last week: what some of them are about to do is wrong although they
// cared for these people.
func (a *admissions) history(ctx context.Context) error {
	now := time.Now()
	for i, p := range a.hospital.Patients {
		when := now.Add(time.Duration(i%48) * time.Hour)
		text := fmt.Sprintf("SCH|F%s|F%s|||||||||^^30^%s\r%sPV1|1|O|OPD\rAIL|1||OPD\r", p.ID, p.ID, hl7Time(when), pid(p.ID))
		if err := a.send(ctx, "SIU^S12", "book-"+p.ID, now.Add(-time.Hour), text); err != nil {
			return err
		}
	}
	for _, s := range a.hospital.Staff {
		known := append([]string(nil), a.hospital.Households[s.Person]...)
		if s.PatientID != "" {
			known = append(known, s.PatientID)
		}
		for _, patient := range known {
			if len(s.Wards) == 0 {
				continue
			}
			c := hospital.Care{Patient: patient, Kind: "inpatient", Ward: s.Wards[0], Visit: "L" + patient, Start: now.AddDate(0, 0, -4), End: now.AddDate(0, 0, -2)}
			if err := errors.Join(a.arrive(ctx, c), a.leave(ctx, c)); err != nil {
				return err
			}
		}
	}
	return a.news(ctx)
}

// news tells what has happened since it was last called.
func (a *admissions) news(ctx context.Context) error {
	from, to := a.told, time.Now()
	since := func(t time.Time) bool { return !t.IsZero() && t.After(from) && !t.After(to) }
	for i, c := range a.hospital.Care {
		if c.Ward == "" || to.Sub(c.Start) > 60*24*time.Hour {
			continue
		}
		if c.Visit == "" {
			c.Visit = fmt.Sprintf("C%d", i)
		}
		if since(c.Start) {
			if err := a.arrive(ctx, c); err != nil {
				return err
			}
		}
		if since(c.End) {
			if err := a.leave(ctx, c); err != nil {
				return err
			}
		}
	}
	a.told = to
	return nil
}

// run tells what happens until ctx ends, and now and then that it is there.
func (a *admissions) run(ctx context.Context) {
	const every = 20 * time.Second
	for idle(ctx, every) {
		err := a.news(ctx)
		if err == nil {
			err = a.send(ctx, "NMD^N02", fmt.Sprintf("alive-%d", time.Now().Unix()), time.Now(), "NCK|"+hl7Time(time.Now())+"\r")
		}
		if err != nil && ctx.Err() == nil {
			a.log.LogAttrs(ctx, slog.LevelWarn, "admissions are not told; they are sent again", slog.Any("error", err))
		}
	}
	a.hangUp()
}

func (a *admissions) arrive(ctx context.Context, c hospital.Care) error {
	trigger, class := "A01", "I"
	switch c.Kind {
	case "emergency":
		trigger, class = "A04", "E"
	case "outpatient":
		trigger, class = "A04", "O"
	}
	return a.send(ctx, "ADT^"+trigger, "in-"+c.Visit+"-"+c.Patient, c.Start, pid(c.Patient)+pv1(c, class))
}

func (a *admissions) leave(ctx context.Context, c hospital.Care) error {
	return a.send(ctx, "ADT^A03", "out-"+c.Visit+"-"+c.Patient, c.End, pid(c.Patient)+pv1(c, "I"))
}

func pid(patient string) string { return "PID|1||" + patient + "^^^" + hospital.Site + "^MR\r" }

func pv1(c hospital.Care, class string) string {
	return fmt.Sprintf("PV1|1|%s|%s||||%s%s%s\r", class, c.Ward, strings.Join(c.People, "~"), strings.Repeat("|", 12), c.Visit)
}

func hl7Time(t time.Time) string { return t.Format("20060102150405-0700") }

// send sends one message and waits until it is taken. After a fault the connection is
// given up; the next message begins another.
func (a *admissions) send(ctx context.Context, kind, control string, at time.Time, segments string) error {
	if a.conn == nil {
		dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: a.tls}
		conn, err := dialer.DialContext(ctx, "tcp", a.address)
		if err != nil {
			return fmt.Errorf("reach the gateway for messages: %w", err)
		}
		a.conn, a.reply = conn, bufio.NewReader(conn)
	}
	text := fmt.Sprintf("\x0bMSH|^~\\&|%s|%s|MATRON|%[2]s|%s||%s|%s|P|2.4\rEVN||%[3]s\r%[6]s\x1c\r", admissionsApp, hospital.Site, hl7Time(at), kind, control, segments)
	if err := a.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := a.conn.Write([]byte(text)); err != nil {
		a.hangUp()
		return fmt.Errorf("send a message: %w", err)
	}
	answer, err := a.reply.ReadString('\x1c')
	if err != nil {
		a.hangUp()
		return fmt.Errorf("read the answer to a message: %w", err)
	}
	if !strings.Contains(answer, "MSA|AA|") {
		return fmt.Errorf("a message of kind %s is refused", kind)
	}
	return nil
}

func (a *admissions) hangUp() {
	if a.conn != nil {
		_ = a.conn.Close()
		a.conn, a.reply = nil, nil
	}
}

// idle waits; it reports false once ctx has ended.
func idle(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
