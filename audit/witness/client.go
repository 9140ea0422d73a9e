package witness

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Prove returns the consistency proof (RFC 6962, 2.1.2) from oldSize to newSize
// of the log whose checkpoint is cosigned. It is called with 0 < oldSize <
// newSize, by several goroutines at once.
type Prove func(ctx context.Context, oldSize, newSize int64) ([]tlog.Hash, error)

const (
	// defaultTimeout bounds one witness for one checkpoint.
	defaultTimeout = 5 * time.Second
	// attempts bound how often one checkpoint is sent to one witness: it says its
	// size, another client of the same log may come between, and no more.
	attempts = 3
	// longestPause is the longest that a witness in trouble is left alone.
	longestPause = 30 * time.Second
)

// Peer is one witness to ask.
type Peer struct {
	// URL is the submission prefix: /add-checkpoint is added to it.
	URL string
	Key Verifier
	// HTTP is made by NewHTTPClient.
	HTTP *http.Client
}

// NewHTTPClient returns a client for witnesses whose certificates are signed by
// the roots in caFile; "" means the system's. It follows no redirect: a
// checkpoint goes to the witness that was named.
func NewHTTPClient(caFile string) (*http.Client, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile) //nolint:gosec // the operator names the file
		if err != nil {
			return nil, fmt.Errorf("read roots of a witness: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read roots of a witness: %s holds no PEM certificate", caFile)
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: conf, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: 1, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// Client asks one witness.
type Client struct {
	peer    Peer
	timeout time.Duration
	now     func() time.Time

	// turn holds one token: a witness is asked for one checkpoint at a time.
	turn chan struct{}

	mu        sync.Mutex
	size      int64     // what the witness is thought to know; guarded by mu
	failures  int       // in a row; guarded by mu
	notBefore time.Time // when it is asked again; guarded by mu
	last      error     // of the last failure; guarded by mu
}

// NewClient returns a client that gives up after timeout; zero means 5 seconds.
// now is the clock for the pauses after failures.
func NewClient(p Peer, timeout time.Duration, now func() time.Time) (*Client, error) {
	if p.HTTP == nil || p.Key.kind != WitnessKey || now == nil {
		return nil, errors.New("witness client: a witness's key, HTTP client and clock are required")
	}
	u, err := url.Parse(p.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !onLoopback(u.Hostname())) {
		return nil, fmt.Errorf("%w: witness %s has the URL %q: give an address that begins with https://", ErrPolicy, p.Key.name, p.URL)
	}
	if timeout == 0 {
		timeout = defaultTimeout
	}
	c := &Client{peer: p, timeout: timeout, now: now, turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c, nil
}

// onLoopback reports whether a host is this machine, where TLS is not needed.
func onLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Cosign asks for a cosignature of a signed checkpoint and verifies it. A
// witness that failed is left alone for a while, 1 to 30 seconds: until then
// the answer is its last error. The error is one of ErrUnavailable, ErrRefused,
// ErrInconsistent, ErrAhead and ErrBadAnswer, or what prove returned.
func (c *Client) Cosign(ctx context.Context, checkpoint []byte, prove Prove) (note.Signature, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	select {
	case <-c.turn:
		defer func() { c.turn <- struct{}{} }()
	case <-ctx.Done():
		return note.Signature{}, fmt.Errorf("%s: %w: it is still busy with an earlier checkpoint", c.peer.Key.name, ErrUnavailable)
	}
	if err := c.resting(); err != nil {
		return note.Signature{}, err
	}
	text, tree, err := noteText(checkpoint)
	if err != nil {
		return note.Signature{}, err
	}
	sig, err := c.negotiate(ctx, checkpoint, text, tree, prove)
	if err != nil {
		err = fmt.Errorf("%s: %w", c.peer.Key.name, err)
	}
	c.noteResult(tree.Size, err)
	return sig, err
}

// noteText is the signed text of a note whose signatures are not looked at.
func noteText(signed []byte) (string, Checkpoint, error) {
	at := bytes.LastIndex(signed, []byte("\n\n"))
	if at < 0 {
		return "", Checkpoint{}, fmt.Errorf("note %w: it has no signatures", ErrMalformed)
	}
	text := string(signed[:at+1])
	c, err := ParseCheckpoint(text)
	return text, c, err
}

// resting is the last error while the witness is left alone.
func (c *Client) resting() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures > 0 && c.now().Before(c.notBefore) {
		return c.last
	}
	return nil
}

func (c *Client) noteResult(size int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.size, c.failures, c.last = size, 0, nil
		return
	}
	pause := min(longestPause, time.Second<<min(c.failures, 10))
	c.failures++
	c.last, c.notBefore = err, c.now().Add(pause)
}

