package journal

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/matron-epr/matron/audit"
)

// VerifyOptions says what Verify reads.
type VerifyOptions struct {
	// Dirs are the folders that hold the segments: the primary, the second one,
	// the archive, in any order. A copy of them does as well.
	Dirs []string
	// Visit is called for every record in order, with its canonical bytes, which
	// are valid until it returns; an error ends Verify. nil for nobody.
	Visit func(seq uint64, canonical []byte, r *audit.Record) error
	// Progress is called now and then with bytes; nil for nobody.
	Progress func(done, total int64)
}

// Report is what Verify found.
type Report struct {
	Source   string
	Segments int
	Records  uint64
	First    uint64 // sequence number of the first record; 0 when there is none
	Last     uint64
	Kinds    map[audit.Kind]uint64

	Gaps   []Gap
	Damage []Damage
	Forks  []Fork

	// Unsettled are the decisions whose outcome is not recorded, ascending. In
	// a live journal the latest may be exchanges still going on.
	Unsettled []uint64
	// Torn is the size of an unfinished write at the end, which Open cuts back.
	// It never was acknowledged.
	Torn int64
	// Tails are the ends of segments that were abandoned after a failed write.
	// What they hold stands in the segment that follows, or never was
	// acknowledged.
	Tails []Tail
	// Beyond counts records behind the last one that an abandoned segment holds.
	// They never were acknowledged; Open takes them in.
	Beyond uint64
}

// Gap is a run of sequence numbers that are missing, both ends included.
type Gap struct{ First, Last uint64 }

// Fork is a number that two segments give to different records.
type Fork struct {
	Seq    uint64
	File   string // that does not hold the record that counts
	Offset int64
}

// Tail is what an abandoned segment holds behind the records that count.
type Tail struct {
	File    string
	Records uint64 // whole ones, superseded
	Torn    int64  // bytes of an unfinished write behind them
}

// Err returns an error that wraps ErrCorrupt when anything is missing, damaged
// or there twice with different content. Unsettled decisions, a torn end and
// superseded tails are no damage.
func (r Report) Err() error {
	if len(r.Gaps) == 0 && len(r.Damage) == 0 && len(r.Forks) == 0 {
		return nil
	}
	err := fmt.Errorf("%w: %d gaps, %d damaged places, %d numbers used twice", ErrCorrupt, len(r.Gaps), len(r.Damage), len(r.Forks))
	for i := range r.Damage {
		err = errors.Join(err, &r.Damage[i])
	}
	for _, f := range r.Forks {
		err = errors.Join(err, &Damage{File: f.File, Offset: f.Offset, What: fmt.Sprintf("record %d is another one elsewhere", f.Seq)})
	}
	return err
}

// Verify reads a journal from beginning to end without locking or changing it,
// so that it works beside a running gateway and on a copy. The error says only
// that it could not be read; Report.Err judges what was.
func Verify(o VerifyOptions) (Report, error) {
	places, closePlaces, err := viewAll(o.Dirs)
	if err != nil {
		return Report{}, fmt.Errorf("verify journal: %w", err)
	}
	v := &verifier{
		o: o, places: places, open: map[uint64]struct{}{}, claims: map[uint64][]claim{},
		report: Report{Kinds: map[audit.Kind]uint64{}},
	}
	if err := errors.Join(v.all(), closePlaces()); err != nil {
		return Report{}, fmt.Errorf("verify journal in %v: %w", o.Dirs, err)
	}
	for seq := range v.open {
		v.report.Unsettled = append(v.report.Unsettled, seq)
	}
	slices.Sort(v.report.Unsettled)
	for seq := range v.claims {
		if seq > v.report.Last {
			v.report.Beyond++
		}
	}
	return v.report, nil
}

// viewAll opens folders for reading.
func viewAll(dirs []string) (places []Place, closeAll func() error, err error) {
	closeAll = func() error {
		var errs []error
		for _, p := range places {
			errs = append(errs, p.Close())
		}
		return errors.Join(errs...)
	}
	for _, dir := range dirs {
		p := NewDir(dir)
		if err := p.view(); err != nil {
			return nil, nil, errors.Join(err, closeAll())
		}
		places = append(places, p)
	}
	return places, closeAll, nil
}

