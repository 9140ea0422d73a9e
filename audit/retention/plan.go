package retention

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
)

// planFormat names the form of a plan, of which the approvers sign the hash.
const planFormat = "matron-disposal-plan/v1"

// Plan is what would go, and why. Its file never changes: the approvals are of
// its bytes.
type Plan struct {
	Format    string    `json:"format"`
	Origin    string    `json:"origin"` // name of the log, as in its checkpoints
	Source    string    `json:"source"`
	MadeAt    time.Time `json:"made_at"`
	MadeBy    string    `json:"made_by"`
	KeepYears int       `json:"keep_years"`
	Before    time.Time `json:"before"` // every record is older than this
	First     uint64    `json:"first"`
	Last      uint64    `json:"last"`
	FirstTime time.Time `json:"first_time"`
	LastTime  time.Time `json:"last_time"`
	Records   uint64    `json:"records"`
	Bytes     int64     `json:"bytes"` // of the segments, as they are on disk
	Root      string    `json:"root"`  // of the log's tree over records 1 to Last

	Kinds  map[audit.Kind]uint64 `json:"kinds"`
	Months map[string]uint64     `json:"months"` // by YYYY-MM

	Holds    []HeldBy `json:"holds"`     // that are in force
	HoldsSum string   `json:"holds_sum"` // hash of the file of holds
	Kept     uint64   `json:"kept"`      // records that stay, with the rest of their exchanges

	Checkpoint Signed `json:"checkpoint"` // covers the range
	Segments   []File `json:"segments"`
	// Stopped says why the range does not reach further.
	Stopped string `json:"stopped"`
}

// HeldBy is how many records of the range one hold names.
type HeldBy struct {
	ID      string `json:"id"`
	Inquiry string `json:"inquiry,omitempty"`
	Reason  string `json:"reason"`
	Records uint64 `json:"records"`
}

// Signed is a checkpoint in a plan.
type Signed struct {
	Size uint64 `json:"size"`
	Root string `json:"root"`
}

