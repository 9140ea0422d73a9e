package journal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/matron-epr/matron/audit"
)

// Open opens an existing journal and continues it. It fails with ErrMissing
// where there is none, ErrLocked while another process has it, ErrSource when it
// is another gateway's, ErrElsewhere when records may be in a place that is not
// there, and ErrCorrupt when records that were acknowledged cannot be read. A
// write that a crash interrupted is cut back or superseded.
//
// When the primary can be read and not written to, the journal goes on in a
// second place. When nothing can be written to, Open fails.
func Open(cfg Config) (*Journal, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	d, err := openFolder(cfg.Dir, cfg.wrap)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open journal in %s: %w", cfg.Dir, ErrMissing)
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j, err := open(d, cfg)
	if err != nil {
		return nil, fmt.Errorf("open journal in %s: %w", cfg.Dir, err)
	}
	return j, nil
}

func open(d folder, cfg Config) (*Journal, error) {
	found, err := d.holdsSegments()
	if err == nil && !found {
		err = ErrMissing
	}
	if err != nil { // where the record ends is unknown, so that nothing can follow it (GW-13)
		return nil, errors.Join(err, d.root.Close())
	}
	lock, unwritable, err := d.lockAnyhow()
	if err != nil {
		return nil, errors.Join(err, d.root.Close())
	}
	j := newJournal(cfg, d, lock)
	j.sites[0].bad = unwritable
	err = j.attachAll()
	if err == nil {
		err = j.resume()
	}
	if err == nil {
		err = j.openTree()
	}
	if err != nil {
		j.lazy.Stop()
		return nil, errors.Join(err, j.release())
	}
	j.start()
	return j, nil
}

func newJournal(cfg Config, d folder, lock *os.File) *Journal {
	j := &Journal{
		cfg: cfg, dir: d, lock: lock,
		kick: make(chan struct{}, 1), exited: make(chan struct{}), moved: make(chan struct{}),
		closing: make(chan struct{}), mended: make(chan struct{}, 1),
		pending: newBatch(nil),
		shelf:   shelf{marks: map[segmentID][]mark{}},
	}
	if cfg.Archive != "" {
		j.packs = NewDir(cfg.Archive)
	}
	primary := &site{Place: &Dir{path: cfg.Dir, d: d, open: true}}
	if cfg.Emergency > 0 {
		primary.reserve = &reserve{d: d, size: cfg.Emergency}
	}
	j.sites = append(j.sites, primary)
	for _, p := range cfg.Second {
		j.sites = append(j.sites, &site{Place: p})
	}
	j.lazy = time.AfterFunc(time.Hour, j.wake)
	j.late = time.AfterFunc(time.Hour, j.overdue)
	j.late.Stop()
	return j
}

// start sets the goroutines going.
func (j *Journal) start() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.sites {
		if s.bad != nil {
			j.tend(s)
		}
	}
	if j.heals() && (len(j.sites) > 1 || j.cfg.Emergency > 0) {
		j.helpers.Go(j.keep)
	}
	go j.run(j.w)
	if j.tree != nil {
		j.helpers.Go(j.sign)
	}
}

// release gives up every place and lock.
func (j *Journal) release() error {
	var errs []error
	if j.w != nil {
		errs = append(errs, j.w.drop())
	}
	for _, s := range j.sites[1:] {
		errs = append(errs, s.Close())
	}
	if j.packs != nil {
		errs = append(errs, j.packs.Close())
	}
	if j.tree != nil {
		errs = append(errs, j.tree.Close())
	}
	return errors.Join(append(errs, j.lock.Close(), j.dir.root.Close())...)
}

// holdsSegments reports whether there is a journal in the folder.
func (d folder) holdsSegments() (bool, error) {
	names, err := d.list()
	if err != nil {
		return false, fmt.Errorf("list the folder: %w", err)
	}
	for _, name := range names {
		if _, _, isSegment, err := parseName(name); err != nil || isSegment {
			return true, err
		}
	}
	return false, nil
}

// lockAnyhow takes the lock, also on a file system that takes no writes; the
// second result then says why.
func (d folder) lockAnyhow() (lock *os.File, unwritable, err error) {
	lock, err = d.lock(lockName)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		unwritable = err
		lock, err = d.lockReadOnly(lockName)
	}
	return lock, unwritable, err
}

// attachAll opens the other places. One that holds records and is not there ends
// the start, since where the record ends is unknown (GW-13); any other that is
// missing is said so loudly, and care goes on without it (GW-12).
func (j *Journal) attachAll() error {
	var err error
	if j.marked, err = j.dir.elsewhere(); err != nil {
		return err
	}
	for _, name := range j.marked {
		if !slices.ContainsFunc(j.sites[1:], func(s *site) bool { return s.Name() == name }) {
			return fmt.Errorf("%w: %s: it is not configured any more", ErrElsewhere, j.missingFrom(name))
		}
	}
	for _, s := range j.sites[1:] {
		if err := j.attach(s, slices.Contains(j.marked, s.Name())); err != nil {
			return err
		}
	}
	if len(j.sites) > 1 && j.sites[0].bad == nil {
		j.sites[0].bad = j.dir.setElsewhere(j.marked) // also finds out whether the primary takes writes
	}
	return nil
}

