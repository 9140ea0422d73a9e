package proxy

import (
	"strconv"
	"strings"
	"time"
)

// StepUp is a stronger or later proof of identity (RFC 9470).
type StepUp struct {
	ACR    []string      // values of acr, any of which will do; none leaves it to the provider
	MaxAge time.Duration // how long ago the identity may have been proved
}

// justProved is how long after signing in nobody is sent to do so again: what is not
// enough then would not be enough afterwards, and the browser would go round in
// circles. It counts from when the session began as well: a provider may have answered
// at once, from a session of its own.
const justProved = time.Minute

// challenge is the value of WWW-Authenticate (RFC 9470, section 3).
func (s StepUp) challenge() string {
	text := `Bearer realm="matron", error="insufficient_user_authentication", error_description="A stronger or more recent sign-in is needed"`
	if len(s.ACR) > 0 {
		text += `, acr_values="` + strings.Join(s.ACR, " ") + `"`
	}
	return text + `, max_age="` + strconv.FormatInt(int64(s.MaxAge/time.Second), 10) + `"`
}

// stepUpMayHelp reports whether signing in again could change anything: where the
// provider does not say when somebody signed in, it could not be seen to.
func (x *exchange) stepUpMayHelp() bool {
	proved, now := x.subject.AuthTime, x.g.cfg.Now()
	if began := x.g.cfg.Began; began != nil && now.Sub(began(x.subject)) <= justProved {
		return false
	}
	return !proved.IsZero() && now.Sub(proved) > justProved
}

// emergencyInstead reports whether a person is shown the way by emergency access rather
// than sent to a sign-in service that does not answer (GW-10).
func (x *exchange) emergencyInstead() bool {
	return x.offered != "" && x.g.cfg.SignInWorks != nil && !x.g.cfg.SignInWorks(x.r.Context())
}

// stepUp is the address that signs in again and leads back to target.
func (x *exchange) stepUp(target string) string { return x.signIn(target) + "&again=stronger" }
