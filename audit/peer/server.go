package peer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// ServerConfig says for whom segments are kept and where.
type ServerConfig struct {
	// Dir is the folder that gets a folder for each gateway; made when missing.
	Dir string
	// Allow are the names that certificates of other gateways may have.
	Allow []string
	// MaxBytes is how much is kept for each of them.
	MaxBytes int64
	Log      *slog.Logger
}

// Server keeps segments for other gateways.
type Server struct {
	cfg  ServerConfig
	root *os.Root

	mu     sync.Mutex
	locks  map[string]*sync.Mutex // by gateway: one change at a time
	broken map[string]bool        // gateway/file: a write or sync of it failed
}

// NewServer opens the folder.
func NewServer(c ServerConfig) (*Server, error) {
	for _, name := range c.Allow {
		if !isName(name) {
			return nil, fmt.Errorf("peer server: %q is not the name of a gateway", name)
		}
	}
	if c.MaxBytes <= 0 {
		return nil, errors.New("peer server: max_bytes must be above 0")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("peer server: %w", err)
	}
	dir, err := os.OpenRoot(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("peer server: %w", err)
	}
	return &Server{cfg: c, root: dir, locks: map[string]*sync.Mutex{}, broken: map[string]bool{}}, nil
}

// Close gives the folder up.
func (s *Server) Close() error { return s.root.Close() }

// Register puts the service on a mux that is served with Files.TLS.
func (s *Server) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST "+root+"/source", s.handle(s.open))
	mux.HandleFunc("GET "+root+"/files", s.handle(s.list))
	mux.HandleFunc("POST "+root+"/probe", s.handle(s.probe))
	mux.HandleFunc("PUT "+root+"/files/{name}", s.handle(s.create))
	mux.HandleFunc("PATCH "+root+"/files/{name}", s.handle(s.add))
	mux.HandleFunc("GET "+root+"/files/{name}", s.handle(s.read))
	mux.HandleFunc("POST "+root+"/files/{name}/seal", s.handle(s.seal))
	mux.HandleFunc("DELETE "+root+"/files/{name}", s.handle(s.remove))
}

// refusal is an answer other than success.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

func refuse(status int, format string, args ...any) error {
	return refusal{status, fmt.Sprintf(format, args...)}
}

// kept is the folder of one gateway.
type kept struct {
	*os.Root
	gateway string
}

// handle finds out who asks, and answers with what do returns. Nobody whose
// certificate is not of the authority and on the list gets any further (GW-18).
func (s *Server) handle(do func(kept, *http.Request, http.ResponseWriter) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		gateway := Caller(r, s.cfg.Allow)
		if gateway == "" {
			http.Error(w, "this certificate is not of a gateway on the list", http.StatusForbidden)
			return
		}
		lock := s.lock(gateway)
		lock.Lock()
		defer lock.Unlock()
		k := kept{gateway: gateway}
		var err error
		if k.Root, err = s.root.OpenRoot(gateway); err == nil {
			defer k.Close() //nolint:errcheck // a folder that was read
		} else if !errors.Is(err, fs.ErrNotExist) {
			s.fail(w, r, gateway, err)
			return
		}
		if k.Root == nil && r.URL.Path != root+"/source" {
			http.Error(w, "nothing was ever kept here for "+gateway, http.StatusNotFound)
			return
		}
		if err := do(k, r, w); err != nil {
			s.fail(w, r, gateway, err)
		}
	}
}

// Caller returns the name on the list that the other side's verified certificate
// has, or "".
func Caller(r *http.Request, allow []string) string {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return ""
	}
	for _, name := range allow {
		if r.TLS.VerifiedChains[0][0].VerifyHostname(name) == nil {
			return name
		}
	}
	return ""
}

func (s *Server) lock(gateway string) *sync.Mutex {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.locks[gateway] == nil {
		s.locks[gateway] = &sync.Mutex{}
	}
	return s.locks[gateway]
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, gateway string, err error) {
	status := http.StatusInternalServerError
	var no refusal
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &no):
		status = no.status
	case errors.As(err, &long):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, fs.ErrNotExist):
		status = http.StatusNotFound
	case errors.Is(err, syscall.ENOSPC):
		status = http.StatusInsufficientStorage
	}
	s.cfg.Log.LogAttrs(r.Context(), slog.LevelWarn, "peer: refused", slog.String("gateway", gateway),
		slog.String("method", r.Method), slog.Int("status", status), slog.String("error", err.Error()))
	http.Error(w, err.Error(), status)
}

// open makes the folder of a gateway, durably.
func (s *Server) open(k kept, _ *http.Request, _ http.ResponseWriter) error {
	if k.Root != nil {
		return nil
	}
	if err := s.root.Mkdir(k.gateway, 0o700); err != nil {
		return err
	}
	return syncFolder(s.root)
}

func (*Server) list(k kept, _ *http.Request, w http.ResponseWriter) error {
	names := []string{}
	entries, err := fs.ReadDir(k.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if isSegment(e.Name()) {
			names = append(names, e.Name())
		}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(names)
}

// room refuses what would exceed the share of a gateway.
func (s *Server) room(k kept, more int64) error {
	entries, err := fs.ReadDir(k.FS(), ".")
	if err != nil {
		return err
	}
	used := int64(0)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		used += info.Size()
	}
	if more > s.cfg.MaxBytes-used {
		return refuse(http.StatusInsufficientStorage, "%d bytes are kept for %s, %d more would exceed max_bytes %d", used, k.gateway, more, s.cfg.MaxBytes)
	}
	return nil
}

