package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/matron-epr/matron/audit"
)

// Reader reads a journal that another process may be writing, without locking or
// changing it. It is safe for concurrent use.
type Reader struct {
	places []Place
	close  func() error

	mu    sync.Mutex
	shelf *shelf
	last  position
	sure  uint64 // see Durable
}

// OpenReader opens the folders of a journal: the primary, the second one, the
// archive, in any order. The last group commit of a running gateway may be one
// that is not acknowledged yet.
func OpenReader(dirs ...string) (*Reader, error) {
	places, closeAll, err := viewAll(dirs)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	r := &Reader{places: places, close: closeAll}
	if err := r.Refresh(); err != nil {
		return nil, errors.Join(err, closeAll())
	}
	return r, nil
}

// Refresh looks for what has been written since.
func (r *Reader) Refresh() error {
	all, _, err := gather(append(r.places[:len(r.places):len(r.places)], r.places...), false)
	if err == nil && len(all) == 0 {
		err = ErrMissing
	}
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	chain, _, _ := chained(all) // what is missing shows when it is read
	head := chain[len(chain)-1]
	end, _, err := endOf(head)
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	sure := end.next - 1
	if end.open {
		sure = end.doubt - 1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shelf = &shelf{chain: chain, marks: map[segmentID][]mark{}}
	r.last, r.sure = position{seq: end.next - 1, segment: head.id, end: end.end}, sure
	return nil
}

// Last is the number of the last record; 0 when there is none.
func (r *Reader) Last() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last.seq
}

// Durable looks for what has been written since and returns the number of the
// last record that is certainly on stable storage. While a journal is open that
// leaves out its last group commit, of which nobody but its writer knows whether
// it has been synced.
func (r *Reader) Durable() (uint64, error) {
	err := r.Refresh()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sure, err
}

// Source is the id that every record carries.
func (r *Reader) Source() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shelf.chain[len(r.shelf.chain)-1].source // the newest is never compressed
}

// First is the number of the oldest record.
func (r *Reader) First() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shelf.chain[0].id.first
}

// Read is Journal.Read.
func (r *Reader) Read(from uint64, limit int) ([]audit.Record, error) {
	records := make([]audit.Record, 0, min(uint64(max(limit, 0)), r.Last()))
	err := r.Walk(from, limit, func(r *audit.Record, _ []byte) bool {
		records = append(records, *r)
		return true
	})
	if err != nil && len(records) == 0 {
		return nil, err
	}
	return records, nil
}

// Walk is Journal.Walk.
func (r *Reader) Walk(from uint64, limit int, visit func(r *audit.Record, canonical []byte) (more bool)) error {
	from = max(from, 1)
	next := from
	count := func(record *audit.Record, canonical []byte) bool {
		next++
		return visit(record, canonical)
	}
	err := r.walk(from, limit, count)
	if errors.Is(err, fs.ErrNotExist) { // a segment has moved
		if err := r.Refresh(); err != nil {
			return err
		}
		return r.walk(next, limit-int(next-from), count) //nolint:gosec // limit at most
	}
	return err
}

func (r *Reader) walk(from uint64, limit int, visit func(*audit.Record, []byte) bool) error {
	r.mu.Lock()
	s, last := r.shelf, r.last
	r.mu.Unlock()
	return s.visit(from, limit, last, visit)
}

// Close gives the folders up.
func (r *Reader) Close() error { return r.close() }
