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

// Export writes the log that c describes as the files of a tiled log (C2SP
// tlog-tiles): checkpoint, tile/L/N, and tile/entries/N of the records that
// entry yields by index. signed is the note that c was read from. dir must be
// empty or missing; the checkpoint is written last, so that a folder that has one
// is complete.
func (t *Tree) Export(ctx context.Context, dir string, c Checkpoint, signed []byte, entry func(index uint64) ([]byte, error)) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("export tiles: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("export tiles: %w", err)
	}
	err = t.export(ctx, root, c, entry)
	if err == nil {
		err = root.WriteFile("checkpoint", signed, 0o600)
	}
	if err = errors.Join(err, root.Close()); err != nil {
		return fmt.Errorf("export tiles to %s: %w", dir, err)
	}
	return nil
}

func (t *Tree) export(ctx context.Context, root *os.Root, c Checkpoint, entry func(uint64) ([]byte, error)) error {
	if f, err := root.Open("checkpoint"); err == nil {
		return errors.Join(errors.New("there is a log already"), f.Close())
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for level := 0; level < levels && c.Size>>(tileHeight*level) > 0; level++ {
		have := c.Size >> (tileHeight * level)
		for n := uint64(0); n*tileWidth < have; n++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			to := min((n+1)*tileWidth, have)
			if err := t.exportTile(root, level, n, to); err != nil {
				return err
			}
			if level > 0 {
				continue
			}
			if err := exportBundle(root, n, to, entry); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *Tree) exportTile(root *os.Root, level int, n, to uint64) error {
	t.mu.Lock()
	hashes, err := t.hashes(level, n*tileWidth, to)
	t.mu.Unlock()
	if err != nil {
		return err
	}
	return writeTile(root, strconv.Itoa(level), n, len(hashes)/tlog.HashSize, hashes)
}

// exportBundle writes a bundle of entries, each behind its length.
func exportBundle(root *os.Root, n, to uint64, entry func(uint64) ([]byte, error)) error {
	var b []byte
	for i := n * tileWidth; i < to; i++ {
		e, err := entry(i)
		if err != nil {
			return err
		}
		if len(e) > MaxEntry {
			return fmt.Errorf("record %d has %d bytes, an entry bundle holds %d", i+1, len(e), MaxEntry)
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(e))) //nolint:gosec // bounded above
		b = append(b, e...)
	}
	return writeTile(root, "entries", n, int(to-n*tileWidth), b) //nolint:gosec // at most tileWidth
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
