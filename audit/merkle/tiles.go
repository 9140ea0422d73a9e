package merkle

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// MaxEntry is how many bytes a record may have to fit into an entry bundle (C2SP
// tlog-tiles).
const MaxEntry = 1<<16 - 1

// Entries hands every record of a log to visit, in order, by index from 0.
type Entries func(visit func(index uint64, entry []byte) error) error

// Export writes the log that c describes as the files of a tiled log (C2SP
// tlog-tiles): checkpoint, tile/L/N, and tile/entries/N. signed is the note that c
// was read from. dir must be empty or missing; the checkpoint is written last, so
// that a folder that has one is complete.
func (t *Tree) Export(ctx context.Context, dir string, c Checkpoint, signed []byte, entries Entries) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("export tiles: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("export tiles: %w", err)
	}
	err = t.export(ctx, root, c, entries)
	if err == nil {
		err = root.WriteFile("checkpoint", signed, 0o600)
	}
	if err = errors.Join(err, root.Close()); err != nil {
		return fmt.Errorf("export tiles to %s: %w", dir, err)
	}
	return nil
}

func (t *Tree) export(ctx context.Context, root *os.Root, c Checkpoint, entries Entries) error {
	if _, err := root.Stat("checkpoint"); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, errors.New("there is a log already"))
	}
	for level := 0; level < levels && c.Size>>(tileHeight*level) > 0; level++ {
		have := c.Size >> (tileHeight * level)
		for n := uint64(0); n*tileWidth < have; n++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := t.exportTile(root, level, n, min((n+1)*tileWidth, have)); err != nil {
				return err
			}
		}
	}
	b := &bundler{ctx: ctx, root: root, size: c.Size}
	if err := entries(b.add); err != nil && !errors.Is(err, errBundled) {
		return err
	}
	if b.next < c.Size {
		return fmt.Errorf("record %d of %d is not there", b.next+1, c.Size)
	}
	return nil
}

func (t *Tree) exportTile(root *os.Root, level int, n, to uint64) error {
	hashes, err := t.hashes(level, n*tileWidth, to)
	if err != nil {
		return err
	}
	return writeTile(root, strconv.Itoa(level), n, len(hashes)/tlog.HashSize, hashes)
}

// errBundled ends the reading of entries behind the last one wanted.
var errBundled = errors.New("every entry is there")

// bundler makes bundles of entries, each behind its length.
type bundler struct {
	ctx  context.Context // an export is one call
	root *os.Root
	size uint64
	next uint64
	buf  []byte
}

func (b *bundler) add(index uint64, entry []byte) error {
	switch {
	case index >= b.size:
		return errBundled
	case index != b.next:
		return fmt.Errorf("record %d is not there", b.next+1)
	case len(entry) > MaxEntry:
		return fmt.Errorf("record %d has %d bytes, an entry bundle holds %d", index+1, len(entry), MaxEntry)
	}
	b.buf = binary.BigEndian.AppendUint16(b.buf, uint16(len(entry))) //nolint:gosec // bounded above
	b.buf = append(b.buf, entry...)
	b.next++
	if b.next%tileWidth != 0 && b.next != b.size {
		return nil
	}
	err := errors.Join(b.ctx.Err(), writeTile(b.root, "entries", index/tileWidth, int(index%tileWidth)+1, b.buf))
	b.buf = b.buf[:0]
	return err
}

func writeTile(root *os.Root, level string, n uint64, width int, data []byte) error {
	name := path.Join("tile", level, tileIndex(n))
	if width < tileWidth {
		name += ".p/" + strconv.Itoa(width)
	}
	if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	return root.WriteFile(name, data, 0o600)
}

// tileIndex writes a number as path elements of three digits, all but the last
// behind an x.
func tileIndex(n uint64) string {
	s := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		s = fmt.Sprintf("x%03d/%s", n%1000, s)
	}
	return s
}
