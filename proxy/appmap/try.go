package appmap

import (
	"errors"
	"net/http"

	"github.com/matron-epr/matron/policy"
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
// maps and for the corpus of exchanges that keeps a map true. Where the map follows
// sessions, the exchanges that one Map is tried with are taken for those of one
// person, in this order.
func Try(m *Map, e Exchange) Trial {
	var t Trial
	turn, err := m.rehearse(e.Request)
	if err != nil {
		t.Refused = err
		return t
	}
	if turn != nil {
		defer turn.End(e.Response != nil)
	}
	t.Access, t.Refused = m.classifyIn(turn, e.Request, e.body)
	if errors.Is(t.Refused, errUnmapped) {
		t.Access, t.Unmapped, t.Refused = m.unmapped(), t.Refused, nil
		t.Access.Reason = t.Unmapped.Error()
	}
	if turn != nil && e.Response != nil {
		turn.Received(e.Response)
	}
	if t.Refused != nil || !t.Access.Hold || e.Response == nil {
		return t
	}
	t.Settled = true
	t.Settlement, t.Withheld = m.settleIn(turn, t.Access, e.Response, proxy.Short(e.ResponseBody))
	return t
}

// rehearse follows the session of a recorded request, nil where none is followed.
// A cookie that no recorded answer has handed out is that of a new session.
func (m *Map) rehearse(r *http.Request) (*turn, error) {
	if m.follow == nil {
		return nil, nil
	}
	someone := policy.Subject{Issuer: "recording", Sub: "recording"}
	if c, err := r.Cookie(m.follow.cookie); err == nil && m.follow.live.find(c.Value, ownerOf(someone)) == nil {
		m.follow.live.bind(begun(ownerOf(someone)), c.Value, true)
	}
	return m.take(someone, r)
}

func (e *Exchange) body() ([]byte, error) { return e.RequestBody, nil }
