package mllp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/matron-epr/matron/policy/care/hl7"
)

// Sender is an application at a facility, as MSH-3 and MSH-4 name them.
type Sender struct{ Application, Facility string }

// Peer is a system that may connect: whoever proves the name with a certificate
// may send in the name of its senders and of no other.
type Peer struct {
	Name    string // DNS name of the certificate, or its common name where it has no DNS name
	Senders []Sender
}

// Handler takes messages. Handle returns nil only when the message is on disk,
// or holds nothing that has to be. An *hl7.Error says that the message will never
// be taken; after any other error the sender tries again. It is called by several
// connections at once.
type Handler interface {
	Handle(m *hl7.Message) error
}

// Refusal is something that was not taken.
type Refusal struct {
	At      time.Time
	Address string // network address of the other side
	Peer    string // name that its certificate proved; "" for none
	Sender  Sender // as the message says; empty where it could not be read
	Control string // MSH-10, likewise
	Reason  error  // one of the errors below, an *hl7.Error or the handler's
}

// Why something was refused. None of them holds a value of a message. Those about
// one message are an *hl7.Error, which the sender is answered with.
var (
	ErrCertificate = errors.New("no certificate that is trusted here")
	ErrPeer        = errors.New("certificate names no known system")
	ErrSlow        = errors.New("message did not arrive in time")
	ErrCrowded     = errors.New("too many connections")
	ErrNoise       = errors.New("bytes outside a message")

	ErrSender   error = &hl7.Error{Code: hl7.UnknownKey, Segment: "MSH", Field: 3, What: "names a sender that is not allowed here"}
	ErrTooLarge error = &hl7.Error{Code: hl7.DataType, What: "is too large"}
	ErrPanic    error = &hl7.Error{Code: hl7.Internal, What: "could not be handled"}
)

// Observer learns of refusals. Refused must not block for long: the sender waits.
// It is called by several connections at once.
type Observer interface{ Refused(r Refusal) }

// Config is what a listener needs. The zero value of each bound is its default.
type Config struct {
	TLS      *tls.Config // must verify client certificates
	Peers    []Peer
	Handler  Handler
	Observer Observer
	Now      func() time.Time

	MaxBytes       int           // of one message; default and most: hl7.MaxBytes
	MaxConnections int           // default 64
	Handshake      time.Duration // time for the TLS handshake, default 10 s
	Message        time.Duration // time from the first byte of a message to its last, and for the answer; default 30 s
	Idle           time.Duration // time between messages before the connection is closed, default 15 minutes
}

// complete checks c and fills in the defaults.
func (c Config) complete() (Config, error) {
	if c.TLS == nil || c.TLS.ClientAuth != tls.RequireAndVerifyClientCert || c.TLS.ClientCAs == nil {
		return c, errors.New("mllp: TLS must require and verify client certificates against named authorities")
	}
	if c.Handler == nil || c.Observer == nil || c.Now == nil {
		return c, errors.New("mllp: handler, observer and clock are needed")
	}
	if len(c.Peers) == 0 {
		return c, errors.New("mllp: no system is allowed to send")
	}
	for i, p := range c.Peers {
		if p.Name == "" || len(p.Senders) == 0 || slices.Contains(p.Senders, Sender{}) {
			return c, fmt.Errorf("mllp: system %d needs the name of its certificate and its senders", i+1)
		}
		if slices.ContainsFunc(c.Peers[:i], func(q Peer) bool { return q.Name == p.Name }) {
			return c, fmt.Errorf("mllp: system %q is named twice", p.Name)
		}
	}
	if c.MaxBytes <= 0 || c.MaxBytes > hl7.MaxBytes {
		c.MaxBytes = hl7.MaxBytes
	}
	if c.MaxConnections <= 0 {
		c.MaxConnections = 64
	}
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{{&c.Handshake, 10 * time.Second}, {&c.Message, 30 * time.Second}, {&c.Idle, 15 * time.Minute}} {
		if *d.value <= 0 {
			*d.value = d.usual
		}
	}
	return c, nil
}
