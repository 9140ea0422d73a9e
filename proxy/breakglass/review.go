package breakglass

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/matron-epr/matron/policy"
)

// Verdict is what somebody made of a grant.
type Verdict string

// The verdicts. NeedsTalk leaves the grant to be looked at: it is not the last word.
const (
	Justified    Verdict = "justified"
	NotJustified Verdict = "not-justified"
	NeedsTalk    Verdict = "needs-talk"
)

// known reports whether v is a verdict, and last whether it is the last word.
func (v Verdict) known() bool { return v.last() || v == NeedsTalk }
func (v Verdict) last() bool  { return v == Justified || v == NotJustified }

// Review is one look at a grant.
type Review struct {
	Made    time.Time
	Person  string
	Name    string
	Verdict Verdict
	Note    string
}

// What Judge's error may be.
var (
	ErrNoGrant    = errors.New("no such grant")
	ErrOwnGrant   = errors.New("nobody judges their own")
	ErrVerdict    = errors.New("not a verdict")
	ErrJudgedElse = errors.New("judged by somebody else meanwhile")
)

const (
	// shownJudged is for how long a grant is listed after the last word on it.
	shownJudged = 30 * 24 * time.Hour
	// explainWithin is how long after it began care may begin that explains a grant:
	// an admission is entered when there is time.
	explainWithin = 24 * time.Hour
	// explainFor is for how long anybody asks whether care explains a grant.
	explainFor = 14 * 24 * time.Hour
)

// notProbe leaves out what the probe of this program does.
const notProbe = `kind = 'break-glass' AND issuer <> '` + policy.ProbeIssuer + `'`

// Queue lists the grants that wait for the last word, oldest first, and after them
// those that have had it lately.
func (s *Service) Queue(ctx context.Context) ([]Grant, error) {
	return s.query(ctx, `WHERE `+notProbe+` AND (judged = 0 OR judged > $1) ORDER BY CASE WHEN judged = 0 THEN 0 ELSE 1 END, began`,
		s.cfg.Now().Add(-shownJudged).UnixMicro())
}

// Since lists the grants that began at a time or later, oldest first.
func (s *Service) Since(ctx context.Context, from time.Time) ([]Grant, error) {
	return s.query(ctx, `WHERE `+notProbe+` AND began >= $1 ORDER BY began`, from.UnixMicro())
}

// Find returns one grant and what was made of it, oldest first.
func (s *Service) Find(ctx context.Context, id string) (Grant, []Review, error) {
	found, err := s.query(ctx, `WHERE `+notProbe+` AND id = $1`, id)
	if err != nil {
		return Grant{}, nil, err
	}
	if len(found) == 0 {
		return Grant{}, nil, ErrNoGrant
	}
	reviews, err := s.reviews(ctx, id)
	return found[0], reviews, err
}

func (s *Service) reviews(ctx context.Context, id string) (_ []Review, err error) {
	rows, err := s.cfg.DB.QueryContext(ctx, `SELECT made, person, name, verdict, note FROM breakglass_review WHERE grant_id = $1 ORDER BY made`, id)
	if err != nil {
		return nil, fmt.Errorf("read reviews: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var list []Review
	for rows.Next() {
		var r Review
		var made int64
		if err := rows.Scan(&made, &r.Person, &r.Name, &r.Verdict, &r.Note); err != nil {
			return nil, fmt.Errorf("read reviews: %w", err)
		}
		r.Made = at(made)
		list = append(list, r)
	}
	return list, rows.Err()
}

// Judge notes what somebody made of a grant; the caller has recorded it. Nobody judges
// their own, and the last word is said once.
func (s *Service) Judge(ctx context.Context, who policy.Subject, id string, v Verdict, note string) error {
	g, _, err := s.Find(ctx, id)
	switch {
	case err != nil:
		return err
	case !v.known():
		return ErrVerdict
	case accountOf(who) == account{g.Issuer, g.Sub}, who.Person != "" && who.Person == g.Person:
		return ErrOwnGrant
	}
	tx, err := s.cfg.DB.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("judge: %w", err)
	}
	if err := judgeIn(ctx, tx, id, Review{s.cfg.Now(), who.Person, who.Name, v, oneLine(note)}); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func judgeIn(ctx context.Context, tx *sql.Tx, id string, r Review) error {
	judged := int64(0)
	if r.Verdict.last() {
		judged = r.Made.UnixMicro()
	}
	done, err := tx.ExecContext(ctx, `UPDATE breakglass_grant SET verdict = $1, judged = $2 WHERE id = $3 AND judged = 0`, string(r.Verdict), judged, id)
	if err != nil {
		return fmt.Errorf("judge: %w", err)
	}
	if n, err := done.RowsAffected(); err != nil || n != 1 {
		return errors.Join(ErrJudgedElse, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO breakglass_review (id, grant_id, made, person, name, verdict, note) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		rand.Text(), id, r.Made.UnixMicro(), r.Person, r.Name, string(r.Verdict), r.Note)
	if err != nil {
		return fmt.Errorf("judge: %w", err)
	}
	return nil
}

// Explained reports whether care explains a grant: whether its person is known now to
// have cared for its patient at a time, and by what.
type Explained func(g Grant, at time.Time) (evidence string, ok bool)

// Explain marks the grants of late that care explains by now, as it shows when it
// began or within a day after. It is never marked before care is known, and nothing
// is taken off the list by it. It returns how many it marked.
func (s *Service) Explain(ctx context.Context, explained Explained) (int, error) {
	now := s.cfg.Now()
	open, err := s.query(ctx, `WHERE `+notProbe+` AND explained = 0 AND began >= $1`, now.Add(-explainFor).UnixMicro())
	if err != nil {
		return 0, err
	}
	marked := 0
	for _, g := range open {
		if !slices.ContainsFunc(g.Refused, careCures) {
			continue
		}
		evidence, ok := explained(g, g.Began)
		if until := g.Began.Add(explainWithin); !ok && now.After(g.Began) {
			evidence, ok = explained(g, earlier(now, until))
		}
		if !ok {
			continue
		}
		if _, err := s.cfg.DB.ExecContext(ctx, `UPDATE breakglass_grant SET explained = $1, evidence = $2 WHERE id = $3 AND explained = 0`,
			now.UnixMicro(), evidence, g.ID); err != nil {
			return marked, fmt.Errorf("explain grant: %w", err)
		}
		marked++
		s.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "emergency access explained by care", slog.String("grant", g.ID))
	}
	return marked, nil
}

// careCures reports whether somebody is refused for that reason for want of a care
// relationship.
func careCures(reason string) bool {
	return reason == "no-relationship" || reason == "sensitive-record"
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