type verifier struct {
	o      VerifyOptions
	places []Place
	report Report
	next   uint64              // sequence number that is due
	open   map[uint64]struct{} // decisions without an outcome so far
	claims map[uint64][]claim  // records that stand elsewhere as well
	halted error               // what Visit returned

	done, total int64
}

// claim is a record that a segment holds which does not count.
type claim struct {
	seq  uint64
	sum  [sha256.Size]byte
	file string
	off  int64
}

// all reads every segment. Places are listed twice, since a segment may move
// from one to another while they are.
func (v *verifier) all() error {
	all, misnamed, err := gather(append(slices.Clone(v.places), v.places...), true)
	if err != nil {
		return err
	}
	if len(all) == 0 && len(misnamed) == 0 {
		return ErrMissing
	}
	v.report.Damage = append(v.report.Damage, misnamed...)
	chain, strays, _ := chained(all) // a hole shows as a gap
	v.report.Segments = len(chain)
	for _, h := range strays {
		if err := v.stray(h); err != nil {
			return err
		}
	}
	sizes := make([]int64, len(chain))
	for i, h := range chain {
		if err := v.copies(h); err != nil {
			return err
		}
		if f, n, err := v.find(h); err == nil {
			sizes[i] = n
			v.total += n
			_ = f.Close()
		}
	}
	if len(chain) > 0 {
		v.next = chain[0].id.first
	}
	for i, h := range chain {
		var after *held
		if i+1 < len(chain) {
			after = &chain[i+1]
		}
		before := v.done
		if err := v.segment(h, after); err != nil {
			return err
		}
		v.done = before + sizes[i]
		v.progress()
	}
	return nil
}

func (v *verifier) progress() {
	if v.o.Progress != nil {
		v.o.Progress(min(v.done, v.total), v.total)
	}
}

// find opens a segment, also one that moved since it was listed.
func (v *verifier) find(h held) (View, int64, error) {
	f, n, err := h.open()
	if !errors.Is(err, fs.ErrNotExist) {
		return f, n, err
	}
	all, _, err := gather(v.places, false)
	if err != nil {
		return nil, 0, err
	}
	for _, now := range all {
		if now.id == h.id {
			return now.open()
		}
	}
	return nil, 0, fmt.Errorf("%s: %w", h.name(), fs.ErrNotExist)
}

// stray takes in a segment that nothing follows: an attempt of which nothing was
// acknowledged.
func (v *verifier) stray(h held) error {
	tail := Tail{File: h.name()}
	err := v.claim(h, 0, &tail.Records)
	v.report.Tails = append(v.report.Tails, tail)
	return err
}

