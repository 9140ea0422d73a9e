package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/matron-epr/matron/audit"
)

// The errors of Rebuild that callers branch on.
var (
	// ErrRebuild says that a table could not be rebuilt. The one in use is as
	// it was.
	ErrRebuild = errors.New("ClickHouse table cannot be rebuilt")
)

const (
	// rebuildTable is filled beside the table in use.
	rebuildTable = "records_rebuild"
	// rebuilding is the comment of a table that Rebuild fills. It goes with the
	// table when that takes its place, so that a rebuild that was cut off knows
	// which of two tables is the new one.
	rebuilding = "matron: rebuilt from the journal, not yet confirmed"
)

// RebuildSource is a journal that is read from its folder. It is used by one
// goroutine at a time.
type RebuildSource interface {
	// Source is the id that every record carries.
	Source() string
	// First is the number of the oldest record.
	First() uint64
	// Durable is the number of the last record that is certainly on stable
	// storage; it grows while a gateway writes.
	Durable() (uint64, error)
	// Walk is Source.Walk.
	Walk(from uint64, limit int, visit func(r *audit.Record, canonical []byte) (more bool)) error
}

// Rebuilt is what Rebuild did.
type Rebuilt struct {
	Source      string
	First, Last uint64 // of the journal
	Inserted    uint64 // rows put in by this run
	Found       uint64 // rows that an earlier run had put in
	Kept        uint64 // rows taken over: of other sources, or older than the journal
	Replaced    bool   // the new table is in use
}

// RebuildConfig is what Rebuild needs. Source is required.
type RebuildConfig struct {
	Source   RebuildSource
	Progress func(done, total uint64) // nil: nobody watches
	// BlockRows is how many records are inserted at a time; default 200,000. A
	// run that continues another must have the same: blocks end at its
	// multiples, so that one that is sent again is the same under the same token.
	BlockRows int
}

// Rebuild makes the table of records anew from a journal. Nothing is changed
// in the table in use: another is filled beside it and counted, and takes its
// place in one step only when each record of the journal is there once and so
// is each row that other journals or archives answer for. The old table is
// dropped after the new one has been counted again in its place. A run that
// was cut off at any point is continued by the next. A shipper notices the
// exchange and fills in what came meanwhile.
func (s *Store) Rebuild(ctx context.Context, cfg RebuildConfig) (Rebuilt, error) {
	if s.cfg.Cluster.Replicated {
		return Rebuilt{}, fmt.Errorf("%w: replicas restore each other; docs/clickhouse.md says how", ErrRebuild)
	}
	block := uint64(orDefault(cfg.BlockRows, 200_000)) //nolint:gosec // never negative
	r := &rebuild{store: s, cfg: cfg, block: block, done: Rebuilt{Source: cfg.Source.Source(), First: cfg.Source.First()}}
	if err := r.run(ctx); err != nil {
		return r.done, fmt.Errorf("rebuild %s: %w", s.table(s.local()), err)
	}
	return r.done, nil
}

// rebuild is one run of Rebuild. It belongs to one goroutine.
type rebuild struct {
	store *Store
	cfg   RebuildConfig
	block uint64
	done  Rebuilt
}

func (r *rebuild) run(ctx context.Context) error {
	s := r.store
	if err := s.create(ctx, s.local()); err != nil { // it may be the table that is lost
		return err
	}
	comment, _, err := s.comment(ctx, s.local())
	if err != nil {
		return err
	}
	if comment == rebuilding { // an earlier run was cut off behind the exchange
		return r.finish(ctx)
	}
	if err := r.stage(ctx); err != nil {
		return err
	}
	if err := r.fillAll(ctx); err != nil {
		return err
	}
	if err := r.takeOver(ctx); err != nil {
		return err
	}
	if err := r.merges(ctx, true); err != nil { // before it is in use, where nobody would set it right
		return err
	}
	if err := r.confirm(ctx, rebuildTable); err != nil {
		return err
	}
	if err := s.conn.Exec(ctx, "EXCHANGE TABLES "+s.table(s.local())+" AND "+s.table(rebuildTable)); err != nil {
		return fmt.Errorf("exchange tables: %w", err)
	}
	return r.finish(ctx)
}

// fillAll fills the new table until it is level with a journal that grows.
func (r *rebuild) fillAll(ctx context.Context) error {
	for {
		last, err := r.cfg.Source.Durable()
		if err != nil {
			return err
		}
		if last < r.done.First {
			return fmt.Errorf("%w: the journal holds no record that is certainly on disk", ErrRebuild)
		}
		behind := last - min(last, r.done.Last)
		r.done.Last = last
		if err := r.merges(ctx, (last-r.done.First)/r.block >= maxHeld); err != nil {
			return err
		}
		if err := r.fill(ctx); err != nil {
			return err
		}
		if behind < 1000 {
			return nil
		}
	}
}

// maxHeld is how many blocks may stay parts of their own, half of what makes
// the server slow inserts down.
const maxHeld = 500

