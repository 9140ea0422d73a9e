package yardstick

import (
	"math"
	"math/rand/v2"
)

const (
	trees  = 100
	sample = 256 // both as Liu, Ting and Zhou advise
)

// isolate scores each point from 0 to 1 by how few random cuts part it from the
// others: Liu, Ting, Zhou, "Isolation Forest", ICDM 2008. What exists as a Go
// module draws from the shared random source, so that two runs of it differ.
func isolate(points [][]float64) []float64 {
	scores := make([]float64, len(points))
	if len(points) < 2 {
		return scores
	}
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same input gives the same list
	size := min(sample, len(points))
	limit := int(math.Ceil(math.Log2(float64(size))))
	for range trees {
		some := make([][]float64, size)
		for i, j := range rng.Perm(len(points))[:size] {
			some[i] = points[j]
		}
		tree := grow(rng, some, limit)
		for i, p := range points {
			scores[i] += tree.depth(p)
		}
	}
	for i := range scores {
		scores[i] = math.Pow(2, -scores[i]/trees/usualDepth(size))
	}
	return scores
}

// node is a cut, or a leaf with so many points.
type node struct {
	by          int
	at          float64
	left, right *node
	size        int
}

func grow(rng *rand.Rand, points [][]float64, limit int) *node {
	n := &node{size: len(points)}
	if limit == 0 || len(points) < 2 {
		return n
	}
	var least, most float64
	for _, n.by = range rng.Perm(len(points[0])) { // the first in which they differ
		least, most = math.Inf(1), math.Inf(-1)
		for _, p := range points {
			least, most = min(least, p[n.by]), max(most, p[n.by])
		}
		if least < most {
			break
		}
	}
	if least == most {
		return n
	}
	n.at = least + (1-rng.Float64())*(most-least) // above the least: neither side is empty
	var left, right [][]float64
	for _, p := range points {
		if p[n.by] < n.at {
			left = append(left, p)
		} else {
			right = append(right, p)
		}
	}
	n.left, n.right = grow(rng, left, limit-1), grow(rng, right, limit-1)
	return n
}

func (n *node) depth(p []float64) float64 {
	d := 0.
	for n.left != nil {
		if p[n.by] < n.at {
			n = n.left
		} else {
			n = n.right
		}
		d++
	}
	return d + usualDepth(n.size)
}

// usualDepth is how deep a search that fails goes in a tree of so many points.
func usualDepth(size int) float64 {
	switch {
	case size < 2:
		return 0
	case size == 2:
		return 1
	}
	const euler = 0.5772156649015329
	n := float64(size)
	return 2*(math.Log(n-1)+euler) - 2*(n-1)/n
}
