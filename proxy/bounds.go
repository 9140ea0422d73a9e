package proxy

import "strings"

// What one exchange may make the gateway write down. Each patient is a record of
// its own: without these bounds one request could fill the disk and keep
// everybody else's records waiting (GW-02, GW-12).
const (
	maxPatientsAsked = 1000 // named by one request
	maxPatientsShown = 5000 // named by one response
	maxPatientName   = 512  // bytes of an id
	maxUserAgent     = 256  // bytes
)

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