func (j *Journal) attach(s *site, isUsed bool) error {
	if dir, ok := s.Place.(*Dir); ok && !j.cfg.SameDevice {
		same, err := sameDevice(j.cfg.Dir, dir.path)
		if err == nil && same && !isUsed {
			return fmt.Errorf("second folder %s is on the same device as %s, so that one fault takes both: choose another device", dir.path, j.cfg.Dir)
		}
	}
	err := s.Open(j.cfg.Source, isUsed)
	switch {
	case err != nil && isUsed:
		return fmt.Errorf("%w: %s: %w (when it is lost for good and the loss is accepted, remove the file %s)",
			ErrElsewhere, j.missingFrom(s.Name()), err, elsewhereName)
	case errors.Is(err, ErrSource) || errors.Is(err, ErrLocked):
		return fmt.Errorf("second place %s: %w", s.Name(), err)
	case err != nil:
		s.bad = err
		j.cfg.Log.LogAttrs(context.Background(), slog.LevelError, "journal: a second place is not there, going on without it",
			slog.String("place", s.Name()), slog.String("error", err.Error()))
		return nil
	}
	return nil
}

// missingFrom says which records are in a place that is not there.
func (j *Journal) missingFrom(name string) string {
	all, _, err := gather([]Place{j.sites[0].Place}, false)
	if err != nil || len(all) == 0 {
		return "records are on " + name + ", which is not there"
	}
	_, _, holes := chained(all)
	if len(holes) > 0 {
		return fmt.Sprintf("records %d to %d are on %s, which is not there", holes[len(holes)-1].first, holes[0].last, name)
	}
	last, _, err := endOf(all[len(all)-1])
	if err != nil {
		return fmt.Sprintf("records from %d on are on %s, which is not there", all[len(all)-1].id.first, name)
	}
	return fmt.Sprintf("records from %d on are on %s, which is not there", last.next, name)
}

// ending is where the records of the newest segment end.
type ending struct {
	tail
	next  uint64 // the number that follows the last record
	doubt uint64 // the number of the first record of the last group commit
	open  bool   // room follows the last record, which a journal gives back when it is closed
}

// endOf reads the newest segment and returns the frames of its last group commit.
func endOf(h held) (e ending, last []byte, err error) {
	f, size, err := h.open()
	if err != nil {
		return ending{}, nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	e.next, e.doubt = h.id.first, h.id.first
	e.tail, err = scan(f, h.name(), segmentHead, size, func(fr frame) error {
		if _, err := decode(fr, e.next); err != nil {
			return err
		}
		if fr.off == fr.start {
			e.doubt = e.next
		}
		e.next++
		return nil
	})
	if err != nil {
		return e, nil, err
	}
	e.open = e.end < size
	last = make([]byte, e.end-e.start)
	return e, last, readFull(f, last, e.start)
}

// resume finds where the record ends and makes that durable again, in the newest
// segment or in one that follows it. The locks are held.
func (j *Journal) resume() error {
	chain, strays, err := j.findChain()
	if err != nil {
		return err
	}
	head := chain[len(chain)-1]
	end, last, err := endOf(head)
	if err != nil {
		return err
	}
	j.shelf.chain = slices.Clone(chain)
	if end.next == head.id.first {
		j.shelf.chain = j.shelf.chain[:len(chain)-1]
	}
	j.w = &writer{site: j.sites[0], header: head.header}
	j.holds = holder(j.shelf.chain)
	j.durable = position{seq: end.next - 1, segment: head.id, end: end.end}
	more, err := j.adopt(chain, strays)
	if err != nil {
		return err
	}
	if len(more) > 0 {
		j.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "journal: took in records that were written and not acknowledged",
			slog.Uint64("first_seq", end.next), slog.Int("bytes", len(more)))
	}
	j.size(chain)
	j.sites[0].reserve.look()
	if err := j.carryOn(head, end, last, more); err != nil {
		return err
	}
	j.next = j.durable.seq + 1
	for _, h := range slices.Concat(chain, strays) {
		for _, s := range j.sites[1:] {
			if h.where[0].place == s.Place {
				_ = j.mark(s) // keep tries again
			}
		}
	}
	j.openReserve()
	return nil
}

