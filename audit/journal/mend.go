package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	reserveName = "emergency" // room for a segment when the disk is full
	// provenAfter is how many probes in a row a place must pass: a disk that
	// fails often passes one now and then.
	provenAfter = 3
	maxRelapses = 6 // the pause between probes doubles no further
)

// reserve is the emergency segment: a file whose room on the disk nobody else
// can take.
type reserve struct {
	d    folder
	size int64

	mu   sync.Mutex  // held while the file is made or taken, however long the disk takes
	have atomic.Bool // it is there; asked without waiting for mu
}

// ready reports whether it can be used.
func (r *reserve) ready() bool {
	return r != nil && r.have.Load()
}

// look finds the emergency segment of an earlier life.
func (r *reserve) look() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := r.d.root.Stat(reserveName)
	r.have.Store(err == nil && info.Size() == r.size)
}

// prepare makes the emergency segment where it is missing.
func (r *reserve) prepare() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.have.Load() {
		return nil
	}
	if err := r.d.discard(reserveName); err != nil {
		return err
	}
	temporary := reserveName + newSuffix
	if err := r.d.discard(temporary); err != nil {
		return err
	}
	f, err := r.d.prepare(temporary, nil, r.size)
	if err != nil {
		return fmt.Errorf("make the emergency segment: %w", err)
	}
	if err := errors.Join(f.Close(), r.d.publish(temporary, reserveName)); err != nil {
		return fmt.Errorf("make the emergency segment: %w", err)
	}
	r.have.Store(true)
	return nil
}

// take makes a segment of it.
func (r *reserve) take(name string, head []byte) (File, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.d.root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("create %s: %w", name, fs.ErrExist), err)
	}
	r.have.Store(false) // whatever comes of it
	f, _, err := r.d.open(reserveName, 0)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteAt(head, 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = r.d.publish(reserveName, name)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create %s: %w", name, err), f.Close())
	}
	return f, nil
}

// tend finds out when a place that failed can be used again. j.mu is held.
func (j *Journal) tend(s *site) {
	if !j.heals() || j.closed || s.mending {
		return
	}
	s.mending = true
	s.relapses = min(s.relapses+1, maxRelapses)
	pause := j.cfg.ProbeEvery << (s.relapses - 1)
	j.helpers.Go(func() { j.mend(s, pause) })
}

// mend probes a place until it has passed several times in a row, in time. A
// place is used again only when it has proven that it keeps what it is given.
// On doubt: not used (GW-12).
func (j *Journal) mend(s *site, pause time.Duration) {
	for passed := 0; passed < provenAfter; passed++ {
		if !j.sleep(pause) {
			return
		}
		if err := j.probe(s); err != nil {
			passed = -1
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s.bad, s.mending = nil, false
	j.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "journal: a place has proven itself again", slog.String("place", s.Name()))
	best, _ := j.choose(nil)
	j.homeward.Store(best != j.w.site || j.w.spare)
	select {
	case j.mended <- struct{}{}:
	default:
	}
}

func (j *Journal) probe(s *site) error {
	began := j.cfg.Now()
	room := j.cfg.SegmentBytes
	if s == j.sites[0] {
		if j.cfg.Emergency > 0 && !s.reserve.ready() {
			room += j.cfg.Emergency
		}
	} else if err := s.Open(j.cfg.Source, false); err != nil { // it was not there at the start
		return err
	}
	if err := s.Probe(room); err != nil {
		return err
	}
	if d := j.cfg.Now().Sub(began); d > 4*j.cfg.AppendTimeout { // a segment is made and removed as well
		return fmt.Errorf("%w: %v", errSlow, d)
	}
	return nil
}

// sleep waits, and reports false when the journal is closed.
func (j *Journal) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-j.closing:
		return false
	}
}

// keep brings home what stands in other places and makes the emergency segment
// anew, whenever the primary can be written to, until the journal is closed.
func (j *Journal) keep() {
	said := ""
	for j.sleep(10 * j.cfg.ProbeEvery) {
		err := j.keepOnce()
		if err != nil && err.Error() != said {
			j.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "journal: not all is where it belongs", slog.String("error", err.Error()))
		}
		if said = ""; err != nil {
			said = err.Error()
		}
	}
}

