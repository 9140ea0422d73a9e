package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/merkle"
)

const (
	treeFolder     = "tree"
	checkpointName = "checkpoint"
	historyName    = "checkpoints.ledger"

	// gapAfter is how long checkpoints may fail before that is recorded.
	gapAfter = 10 * time.Second
	// keepEvery is how far apart the checkpoints are that are kept: they narrow
	// down what was altered by somebody who made the hashes fit.
	keepEvery = 10 * time.Minute
)

// TreeDir is the folder of the hash tree of the journal in dir.
func TreeDir(dir string) string { return filepath.Join(dir, treeFolder) }

// CheckpointFile is where the last signed checkpoint of the journal in dir is.
func CheckpointFile(dir string) string { return filepath.Join(dir, checkpointName) }

// HistoryFile is the ledger of the checkpoints of the journal in dir that were
// kept, oldest first.
func HistoryFile(dir string) string { return filepath.Join(dir, historyName) }

// ErrForked says that the journal is not the one that was signed: records are
// missing at its end, or are others. Going on would give their numbers to other
// records.
var ErrForked = fmt.Errorf("%w: it is not what was signed", ErrCorrupt)

// signing is what the goroutine of sign works with. Others read its fields under
// Journal.mu.
type signing struct {
	note []byte
	last merkle.Checkpoint
	at   time.Time // when last was signed
	gap  time.Time // since when signing fails; zero while it works
	lost bool      // there were records and no checkpoint at Open
	err  error

	history *Ledger   // of the goroutine; nil where it could not be opened
	kept    time.Time // when the last one was kept
	covered uint64    // records that it covers
}

// openTree opens the hash tree and brings it up to the last record, after
// comparing it with the last signed checkpoint. Hashes up to a checkpoint were
// synced before it was signed; those behind it are made again from the records.
// On error other than ErrForked: care goes on without checkpoints, loudly (GW-12).
func (j *Journal) openTree() error {
	if j.cfg.Signer == nil {
		return nil
	}
	tree, err := merkle.Open(TreeDir(j.cfg.Dir))
	if err == nil {
		j.tree = tree
		err = j.matchTree()
	}
	if err == nil {
		return nil
	}
	if tree != nil {
		err = errors.Join(err, tree.Close())
	}
	j.tree, j.signs.err = nil, err
	if errors.Is(err, ErrForked) {
		return err
	}
	j.cfg.Log.LogAttrs(context.Background(), slog.LevelError, "journal: no checkpoints can be signed until this is mended",
		slog.String("error", err.Error()))
	return nil
}

func (j *Journal) matchTree() error {
	c, signed, err := j.lastCheckpoint()
	if err != nil {
		return err
	}
	if c.Size > j.durable.seq {
		return fmt.Errorf("%w: it ends with record %d, but %s covers %d: records %d to %d are missing at its end",
			ErrForked, j.durable.seq, checkpointName, c.Size, j.durable.seq+1, c.Size)
	}
	if root, err := j.tree.RootAt(min(c.Size, j.tree.Size())); err != nil || j.tree.Size() < c.Size || signed != nil && root != c.Root {
		j.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "journal: making the hash tree again from the records")
		return j.rebuildTree(c, signed)
	}
	if err := j.tree.Truncate(c.Size); err != nil {
		return err
	}
	j.signs.note, j.signs.last = signed, c
	return j.growTree()
}

// rebuildTree hashes every record again and demands that they lead to what was
// signed. The hashes of records that are not here any more stay: nothing could
// make them again.
func (j *Journal) rebuildTree(c merkle.Checkpoint, signed []byte) error {
	before := uint64(0)
	if chain := j.shelf.segments(); len(chain) > 0 {
		before = chain[0].id.first - 1
	}
	if err := j.tree.Truncate(before); err != nil {
		return err
	}
	if err := j.growTree(); err != nil {
		return err
	}
	if root, err := j.tree.RootAt(c.Size); signed != nil && (err != nil || root != c.Root) {
		if before > 0 { // nobody can tell whether records or hashes differ, and care goes on (GW-12)
			return fmt.Errorf("%w: records %d to %d and the hashes of those before do not lead to the root in %s; put the folder %s back from a backup",
				ErrCorrupt, before+1, c.Size, checkpointName, treeFolder)
		}
		return fmt.Errorf("%w: records 1 to %d do not lead to the root in %s; run \"matron audit verify\" to learn which differ",
			ErrForked, c.Size, checkpointName)
	}
	j.signs.note, j.signs.last = signed, c
	return nil
}

// growTree adds the records that the tree lacks.
func (j *Journal) growTree() error {
	const block = 4096
	for j.tree.Size() < j.durable.seq {
		err := j.Walk(j.tree.Size()+1, block, func(_ *audit.Record, canonical []byte) bool {
			j.tree.Add(audit.Leaf(canonical))
			return true
		})
		if err != nil {
			return fmt.Errorf("make hash tree: %w", err)
		}
	}
	return nil
}

