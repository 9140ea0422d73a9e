package witness

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Config is what a Server needs: Dir, Now and Log.
type Config struct {
	// Dir is a folder that Create has made and AddLog has filled.
	Dir string
	// Logs are the keys of the logs to follow, each added before with AddLog; nil
	// means all keys of the folder.
	Logs []Verifier
	// BodyTimeout bounds how long a client may take to send a body, whatever the
	// listener allows. Zero means 10 seconds.
	BodyTimeout time.Duration
	Now         func() time.Time
	Log         *slog.Logger
}

// Server is a witness: an http.Handler for POST /add-checkpoint. The folder is
// its own until Close.
type Server struct {
	cfg  Config
	dir  folder
	lock *os.File
	own  cosigner
	mux  *http.ServeMux
	logs map[string]*witnessed // not changed after Open
}

// witnessed is one log.
type witnessed struct {
	origin string
	keys   note.Verifiers

	// mu is held from the check of the old size until the new state is on the
	// disk: two requests for one log never overtake each other.
	mu     sync.Mutex
	latest latest // guarded by mu
	// broken is set when a write failed: what is on the disk is unknown, so that
	// nothing is signed before the folder is opened anew. Guarded by mu.
	broken error
}

// Open takes the folder and reads every state in it. What is damaged or missing
// is an error that names the file; ErrLocked when another process has it.
func Open(cfg Config) (*Server, error) {
	if cfg.Now == nil || cfg.Log == nil {
		return nil, errors.New("open witness: clock and logger are required")
	}
	if cfg.BodyTimeout == 0 {
		cfg.BodyTimeout = 10 * time.Second
	}
	d, err := openFolder(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, dir: d, mux: http.NewServeMux(), logs: map[string]*witnessed{}}
	if s.lock, err = d.lock(); err != nil {
		return nil, errors.Join(err, d.root.Close())
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.mux.HandleFunc("POST "+endpoint, s.addCheckpoint)
	return s, nil
}

func (s *Server) load() error {
	var err error
	if s.own, err = readCosigner(s.dir.path(keyName)); err != nil {
		return err
	}
	origins, err := s.dir.origins()
	if err != nil {
		return err
	}
	added := map[string]bool{}
	for _, origin := range origins {
		keys, err := s.dir.keys(origin)
		if err != nil {
			return err
		}
		trusted := keys
		if s.cfg.Logs != nil {
			trusted = slices.DeleteFunc(slices.Clone(keys), func(k Verifier) bool {
				return !slices.ContainsFunc(s.cfg.Logs, func(l Verifier) bool { return l.String() == k.String() })
			})
		}
		if len(trusted) == 0 {
			continue
		}
		l, err := s.dir.latest(origin, s.own.v, keys)
		if err != nil {
			return err
		}
		for _, k := range trusted {
			added[k.String()] = true
		}
		s.logs[origin] = &witnessed{origin: origin, keys: note.VerifierList(verifiers(trusted)...), latest: l}
	}
	for _, l := range s.cfg.Logs {
		if !added[l.String()] {
			return fmt.Errorf("log %s: %w with this key", l.name, ErrNotAdded)
		}
	}
	return nil
}

// Close gives the folder back. Requests must have ended.
func (s *Server) Close() error { return errors.Join(s.lock.Close(), s.dir.root.Close()) }

// Verifier is the public key of the witness.
func (s *Server) Verifier() Verifier { return s.own.v }

// ServeHTTP answers POST /add-checkpoint; mount it behind http.StripPrefix to
// serve it elsewhere.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// answer is a status with its body. The zero answer is an error.
type answer struct {
	status int
	size   bool // the body is a tree size
	body   string
}

func refusal(status int, format string, args ...any) answer {
	return answer{status: status, body: fmt.Sprintf(format, args...) + "\n"}
}

func (s *Server) addCheckpoint(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	// A time long past ends the read at once. Not every ResponseWriter can do it;
	// the listener has limits of its own.
	slow := time.AfterFunc(s.cfg.BodyTimeout, func() { _ = control.SetReadDeadline(time.Unix(1, 0)) })
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	slow.Stop()
	var a answer
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		a = refusal(http.StatusRequestEntityTooLarge, "a request has at most %d bytes", maxBody)
	case errors.Is(err, os.ErrDeadlineExceeded):
		a = refusal(http.StatusRequestTimeout, "the body took longer than %s", s.cfg.BodyTimeout)
	case err != nil:
		a = refusal(http.StatusBadRequest, "the body ended early")
	default:
		a = s.decide(r, body)
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if a.size {
		h.Set("Content-Type", sizeType)
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body) // a client that has gone asks again
}

// decide reads and verifies a request; what it makes of it is the witness's
// word.
func (s *Server) decide(r *http.Request, body []byte) answer {
	req, err := parseRequest(body)
	if err != nil {
		return refusal(http.StatusBadRequest, "%v", err)
	}
	l, ok := s.logs[req.origin()]
	if !ok {
		return refusal(http.StatusNotFound, "this witness does not follow that log")
	}
	n, err := note.Open(req.note, l.keys)
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified):
		return refusal(http.StatusForbidden, "no signature is of a key that this witness knows for that log")
	case errors.As(err, &invalid):
		return refusal(http.StatusForbidden, "a signature of the log's key does not verify")
	case err != nil:
		return refusal(http.StatusBadRequest, "the checkpoint is not a signed note")
	}
	c, err := ParseCheckpoint(n.Text)
	if errors.Is(err, errEmptyRoot) {
		return refusal(http.StatusUnprocessableEntity, "%v", err)
	}
	if err != nil {
		return refusal(http.StatusBadRequest, "%v", err)
	}
	if req.old > c.Size {
		return refusal(http.StatusBadRequest, "the old size %d is larger than the checkpoint's %d", req.old, c.Size)
	}
	return s.advance(r, l, req, c, n)
}

