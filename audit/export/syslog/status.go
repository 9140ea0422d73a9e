package syslog

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"time"
)

// errJournal says that records cannot be read.
var errJournal = errors.New("read journal")

// Status says how far an exporter is. It holds no patient data.
type Status struct {
	Connected bool          // a collector takes messages now
	Committed uint64        // the last record in the journal
	Sent      uint64        // the last record that the collector's TCP acknowledged
	Confirmed uint64        // the last record that is not sent again, whatever breaks
	Lag       uint64        // records in the journal and not sent
	LagAge    time.Duration // how long the oldest of them has waited, as far as known
	LastError string        // code of the latest failure, "" after a success
}

// The codes of Status.LastError.
const (
	CodeCursor      = "cursor" // it cannot be written
	CodeJournal     = "journal"
	CodeFiles       = "files"
	CodeCertificate = "certificate" // theirs is not to be trusted
	CodeRefused     = "tls-refused" // they do not take ours, or no protocol is shared
	CodeTimeout     = "timeout"
	CodeClosed      = "closed"
	CodeUnreachable = "unreachable"
	CodeOther       = "other"
)

// Status says how far the exporter is, without asking the collector.
func (e *Exporter) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	st := e.status
	st.Committed = e.cfg.Source.Committed()
	st.Lag = st.Committed - min(st.Sent, st.Committed)
	if st.Lag > 0 && !e.oldest.IsZero() {
		st.LagAge = max(e.cfg.Now().Sub(e.oldest), 0)
	}
	return st
}

// errorCode turns an error into a code that may stand in logs and metrics.
func errorCode(err error) string {
	var untrusted *tls.CertificateVerificationError
	var hostname x509.HostnameError
	var alert tls.AlertError
	var remote *net.OpError
	switch {
	case errors.Is(err, errMove):
		return CodeCursor
	case errors.Is(err, errJournal):
		return CodeJournal
	case errors.Is(err, ErrFiles):
		return CodeFiles
	case errors.As(err, &untrusted), errors.As(err, &hostname):
		return CodeCertificate
	case errors.As(err, &alert), errors.As(err, &remote) && remote.Op == "remote error":
		return CodeRefused
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return CodeTimeout
	case errors.Is(err, errClosed):
		return CodeClosed
	case errors.As(err, &remote):
		return CodeUnreachable
	}
	return CodeOther
}
