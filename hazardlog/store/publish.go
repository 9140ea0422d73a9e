package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/matron-epr/matron/hazardlog"
)

// batchSize is how many events go into one group commit of the journal.
const batchSize = 64

// ClaimLasts is how long an event waits for the gateway that has claimed it. After
// that it is another's: a gateway that never comes back leaves no change unrecorded.
const ClaimLasts = 15 * time.Minute

// Entry is what the journal is told of an event: who did what to which subject,
// which fields, and the hash of all of it. What was written stays in the store,
// since a hazard log is free text and the journal is read by many.
type Entry struct {
	Event   hazardlog.Event
	Hash    string
	Changed []string // names of fields
	// Version and Snapshot are of an approval: the hash is the one that the
	// officer signed.
	Version  string
	Snapshot string
}

// Journal is the audit journal of one gateway.
type Journal interface {
	// Source names the journal.
	Source() string
	// Committed is the number of the last record that is durable.
	Committed() uint64
	// Append makes one record per entry durable, in order and without another
	// between, and returns the number of the first. On error it may or may not
	// have done so; last is then the highest number that they can have, 0 when
	// they have none.
	Append(ctx context.Context, entries []Entry) (first, last uint64, err error)
	// Find looks through the records after a number for those of events, by id,
	// and returns the numbers of those that it found.
	Find(ctx context.Context, after uint64, events map[string]bool) (map[string]uint64, error)
}

// Publisher takes events to a journal, each exactly once.
//
// The store comes first: an event that is stored is never lost. Before its
// record is appended, a claim is stored that says which journal takes it and
// how long that journal was; afterwards, where the record stands. A crash in
// between leaves a claim without a number: the next round, or the next start,
// looks for the record in what came after the claim, and appends only what is
// not there. So the repair after a crash is the same code as every round.
//
// A claim that has had no number for longer than ClaimLasts passes to whichever
// gateway comes next. Should the first one come back and have made its record after
// all, the event is in two journals, under one id and with one hash; in none it is
// never.
type Publisher struct {
	store   *Store
	journal Journal

	mu     sync.Mutex
	unsure uint64 // records up to this number may still become durable after an error
}

// NewPublisher makes a publisher. There must be one per journal.
func NewPublisher(s *Store, j Journal) *Publisher { return &Publisher{store: s, journal: j} }

// Publish takes every event that waits to the journal and returns how many it
// were. Events that another gateway has claimed are left to that one.
func (p *Publisher) Publish(ctx context.Context) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.journal.Committed() < p.unsure {
		return 0, nil // until then nobody can tell what the journal holds
	}
	p.unsure = 0
	if err := p.settle(ctx); err != nil {
		return 0, fmt.Errorf("find hazard events in the journal: %w", err)
	}
	for {
		batch, err := p.claim(ctx)
		if err != nil || len(batch) == 0 {
			return n, err
		}
		if err := p.append(ctx, batch); err != nil {
			return n, err
		}
		n += len(batch)
	}
}