func (j *Journal) keepOnce() error {
	j.mu.Lock()
	w, well := j.w, j.sites[0].bad == nil
	j.mu.Unlock()
	var errs []error
	if w.site != j.sites[0] {
		errs = append(errs, j.mark(w.site))
	}
	if !well {
		return errors.Join(errs...)
	}
	if r := j.sites[0].reserve; r != nil && !w.spare && !r.ready() {
		errs = append(errs, r.prepare())
	}
	for _, s := range j.sites[1:] {
		err := j.bringHome(s)
		if err == nil {
			err = j.unmark(s)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// bringHome moves the segments that are written no more from another place to
// the primary, so that the primary alone is the whole record again.
func (j *Journal) bringHome(s *site) error {
	ids, err := j.settledIn(s)
	if err != nil {
		return err
	}
	for _, id := range ids {
		select {
		case <-j.closing:
			return nil
		default:
		}
		if err := j.bringSegment(s, id); err != nil {
			return fmt.Errorf("bring %s home from %s: %w", id.name(), s.Name(), err)
		}
		j.cfg.Log.LogAttrs(context.Background(), slog.LevelInfo, "journal: brought a segment home",
			slog.String("segment", id.name()), slog.String("from", s.Name()))
	}
	return nil
}

// settledIn lists the segments in a place that is in use, without the one that
// is written to.
func (j *Journal) settledIn(s *site) ([]segmentID, error) {
	j.mu.Lock()
	bad := s.bad
	j.mu.Unlock()
	if bad != nil {
		return nil, nil // its own goroutine finds out when it answers again
	}
	names, err := s.List()
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	now := j.w.header.id
	j.mu.Unlock()
	var ids []segmentID
	for _, name := range names {
		id, packed, isSegment, err := parseName(name)
		if err == nil && isSegment && !packed && id.compare(now) < 0 {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// bringSegment copies one segment, syncs and compares the copy, gives it its
// name, and only then removes the other: a crash leaves one or both (GW-13).
func (j *Journal) bringSegment(s *site, id segmentID) error {
	from, size, err := s.View(id.name())
	if err != nil {
		return err
	}
	err = j.dir.copyIn(from, size, id.name())
	if err = errors.Join(err, from.Close()); err != nil {
		return err
	}
	j.shelf.move(id, location{place: j.sites[0].Place})
	return s.Remove(id.name())
}

// copyIn makes a copy durable under name, after comparing it. A file that is
// there already must be the same.
func (d folder) copyIn(from io.ReaderAt, size int64, name string) error {
	if _, err := d.root.Lstat(name); err == nil {
		return errors.Join(d.compare(from, size, name), d.sync()) // a crash may have come before its name was durable
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	temporary := name + newSuffix
	if err := d.discard(temporary); err != nil {
		return err
	}
	f, _, err := d.open(temporary, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	err = f.Reserve(size)
	b := make([]byte, 1<<20)
	for off := int64(0); err == nil && off < size; off += int64(len(b)) {
		b = b[:min(int64(len(b)), size-off)]
		if _, err = from.ReadAt(b, off); err == nil || errors.Is(err, io.EOF) {
			_, err = f.WriteAt(b, off)
		}
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.compare(from, size, temporary)
	}
	if err != nil {
		return errors.Join(err, d.discard(temporary))
	}
	return d.publish(temporary, name)
}

// compare returns an error unless the file holds exactly these bytes.
func (d folder) compare(want io.ReaderAt, size int64, name string) (err error) {
	f, n, err := d.view(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if n != size {
		return &Damage{File: name, Offset: min(n, size), What: fmt.Sprintf("a copy of %d bytes is of another size", size)}
	}
	return sameBytes(io.NewSectionReader(want, 0, size), io.NewSectionReader(f, 0, size), name)
}

// sameBytes compares two streams of which the second is the file called name.
func sameBytes(want, got io.Reader, name string) error {
	a, b := make([]byte, 1<<18), make([]byte, 1<<18)
	for off := int64(0); ; {
		n, err := io.ReadFull(want, a)
		m, gotErr := io.ReadFull(got, b)
		if !bytes.Equal(a[:n], b[:m]) {
			return &Damage{File: name, Offset: off, What: "it differs from its copy"}
		}
		off += int64(n)
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		switch {
		case ended && (errors.Is(gotErr, io.EOF) || errors.Is(gotErr, io.ErrUnexpectedEOF)):
			return nil
		case err != nil && !ended:
			return err
		case gotErr != nil || ended:
			return errors.Join(gotErr, &Damage{File: name, Offset: off, What: "it differs from its copy"})
		}
	}
}
