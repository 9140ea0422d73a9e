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
// enough then would not be enough afterwards, and the browser would go round in circles.
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
	proved := x.subject.AuthTime
	return !proved.IsZero() && x.g.cfg.Now().Sub(proved) > justProved
}

// stepUp is the address that signs in again and leads back to target.
func (x *exchange) stepUp(target string) string { return x.signIn(target) + "&again=stronger" }
