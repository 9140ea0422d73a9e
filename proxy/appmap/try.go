package appmap

import (
	"errors"
	"net/http"

	"github.com/matron-epr/matron/proxy"
)

// Exchange is a recorded request with its response, if there was one.
type Exchange struct {
	Request      *http.Request
	RequestBody  []byte
	Response     *http.Response // nil when the request alone is tried
	ResponseBody []byte
}

// Trial is what a map makes of an exchange.
type Trial struct {
	Access     proxy.Access
	Unmapped   error // why a rule that matched gave the exchange up, nil when none did
	Refused    error // of Classify
	Settled    bool  // the response was held and read
	Settlement proxy.Settlement
	Withheld   error // of Settle
}

// Try takes an exchange through a map as the gateway would, for people who write
// maps and for the corpus of exchanges that keeps a map true.
func Try(m *Map, e Exchange) Trial {
	var t Trial
	t.Access, t.Refused = m.classifyRequest(e.Request, e.body)
	if errors.Is(t.Refused, errUnmapped) {
		t.Access, t.Unmapped, t.Refused = m.unmapped(), t.Refused, nil
	}
	if t.Refused != nil || !t.Access.Hold || e.Response == nil {
		return t
	}
	t.Settled = true
	t.Settlement, t.Withheld = m.Settle(t.Access, e.Response, e.ResponseBody)
	return t
}

func (e *Exchange) body() ([]byte, error) { return e.RequestBody, nil }
