package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/policy/care/hl7"
	"github.com/matron-epr/matron/policy/care/mllp"
)

// careRefusals records what the listener for HL7 messages refuses (mllp.Observer). The
// first refusal of a kind is recorded at once; what is like it within a minute is
// counted and recorded together, so that a garbled feed or a stranger who does not
// give up cannot fill the record (GW-02).
type careRefusals struct {
	journal *journal.Journal
	metrics *metrics
	log     *slog.Logger
	now     func() time.Time

	mu    sync.Mutex
	again map[refusalKind]uint64 // how often since it was last recorded. Guarded by mu
}

// refusalKind is what is counted together.
type refusalKind struct {
	host, peer string
	sender     mllp.Sender
	code       string
}

// maxRefusalKinds bounds what is told apart within a minute.
const maxRefusalKinds = 256

func newCareRefusals(g *Gateway) *careRefusals {
	return &careRefusals{journal: g.journal, metrics: g.metrics, log: g.log, now: g.now, again: map[refusalKind]uint64{}}
}

// Refused implements mllp.Observer.
func (c *careRefusals) Refused(r mllp.Refusal) {
	code := refusalCode(r.Reason)
	c.metrics.care.WithLabelValues(code).Inc()
	host, _, err := net.SplitHostPort(r.Address)
	if err != nil {
		host = r.Address
	}
	k := refusalKind{host, r.Peer, r.Sender, code}
	c.mu.Lock()
	if _, known := c.again[k]; !known && len(c.again) >= maxRefusalKinds {
		k = refusalKind{code: code}
	}
	_, known := c.again[k]
	if known {
		c.again[k]++
	} else {
		c.again[k] = 0
	}
	c.mu.Unlock()
	if !known {
		c.record(context.Background(), k, r.At, r.Reason, "control="+plain(r.Control))
	}
}

// tell records what was counted, and begins to count anew.
func (c *careRefusals) tell(ctx context.Context) {
	c.mu.Lock()
	again := c.again
	c.again = map[refusalKind]uint64{}
	c.mu.Unlock()
	for k, n := range again {
		if n > 0 {
			c.record(ctx, k, c.now(), nil, "repeated="+strconv.FormatUint(n, 10))
		}
	}
}

// record writes one refusal. On error: the message stays refused, and the log says
// that its record is missing.
func (c *careRefusals) record(ctx context.Context, k refusalKind, at time.Time, reason error, more string) {
	rec := &audit.Record{
		Kind: audit.KindFeed, Time: at.UTC().Truncate(time.Microsecond), Outcome: audit.SeriousFailure, Error: k.code,
		ClientIP: k.host, ClientCN: plain(k.peer),
		Detail: []string{"application=" + plain(k.sender.Application), "facility=" + plain(k.sender.Facility), more},
	}
	if e, ok := errors.AsType[*hl7.Error](reason); ok {
		rec.Detail = append(rec.Detail, "why="+e.Error()) // names places and no values
	}
	rec.Bound()
	c.log.LogAttrs(ctx, slog.LevelWarn, "HL7 message refused", slog.String("code", k.code), slog.String("address", k.host), slog.String("more", more))
	if err := c.journal.Add(rec); err != nil {
		c.log.LogAttrs(ctx, slog.LevelError, "a refused HL7 message is not recorded", slog.Any("error", err))
	}
}

// refusalCode is why a message or a connection was refused.
func refusalCode(reason error) string {
	for _, known := range []struct {
		err  error
		code string
	}{
		{mllp.ErrCertificate, "feed-no-certificate"},
		{mllp.ErrPeer, "feed-unknown-system"},
		{mllp.ErrSender, "feed-unknown-sender"},
		{mllp.ErrTooLarge, "feed-too-large"},
		{mllp.ErrSlow, "feed-slow"},
		{mllp.ErrCrowded, "feed-crowded"},
		{mllp.ErrNoise, "feed-noise"},
		{mllp.ErrPanic, "feed-error"},
	} {
		if errors.Is(reason, known.err) {
			return known.code
		}
	}
	if _, ok := errors.AsType[*hl7.Error](reason); ok {
		return "feed-garbled"
	}
	return "feed-not-kept"
}

// plain is a name that somebody unknown gave, in the form of records: short, and
// without what is not to be printed.
func plain(s string) string {
	const most = 64
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), most)]
}
