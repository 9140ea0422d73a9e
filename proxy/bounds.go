package proxy

import (
	"io"
	"strings"
)

// What one exchange may make the gateway write down. Each patient is a record of
// its own: without these bounds one request could fill the disk and keep
// everybody else's records waiting (GW-02, GW-12).
const (
	maxPatientsAsked = 1000 // named by one request
	maxPatientsShown = 5000 // named by one response
	maxPatientName   = 512  // bytes of an id
	maxUserAgent     = 256  // bytes

	growAtOnce = 256 << 10 // bytes taken for a response before any of it is there
)

// metered reads what is kept in memory, and fails once all exchanges together
// keep more than the gateway may: whoever comes last is refused, and nobody runs
// out of memory (GW-02).
type metered struct {
	io.Reader
	x *exchange
}

// Read is part of io.Reader.
func (m metered) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.x.kept += int64(n)
	if m.x.g.kept.Add(int64(n)) > m.x.g.cfg.MaxKept {
		return n, errBusy
	}
	return n, err
}

// letGo gives back what the exchange kept in memory.
func (x *exchange) letGo() {
	x.g.kept.Add(-x.kept)
	x.kept = 0
}

// nameable reports whether every patient has a name that a record can hold.
func nameable(patients []Patient) bool {
	for _, p := range patients {
		if len(p.ID) > maxPatientName || len(p.NHSNumber) > maxPatientName {
			return false
		}
	}
	return true
}

// shorten cuts text to at most n bytes, at the end of a character.
func shorten(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "")
}
