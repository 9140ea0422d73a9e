package witness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// SetConfig is what a Set needs.
type SetConfig struct {
	// Policy names the witnesses, with their URLs, and the quorum.
	Policy Policy
	// HTTP is the client for each witness, in the order of Policy.Witnesses; see
	// NewHTTPClient.
	HTTP []*http.Client
	// Timeout bounds each witness. Zero means 5 seconds.
	Timeout time.Duration
	Now     func() time.Time
}

// Set asks several witnesses at once.
type Set struct {
	policy  Policy
	clients []*Client
}

// NewSet makes a set. Every witness must have a URL, https unless it is on this
// machine.
func NewSet(cfg SetConfig) (*Set, error) {
	if cfg.Now == nil || len(cfg.HTTP) != len(cfg.Policy.Witnesses) {
		return nil, errors.New("witnesses: a clock, and an HTTP client for each, are required")
	}
	s := &Set{policy: cfg.Policy}
	for i, w := range cfg.Policy.Witnesses {
		c, err := NewClient(Peer{URL: w.URL, Key: w.Key, HTTP: cfg.HTTP[i]}, cfg.Timeout, cfg.Now)
		if err != nil {
			return nil, err
		}
		s.clients = append(s.clients, c)
	}
	return s, nil
}

// Outcome is what one witness made of a checkpoint.
type Outcome struct {
	Name string    // of its key
	URL  string    // where it was asked
	At   time.Time // that its cosignature states
	Err  error     // nil when it has cosigned
}

// Result is a checkpoint with every cosignature that was given.
type Result struct {
	Note     []byte
	Met      bool      // the quorum has cosigned
	Outcomes []Outcome // in the order of the policy
}

// Alarm is the worst thing that a witness has said of the log: that its history
// was rewritten or that it was cut back; nil when none has. A witness that is
// away is no alarm: care goes on (GW-12).
func (r Result) Alarm() error {
	var all []error
	for _, o := range r.Outcomes {
		if errors.Is(o.Err, ErrInconsistent) || errors.Is(o.Err, ErrAhead) {
			all = append(all, o.Err)
		}
	}
	return errors.Join(all...)
}

// Cosign asks every witness at once and returns when all have answered or run
// out of time. The error is about the checkpoint itself: what witnesses do is in
// the result, and does not stop anything.
func (s *Set) Cosign(ctx context.Context, checkpoint []byte, prove Prove) (Result, error) {
	if _, _, err := noteText(checkpoint); err != nil {
		return Result{}, err
	}
	sigs := make([]note.Signature, len(s.clients))
	result := Result{Outcomes: make([]Outcome, len(s.clients))}
	var asked sync.WaitGroup
	for i, c := range s.clients {
		asked.Go(func() {
			o := Outcome{Name: c.peer.Key.name, URL: c.peer.URL}
			if sigs[i], o.Err = c.Cosign(ctx, checkpoint, prove); o.Err == nil {
				o.At, o.Err = CosignedAt(sigs[i])
			}
			result.Outcomes[i] = o
		})
	}
	asked.Wait()
	result.Note = slices.Clone(checkpoint)
	var given []note.Signature
	for i, o := range result.Outcomes {
		if o.Err == nil {
			given = append(given, sigs[i])
			result.Note = fmt.Appendf(result.Note, "— %s %s\n", sigs[i].Name, sigs[i].Base64)
		}
	}
	result.Met = s.policy.Met(given)
	return result, nil
}
