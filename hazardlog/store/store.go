// Package store keeps hazard logs in a relational database: SQLite or
// PostgreSQL, by the same statements.
//
// It only ever adds events. A change is written in one transaction together
// with nothing else, and is refused when its subject was changed since it was
// read: two people, or two gateways, never overwrite each other. Publisher
// takes each event to the audit journal, exactly once. It creates no database
// and runs no migration: Migrations are for the caller to run. A Store is safe
// for concurrent use.
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/matron-epr/matron/hazardlog"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the numbered SQL files, valid on SQLite and PostgreSQL, in the
// order of their names.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return migrations // cannot happen: the folder is embedded above
	}
	return sub
}

// What callers branch on.
var (
	ErrNotFound = errors.New("no such hazard log")
	ErrExists   = errors.New("there is a hazard log of that name already")
	ErrCorrupt  = errors.New("the stored hazard log was altered")
)

// Store keeps hazard logs.
type Store struct {
	db  *sql.DB
	now func() time.Time

	mu    sync.Mutex
	known map[string]hazardlog.Log // as far as they were read
}

// New makes a store over db, which the migrations have been run on.
func New(db *sql.DB, now func() time.Time) *Store {
	return &Store{db: db, now: now, known: map[string]hazardlog.Log{}}
}

// IDs lists the logs.
func (s *Store) IDs(ctx context.Context) (ids []string, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id FROM hazard_log ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list hazard logs: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("list hazard logs: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// Log reads a log as it stands now. The error wraps ErrNotFound, or ErrCorrupt
// when the events do not follow each other as they were written.
func (s *Store) Log(ctx context.Context, id string) (hazardlog.Log, error) {
	l, err := s.read(ctx, s.db, id)
	if err == nil {
		s.keep(l)
	}
	return l, err
}

// queryer is a *sql.DB or a *sql.Tx.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// read goes on from what was read before: events never change.
func (s *Store) read(ctx context.Context, q queryer, id string) (hazardlog.Log, error) {
	s.mu.Lock()
	l, ok := s.known[id]
	s.mu.Unlock()
	if !ok {
		l = hazardlog.Begin(id)
	}
	events, err := eventsAfter(ctx, q, id, l.Seq())
	if err != nil {
		return hazardlog.Log{}, fmt.Errorf("read hazard log %s: %w", id, err)
	}
	if len(events) > 0 {
		if l, err = l.Resume(events); err != nil {
			return hazardlog.Log{}, fmt.Errorf("%w: %s: %w", ErrCorrupt, id, err)
		}
	}
	if l.Seq() == 0 {
		return hazardlog.Log{}, fmt.Errorf("%w: %q", ErrNotFound, id)
	}
	return l, nil
}

// keep remembers what is committed, for pages that ask again and again.
func (s *Store) keep(l hazardlog.Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[l.ID].Seq() < l.Seq() {
		s.known[l.ID] = l
	}
}

func eventsAfter(ctx context.Context, q queryer, id string, after uint64) (events []hazardlog.Event, err error) {
	rows, err := q.QueryContext(ctx, `SELECT seq, body, hash FROM hazard_event WHERE log = $1 AND seq > $2 ORDER BY seq`, id, int64(after)) //nolint:gosec // a count of events
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

func stored(seq uint64, body, hash string) (hazardlog.Event, error) {
	if hazardlog.Hash([]byte(body)) != hash {
		return hazardlog.Event{}, fmt.Errorf("%w: event %d is not what was written", ErrCorrupt, seq)
	}
	e, err := hazardlog.DecodeEvent([]byte(body))
	if err != nil {
		return hazardlog.Event{}, fmt.Errorf("%w: event %d: %w", ErrCorrupt, seq, err)
	}
	if e.Seq != seq {
		return hazardlog.Event{}, fmt.Errorf("%w: event %d stands in the place of event %d", ErrCorrupt, e.Seq, seq)
	}
	return e, nil
}

// Begin begins a log with its first changes. The error wraps ErrExists when
// there is one of that name.
func (s *Store) Begin(ctx context.Context, id string, by hazardlog.Actor, changes ...hazardlog.Change) (hazardlog.Log, error) {
	l, events, err := hazardlog.Begin(id).Record(s.now(), by, newID, changes...)
	if err != nil {
		return hazardlog.Log{}, err
	}
	return l, s.Import(ctx, events)
}

// Import stores the events of a log that was made elsewhere: as a new log, or as
// what came after in one that is here. The error wraps ErrExists when the two
// have gone different ways.
func (s *Store) Import(ctx context.Context, events []hazardlog.Event) error {
	whole, err := hazardlog.Fold(events)
	if err != nil {
		return err
	}
	if whole.Seq() == 0 {
		return fmt.Errorf("%w: there is no event in it", hazardlog.ErrInvalid)
	}
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO hazard_log (id, seq) VALUES ($1, 0) ON CONFLICT (id) DO NOTHING`, whole.ID); err != nil {
			return err
		}
		var have uint64
		err := tx.QueryRowContext(ctx, `UPDATE hazard_log SET seq = seq WHERE id = $1 RETURNING seq`, whole.ID).Scan(&have)
		if err != nil {
			return err
		}
		if err := sameBeginning(ctx, tx, whole, have); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE hazard_log SET seq = $1 WHERE id = $2`, int64(whole.Seq()), whole.ID); err != nil { //nolint:gosec // a count of events
			return err
		}
		return insert(ctx, tx, events[have:])
	})
	if err != nil {
		return fmt.Errorf("store hazard log %s: %w", whole.ID, err)
	}
	s.keep(whole)
	return nil
}

