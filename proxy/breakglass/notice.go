package breakglass

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Reader says whom a notice is for.
type Reader string

// The readers.
const (
	Accessor Reader = "accessor" // who broke the glass
	Officer  Reader = "officer"  // who looks at it
)

// Notice is a message about a grant. It names the grant and nothing else: neither the
// patient nor who it was (the officer looks it up).
type Notice struct {
	ID      string
	Grant   string
	Reader  Reader
	Address string
	Began   time.Time // of the grant
	tries   int
}

// Send hands a notice over to where it is delivered. An error means that it is tried
// again.
type Send func(ctx context.Context, n Notice) error

const (
	// firstRetry doubles with every try up to lastRetry.
	firstRetry = time.Minute
	lastRetry  = time.Hour
	// atOnce bounds how many go out in one turn.
	atOnce = 20
)

// announce puts the notices of a grant into the outbox.
func (s *Service) announce(ctx context.Context, g Grant, accessor string) {
	for reader, address := range map[Reader]string{Accessor: accessor, Officer: s.cfg.Officer} {
		if address == "" {
			continue
		}
		n := Notice{ID: rand.Text(), Grant: g.ID, Reader: reader, Address: address, Began: g.Began}
		s.owe(ctx, func(ctx context.Context) error {
			_, err := s.cfg.DB.ExecContext(ctx,
				`INSERT INTO breakglass_notice (id, grant_id, reader, address, made, tries, due, sent) VALUES ($1, $2, $3, $4, $5, 0, $6, 0)
ON CONFLICT DO NOTHING`,
				n.ID, n.Grant, string(n.Reader), n.Address, n.Began.UnixMicro(), n.Began.UnixMicro())
			if err != nil {
				return fmt.Errorf("store notice: %w", err)
			}
			return nil
		})
	}
}

// Deliver sends the notices that are due and puts those off that cannot be sent. Of
// several gateways the one that claims a notice sends it.
func (s *Service) Deliver(ctx context.Context, send Send) error {
	now := s.cfg.Now()
	due, err := s.due(ctx, now)
	if err != nil {
		return err
	}
	for _, n := range due {
		wait := min(firstRetry<<min(n.tries, 10), lastRetry)
		claimed, err := s.update(ctx, `UPDATE breakglass_notice SET tries = tries + 1, due = $1 WHERE id = $2 AND sent = 0 AND tries = $3`,
			now.Add(wait).UnixMicro(), n.ID, n.tries)
		if err != nil {
			return err
		}
		if !claimed {
			continue
		}
		if err := send(ctx, n); err != nil {
			s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "notice of emergency access not sent, tried again",
				slog.String("grant", n.Grant), slog.String("reader", string(n.Reader)), slog.Duration("after", wait), slog.String("error", err.Error()))
			continue
		}
		if _, err := s.update(ctx, `UPDATE breakglass_notice SET sent = $1, address = '' WHERE id = $2`, s.cfg.Now().UnixMicro(), n.ID); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) update(ctx context.Context, statement string, args ...any) (bool, error) {
	done, err := s.cfg.DB.ExecContext(ctx, statement, args...)
	if err != nil {
		return false, fmt.Errorf("write notice: %w", err)
	}
	n, err := done.RowsAffected()
	return n == 1, err
}

func (s *Service) due(ctx context.Context, now time.Time) (_ []Notice, err error) {
	rows, err := s.cfg.DB.QueryContext(ctx, `SELECT id, grant_id, reader, address, made, tries FROM breakglass_notice
WHERE sent = 0 AND due <= $1 ORDER BY due LIMIT $2`, now.UnixMicro(), atOnce)
	if err != nil {
		return nil, fmt.Errorf("read notices: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var list []Notice
	for rows.Next() {
		var n Notice
		var made int64
		if err := rows.Scan(&n.ID, &n.Grant, &n.Reader, &n.Address, &made, &n.tries); err != nil {
			return nil, fmt.Errorf("read notices: %w", err)
		}
		n.Began = at(made)
		list = append(list, n)
	}
	return list, rows.Err()
}

// Waiting is how many notices wait to go out, and since when the oldest does.
func (s *Service) Waiting(ctx context.Context) (n uint64, since time.Time, err error) {
	var oldest int64
	err = s.cfg.DB.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(MIN(made), 0) FROM breakglass_notice WHERE sent = 0`).Scan(&n, &oldest)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("count notices: %w", err)
	}
	return n, at(oldest), nil
}
