package fhirepr

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// fault is a refusal that the client gets to see. Texts hold no patient data.
type fault struct {
	status int
	code   string // FHIR issue type
	text   string
}

func (f *fault) Error() string { return f.text }

// key names a resource.
type key struct{ Type, ID string }

// version is one version of a resource. A deleted one has no body.
type version struct {
	Type    string          `json:"type"`
	ID      string          `json:"id"`
	N       int             `json:"n"`
	At      time.Time       `json:"at"`
	Deleted bool            `json:"deleted,omitempty"`
	Body    json.RawMessage `json:"body,omitempty"`
}

func (v version) key() key     { return key{v.Type, v.ID} }
func (v version) etag() string { return `W/"` + strconv.Itoa(v.N) + `"` }

// change is one write that a client asks for.
type change struct {
	method  string // POST, PUT, DELETE
	key     key    // for POST the ID is chosen by the store unless given
	body    map[string]any
	ifMatch string
}

// store holds every version in memory and appends what changes to a file, one
// line a transaction, so that a line that is whole is a transaction that is
// whole.
//
// BUG(matron): history is never pruned; a demonstration that runs for weeks
// keeps every version in memory.
type store struct {
	now func() time.Time

	mu        sync.RWMutex // guards what follows
	versions  map[key][]version
	fields    map[key]fields
	byType    map[string][]string            // ids, oldest first, deleted ones included
	byPatient map[string]map[string][]string // type → patient → ids, oldest first
	file      *os.File
}

func newStore(now func() time.Time) *store {
	return &store{
		now: now, versions: map[key][]version{}, fields: map[key]fields{},
		byType: map[string][]string{}, byPatient: map[string]map[string][]string{},
	}
}

// plant adds a resource of the made-up hospital, which is not written to the file.
func (s *store) plant(body map[string]any, at time.Time) error {
	typ, _ := body["resourceType"].(string)
	id, _ := body["id"].(string)
	v, err := render(key{typ, id}, body, 1, at)
	if err != nil {
		return err
	}
	return s.commit([]version{v})
}

// open replays the file at path and keeps it open for what comes. A last line
// that is torn is cut off: its transaction was never answered.
func (s *store) open(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the path is the demonstration's own folder
	if err != nil {
		return fmt.Errorf("open record: %w", err)
	}
	whole, err := s.replay(file)
	if err == nil {
		err = file.Truncate(whole)
	}
	if err == nil {
		_, err = file.Seek(whole, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("open record %s: %w", path, errors.Join(err, file.Close()))
	}
	s.file = file
	return nil
}

func (s *store) replay(r io.Reader) (whole int64, err error) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return whole, nil
		}
		if err != nil {
			return 0, fmt.Errorf("read: %w", err)
		}
		var versions []version
		if err := json.Unmarshal(line, &versions); err != nil {
			return 0, fmt.Errorf("read at byte %d: %w", whole, err)
		}
		if err := s.commit(versions); err != nil {
			return 0, err
		}
		whole += int64(len(line))
	}
}

// commit takes versions over into memory. s.mu is held, or nobody else knows s.
func (s *store) commit(versions []version) error {
	for _, v := range versions {
		k := v.key()
		if len(s.versions[k]) == 0 {
			s.byType[k.Type] = append(s.byType[k.Type], k.ID)
		}
		s.versions[k] = append(s.versions[k], v)
		f, err := indexed(v)
		if err != nil {
			return err
		}
		s.reindex(k, f)
	}
	return nil
}

func (s *store) reindex(k key, f fields) {
	old := s.fields[k]
	if old.patient != f.patient {
		ids := s.byPatient[k.Type]
		if ids == nil {
			ids = map[string][]string{}
			s.byPatient[k.Type] = ids
		}
		ids[old.patient] = slices.DeleteFunc(ids[old.patient], func(id string) bool { return id == k.ID })
		if f.patient != "" {
			ids[f.patient] = append(ids[f.patient], k.ID)
		}
	}
	s.fields[k] = f
}