// sameBeginning makes sure that the have events that are stored are the first
// ones of l.
func sameBeginning(ctx context.Context, tx *sql.Tx, l hazardlog.Log, have uint64) error {
	if have == 0 {
		return nil
	}
	if have >= l.Seq() {
		return fmt.Errorf("%w: %s, with %d events", ErrExists, l.ID, have)
	}
	var hash string
	err := tx.QueryRowContext(ctx, `SELECT hash FROM hazard_event WHERE log = $1 AND seq = $2`, l.ID, int64(have)).Scan(&hash) //nolint:gosec // a count of events
	if err == nil && hash != l.Events()[have].Before {
		err = fmt.Errorf("%w: %s, which has gone another way since", ErrExists, l.ID)
	}
	return err
}

// Change makes changes of a log, all or none, and returns the log after them
// with their events. The error is a hazardlog.Conflict when a subject is not at
// the revision that the change expects, or wraps hazardlog.ErrInvalid.
func (s *Store) Change(ctx context.Context, id string, by hazardlog.Actor, changes ...hazardlog.Change) (hazardlog.Log, []hazardlog.Event, error) {
	if len(changes) == 0 {
		return hazardlog.Log{}, nil, fmt.Errorf("%w: nothing is to be changed", hazardlog.ErrInvalid)
	}
	var l hazardlog.Log
	var made []hazardlog.Event
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		// First, so that whoever else changes this log waits until here is done.
		done, err := tx.ExecContext(ctx, `UPDATE hazard_log SET seq = seq + $1 WHERE id = $2`, len(changes), id)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return errors.Join(fmt.Errorf("%w: %q", ErrNotFound, id), err)
		}
		now, err := s.read(ctx, tx, id)
		if err != nil {
			return err
		}
		if l, made, err = now.Record(s.now(), by, newID, changes...); err != nil {
			return err
		}
		return insert(ctx, tx, made)
	})
	if err != nil {
		return hazardlog.Log{}, nil, fmt.Errorf("change hazard log %s: %w", id, err)
	}
	s.keep(l)
	return l, made, nil
}

func insert(ctx context.Context, tx *sql.Tx, events []hazardlog.Event) error {
	for _, e := range events {
		body, err := e.Encode()
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx,
			`INSERT INTO hazard_event (log, seq, id, kind, subject, revision, body, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			e.Log, int64(e.Seq), e.ID, string(e.Subject.Kind), e.Subject.ID, int64(e.Revision), string(body), hazardlog.Hash(body)) //nolint:gosec // counts of events
		if err != nil {
			return fmt.Errorf("add event %d: %w", e.Seq, err)
		}
	}
	return nil
}

func (s *Store) inTx(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := do(tx); err != nil {
		return errors.Join(err, rollback(tx))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// rollback has nothing to undo where the database has done so itself.
func rollback(tx *sql.Tx) error {
	if err := tx.Rollback(); !errors.Is(err, sql.ErrTxDone) {
		return err
	}
	return nil
}

func newID() string {
	var unique [16]byte
	_, _ = rand.Read(unique[:]) // never fails, see crypto/rand
	return hex.EncodeToString(unique[:])
}
