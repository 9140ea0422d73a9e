package cases

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// Disposition is what somebody made of an alert, or of a case of a run.
type Disposition struct {
	Alert       string
	Made        time.Time
	Issuer, Sub string // of whoever says so
	Name        string
	Outcome     string // a code, as the pages have them
	Note        string // why
}

// Judge notes a disposition. Those before stay.
func (s *Store) Judge(ctx context.Context, d Disposition) error {
	_, err := s.db.ExecContext(ctx,
		`INSERT INTO dispositions (id, alert, made, issuer, sub, name, outcome, note) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		rand.Text(), d.Alert, d.Made.UTC().Format(stamp), d.Issuer, d.Sub, d.Name, d.Outcome, d.Note)
	if err != nil {
		return fmt.Errorf("note what was made of alert %s: %w", d.Alert, err)
	}
	return nil
}

// Dispositions lists what was made of alerts, oldest first; alert "" is of all.
func (s *Store) Dispositions(ctx context.Context, alert string) (all []Disposition, err error) {
	rows, err := s.db.QueryContext(ctx,
		`SELECT alert, made, issuer, sub, name, outcome, note FROM dispositions WHERE $1 = '' OR alert = $1 ORDER BY made, id`, alert)
	if err != nil {
		return nil, fmt.Errorf("list what was made of alerts: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var d Disposition
		var made string
		if err := rows.Scan(&d.Alert, &made, &d.Issuer, &d.Sub, &d.Name, &d.Outcome, &d.Note); err != nil {
			return nil, fmt.Errorf("list what was made of alerts: %w", err)
		}
		if d.Made, err = time.Parse(stamp, made); err != nil {
			return nil, fmt.Errorf("list what was made of alerts: %w", err)
		}
		all = append(all, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list what was made of alerts: %w", err)
	}
	return all, nil
}
