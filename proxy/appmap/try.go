package appmap

import (
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
	Refused    error // of Classify
	Settled    bool  // the response was held and read
	Settlement proxy.Settlement
	Withheld   error // of Settle
}

// Try takes an exchange through a map as the gateway would, for people who write
// maps and for the corpus of exchanges that keeps a map true.
func Try(m *Map, e Exchange) Trial {
	var t Trial
	t.Access, t.Refused = m.Classify(e.Request, func() ([]byte, error) { return e.RequestBody, nil })
	if t.Refused != nil || !t.Access.Hold || e.Response == nil {
		return t
	}
	t.Settled = true
	t.Settlement, t.Withheld = m.Settle(t.Access, e.Response, e.ResponseBody)
	return t
}