// merges says whether the server may merge the parts of the new table. While it
// is filled they would take the processor from it and be merged again later. It
// is a setting of the table, so that a restart of the server does not undo it.
func (r *rebuild) merges(ctx context.Context, on bool) error {
	change := "MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1"
	if on {
		change = "RESET SETTING max_bytes_to_merge_at_max_space_in_pool, max_bytes_to_merge_at_min_space_in_pool"
	}
	if err := r.store.conn.Exec(ctx, "ALTER TABLE "+r.store.table(rebuildTable)+" "+change); err != nil {
		return fmt.Errorf("hold merges of the new table: %w", err)
	}
	return nil
}

// finish counts the new table where it is in use now, and only then drops the
// old one.
func (r *rebuild) finish(ctx context.Context) error {
	s := r.store
	if r.done.Last == 0 { // nothing was filled by this run
		last, err := r.cfg.Source.Durable()
		if err != nil {
			return err
		}
		b, err := s.boundsIn(ctx, s.local(), r.done.Source)
		if err != nil {
			return err
		}
		r.done.Last = min(last, b.Last)
	}
	if err := r.confirm(ctx, s.local()); err != nil {
		return err
	}
	r.done.Replaced = true
	if err := s.conn.Exec(ctx, "DROP TABLE IF EXISTS "+s.table(rebuildTable)+" SYNC"); err != nil {
		return fmt.Errorf("drop the old table: %w", err)
	}
	if err := s.conn.Exec(ctx, "ALTER TABLE "+s.table(s.local())+" MODIFY COMMENT ''"); err != nil {
		return fmt.Errorf("confirm the new table: %w", err)
	}
	return nil
}

// stage makes the table beside, or keeps the one of a run that was cut off.
func (r *rebuild) stage(ctx context.Context) error {
	s := r.store
	comment, there, err := s.comment(ctx, rebuildTable)
	if err != nil {
		return err
	}
	if there && comment != rebuilding { // cut off between the two statements below: empty
		if err := s.conn.Exec(ctx, "DROP TABLE "+s.table(rebuildTable)+" SYNC"); err != nil {
			return fmt.Errorf("drop unfinished table: %w", err)
		}
	}
	if err := s.create(ctx, rebuildTable); err != nil {
		return err
	}
	if err := s.conn.Exec(ctx, "ALTER TABLE "+s.table(rebuildTable)+" MODIFY COMMENT '"+rebuilding+"'"); err != nil {
		return fmt.Errorf("mark new table: %w", err)
	}
	return nil
}

// create makes the table of records under a name, as the migrations have it.
func (s *Store) create(ctx context.Context, name string) error {
	list, err := readMigrations(embedded)
	if err != nil {
		return err
	}
	fill := s.placeholders(name)
	for _, m := range list {
		for _, statement := range m.statements(fill) {
			if err := s.conn.Exec(ctx, statement); err != nil {
				return fmt.Errorf("make table %s: %w", name, err)
			}
		}
	}
	return nil
}

// comment returns the comment of a table and whether there is one.
func (s *Store) comment(ctx context.Context, name string) (comment string, there bool, err error) {
	var n uint64
	err = s.conn.QueryRow(ctx, "SELECT any(comment), count() FROM system.tables WHERE database = ? AND name = ?", s.cfg.Database, name).Scan(&comment, &n)
	if err != nil {
		return "", false, fmt.Errorf("look at table %s: %w", name, err)
	}
	return comment, n > 0, nil
}

// inserters is how many blocks of a rebuild are on their way at a time, so that
// one is merged into columns while another waits for the disk.
const inserters = 2

// fill puts in the records of the journal that are not there yet. While the
// server takes blocks, the next is packed.
func (r *rebuild) fill(ctx context.Context) error {
	missing, err := r.missing(ctx)
	if err != nil {
		return err
	}
	total := r.done.Last - r.done.First + 1
	var due uint64
	for _, m := range missing {
		due += m.last - m.first + 1
	}
	if r.done.Inserted == 0 {
		r.done.Found = total - due
	}
	filled := total - due
	r.progress(filled, total)
	group, ctx := errgroup.WithContext(ctx)
	blocks := make(chan *packed)
	group.Go(func() error {
		defer close(blocks)
		return r.pack(ctx, missing, blocks)
	})
	var mu sync.Mutex // guards r.done and filled
	for range inserters {
		group.Go(func() error {
			for p := range blocks {
				if err := r.insert(ctx, p); err != nil {
					return err
				}
				mu.Lock()
				r.done.Inserted += p.rows()
				filled += p.rows()
				r.progress(filled, total)
				mu.Unlock()
			}
			return nil
		})
	}
	return group.Wait()
}

func (r *rebuild) progress(done, total uint64) {
	if r.cfg.Progress != nil {
		r.cfg.Progress(done, total)
	}
}

