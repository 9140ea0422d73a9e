package merkle

import (
	"crypto/sha256"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a leaf or node of the tree.
type Hash = tlog.Hash

// Frontier is the right edge of a tree: the roots of its perfect subtrees, from
// which the tree grows and its root follows. The zero value is the empty tree.
type Frontier struct {
	size  uint64
	nodes [64]Hash // by height; valid where size has the bit set
}

// Size is how many leaves the tree has.
func (f *Frontier) Size() uint64 { return f.size }

// Add appends a leaf.
func (f *Frontier) Add(leaf Hash) { f.push(0, leaf, nil) }

// push adds the root of a perfect subtree of 2^height leaves, which must not be
// higher than the lowest one there. done is told each root that this completes.
func (f *Frontier) push(height int, h Hash, done func(height int, h Hash)) {
	for ; f.size>>height&1 == 1; height++ {
		h = tlog.NodeHash(f.nodes[height], h)
		f.size -= 1 << height
		if done != nil {
			done(height+1, h)
		}
	}
	f.nodes[height] = h
	f.size += 1 << height
}

// Root is the Merkle tree hash (RFC 6962, section 2.1).
func (f *Frontier) Root() Hash {
	if f.size == 0 {
		return sha256.Sum256(nil)
	}
	low := bits.TrailingZeros64(f.size)
	h := f.nodes[low]
	for height := low + 1; height < 64; height++ {
		if f.size>>height&1 == 1 {
			h = tlog.NodeHash(f.nodes[height], h)
		}
	}
	return h
}