// copies takes in the further copies of a segment, which an interrupted move or
// compression leaves.
func (v *verifier) copies(h held) error {
	for _, l := range h.where[1:] {
		h.where = []location{l}
		n := uint64(0)
		if err := v.claim(h, 0, &n); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// claim remembers the records of h from number from on.
func (v *verifier) claim(h held, from uint64, n *uint64) error {
	err := overlap(h, from, func(seq uint64, file string, off int64, payload []byte) error {
		*n++
		v.claims[seq] = append(v.claims[seq], claim{seq, sha256.Sum256(payload), file, off})
		return nil
	})
	var bad *Damage
	if errors.As(err, &bad) {
		v.report.Damage = append(v.report.Damage, *bad)
		return nil
	}
	return err
}

// maxLooks is how often the end of a segment is looked at that grows meanwhile.
const maxLooks = 4

// segment reads one segment. Damage is reported and reading goes on behind it.
func (v *verifier) segment(h held, after *held) (err error) {
	v.header(h)
	f, size, err := v.find(h)
	var bad *Damage
	if errors.Is(err, fs.ErrNotExist) {
		err = &Damage{File: h.name(), What: "it was there and is not any more"}
	}
	if errors.As(err, &bad) {
		v.report.Damage = append(v.report.Damage, *bad)
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	last := after == nil
	tail := Tail{File: h.name()}
	visit := func(fr frame) error { return v.frame(h, fr, after, &tail) }
	for from, looks := int64(segmentHead), 1; ; {
		t, err := scan(f, h.name(), from, size, visit)
		var bad *Damage
		switch {
		case v.halted != nil:
			return v.halted
		case errors.As(err, &bad) && last && looks < maxLooks && (looks == 1 || bad.Offset != from):
			from, looks = bad.Offset, looks+1 // the gateway may have been writing there: look twice
			continue
		case errors.As(err, &bad) && last && looks == maxLooks && bad.Offset != from:
			return nil // it grew each time: that is its end, and the gateway is faster than this
		case errors.As(err, &bad) && !v.superseded(after):
			v.report.Damage = append(v.report.Damage, *bad)
		case err != nil && bad == nil:
			return err
		default:
			v.ends(h, t, size, after, tail)
			return nil
		}
		next, err := nextFrame(f, bad.Offset+1, size, size)
		if err != nil {
			return nil //nolint:nilerr // nothing readable follows, and the damage is reported
		}
		from, looks = next.off, 1
	}
}

// superseded reports whether all that counts of an abandoned segment was read.
func (v *verifier) superseded(after *held) bool {
	return after != nil && after.broken && v.next >= after.id.first
}

// ends judges what stands behind the last record of a segment.
func (v *verifier) ends(h held, t tail, size int64, after *held, tail Tail) {
	switch {
	case after == nil:
		v.report.Torn += t.torn
	case after.broken:
		if tail.Torn = t.torn; tail.Torn > 0 || tail.Records > 0 {
			v.report.Tails = append(v.report.Tails, tail)
		}
	case t.end < size:
		v.report.Damage = append(v.report.Damage, Damage{File: h.name(), Offset: t.end, What: "sealed segment does not end with a record"})
	}
}

func (v *verifier) header(h held) {
	var bad *Damage
	switch {
	case errors.As(h.bad, &bad):
		v.report.Damage = append(v.report.Damage, *bad)
	case h.bad != nil:
		v.report.Damage = append(v.report.Damage, Damage{File: h.name(), What: h.bad.Error()})
	case v.report.Source != "" && h.source != v.report.Source:
		v.report.Damage = append(v.report.Damage, Damage{File: h.name(), What: "segment of another place or source"})
	default:
		v.report.Source = h.source
	}
}

// frame takes in one record of the chain, or one that the next segment holds.
func (v *verifier) frame(h held, fr frame, after *held, tail *Tail) error {
	r, err := audit.UnmarshalCanonical(fr.payload)
	if err != nil {
		return err
	}
	if after != nil && after.broken && r.Seq >= after.id.first {
		tail.Records++
		v.claims[r.Seq] = append(v.claims[r.Seq], claim{r.Seq, sha256.Sum256(fr.payload), h.name(), fr.off})
		return nil
	}
	if err := v.record(fr, &r); err != nil {
		return err
	}
	if v.done += int64(len(fr.payload)); r.Seq%4096 == 0 {
		v.progress()
	}
	if v.o.Visit != nil {
		if v.halted = v.o.Visit(r.Seq, fr.payload, &r); v.halted != nil {
			return v.halted
		}
	}
	return nil
}

func (v *verifier) record(fr frame, r *audit.Record) error {
	if r.Seq < v.next {
		return fmt.Errorf("record %d stands where %d belongs", r.Seq, v.next)
	}
	if r.Seq > v.next {
		v.report.Gaps = append(v.report.Gaps, Gap{First: v.next, Last: r.Seq - 1})
	}
	v.next = r.Seq + 1
	v.report.Records++
	v.report.Kinds[r.Kind]++
	if v.report.First == 0 {
		v.report.First = r.Seq
	}
	v.report.Last = r.Seq
	if claims, ok := v.claims[r.Seq]; ok {
		sum := sha256.Sum256(fr.payload)
		for _, c := range claims {
			if c.sum != sum {
				v.report.Forks = append(v.report.Forks, Fork{Seq: r.Seq, File: c.file, Offset: c.off})
			}
		}
		delete(v.claims, r.Seq)
	}
	if r.Kind == audit.KindDecision {
		v.open[r.Seq] = struct{}{}
	}
	if r.Kind == audit.KindOutcome {
		delete(v.open, r.Decision)
	}
	return nil
}