// pack hands on the records of the missing stretches, cut at the multiples of a
// block and where a partition ends.
func (r *rebuild) pack(ctx context.Context, missing []run, blocks chan<- *packed) error {
	for _, m := range missing {
		for from := m.first; from <= m.last; {
			to := min(m.last, (from-1)/r.block*r.block+r.block)
			p, err := r.store.pack(r.cfg.Source.Walk, from, int(to-from+1)) //nolint:gosec // a block at most
			if err == nil && (p == nil || p.first != from) {
				err = fmt.Errorf("%w: it lacks the record %d", ErrContent, from)
			}
			if err != nil {
				return err
			}
			select {
			case blocks <- p:
			case <-ctx.Done():
				return ctx.Err()
			}
			from = p.last + 1
		}
	}
	return nil
}

func (r *rebuild) insert(ctx context.Context, p *packed) error {
	defer r.store.free(p)
	return r.store.insert(ctx, rebuildTable, "rebuild/"+p.token(r.done.Source), p.columns)
}

// missing says which records of the journal the new table lacks.
func (r *rebuild) missing(ctx context.Context) ([]run, error) {
	s := r.store
	first, last := r.done.First, r.done.Last
	from := (first-1)/r.block*r.block + 1
	found, err := s.talliesIn(ctx, rebuildTable, r.done.Source, from, last, r.block)
	if err != nil {
		return nil, err
	}
	var list []run
	for at := from; at <= last; at += r.block {
		lo, hi := max(at, first), min(at+r.block-1, last)
		switch t := found[(at-from)/r.block]; {
		case t == wholeTally(lo, hi):
		case t.count == 0:
			list = append(list, run{lo, hi})
		default: // the journal has grown, or a month ends here
			numbers, surplus, err := s.censusIn(ctx, rebuildTable, r.done.Source, lo, hi)
			if err != nil {
				return nil, err
			}
			if surplus > 0 {
				return nil, r.again(ctx, fmt.Sprintf("%d rows of %d-%d came twice", surplus, lo, hi))
			}
			list = append(list, runs(numbers, int(r.block))...) //nolint:gosec // a block's size
		}
	}
	return list, nil
}

// again gives up a new table that cannot become whole.
func (r *rebuild) again(ctx context.Context, why string) error {
	if err := r.store.conn.Exec(ctx, "DROP TABLE "+r.store.table(rebuildTable)+" SYNC"); err != nil {
		return fmt.Errorf("drop unfinished table: %w", err)
	}
	return fmt.Errorf("%w: %s in the new table, which was dropped; run it again", ErrRebuild, why)
}

// takeOver copies the rows that this journal does not answer for: those of
// other sources and those that are older than its oldest segment.
func (r *rebuild) takeOver(ctx context.Context) error {
	s := r.store
	const others = " WHERE source != ? OR seq < ?"
	args := []any{r.done.Source, r.done.First}
	var old, copied uint64
	for table, n := range map[string]*uint64{s.local(): &old, rebuildTable: &copied} {
		if err := s.conn.QueryRow(ctx, "SELECT count() FROM "+s.table(table)+others, args...).Scan(n); err != nil {
			return fmt.Errorf("count rows of others: %w", err)
		}
	}
	r.done.Kept = old
	if copied == old {
		return nil
	}
	if copied > 0 { // a run was cut off here, or other gateways have shipped since
		if err := s.conn.Exec(ctx, "DELETE FROM "+s.table(rebuildTable)+others, args...); err != nil {
			return fmt.Errorf("remove rows of others: %w", err)
		}
	}
	var list []string
	for _, c := range wire() {
		list = append(list, c.name)
	}
	columns := strings.Join(list, ", ")
	err := s.conn.Exec(ctx, "INSERT INTO "+s.table(rebuildTable)+" ("+columns+") SETTINGS insert_deduplicate = 0 SELECT "+columns+
		" FROM "+s.table(s.local())+others, args...)
	if err != nil {
		return fmt.Errorf("take over rows of others: %w", err)
	}
	if err := s.conn.QueryRow(ctx, "SELECT count() FROM "+s.table(rebuildTable)+others, args...).Scan(&copied); err != nil {
		return fmt.Errorf("count rows of others: %w", err)
	}
	if copied < old {
		return fmt.Errorf("%w: %d of %d rows of other sources were taken over; run it again", ErrRebuild, copied, old)
	}
	r.done.Kept = copied
	return nil
}

// confirm fails unless a table holds each record of the journal once.
func (r *rebuild) confirm(ctx context.Context, table string) error {
	found, err := r.store.talliesIn(ctx, table, r.done.Source, r.done.First, r.done.Last, bucket)
	if err != nil {
		return err
	}
	for from := r.done.First; from <= r.done.Last; from += bucket {
		to := min(from+bucket-1, r.done.Last)
		if found[(from-r.done.First)/bucket] != wholeTally(from, to) {
			return fmt.Errorf("%w: %s does not hold each of the records %d-%d once; nothing was dropped, run it again",
				ErrRebuild, table, from, to)
		}
	}
	r.store.cfg.Log.InfoContext(ctx, "rebuilt table counted", slog.String("table", table), slog.Uint64("records", r.done.Last-r.done.First+1))
	return nil
}