// probe finds out whether a segment of that size could be kept.
func (s *Server) probe(k kept, r *http.Request, _ http.ResponseWriter) error {
	size, err := number(r, "size")
	if err != nil {
		return err
	}
	if err := s.room(k, size); err != nil {
		return err
	}
	const name = "probe.tmp"
	want := []byte("probe")
	if err := putNew(k.Root, name, want); err != nil {
		return err
	}
	got, err := k.ReadFile(name)
	if err == nil && !bytes.Equal(got, want) {
		err = errors.New("what was written cannot be read back")
	}
	return errors.Join(err, k.Remove(name), syncFolder(k.Root))
}

// create makes a segment that begins with the body. The same again is no error,
// since an answer may get lost.
func (s *Server) create(k kept, r *http.Request, w http.ResponseWriter) error {
	name, err := segment(r)
	if err != nil {
		return err
	}
	size, err := number(r, "size")
	if err != nil {
		return err
	}
	head, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxHead))
	if err != nil {
		return err
	}
	there, err := k.ReadFile(name)
	switch {
	case err == nil && bytes.Equal(there, head):
		return syncFolder(k.Root)
	case err == nil:
		return refuse(http.StatusConflict, "%s is there already and holds other bytes", name)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := s.room(k, max(size, int64(len(head)))); err != nil {
		return err
	}
	if err := putNew(k.Root, name+".tmp", head); err != nil {
		return err
	}
	if err := k.Rename(name+".tmp", name); err != nil {
		return err
	}
	return syncFolder(k.Root)
}

// add appends the body at an offset and answers when it is on stable storage.
// What is there already must be the same; it is never overwritten (GW-13).
func (s *Server) add(k kept, r *http.Request, w http.ResponseWriter) (err error) {
	name, err := segment(r)
	if err != nil {
		return err
	}
	off, err := number(r, "offset")
	if err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return err
	}
	f, err := k.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) {
		return refuse(http.StatusConflict, "%s is sealed", name)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if off > size {
		return refuse(http.StatusConflict, "%s ends at %d, so that nothing can be appended at %d", name, size, off)
	}
	same := make([]byte, min(int64(len(body)), size-off))
	if _, err := f.ReadAt(same, off); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.Equal(same, body[:len(same)]) {
		return refuse(http.StatusConflict, "%s holds other bytes at %d", name, off)
	}
	if info.Mode().Perm()&0o200 == 0 && len(same) < len(body) {
		return refuse(http.StatusConflict, "%s is sealed", name)
	}
	more := body[len(same):]
	if err := s.room(k, int64(len(more))); err != nil {
		return err
	}
	if s.isBroken(k, name, nil) {
		return refuse(http.StatusConflict, "%s takes nothing more after a failed write", name)
	}
	if _, err = f.WriteAt(more, size); err == nil {
		err = f.Sync()
	}
	s.isBroken(k, name, err)
	return err
}

// isBroken notes a failed write or sync, and reports whether there was one: a
// second sync of the same file could report success for pages that the kernel
// has dropped (GW-13).
func (s *Server) isBroken(k kept, name string, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := k.gateway + "/" + name
	if err != nil {
		s.broken[at] = true
	}
	return s.broken[at]
}

func (*Server) read(k kept, r *http.Request, w http.ResponseWriter) error {
	name, err := segment(r)
	if err != nil {
		return err
	}
	off, err := number(r, "offset")
	if err != nil {
		return err
	}
	length, err := number(r, "length")
	if err != nil {
		return err
	}
	if length > maxBody {
		return refuse(http.StatusBadRequest, "at most %d bytes are read at a time", maxBody)
	}
	f, err := k.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // a file that was read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	b := make([]byte, max(0, min(length, info.Size()-off)))
	if _, err := f.ReadAt(b, off); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	w.Header().Set(sizeField, strconv.FormatInt(info.Size(), 10))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, err = w.Write(b) //nolint:gosec // no page: bytes of a type of their own, for a gateway
	return err
}

// seal lets nothing more be appended.
func (*Server) seal(k kept, r *http.Request, _ http.ResponseWriter) error {
	name, err := segment(r)
	if err != nil {
		return err
	}
	size, err := number(r, "size")
	if err != nil {
		return err
	}
	info, err := k.Stat(name)
	if err != nil {
		return err
	}
	if info.Size() != size {
		return refuse(http.StatusConflict, "%s holds %d bytes, not %d", name, info.Size(), size)
	}
	return k.Chmod(name, 0o400)
}

func (*Server) remove(k kept, r *http.Request, _ http.ResponseWriter) error {
	name, err := segment(r)
	if err != nil {
		return err
	}
	if err := k.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncFolder(k.Root)
}

func segment(r *http.Request) (string, error) {
	name := r.PathValue("name")
	if !isSegment(name) {
		return "", refuse(http.StatusBadRequest, "%q is not the name of a segment", name)
	}
	return name, nil
}

func number(r *http.Request, field string) (int64, error) {
	n, err := strconv.ParseInt(r.URL.Query().Get(field), 10, 64)
	if err != nil || n < 0 {
		return 0, refuse(http.StatusBadRequest, "%s is not a number", field)
	}
	return n, nil
}

// putNew makes a file with this content, durable but for its name.
func putNew(d *os.Root, name string, content []byte) error {
	if err := d.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncFolder(d *os.Root) error {
	f, err := d.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// NewHTTPServer is a server with the bounds that the service needs.
func NewHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
}
