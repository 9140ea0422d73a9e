// Package cases keeps alerts for the people who review them.
//
// It never changes an alert once stored and never decides about one. It creates
// no database and runs no migration: Migrations are for the caller to run. A
// Store is safe for concurrent use as far as its *sql.DB is.
package cases

import (
	"context"
	"database/sql"
	"errors"

	"github.com/matron-epr/matron/audit/detect"
)

// ErrNotFound says that there is no such alert.
var ErrNotFound = errors.New("no such alert")

// Store keeps alerts in a relational database.
type Store struct{ db *sql.DB }

// New makes a store over db, which the migrations have been run on.
func New(db *sql.DB) *Store { return &Store{db: db} }

// Put stores alerts; one that is already there is left as it is. added is how
// many were new.
func (s *Store) Put(context.Context, []detect.Alert) (added int, err error) {
	return 0, errors.ErrUnsupported
}

// List returns up to limit alerts, newest first, older than the alert whose id
// is before; "" starts at the newest.
func (s *Store) List(ctx context.Context, limit int, before string) ([]detect.Alert, error) {
	return nil, errors.ErrUnsupported
}

// Get returns one alert, or an error that wraps ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (detect.Alert, error) {
	return detect.Alert{}, errors.ErrUnsupported
}

// Count returns how many alerts there are.
func (s *Store) Count(context.Context) (int, error) { return 0, errors.ErrUnsupported }