// settle finds out what became of claims that have no number: those whose record
// is in the journal get it, the others are given up so that they are claimed
// again.
func (p *Publisher) settle(ctx context.Context) error {
	claims, after, err := p.open(ctx)
	if err != nil || len(claims) == 0 {
		return err
	}
	found, err := p.journal.Find(ctx, after, claims)
	if err != nil {
		return err
	}
	return p.store.inTx(ctx, func(tx *sql.Tx) error {
		for id := range claims {
			query, args := `DELETE FROM hazard_journal WHERE event = $1 AND source = $2 AND seq = 0`, []any{id, p.journal.Source()}
			if seq := found[id]; seq > 0 {
				query, args = `UPDATE hazard_journal SET seq = $3 WHERE event = $1 AND source = $2 AND seq = 0`, append(args, int64(seq)) //nolint:gosec // a number of a record
			}
			if _, err := tx.ExecContext(ctx, query, args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// open lists this journal's claims without a number, and the record from after
// which to look for them.
func (p *Publisher) open(ctx context.Context) (claims map[string]bool, after uint64, err error) {
	rows, err := p.store.db.QueryContext(ctx, `SELECT event, after FROM hazard_journal WHERE source = $1 AND seq = 0`, p.journal.Source())
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	claims = map[string]bool{}
	for rows.Next() {
		var id string
		var from uint64
		if err := rows.Scan(&id, &from); err != nil {
			return nil, 0, err
		}
		if len(claims) == 0 || from < after {
			after = from
		}
		claims[id] = true
	}
	return claims, after, rows.Err()
}

// claim claims the next events that nobody has, or that somebody has had for too
// long, the oldest first. Of two gateways that claim one at the same time, one gets it.
func (p *Publisher) claim(ctx context.Context) (batch []hazardlog.Event, err error) {
	err = p.store.inTx(ctx, func(tx *sql.Tx) error {
		now := p.store.now()
		// The time of a claim whose time was not noted runs from here on.
		if _, err := tx.ExecContext(ctx, `UPDATE hazard_journal SET claimed = $1 WHERE seq = 0 AND claimed = 0`, now.UnixMicro()); err != nil {
			return err
		}
		stale := now.Add(-ClaimLasts).UnixMicro()
		waiting, err := unclaimed(ctx, tx, stale)
		if err != nil {
			return err
		}
		for _, e := range waiting {
			done, err := tx.ExecContext(ctx,
				`INSERT INTO hazard_journal (event, source, after, seq, claimed) VALUES ($1, $2, $3, 0, $4)
				ON CONFLICT (event) DO UPDATE SET source = $2, after = $3, claimed = $4 WHERE hazard_journal.seq = 0 AND hazard_journal.claimed < $5`,
				e.ID, p.journal.Source(), int64(p.journal.Committed()), now.UnixMicro(), stale) //nolint:gosec // a number of a record
			if err != nil {
				return err
			}
			if n, err := done.RowsAffected(); err != nil || n == 0 {
				return err // another gateway goes on from here
			}
			batch = append(batch, e)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claim hazard events: %w", err)
	}
	return batch, nil
}

// unclaimed lists the events that nobody has claimed, or last before stale.
func unclaimed(ctx context.Context, tx *sql.Tx, stale int64) (events []hazardlog.Event, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT e.seq, e.body, e.hash FROM hazard_event e LEFT JOIN hazard_journal j ON j.event = e.id
		WHERE j.event IS NULL OR (j.seq = 0 AND j.claimed < $2) ORDER BY e.log, e.seq LIMIT $1`, batchSize, stale)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var seq uint64
		var body, hash string
		if err := rows.Scan(&seq, &body, &hash); err != nil {
			return nil, err
		}
		e, err := stored(seq, body, hash)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, rows.Err()
}

// append records claimed events and stores where they stand.
func (p *Publisher) append(ctx context.Context, batch []hazardlog.Event) error {
	entries := make([]Entry, len(batch))
	for i, e := range batch {
		entry, err := p.entry(ctx, e)
		if err != nil {
			return err
		}
		entries[i] = entry
	}
	first, last, err := p.journal.Append(ctx, entries)
	if err != nil {
		p.unsure = last
		return fmt.Errorf("record hazard events: %w", err)
	}
	err = p.store.inTx(ctx, func(tx *sql.Tx) error {
		for i, e := range batch {
			_, err := tx.ExecContext(ctx, `UPDATE hazard_journal SET seq = $1 WHERE event = $2 AND source = $3 AND seq = 0`,
				int64(first)+int64(i), e.ID, p.journal.Source()) //nolint:gosec // numbers of records
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note where hazard events are recorded: %w", err)
	}
	return nil
}

func (p *Publisher) entry(ctx context.Context, e hazardlog.Event) (Entry, error) {
	body, err := e.Encode()
	if err != nil {
		return Entry{}, err
	}
	l, err := p.store.Log(ctx, e.Log)
	if err != nil {
		return Entry{}, err
	}
	out := Entry{Event: e, Hash: hazardlog.Hash(body), Changed: l.ChangedFields(e)}
	if v, err := e.Content(); err == nil {
		if a, ok := v.(hazardlog.Approval); ok {
			out.Version, out.Snapshot = a.Version, a.SHA256
		}
	}
	return out, nil
}

// Place is where an event is recorded. The zero Place is nowhere yet.
type Place struct {
	Source string
	Seq    uint64 // 0 while it is not known
}

// Places says where the events of a log are recorded in journals, by id.
func (s *Store) Places(ctx context.Context, log string) (places map[string]Place, err error) {
	rows, err := s.db.QueryContext(ctx,
		`SELECT j.event, j.source, j.seq FROM hazard_journal j JOIN hazard_event e ON e.id = j.event WHERE e.log = $1`, log)
	if err != nil {
		return nil, fmt.Errorf("read places of hazard events: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	places = map[string]Place{}
	for rows.Next() {
		var id string
		var p Place
		if err := rows.Scan(&id, &p.Source, &p.Seq); err != nil {
			return nil, fmt.Errorf("read places of hazard events: %w", err)
		}
		places[id] = p
	}
	return places, rows.Err()
}
