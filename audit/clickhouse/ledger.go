package clickhouse

import (
	"encoding/json"
	"fmt"
)

// Ledger is where the shipper writes down what it is about to do. Append
// returns when the payload is on stable storage; a payload is either there as a
// whole after a crash or not at all.
type Ledger interface {
	Append(payload []byte) error
}

// What an entry says.
const (
	entryBlock    = "block"    // this block was cut; not yet inserted
	entryVerified = "verified" // every row up to Last was counted in ClickHouse
	entryRepair   = "repair"   // these rows are missing and are about to be inserted again
	entryAlarm    = "alarm"    // something is there that must not be
	entryBase     = "base"     // all up to Last is verified; stands for the entries before it
)

// entry is one payload of the ledger, as JSON.
type entry struct {
	Version int    `json:"v"`
	Kind    string `json:"kind"`
	Source  string `json:"source"`
	First   uint64 `json:"first,omitempty"`
	Last    uint64 `json:"last"`
	Month   int    `json:"month,omitempty"`  // block: the partition
	Hash    string `json:"hash,omitempty"`   // block, repair: of the content
	Number  uint64 `json:"number,omitempty"` // repair: counted from 1
	Code    string `json:"code,omitempty"`   // alarm
	Rows    uint64 `json:"rows,omitempty"`   // alarm: how many
}

// book is the ledger folded: what was cut, what of it was verified.
type book struct {
	source   string
	cut      uint64 // the last seq of the last block
	verified uint64
	pending  []block // cut and not verified, in order
	repairs  uint64  // the number of the last repair
	open     entry   // the last repair, until something is verified after it
}

// readBook folds payloads, oldest first.
func readBook(source string, payloads [][]byte) (*book, error) {
	b := &book{source: source}
	for i, p := range payloads {
		var e entry
		if err := json.Unmarshal(p, &e); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrLedger, i, err)
		}
		if err := b.apply(e); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrLedger, i, err)
		}
	}
	return b, nil
}

// apply takes one entry in, or refuses one that cannot follow those before.
func (b *book) apply(e entry) error {
	if e.Version != 1 || e.Source != b.source {
		return fmt.Errorf("version %d of source %q, want version 1 of %q", e.Version, e.Source, b.source)
	}
	switch e.Kind {
	case entryBlock:
		if e.First != b.cut+1 || e.Last < e.First || e.Hash == "" {
			return fmt.Errorf("block %d-%d after %d", e.First, e.Last, b.cut)
		}
		b.cut = e.Last
		b.pending = append(b.pending, block{first: e.First, last: e.Last, month: e.Month, hash: e.Hash})
	case entryVerified:
		if e.Last < b.verified || e.Last > b.cut {
			return fmt.Errorf("verified up to %d of %d", e.Last, b.cut)
		}
		b.verify(e.Last)
	case entryRepair:
		b.repairs, b.open = e.Number, e
	case entryAlarm:
	case entryBase:
		b.cut, b.repairs = e.Last, e.Number
		b.pending = nil
		b.verify(e.Last)
	default:
		return fmt.Errorf("kind %q is not known", e.Kind)
	}
	return nil
}

// Verified is up to which record every row of source was counted, as the ledger
// that holds payloads says.
func Verified(source string, payloads [][]byte) (uint64, error) {
	b, err := readBook(source, payloads)
	if err != nil {
		return 0, err
	}
	return b.verified, nil
}

// Condense returns fewer entries that mean the same to a shipper: one for all
// that is verified, then the alarms, the blocks that are pending and the repair
// that is under way.
func Condense(source string, payloads [][]byte) ([][]byte, error) {
	b, err := readBook(source, payloads)
	if err != nil {
		return nil, err
	}
	list := []entry{{Kind: entryBase, Last: b.verified, Number: b.repairs}}
	for _, p := range payloads {
		var e entry
		if err := json.Unmarshal(p, &e); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrLedger, err)
		}
		if e.Kind == entryAlarm || e.Kind == entryBlock && e.Last > b.verified {
			list = append(list, e)
		}
	}
	if b.open.Kind != "" {
		list = append(list, b.open)
	}
	out := make([][]byte, len(list))
	for i, e := range list {
		e.Version, e.Source = 1, source
		if out[i], err = json.Marshal(e); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrLedger, err)
		}
	}
	return out, nil
}

func (b *book) verify(last uint64) {
	b.verified, b.open = last, entry{}
	for len(b.pending) > 0 && b.pending[0].last <= last {
		b.pending = b.pending[1:]
	}
}
