package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/matron-epr/matron/audit"
)

// Reader reads a journal from its folders without changing or locking it, so
// that it works beside a running gateway and on a copy. Reading on from where
// the last call ended costs no search. It belongs to one goroutine.
type Reader struct {
	source  string
	folders []folder
	parts   []part

	// Where the last call ended; file is nil when nothing is open.
	file  *os.File
	in    *frames
	index int    // of the open part
	next  uint64 // number of its next record
}

// part is one segment and the folder that holds it.
type part struct {
	first uint64
	dir   folder
}

// OpenReader opens the journal whose segments are in dirs. It fails with
// ErrMissing where there is none, ErrSource when the segments are of several
// gateways, and ErrCorrupt when a segment is missing between others.
func OpenReader(dirs ...string) (*Reader, error) {
	r := new(Reader)
	for _, dir := range dirs {
		if err := r.openFolder(dir); err != nil {
			return nil, errors.Join(fmt.Errorf("open journal in %s: %w", dir, err), r.Close())
		}
	}
	slices.SortFunc(r.parts, func(a, b part) int { return cmp.Compare(a.first, b.first) })
	if err := r.checkParts(); err != nil {
		return nil, errors.Join(fmt.Errorf("open journal in %v: %w", dirs, err), r.Close())
	}
	return r, nil
}

func (r *Reader) openFolder(dir string) error {
	d, err := openFolder(dir, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrMissing
	}
	if err != nil {
		return err
	}
	r.folders = append(r.folders, d)
	firsts, err := d.segments()
	for _, first := range firsts {
		r.parts = append(r.parts, part{first, d})
	}
	return err
}

// checkParts makes sure that each segment follows the one before.
func (r *Reader) checkParts() error {
	if len(r.parts) == 0 {
		return ErrMissing
	}
	for i, p := range r.parts {
		f, _, err := p.dir.view(segmentName(p.first))
		if err != nil {
			return err
		}
		h, err := readHeader(f, segmentName(p.first))
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		switch {
		case r.source == "":
			r.source = h.source
		case h.source != r.source:
			return fmt.Errorf("%w: %s is of %q, not of %q", ErrSource, segmentName(p.first), h.source, r.source)
		}
		if h.first != p.first || i > 0 && h.prev != r.parts[i-1].first {
			return &Damage{File: segmentName(p.first), Offset: 8, What: "segment out of place, or the one before is missing"}
		}
	}
	return nil
}

// Source is the gateway id of every record.
func (r *Reader) Source() string { return r.source }

// First is the number of the oldest record that the folders hold.
func (r *Reader) First() uint64 { return r.parts[0].first }

// Last is the number of the last record that is certainly on stable storage, 0
// when there is none. While a gateway writes, its latest group commit is not
// counted: whether that was synced only the gateway knows. It looks at the disk
// anew each time, segments that were begun since included.
func (r *Reader) Last() (uint64, error) {
	last, err := r.last()
	if err != nil {
		return 0, fmt.Errorf("find the journal's end: %w", err)
	}
	return last, nil
}

func (r *Reader) last() (uint64, error) {
	if err := r.refresh(); err != nil {
		return 0, err
	}
	p := r.parts[len(r.parts)-1]
	f, size, err := p.dir.view(segmentName(p.first))
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	rest, err := r.atRest(p.dir)
	if err != nil {
		return 0, err
	}
	next, safe, start := p.first, p.first, int64(0)
	in := readFrames(f, segmentHead, size)
	for {
		fr, err := in.next()
		if errors.Is(err, io.EOF) || errors.Is(err, errNoFrame) {
			break
		}
		if err != nil {
			return 0, err
		}
		if fr.start != start {
			safe, start = next, fr.start
		}
		next++
	}
	if rest {
		safe = next
	}
	return safe - 1, nil
}

// atRest reports whether no gateway has the journal open.
func (r *Reader) atRest(d folder) (bool, error) {
	f, err := d.root.Open(lockName)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // it was not written to
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// refresh finds segments that were begun since.
func (r *Reader) refresh() error {
	newest := r.parts[len(r.parts)-1].first
	for _, d := range r.folders {
		firsts, err := d.segments()
		if err != nil {
			return err
		}
		for _, first := range firsts {
			if first > newest {
				r.parts = append(r.parts, part{first, d})
			}
		}
	}
	slices.SortFunc(r.parts, func(a, b part) int { return cmp.Compare(a.first, b.first) })
	return nil
}

// Read returns up to limit records from number from on, in order. The caller
// asks for none beyond Last. What is missing or damaged is an error that says
// where; the records before it are not returned.
func (r *Reader) Read(from uint64, limit int) ([]audit.Record, error) {
	records := make([]audit.Record, 0, max(limit, 0))
	again := uint64(0) // where a segment was looked at twice
	for len(records) < limit {
		if err := r.seek(from + uint64(len(records))); err != nil {
			return nil, fmt.Errorf("read record %d: %w", from+uint64(len(records)), err)
		}
		off := r.in.off
		fr, err := r.in.next()
		if err == nil {
			var rec audit.Record
			if rec, err = decode(fr, r.next); err == nil {
				records = append(records, rec)
				r.next++
				continue
			}
		}
		if again != r.next {
			again = r.next
			r.closeFile() // the gateway may have written here since it was read ahead
			continue
		}
		if r.index == len(r.parts)-1 && errors.Is(err, io.EOF) {
			return records, nil
		}
		return nil, &Damage{File: segmentName(r.parts[r.index].first), Offset: off, What: err.Error()}
	}
	return records, nil
}

// seek makes seq the next record that is read.
func (r *Reader) seek(seq uint64) error {
	i, found := slices.BinarySearchFunc(r.parts, seq, func(p part, seq uint64) int { return cmp.Compare(p.first, seq) })
	if !found {
		i--
	}
	if i < 0 {
		return errors.New("older than the oldest segment")
	}
	if r.file == nil || i != r.index || seq < r.next {
		if err := r.open(i); err != nil {
			return err
		}
	}
	for r.next < seq {
		off := r.in.off
		if _, err := r.in.next(); err != nil {
			return &Damage{File: segmentName(r.parts[i].first), Offset: off, What: err.Error()}
		}
		r.next++
	}
	return nil
}

func (r *Reader) open(i int) error {
	r.closeFile()
	p := r.parts[i]
	f, size, err := p.dir.view(segmentName(p.first))
	if err != nil {
		return err
	}
	r.file, r.in, r.index, r.next = f, readFrames(f, segmentHead, size), i, p.first
	return nil
}

func (r *Reader) closeFile() {
	if r.file != nil {
		_ = r.file.Close() // it was only read
		r.file = nil
	}
}

// Close gives the folders up.
func (r *Reader) Close() error {
	r.closeFile()
	var errs []error
	for _, d := range r.folders {
		errs = append(errs, d.root.Close())
	}
	return errors.Join(errs...)
}