// lastCheckpoint reads the checkpoint that was written last. None, or one that
// cannot be read, is no reason to refuse care: the record itself is sound. It is
// logged, and recorded as a gap (GW-13).
func (j *Journal) lastCheckpoint() (merkle.Checkpoint, []byte, error) {
	text, err := os.ReadFile(CheckpointFile(j.cfg.Dir))
	if errors.Is(err, fs.ErrNotExist) {
		j.signs.lost = j.durable.seq > 0
		return merkle.Checkpoint{}, nil, nil
	}
	if err != nil {
		return merkle.Checkpoint{}, nil, err
	}
	c, err := merkle.OpenCheckpoint(text, j.cfg.Verifier)
	if err != nil {
		j.cfg.Log.LogAttrs(context.Background(), slog.LevelError, "journal: the last checkpoint says nothing: kept beside as evidence",
			slog.String("file", CheckpointFile(j.cfg.Dir)), slog.String("error", err.Error()))
		j.signs.lost = true
		aside := checkpointName + ".unreadable-" + j.cfg.Now().UTC().Format("20060102T150405Z")
		return merkle.Checkpoint{}, nil, j.dir.root.Rename(checkpointName, aside)
	}
	return c, text, nil
}

// sign signs a checkpoint each second in which the journal grew, and once more
// when it has ended.
func (j *Journal) sign() {
	history, _, err := OpenLedger(HistoryFile(j.cfg.Dir))
	if err != nil { // a convenience of verification: nothing depends on it
		j.cfg.Log.LogAttrs(context.Background(), slog.LevelError, "journal: checkpoints are not kept", slog.String("error", err.Error()))
	} else {
		j.signs.history = history
		defer history.Close() //nolint:errcheck // every entry was synced
	}
	tick := time.NewTicker(j.cfg.CheckpointEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			j.checkpoint()
		case <-j.exited:
			j.checkpoint()
			j.retain(time.Time{})
			return
		}
	}
}

// retain files the last checkpoint among those that stay, unless the one before is
// younger than keepEvery. A zero time keeps it in any case.
func (j *Journal) retain(now time.Time) {
	s := &j.signs
	if s.history == nil || s.note == nil || s.last.Size == s.covered || !now.IsZero() && now.Sub(s.kept) < keepEvery {
		return
	}
	s.kept, s.covered = now, s.last.Size
	if err := s.history.Append(s.note); err != nil {
		s.history = nil
		j.cfg.Log.LogAttrs(context.Background(), slog.LevelError, "journal: checkpoints are not kept", slog.String("error", err.Error()))
	}
}

// checkpoint signs what is durable now. On error: care goes on, the next second
// tries again, and a gap that lasts is recorded (GW-13).
func (j *Journal) checkpoint() {
	size, root := j.tree.Root()
	if size == j.signs.last.Size && j.signs.gap.IsZero() { // only this goroutine moves them
		return
	}
	c := merkle.Checkpoint{Origin: j.cfg.Signer.Name(), Size: size, Root: root}
	signed, err := j.publishCheckpoint(c)
	now := j.cfg.Now()
	j.mu.Lock()
	j.signs.err = err
	if err != nil {
		if j.signs.gap.IsZero() {
			j.signs.gap = now
			j.cfg.Log.LogAttrs(context.Background(), slog.LevelError, "journal: checkpoint not signed", slog.String("error", err.Error()))
		}
		j.mu.Unlock()
		return
	}
	s := j.signs
	j.signs.note, j.signs.last, j.signs.at, j.signs.gap, j.signs.lost = signed, c, now, time.Time{}, false
	j.mu.Unlock()
	j.retain(now)
	if s.lost || !s.gap.IsZero() && now.Sub(s.gap) >= gapAfter {
		j.recordGap(s.last.Size, size)
	}
}

// recordGap says in the record itself that it grew without a checkpoint. On
// error: the checkpoints say so all the same.
func (j *Journal) recordGap(before, after uint64) {
	err := j.Add(&audit.Record{Kind: audit.KindCheckpointGap, Detail: []string{
		fmt.Sprintf("covered_before=%d", before), fmt.Sprintf("covered_after=%d", after),
	}})
	if err != nil {
		j.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "journal: checkpoint gap not recorded", slog.String("error", err.Error()))
	}
}

// publishCheckpoint makes the hashes durable, then the note that covers them.
func (j *Journal) publishCheckpoint(c merkle.Checkpoint) ([]byte, error) {
	if err := j.tree.Sync(); err != nil {
		return nil, err
	}
	signed, err := c.Sign(j.cfg.Signer)
	if err != nil {
		return nil, err
	}
	return signed, j.dir.put(checkpointName, signed)
}

// Checkpoint is the last one that was signed and the note that says so; nil when
// there is none.
func (j *Journal) Checkpoint() (merkle.Checkpoint, []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.signs.last, j.signs.note
}

// Tree holds the hash of every durable record, for proofs; nil when no checkpoints
// are signed.
func (j *Journal) Tree() *merkle.Tree { return j.tree }
