package gateway

import (
	"context"
	"sync"

	"github.com/matron-epr/matron/audit"
)

// known is what the record says of a person. The staff list cannot: it is kept
// as keyed hashes.
type known struct {
	name  string
	roles []string
}

// names finds what the newest record calls a person and remembers it. It is
// safe for concurrent use.
type names struct {
	index interface {
		Accesses(ctx context.Context, q audit.Query) ([]audit.Access, error)
	}
	mu    sync.Mutex
	found map[string]known // by person, under mu
}

func newNames(i index) *names { return &names{index: i, found: map[string]known{}} }

// of returns nothing while the index does not answer: pages then show the id.
func (n *names) of(ctx context.Context, person string) known {
	if person == "" {
		return known{}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if k, ok := n.found[person]; ok {
		return k
	}
	rows, err := n.index.Accesses(ctx, audit.Query{Person: person, Limit: 1})
	if err != nil || len(rows) == 0 || rows[0].UserName == "" {
		return known{}
	}
	n.found[person] = known{rows[0].UserName, rows[0].Roles}
	return n.found[person]
}
