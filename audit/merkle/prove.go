package merkle

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// ReadTiles implements tlog.TileReader.
func (t *Tree) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		from := uint64(tile.N) * tileWidth //nolint:gosec // not negative
		var err error
		if data[i], err = t.hashes(tile.L, from, from+uint64(tile.W)); err != nil { //nolint:gosec // not negative
			return nil, err
		}
	}
	return data, nil
}

// Height implements tlog.TileReader.
func (*Tree) Height() int { return tileHeight }

// SaveTiles implements tlog.TileReader; tiles are never fetched from elsewhere.
func (*Tree) SaveTiles([]tlog.Tile, [][]byte) {}

// reader yields the hashes of the tree as it was with size leaves and the given
// root, and fails when what is on disk does not lead to that root.
func (t *Tree) reader(size uint64, root Hash) tlog.HashReader {
	return tlog.TileHashReader(tlog.Tree{N: int64(size), Hash: root}, t) //nolint:gosec // sizes are far below 2^63
}

// Prove proves that leaf index is in the tree that c describes (RFC 6962,
// section 2.1.1).
func (t *Tree) Prove(index uint64, c Checkpoint) ([]Hash, error) {
	if index >= c.Size {
		return nil, fmt.Errorf("prove record %d: %w: the checkpoint covers %d", index+1, ErrSize, c.Size)
	}
	proof, err := tlog.ProveRecord(int64(c.Size), int64(index), t.reader(c.Size, c.Root)) //nolint:gosec // as above
	if err != nil {
		return nil, fmt.Errorf("prove record %d: %w", index+1, err)
	}
	return proof, nil
}

// ProveGrowth proves that the tree with old leaves is the beginning of the one
// that c describes (RFC 6962, section 2.1.2).
func (t *Tree) ProveGrowth(old uint64, c Checkpoint) ([]Hash, error) {
	if old == 0 || old == c.Size {
		return nil, nil
	}
	if old > c.Size {
		return nil, fmt.Errorf("prove growth from %d leaves: %w: the checkpoint covers %d", old, ErrSize, c.Size)
	}
	proof, err := tlog.ProveTree(int64(c.Size), int64(old), t.reader(c.Size, c.Root)) //nolint:gosec // as above
	if err != nil {
		return nil, fmt.Errorf("prove growth from %d leaves: %w", old, err)
	}
	return proof, nil
}
