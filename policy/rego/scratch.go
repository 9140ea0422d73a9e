package rego

import (
	"slices"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// documents is a topdown.BaseCache of a bundle's tables: they never change, so that
// each evaluation reads them where they are rather than through the store.
type documents struct{ data ast.Value }

// Get returns what the tables hold at ref, nil for what they do not or where it takes
// the store to tell.
func (d documents) Get(ref ast.Ref) ast.Value {
	if len(ref) < 2 {
		return nil
	}
	for _, term := range ref[1:] {
		if _, ok := term.Value.(ast.String); !ok {
			return nil
		}
	}
	found, err := d.data.Find(ref[1:])
	if err != nil {
		return nil
	}
	return found
}

// Put is part of topdown.BaseCache.
func (documents) Put(ast.Ref, ast.Value) {}

// answers is a topdown.VirtualCache for the few rules of one evaluation: a list
// rather than a tree of maps, used again for the next one.
type answers struct{ frames []frame }

// frame holds up to fewAnswers in the list and the others in a cache of OPA's own.
type frame struct {
	list []answer
	more topdown.VirtualCache
}

const fewAnswers = 32

// answer is what one reference came to; value is nil where that is undefined.
type answer struct {
	first [4]*ast.Term // of the reference, whose slice belongs to the evaluation
	rest  ast.Ref
	size  int
	value *ast.Term
}

func (a *answer) of(ref ast.Ref) bool {
	if a.size != len(ref) {
		return false
	}
	for i := len(ref) - 1; i >= 0; i-- { // the first terms are those of most references
		term := a.rest
		if i < len(a.first) {
			term = a.first[:]
		}
		if !term[i].Equal(ref[i]) {
			return false
		}
	}
	return true
}

// room is where answers wait to be used again.
type room struct{ pool sync.Pool }

// take returns an empty cache.
func (r *room) take() *answers {
	a, ok := r.pool.Get().(*answers)
	if !ok {
		a = &answers{}
	}
	a.Push()
	return a
}

// giveBack empties a cache, so that nothing of a question outlives it.
func (r *room) giveBack(a *answers) {
	for _, f := range a.frames[:cap(a.frames)] {
		clear(f.list[:cap(f.list)])
	}
	a.frames = a.frames[:0]
	r.pool.Put(a)
}

// Push is part of topdown.VirtualCache.
func (a *answers) Push() {
	if len(a.frames) < cap(a.frames) {
		a.frames = a.frames[:len(a.frames)+1]
		f := &a.frames[len(a.frames)-1]
		f.list, f.more = f.list[:0], nil
		return
	}
	a.frames = append(a.frames, frame{list: make([]answer, 0, fewAnswers)})
}

// Pop is part of topdown.VirtualCache.
func (a *answers) Pop() { a.frames = a.frames[:len(a.frames)-1] }

// Get is part of topdown.VirtualCache.
func (a *answers) Get(ref ast.Ref) (*ast.Term, bool) {
	f := &a.frames[len(a.frames)-1]
	for i := range f.list {
		if f.list[i].of(ref) {
			return f.list[i].value, f.list[i].value == nil
		}
	}
	if f.more != nil {
		return f.more.Get(ref)
	}
	return nil, false
}

// Put is part of topdown.VirtualCache.
func (a *answers) Put(ref ast.Ref, value *ast.Term) {
	f := &a.frames[len(a.frames)-1]
	for i := range f.list {
		if f.list[i].of(ref) {
			f.list[i].value = value
			return
		}
	}
	if len(f.list) == fewAnswers {
		if f.more == nil {
			f.more = topdown.NewVirtualCache()
		}
		f.more.Put(ref, value)
		return
	}
	got := answer{size: len(ref), value: value}
	if copy(got.first[:], ref) < len(ref) {
		got.rest = slices.Clone(ref)
	}
	f.list = append(f.list, got)
}

// Keys is part of topdown.VirtualCache, for debuggers: there is none here.
func (*answers) Keys() []ast.Ref { return nil }