// carryOn goes on in the newest segment, or in one that follows it.
func (j *Journal) carryOn(head held, end ending, last, more []byte) error {
	primary := j.sites[0]
	if primary.bad == nil && head.where[0] == (location{place: primary.Place}) {
		err := j.carryOnHead(head, end, more)
		if err == nil {
			return nil
		}
		primary.bad = err
	}
	return j.carryOnNext(head, end, append(last, more...))
}

// findChain lists the segments of all places and checks that they follow each
// other.
func (j *Journal) findChain() (chain, strays []held, err error) {
	places := make([]Place, 0, len(j.sites)+1)
	for _, s := range j.sites {
		if s == j.sites[0] || s.bad == nil {
			places = append(places, s.Place)
		}
	}
	if j.cfg.Archive != "" {
		if err := j.packs.view(); err == nil {
			places = append(places, j.packs)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("open archive: %w", err)
		}
	}
	all, misnamed, err := gather(places, false)
	if err != nil {
		return nil, nil, err
	}
	if len(misnamed) > 0 {
		return nil, nil, &misnamed[0]
	}
	for _, h := range all {
		switch {
		case h.bad != nil:
			return nil, nil, h.bad
		case h.source != "" && h.source != j.cfg.Source:
			return nil, nil, fmt.Errorf("%w: %s is of %q, not of %q", ErrSource, h.name(), h.source, j.cfg.Source)
		}
	}
	chain, strays, holes := chained(all)
	if len(holes) > 0 {
		return nil, nil, &Damage{
			File: holes[0].before.name(), Offset: 16,
			What: fmt.Sprintf("the segment before is missing, with records %d to %d", holes[0].first, holes[0].last),
		}
	}
	return chain, strays, nil
}

func holder(chain []held) segmentID {
	if len(chain) == 0 {
		return segmentID{}
	}
	return chain[len(chain)-1].id
}

// lookBack is how many abandoned segments a start looks into: what older ones
// hold has been compared before, and Verify does it again.
const lookBack = 8

// adopt looks at what abandoned segments hold beyond the place at which another
// one went on. Nothing there was acknowledged, and it is the same as what
// follows: two records with one number are damage (GW-13). What is whole and
// follows the last record is taken in: a later record must not get its number.
func (j *Journal) adopt(chain, strays []held) (more []byte, err error) {
	next, found := j.durable.seq+1, uint64(0)
	var claims []claim
	look := func(h held, from uint64) error {
		return overlap(h, from, func(seq uint64, name string, off int64, payload []byte) error {
			switch {
			case seq < chain[0].id.first: // what it would be compared with was taken away
			case seq < next:
				claims = append(claims, claim{seq, sha256.Sum256(payload), name, off})
			case seq == next+found:
				at := len(more)
				more = append(openFrame(more), payload...)
				closeFrame(more, at)
				found++
			}
			return nil
		})
	}
	looked := 0
	for i := len(chain) - 2; i >= 0 && looked < lookBack; i-- {
		if chain[i+1].broken && !chain[i].where[0].packed {
			if err := look(chain[i], chain[i+1].id.first); err != nil {
				return nil, err
			}
			looked++
		}
	}
	for _, h := range strays {
		if err := look(h, h.id.first); err != nil {
			return nil, err
		}
	}
	return more, j.compare(claims)
}

