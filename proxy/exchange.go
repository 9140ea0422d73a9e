package proxy

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// exchange is one request on its way through the gateway and what is known of
// it so far. It belongs to the goroutine that serves the request; it is also
// the http.ResponseWriter that counts what is sent.
type exchange struct {
	g     *Gateway
	route *route // nil while no application is known
	turn  Turn   // in a followed session of the application; nil for none
	w     http.ResponseWriter
	r     *http.Request

	id     string    // minted here, shown to staff as the reference
	named  [1]string // the id as the value of a header
	start  time.Time // when the request arrived
	ip     string    // the client's address
	scheme string    // how the client speaks to us
	target string    // path as received
	query  string    // raw query as received

	// entries are the requests of a batch, each with a decision of its own; nil
	// otherwise. refused is why one of them is not released.
	entries []*exchange
	refused error

	subject  policy.Subject
	access   Access
	answer   policy.Decision
	grant    Grant  // of emergency access that the rules were told of
	offered  string // path of the page that offers emergency access, "" for none
	mode     Mode
	would    bool // a refusal was recorded and not enforced
	toldOver bool // a record says that a budget is used up
	// noted are the codes of those that are not of the rules.
	noted []string
	// late are the reasons of a refusal that only the response gave rise to and
	// that was not enforced either: its records carry them.
	late     []string
	duties   []string // what the rules demanded besides, of the decision that the next records are about
	token    string   // identity token for the application
	slowed   time.Duration
	slowedBy string   // code of the limit that did, "" for none
	limited  []string // of slowed and budget, what the decision says
	budget   string   // that is used up: opened or listed, and hour or shift; "" for none
	deciding time.Duration
	recorded time.Duration
	body     *requestBody
	whole    []byte    // of it, where the map has read it
	kept     int64     // bytes of it and of a held response in memory
	spooled  SpoolFile // a held response that is not, nil for none

	decided   bool // the decision record is durable
	forwarded bool // the application may have acted on the request
	ended     bool // the gateway ended the stream
	decision  audit.Record
	receipt   audit.Receipt
	// receiptText is the receipt as the value of a header, once somebody has asked
	// for it; receiptOf is its number.
	receiptText [1]string
	receiptOf   uint64

	sentAt     time.Time
	upstream   time.Duration
	results    uint64
	doubt      string           // why nobody can tell whom the response shows
	left       string           // whether the application's session was moved, "" where it was not tried
	cookies    []string         // that the application set while it was moved
	saved      int              // status of a change that was made and whose answer is not shown, 0 for none
	savedAs    http.Header      // its address and version
	said       string           // the response of an entry of a batch, as the application wrote it
	failure    error            // sentinel of what went wrong, nil for nothing
	changes    uint64           // of what lets streams go on, as the exchange began
	stream     *stream          // nil for an answer that ends by itself
	ending     *policy.Decision // that did, nil where it was not the rules
	status     int
	bytesOut   int64
	outcomeRec audit.Record
}

type exchangeKey struct{}

// exchangeFrom returns the exchange that ctx belongs to, or nil.
func exchangeFrom(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// Header is part of http.ResponseWriter.
func (x *exchange) Header() http.Header { return x.w.Header() }

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.w }

// WriteHeader notes the status and sends it. Informational responses are
// dropped: nothing of theirs is held, cleaned or recorded (GW-08).
func (x *exchange) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	if x.status == 0 {
		x.status = status
	}
	x.w.WriteHeader(status)
}

// Write counts what is sent.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	if x.stream != nil && x.stream.endless {
		if !x.stream.sending() {
			return 0, net.ErrClosed
		}
		defer x.stream.sent()
	}
	n, err := x.w.Write(b) //nolint:gosec // an application's response is passed on as it is; our own pages are html/template
	x.bytesOut += int64(n)
	if err != nil {
		x.fail(errClientGone)
	}
	return n, err
}

// FlushError sends what has been written.
func (x *exchange) FlushError() error {
	if x.stream != nil && x.stream.endless {
		if !x.stream.sending() {
			return net.ErrClosed
		}
		defer x.stream.sent()
	}
	return http.NewResponseController(x.w).Flush()
}

// bytesIn counts what the client has sent.
func (x *exchange) bytesIn() int64 {
	switch {
	case x.stream != nil && x.status == http.StatusSwitchingProtocols:
		return x.stream.in.Load()
	case x.body != nil:
		return x.body.n.Load()
	}
	return 0
}

// fail notes the first thing that went wrong.
func (x *exchange) fail(err error) {
	if x.failure == nil {
		x.failure = err
	}
}

// writes reports whether the request may change the record. What nobody can
// tell counts as a write.
func (x *exchange) writes() bool {
	switch x.r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return x.access.Action.Writes()
	}
	return x.access.Action == "" || x.access.Action.Writes()
}
