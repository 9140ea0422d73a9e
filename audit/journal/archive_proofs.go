package journal

import (
	"errors"
	"io/fs"

	"github.com/matron-epr/matron/audit/merkle"
)

// archiveProofs brings the hashes of the archived records, and the checkpoints
// over them that were kept, into an archive folder of its own: so that it can be
// verified where nothing else of the journal is. They only ever grow. The caller
// holds archiving.
func (j *Journal) archiveProofs() error {
	last := j.archived()
	if j.cfg.Archive == "" || j.tree == nil || last == 0 {
		return nil
	}
	tree, err := merkle.Open(TreeDir(j.cfg.Archive))
	if err != nil {
		return err
	}
	err = j.copyHashes(tree, last)
	if err = errors.Join(err, tree.Close()); err != nil {
		return err
	}
	return j.copyCheckpoints(last)
}

// archived is the last record of the archive, up to which nothing is missing
// there.
func (j *Journal) archived() uint64 {
	chain := j.shelf.segments()
	var last uint64
	for i := 0; i+1 < len(chain) && chain[i].where[0] == (location{j.packs, true}); i++ {
		last = chain[i+1].id.first - 1
	}
	return last
}

func (j *Journal) copyHashes(to *merkle.Tree, last uint64) error {
	const block = 8192
	for from := to.Size(); from < last; from = to.Size() {
		leaves, err := j.tree.Leaves(from, min(from+block, last))
		if err != nil {
			return err
		}
		to.Add(leaves...)
	}
	return to.Sync()
}

// copyCheckpoints adds the kept checkpoints over archived records that the
// archive lacks.
func (j *Journal) copyCheckpoints(last uint64) (err error) {
	kept, err := ReadLedger(HistoryFile(j.cfg.Dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	to, there, err := OpenLedger(HistoryFile(j.cfg.Archive))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	var covered uint64
	if n := len(there); n > 0 {
		c, err := merkle.OpenCheckpoint(there[n-1], j.cfg.Verifier)
		if err != nil {
			return err
		}
		covered = c.Size
	}
	for _, note := range kept {
		c, err := merkle.OpenCheckpoint(note, j.cfg.Verifier)
		if err != nil {
			return err
		}
		if c.Size <= covered || c.Size > last {
			continue
		}
		if err := to.Append(note); err != nil {
			return err
		}
		covered = c.Size
	}
	return nil
}