// advance moves a log on: check, sign, persist, answer, in this order and one
// request at a time, so that no two roots are ever signed for one size (GW-13).
func (s *Server) advance(r *http.Request, l *witnessed, req request, c Checkpoint, n *note.Note) answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return refusal(http.StatusServiceUnavailable, "this witness could not write its state and signs nothing until it is restarted")
	}
	if req.old != l.latest.Size {
		return answer{status: http.StatusConflict, size: true, body: fmt.Sprintf("%d\n", l.latest.Size)}
	}
	if c.Size == req.old && c.Root != l.latest.Root {
		s.keepFork(r, l, req.note)
		return refusal(http.StatusConflict, "this witness has cosigned another root for size %d", c.Size)
	}
	if err := checkProof(req, c, l.latest.Root); err != nil {
		s.cfg.Log.LogAttrs(r.Context(), slog.LevelWarn, "a signed checkpoint does not extend what was cosigned",
			slog.String("origin", l.origin), slog.Int64("cosigned", l.latest.Size), slog.Int64("size", c.Size))
		return refusal(http.StatusUnprocessableEntity, "the proof does not show that size %d extends size %d", c.Size, req.old)
	}
	// Time never goes back for one log, whatever the clock does.
	at := max(seconds(s.cfg.Now()), seconds(l.latest.at))
	// Only signatures that were verified are kept.
	signed, err := note.Sign(&note.Note{Text: n.Text, Sigs: n.Sigs}, s.own.at(at))
	if err != nil {
		return s.fail(r, l, err)
	}
	lines := bytes.SplitAfter(signed, []byte("\n"))
	if err := s.dir.replace(stem(l.origin)+latestName, signed); err != nil {
		return s.fail(r, l, err)
	}
	l.latest = latest{Checkpoint: c, at: time.Unix(int64(at), 0), note: signed} //nolint:gosec // a time
	return answer{status: http.StatusOK, body: string(lines[len(lines)-2])}     // the newest signature is the last line
}

// fail stops signing for a log: after a failed write the disk may hold the old
// or the new state, and a second try could hide the failure.
func (s *Server) fail(r *http.Request, l *witnessed, err error) answer {
	l.broken = err
	s.cfg.Log.LogAttrs(r.Context(), slog.LevelError, "state could not be written, the log is not witnessed until a restart",
		slog.String("origin", l.origin), slog.Any("error", err))
	return refusal(http.StatusInternalServerError, "this witness could not write its state")
}

// checkProof checks that c extends a tree of the old size with the root.
func checkProof(req request, c Checkpoint, root tlog.Hash) error {
	if req.old == 0 {
		if len(req.proof) > 0 {
			return errors.New("nothing is proved of an empty tree")
		}
		return nil
	}
	return tlog.CheckTree(req.proof, c.Size, c.Root, req.old, root)
}

// keepFork writes the first proof of misbehaviour down: two notes of one log,
// one size, two roots, both signed. Whoever holds the file can show it.
func (s *Server) keepFork(r *http.Request, l *witnessed, other []byte) {
	text := fmt.Appendf(nil, "%s\n%s", l.latest.note, other)
	err := s.dir.create(stem(l.origin)+forkName, text)
	if errors.Is(err, ErrExists) {
		err = nil
	}
	s.cfg.Log.LogAttrs(r.Context(), slog.LevelError, "A LOG HAS SIGNED TWO HISTORIES",
		slog.String("origin", l.origin), slog.Int64("size", l.latest.Size),
		slog.String("kept", s.dir.path(stem(l.origin)+forkName)), slog.Any("error", err))
}
