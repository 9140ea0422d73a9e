package table

import "sync/atomic"

// Progress counts the rows that are done, and says when to stop: whoever works on a
// table then returns at once, and what it returns is of no use. A nil Progress counts
// nothing and never stops.
type Progress struct {
	Rows atomic.Int64
	Stop atomic.Bool
}

// Add counts rows and says whether to go on.
func (p *Progress) Add(rows int) bool {
	if p == nil {
		return true
	}
	p.Rows.Add(int64(rows))
	return !p.Stop.Load()
}