// compare returns damage unless the records of the chain are those claimed.
func (j *Journal) compare(claims []claim) error {
	slices.SortFunc(claims, func(a, b claim) int { return cmp.Compare(a.seq, b.seq) })
	for len(claims) > 0 {
		err := j.shelf.walk(claims[0].seq, j.durable, func(seq uint64, f frame) error {
			sum := sha256.Sum256(f.payload)
			for ; len(claims) > 0 && claims[0].seq == seq; claims = claims[1:] {
				if c := claims[0]; c.sum != sum {
					return fmt.Errorf("record %d is another one than at offset %d of %s", seq, c.off, c.file)
				}
			}
			if len(claims) == 0 || claims[0].seq != seq+1 {
				return errEnough
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// overlap hands the records of a segment from number from on to visit, up to the
// first that is not whole.
func overlap(h held, from uint64, visit func(seq uint64, name string, off int64, payload []byte) error) (err error) {
	f, size, err := h.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	in := readFrames(f, segmentHead, size)
	for seq := h.id.first; ; seq++ {
		fr, err := in.next()
		if err != nil {
			return nil //nolint:nilerr // a torn tail is no damage here
		}
		if seq < from {
			continue
		}
		if _, err := decode(fr, seq); err != nil {
			return &Damage{File: h.name(), Offset: fr.off, What: err.Error()}
		}
		if err := visit(seq, h.name(), fr.off, fr.payload); err != nil {
			return err
		}
	}
}

// size counts the bytes of all segments but the newest.
func (j *Journal) size(chain []held) {
	for _, h := range chain[:len(chain)-1] {
		name := h.name()
		if h.where[0].packed {
			name = h.id.stem() + packedSuffix
		}
		if f, n, err := h.where[0].place.View(name); err == nil {
			j.stats.Bytes += n
			_ = f.Close()
		}
	}
}

// carryOnHead goes on in the newest segment, which is in the primary.
func (j *Journal) carryOnHead(head held, end ending, more []byte) error {
	if err := errors.Join(j.dir.tidy(), j.dir.sync()); err != nil { // the segment may have been named just before a crash
		return err
	}
	f, size, err := j.dir.open(head.name(), 0)
	if err != nil {
		return err
	}
	size = max(j.cfg.SegmentBytes, end.end, size)
	w := &writer{site: j.sites[0], header: head.header, f: f, off: end.end, size: size}
	err = j.inTime(func() error {
		err := settle(f, end.tail, size)
		if err == nil {
			err = w.stillOurs()
		}
		if err == nil && len(more) > 0 {
			err = w.commit(more)
		}
		return err
	})
	if errors.Is(err, errSlow) {
		w.abandoned.Store(true)
		return err // the call still has the file
	}
	if err != nil {
		return errors.Join(err, w.drop())
	}
	if end.torn > 0 {
		j.stats.Cut = end.torn
		j.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "journal: cut back an unfinished write",
			slog.String("segment", head.name()), slog.Int64("offset", end.end), slog.Int64("bytes", end.torn))
	}
	j.carriedOn(w, end.next-1+countFrames(more))
	return nil
}

// carryOnNext goes on in a new segment that begins with the last group commit,
// in the best place that takes it. When none does, the start fails: a gateway
// that cannot record must not serve (GW-12, GW-13).
func (j *Journal) carryOnNext(head held, end ending, frames []byte) error {
	b := &batch{buf: frames, first: end.doubt, count: countFrames(frames)}
	for len(j.shelf.chain) > 0 && holder(j.shelf.chain).first >= b.first {
		j.shelf.chain = j.shelf.chain[:len(j.shelf.chain)-1] // all of it is superseded
	}
	j.holds = holder(j.shelf.chain)
	j.w = &writer{header: head.header}
	for {
		site, spare := j.choose(nil)
		if site == nil {
			err := fmt.Errorf("%w: there is no place to write to", audit.ErrNotDurable)
			for _, s := range j.sites {
				err = fmt.Errorf("%w; %s: %w", err, s.Name(), s.bad)
			}
			return err
		}
		b.buf = reframed(b.buf)
		frames := b.buf // a call that hangs keeps them
		w := j.successor(site, spare, b, true)
		err := j.inTime(func() error {
			if len(frames) == 0 {
				return w.begin()
			}
			return w.commit(frames)
		})
		w.abandoned.Store(err != nil)
		if err == nil {
			j.carriedOn(w, b.first+b.count-1)
			if site != j.sites[0] {
				j.cfg.Log.LogAttrs(context.Background(), slog.LevelError, "journal: started in a second place, since the primary takes no writes",
					slog.String("place", site.Name()), slog.Any("error", j.sites[0].bad))
			}
			return nil
		}
		site.bad = err
	}
}

// carriedOn notes the segment in which the next record will stand.
func (j *Journal) carriedOn(w *writer, last uint64) {
	j.w = w
	if j.holds != w.header.id && last >= w.header.id.first {
		j.shelf.add(held{header: w.header, where: []location{{place: w.site.Place}}})
		j.holds = w.header.id
	}
	j.durable = position{seq: last, segment: w.header.id, end: w.off}
	j.stats.Bytes += w.off
	j.stats.Segments = len(j.shelf.chain)
	if j.holds != w.header.id {
		j.stats.Segments++
	}
	j.stats.OldestSegment = w.header.id.first
	if len(j.shelf.chain) > 0 {
		j.stats.OldestSegment = j.shelf.chain[0].id.first
	}
}

// inTime bounds a call at the start where there is another place to go to: a
// disk that hangs must not keep the gateway from starting on the second (GW-12).
func (j *Journal) inTime(call func() error) error {
	if len(j.sites) == 1 {
		return call()
	}
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(40 * j.cfg.AppendTimeout):
		return errSlow
	}
}

// openReserve makes the emergency segment. When there is no room for it, the
// journal lives on it already, or soon would. Whatever else is wrong with it is
// no reason not to start (GW-12).
func (j *Journal) openReserve() {
	primary := j.sites[0]
	if primary.reserve == nil || primary.bad != nil || primary.reserve.ready() {
		return
	}
	err := primary.reserve.prepare()
	if noRoom(err) {
		j.w.spare = j.w.site == primary
		primary.bad = err
	}
	if err != nil {
		j.cfg.Log.LogAttrs(context.Background(), slog.LevelError, "journal: no room is kept for a full disk", slog.String("error", err.Error()))
	}
}

// readFull fills b.
func readFull(f View, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	return err
}