func (c *Client) known() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size
}

// negotiate sends a checkpoint, adopting the size that the witness names.
func (c *Client) negotiate(ctx context.Context, checkpoint []byte, text string, tree Checkpoint, prove Prove) (note.Signature, error) {
	old := min(c.known(), tree.Size)
	for range attempts {
		req := request{old: old, note: checkpoint}
		if 0 < old && old < tree.Size {
			var err error
			if req.proof, err = prove(ctx, old, tree.Size); err != nil {
				return note.Signature{}, fmt.Errorf("prove that size %d extends %d: %w", tree.Size, old, err)
			}
		}
		got, err := c.send(ctx, req)
		if err != nil {
			return note.Signature{}, err
		}
		if got.status != http.StatusConflict {
			return c.judge(got, text)
		}
		if old, err = c.conflict(got, old, tree.Size); err != nil {
			return note.Signature{}, err
		}
	}
	return note.Signature{}, fmt.Errorf("%w: it named another tree size %d times", ErrBadAnswer, attempts)
}

// conflict reads a 409: the size that the witness knows, to prove from.
func (c *Client) conflict(got response, old, size int64) (int64, error) {
	known, ok := parseSize(strings.TrimSuffix(string(got.body), "\n"))
	switch {
	case old == size && (!got.size || known == old):
		return 0, fmt.Errorf("%w: it has cosigned another root for size %d", ErrInconsistent, old)
	case !got.size || !ok || known == old:
		return 0, fmt.Errorf("%w: 409 with %.20q for a tree size, after size %d", ErrBadAnswer, got.body, old)
	case known < c.known():
		return 0, fmt.Errorf("%w: it has cosigned size %d and now says %d: it has lost its state and needs a new key", ErrBadAnswer, c.known(), known)
	case known > size:
		return 0, fmt.Errorf("%w: %d, and the checkpoint has %d", ErrAhead, known, size)
	}
	return known, nil
}

// response is a bounded answer.
type response struct {
	status int
	size   bool
	body   []byte
}

func (c *Client) send(ctx context.Context, req request) (response, error) {
	address := strings.TrimSuffix(c.peer.URL, "/") + endpoint
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(req.body()))
	if err != nil {
		return response{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	r.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := c.peer.HTTP.Do(r)
	if err != nil {
		return response{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return response{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if len(body) > maxAnswer {
		return response{}, fmt.Errorf("%w: it has more than %d bytes", ErrBadAnswer, maxAnswer)
	}
	return response{status: resp.StatusCode, size: resp.Header.Get("Content-Type") == sizeType, body: body}, nil
}

// judge turns every answer but 409 into a cosignature or an error.
func (c *Client) judge(got response, text string) (note.Signature, error) {
	switch {
	case got.status == http.StatusOK:
		return c.verify(got.body, text)
	case got.status == http.StatusUnprocessableEntity:
		return note.Signature{}, fmt.Errorf("%w: the proof does not fit what it has cosigned", ErrInconsistent)
	case got.status == http.StatusNotFound:
		return note.Signature{}, fmt.Errorf("%w: 404, it does not follow this log: its operator must add the log's key", ErrRefused)
	case got.status == http.StatusForbidden:
		return note.Signature{}, fmt.Errorf("%w: 403, it knows another key for this log", ErrRefused)
	case got.status >= 500 || got.status == http.StatusTooManyRequests || got.status == http.StatusRequestTimeout:
		return note.Signature{}, fmt.Errorf("%w: status %d", ErrUnavailable, got.status)
	case got.status >= 400:
		return note.Signature{}, fmt.Errorf("%w: status %d", ErrRefused, got.status)
	default:
		return note.Signature{}, fmt.Errorf("%w: status %d", ErrBadAnswer, got.status)
	}
}

// verify believes nothing but a signature of the witness's own key over exactly
// the text that was sent: more text has an empty line, and is no checkpoint.
// Signatures of other keys are left out.
func (c *Client) verify(lines []byte, text string) (note.Signature, error) {
	n, err := note.Open(append([]byte(text+"\n"), lines...), note.VerifierList(c.peer.Key))
	if err != nil {
		return note.Signature{}, fmt.Errorf("%w: %w", ErrBadAnswer, err)
	}
	return n.Sigs[0], nil
}
