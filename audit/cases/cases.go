// Package cases keeps alerts for the people who review them.
//
// It never changes an alert once stored and never decides about one. It creates
// no database and runs no migration: Migrations are for the caller to run. A
// Store is safe for concurrent use as far as its *sql.DB is.
package cases

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/matron-epr/matron/audit/detect"
)

// ErrNotFound says that there is no such alert.
var ErrNotFound = errors.New("no such alert")

// stamp writes times so that their order is the order of the text.
const stamp = "2006-01-02T15:04:05.000000Z"

// Store keeps alerts in a relational database.
type Store struct{ db *sql.DB }

// New makes a store over db, which the migrations have been run on.
func New(db *sql.DB) *Store { return &Store{db: db} }

// Put stores alerts, all or none; one that is already there is left as it is.
// added are those that were new.
func (s *Store) Put(ctx context.Context, alerts []detect.Alert) (added []detect.Alert, err error) {
	if len(alerts) == 0 {
		return nil, nil
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("store alerts: %w", err)
	}
	for _, a := range alerts {
		isNew, err := put(ctx, tx, a)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("store alert %s: %w", a.ID, err), tx.Rollback())
		}
		if isNew {
			added = append(added, a)
		}
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("store alerts: %w", err)
	}
	return added, nil
}

func put(ctx context.Context, tx *sql.Tx, a detect.Alert) (isNew bool, err error) {
	body, err := json.Marshal(a)
	if err != nil {
		return false, fmt.Errorf("encode: %w", err)
	}
	res, err := tx.ExecContext(ctx,
		`INSERT INTO alerts (id, made, kind, site, person, body) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING`,
		a.ID, a.Made.UTC().Format(stamp), a.Kind, a.Site, a.Person, string(body))
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// List returns up to limit alerts, newest first, older than the alert whose id
// is before; "" starts at the newest. An id that is not known is an error that
// wraps ErrNotFound.
func (s *Store) List(ctx context.Context, limit int, before string) (alerts []detect.Alert, err error) {
	made := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	if before != "" {
		a, err := s.Get(ctx, before)
		if err != nil {
			return nil, err
		}
		made = a.Made
	}
	rows, err := s.db.QueryContext(ctx,
		`SELECT body FROM alerts WHERE made < $1 OR (made = $1 AND id < $2) ORDER BY made DESC, id DESC LIMIT $3`,
		made.UTC().Format(stamp), before, limit)
	if err != nil {
		return nil, fmt.Errorf("list alerts: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		a, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("list alerts: %w", err)
		}
		alerts = append(alerts, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list alerts: %w", err)
	}
	return alerts, nil
}

// Get returns one alert, or an error that wraps ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (detect.Alert, error) {
	a, err := scan(s.db.QueryRowContext(ctx, `SELECT body FROM alerts WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return detect.Alert{}, fmt.Errorf("alert %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return detect.Alert{}, fmt.Errorf("alert %s: %w", id, err)
	}
	return a, nil
}

// Count returns how many alerts there are.
func (s *Store) Count(ctx context.Context) (n int, err error) {
	if err := s.db.QueryRowContext(ctx, `SELECT count(id) FROM alerts`).Scan(&n); err != nil {
		return 0, fmt.Errorf("count alerts: %w", err)
	}
	return n, nil
}

func scan(row interface{ Scan(dest ...any) error }) (a detect.Alert, err error) {
	var body string
	if err := row.Scan(&body); err != nil {
		return detect.Alert{}, err
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		return detect.Alert{}, fmt.Errorf("decode: %w", err)
	}
	return a, nil
}
