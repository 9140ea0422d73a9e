package syslog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/matron-epr/matron/audit"
)

// ErrConfig says that New was not given what it needs.
var ErrConfig = errors.New("syslog exporter configuration")

// Source is where records come from: the journal. Implementations are safe for
// concurrent use.
type Source interface {
	// Source is the id that every record carries.
	Source() string
	// Committed is the seq of the last durable record, 0 when there is none.
	Committed() uint64
	// Read returns up to limit durable records from seq from on, in order.
	Read(from uint64, limit int) ([]audit.Record, error)
	// Wait returns nil once Committed exceeds after, and fails when nothing
	// more will come.
	Wait(ctx context.Context, after uint64) error
}

// Config is what an exporter needs. Source, Peer.Address, CursorPath, Now and
// Log are required.
type Config struct {
	Source     Source
	Peer       Peer
	CursorPath string
	From       uint64 // first record to send where there is no cursor yet; default 1
	Encoder    EncoderConfig
	Log        *slog.Logger
	Now        func() time.Time

	// Window is how long a collector may hold a message in memory: what it took
	// within this time before a break is sent again. Default 30 s.
	Window  time.Duration
	BackOff time.Duration // after the first failure, doubled up to 64-fold; default 500 ms
	Timeout time.Duration // of connecting, and of a peer that takes nothing; default 30 s
}

// maxChunk is about how many octets are written at once.
const maxChunk = 64 << 10

// readLimit is how many records are read from the source at once.
const readLimit = 256

func (c Config) withDefaults() (Config, error) {
	if c.Source == nil || c.Peer.Address == "" || c.CursorPath == "" || c.Now == nil || c.Log == nil {
		return c, fmt.Errorf("%w: Source, Peer.Address, CursorPath, Now and Log are required", ErrConfig)
	}
	c.Window = orDefault(c.Window, 30*time.Second)
	c.BackOff = orDefault(c.BackOff, 500*time.Millisecond)
	c.Timeout = orDefault(c.Timeout, 30*time.Second)
	return c, nil
}

func orDefault(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// Exporter carries records from the journal to one collector, each at least
// once.
//
// Syslog has no acknowledgement, so the cursor moves over a message only when
// the collector's TCP has acknowledged its last octet and the collector has been
// seen alive Window later. After every break, of either side, sending begins
// again after the cursor.
type Exporter struct {
	cfg     Config
	encoder *Encoder
	cursor  *cursor // moved by the goroutine of Run alone

	mu     sync.Mutex // guards status and oldest
	status Status
	oldest time.Time // time of the first record that is not acknowledged; zero when not known
}

// New makes an exporter that goes on after the cursor. A cursor that cannot be
// trusted is an error that wraps ErrCursor: where to go on is never guessed.
func New(cfg Config) (*Exporter, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	enc, err := NewEncoder(cfg.Encoder)
	if err != nil {
		return nil, err
	}
	cur, err := openCursor(cfg.CursorPath, cfg.Source.Source(), cfg.From)
	if err != nil {
		return nil, err
	}
	if committed := cfg.Source.Committed(); cur.seq > committed {
		return nil, fmt.Errorf("%w: %s: the next record would be %d, the journal ends at %d: is this the right journal?",
			ErrCursor, cfg.CursorPath, cur.seq+1, committed)
	}
	e := &Exporter{cfg: cfg, encoder: enc, cursor: cur}
	e.status.Sent, e.status.Confirmed = cur.seq, cur.seq
	return e, nil
}

// Run sends until ctx ends (nil) or the source ends and all of it is confirmed
// (the source's error). While the collector is away it tries again, ever less
// often; nothing else waits for it.
func (e *Exporter) Run(ctx context.Context) error {
	pause := e.cfg.BackOff
	for {
		before := e.cursor.seq
		err := e.session(ctx)
		var ended *sourceEnded
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &ended):
			return err
		}
		if e.cursor.seq > before {
			pause = e.cfg.BackOff
		}
		e.failed(ctx, err, pause)
		if !sleep(ctx, pause) {
			return nil
		}
		pause = min(2*pause, 64*e.cfg.BackOff)
	}
}

// failed keeps what went wrong. What was sent and not confirmed counts as not
// sent: it will be sent again.
func (e *Exporter) failed(ctx context.Context, err error, pause time.Duration) {
	code := errorCode(err)
	var oldest time.Time
	if records, err := e.cfg.Source.Read(e.cursor.seq+1, 1); err == nil && len(records) > 0 {
		oldest = records[0].Time
	}
	e.mu.Lock()
	e.status.LastError, e.status.Connected = code, false
	e.status.Sent, e.oldest = e.cursor.seq, oldest
	e.mu.Unlock()
	e.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "audit messages not delivered, records wait in the journal",
		slog.String("code", code), slog.String("error", err.Error()), slog.Duration("again_in", pause))
}

// sleep waits and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// sourceEnded says that the source will not bring anything more.
type sourceEnded struct{ err error }

func (e *sourceEnded) Error() string { return "export to syslog: " + e.err.Error() }
func (e *sourceEnded) Unwrap() error { return e.err }