// File is a segment's file.
type File struct {
	Name   string `json:"name"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Log is a journal and what proves it.
type Log struct {
	Origin  string
	Source  string
	Archive string   // the folder that disposal removes files from
	Dirs    []string // every folder of the journal, Archive among them
	Tree    *merkle.Tree
	// Checkpoint is the newest one that the log's key has signed.
	Checkpoint merkle.Checkpoint
	// Verified is up to which record every row was counted in ClickHouse.
	Verified uint64
	// Disposed is up to which record earlier disposals went.
	Disposed uint64
	// Progress is told how many records were read; nil for nobody.
	Progress func(done, total int64)
}

// Make plans the disposal of what is older than keepYears. It changes nothing.
// ErrNothing says that nothing may go, and why.
func Make(ctx context.Context, l Log, h *Holds, keepYears int, by string, now time.Time) (Plan, error) {
	if keepYears < 1 {
		return Plan{}, errors.New("plan disposal: records are kept for one year at least")
	}
	p := Plan{
		Format: planFormat, Origin: l.Origin, Source: l.Source, MadeAt: now.UTC().Truncate(time.Second), MadeBy: by, KeepYears: keepYears,
		Before: now.UTC().AddDate(-keepYears, 0, 0).Truncate(time.Second),
	}
	if _, err := l.plan(ctx, h, &p, 0); err != nil {
		return Plan{}, fmt.Errorf("plan disposal: %w", err)
	}
	return p, nil
}

// plan fills in the range and everything about it, and returns the exchanges that
// stay. upTo limits the range; 0 does not.
func (l Log) plan(ctx context.Context, h *Holds, p *Plan, upTo uint64) (map[uint64]bool, error) {
	if root, err := l.Tree.RootAt(l.Checkpoint.Size); err != nil || root != l.Checkpoint.Root {
		return nil, errors.Join(err, errors.New("the hash tree does not lead to the signed checkpoint: run \"matron audit verify\""))
	}
	segments, why, err := l.eligible(upTo)
	if err != nil {
		return nil, err
	}
	p.Stopped = why
	s := &survey{log: l, holds: h.Active(), before: p.Before, segments: segments, exchanges: map[uint64]bool{}, ctx: ctx}
	if err := s.run(); err != nil {
		return nil, err
	}
	if s.young {
		p.Stopped = "the next segment holds records that are not old enough"
	}
	if len(s.whole) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNothing, p.Stopped)
	}
	p.HoldsSum, p.Checkpoint = h.Sum, Signed{l.Checkpoint.Size, l.Checkpoint.Root.String()}
	p.take(s)
	root, err := l.Tree.RootAt(p.Last)
	if err != nil {
		return nil, err
	}
	p.Root, p.Segments, p.Bytes, p.Kept = root.String(), nil, 0, 0
	for _, seg := range segments[:len(s.whole)] {
		f, err := fileOf(seg)
		if err != nil {
			return nil, err
		}
		p.Segments = append(p.Segments, f)
		p.Bytes += f.Size
	}
	if len(s.exchanges) > 0 {
		err = l.kept(ctx, s.exchanges, p.First, p.Last, func(uint64, []byte) error { p.Kept++; return nil })
	}
	return s.exchanges, err
}

// take sums the segments up that go as a whole.
func (p *Plan) take(s *survey) {
	p.Kinds, p.Months, p.Holds, p.Records = map[audit.Kind]uint64{}, map[string]uint64{}, []HeldBy{}, 0
	named := make([]uint64, len(s.holds))
	for i, t := range s.whole {
		if i == 0 {
			p.First, p.FirstTime, p.LastTime = t.first, t.oldest, t.newest
		}
		p.Last, p.Records = t.last, p.Records+t.last-t.first+1
		if t.oldest.Before(p.FirstTime) {
			p.FirstTime = t.oldest
		}
		if t.newest.After(p.LastTime) {
			p.LastTime = t.newest
		}
		for k, n := range t.kinds {
			p.Kinds[k] += n
		}
		for m, n := range t.months {
			p.Months[m] += n
		}
		for i, n := range t.named {
			named[i] += n
		}
	}
	for i, h := range s.holds {
		p.Holds = append(p.Holds, HeldBy{ID: h.ID, Inquiry: h.Inquiry, Reason: h.Reason, Records: named[i]})
	}
}

// eligible lists the segments from the oldest on that may go whatever their age,
// and says why the next one may not.
func (l Log) eligible(upTo uint64) (list []journal.Segment, why string, err error) {
	all, err := journal.Segments(l.Dirs...)
	if err != nil {
		return nil, "", err
	}
	strays := map[uint64]string{}
	for _, s := range all {
		if s.Stray {
			strays[s.First] = s.Files[0]
		}
	}
	next := l.Disposed + 1
	for _, s := range all {
		if s.Stray {
			continue
		}
		if s.First < next {
			return nil, "", fmt.Errorf("a disposal of the records up to %d is not complete: run \"matron audit retention apply\" with its plan again", l.Disposed)
		}
		if s.First > next {
			return nil, "", fmt.Errorf("records %d to %d are not there and were not disposed of: run \"matron audit verify\"", next, s.First-1)
		}
		next = s.Last + 1
		if why = l.stays(s, upTo); why == "" {
			for first, file := range strays {
				if first >= s.First && first <= s.Last {
					why = "an attempt of which nothing was acknowledged has records of the same numbers: " + file
				}
			}
		}
		if why != "" || s.Last == 0 {
			return list, why, nil
		}
		list = append(list, s)
	}
	return list, "", nil
}

// stays says why a segment may not go; "" when it may.
func (l Log) stays(s journal.Segment, upTo uint64) string {
	switch {
	case s.Last == 0 || !s.Packed || len(s.Files) != 1 || filepath.Dir(s.Files[0]) != filepath.Clean(l.Archive):
		return fmt.Sprintf("the segment of record %d is not in the archive alone", s.First)
	case s.Last > l.Verified:
		return fmt.Sprintf("records %d to %d have not all been counted in ClickHouse", s.First, s.Last)
	case s.Last > l.Checkpoint.Size:
		return fmt.Sprintf("no signed checkpoint covers records %d to %d", s.First, s.Last)
	case upTo > 0 && s.Last > upTo:
		return fmt.Sprintf("the plan ends with record %d", upTo)
	}
	return ""
}

func fileOf(s journal.Segment) (File, error) {
	f := File{Name: filepath.Base(s.Files[0]), First: s.First, Last: s.Last}
	var err error
	f.Size, f.SHA256, err = hashFile(s.Files[0])
	return f, err
}

func hashFile(path string) (size int64, sum string, err error) {
	f, err := os.Open(path) //nolint:gosec // in the archive, or named by the operator
	if err != nil {
		return 0, "", err
	}
	h := sha256.New()
	size, err = io.Copy(h, f)
	return size, hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

// Encode is the content of a plan's file.
func (p Plan) Encode() ([]byte, error) {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write plan: %w", err)
	}
	return append(text, '\n'), nil
}

// ParsePlan reads the content of a plan's file and returns the hash that
// approvers sign.
func ParsePlan(text []byte) (Plan, string, error) {
	var p Plan
	if err := json.Unmarshal(text, &p); err != nil {
		return Plan{}, "", fmt.Errorf("read plan: %w", err)
	}
	again, err := p.Encode()
	switch {
	case err != nil:
		return Plan{}, "", err
	case p.Format != planFormat:
		return Plan{}, "", fmt.Errorf("read plan: %q is not %s", p.Format, planFormat)
	case !slices.Equal(again, text): // a field that this program would overlook
		return Plan{}, "", errors.New("read plan: it was changed since it was made")
	}
	sum := sha256.Sum256(text)
	return p, hex.EncodeToString(sum[:]), nil
}