// latest is the newest version, deleted or not.
func (s *store) latest(k key) (version, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.last(k)
}

func (s *store) last(k key) (version, bool) {
	all := s.versions[k]
	if len(all) == 0 {
		return version{}, false
	}
	return all[len(all)-1], true
}

// all returns every version of a resource, oldest first.
func (s *store) all(k key) []version {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.versions[k])
}

// apply makes all changes or none, and returns the new versions in their order.
func (s *store) apply(changes []change) ([]version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	staged := map[key]version{}
	out := make([]version, len(changes))
	for i, c := range changes {
		v, err := s.stage(staged, c)
		if err != nil {
			return nil, err
		}
		staged[v.key()] = v
		out[i] = v
	}
	for _, v := range out {
		if err := s.checkPatient(staged, v); err != nil {
			return nil, err
		}
	}
	if err := s.write(out); err != nil {
		return nil, err
	}
	return out, s.commit(out)
}

func (s *store) stage(staged map[key]version, c change) (version, error) {
	if c.method == http.MethodPost && c.key.ID == "" {
		c.key.ID = newID()
	}
	old, exists := staged[c.key]
	if !exists {
		old, exists = s.last(c.key)
	}
	if c.method != http.MethodPost {
		if !exists {
			return version{}, &fault{http.StatusMethodNotAllowed, "not-supported", "This server chooses ids itself: create with POST."}
		}
		if old.Deleted {
			return version{}, &fault{http.StatusGone, "deleted", "The resource has been deleted."}
		}
		if c.ifMatch != "" && c.ifMatch != old.etag() {
			return version{}, &fault{http.StatusPreconditionFailed, "conflict", "The resource has changed since you read it."}
		}
	}
	if c.method == http.MethodDelete {
		return version{Type: c.key.Type, ID: c.key.ID, N: old.N + 1, At: s.now().UTC(), Deleted: true}, nil
	}
	return render(c.key, c.body, old.N+1, s.now().UTC())
}

func newID() string { return strings.ToLower(rand.Text()[:16]) }

// checkPatient refuses a clinical resource about a patient who does not exist.
func (s *store) checkPatient(staged map[key]version, v version) error {
	if v.Deleted || v.Type == "Patient" {
		return nil
	}
	f, err := indexed(v)
	if err != nil {
		return err
	}
	k := key{"Patient", f.patient}
	p, ok := staged[k]
	if !ok {
		p, ok = s.last(k)
	}
	if !ok || p.Deleted {
		return &fault{http.StatusUnprocessableEntity, "invalid", "The resource is about a patient who is not in this record."}
	}
	return nil
}

// render puts id and meta into a resource. Everything else stays as it came.
func render(k key, body map[string]any, n int, at time.Time) (version, error) {
	body["id"] = k.ID
	meta, ok := body["meta"].(map[string]any)
	if !ok {
		meta = map[string]any{}
	}
	meta["versionId"] = strconv.Itoa(n)
	meta["lastUpdated"] = at.Format("2006-01-02T15:04:05.000Z07:00")
	body["meta"] = meta
	data, err := json.Marshal(body)
	if err != nil {
		return version{}, fmt.Errorf("encode %s: %w", k.Type, err)
	}
	return version{Type: k.Type, ID: k.ID, N: n, At: at, Body: data}, nil
}

// write appends one transaction as one line.
func (s *store) write(versions []version) error {
	if s.file == nil {
		return os.ErrClosed
	}
	var buf bytes.Buffer
	if err := json.NewEncoder(&buf).Encode(versions); err != nil {
		return fmt.Errorf("encode transaction: %w", err)
	}
	if _, err := s.file.Write(buf.Bytes()); err != nil {
		return fmt.Errorf("write transaction: %w", err)
	}
	return nil
}

func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	file := s.file
	s.file = nil
	return errors.Join(file.Sync(), file.Close())
}
