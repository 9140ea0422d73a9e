package demo

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/emersion/go-smtp"
)

// mailbox is the hospital's mail server: each message that the gateway sends becomes a
// file, for whoever wants to see what an officer gets. It sends nothing anywhere.
type mailbox struct{ dir string }

// newMailbox makes the server; l is where it will listen, with TLS from the first byte.
func newMailbox(dir string, l net.Listener, cert tls.Certificate) (*smtp.Server, net.Listener, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	s := smtp.NewServer(mailbox{dir})
	s.Domain, s.MaxMessageBytes, s.MaxRecipients = mailName, 64<<10, 1
	s.ReadTimeout, s.WriteTimeout = time.Minute, time.Minute
	return s, tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}), nil
}

// NewSession and the methods after it are of smtp.Backend and smtp.Session.
func (m mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return m, nil }

// Mail takes any sender.
func (mailbox) Mail(string, *smtp.MailOptions) error { return nil }

// Rcpt takes any reader.
func (mailbox) Rcpt(string, *smtp.RcptOptions) error { return nil }

// Data keeps the message.
func (m mailbox) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(m.dir, time.Now().UTC().Format("20060102T150405.000000000")+".eml"), text, 0o600)
}

// Reset forgets nothing, for nothing is remembered.
func (mailbox) Reset() {}

// Logout ends nothing.
func (mailbox) Logout() error { return nil }
