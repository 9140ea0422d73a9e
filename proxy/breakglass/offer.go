package breakglass

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

const (
	// maxOffers bounds what is kept in memory; the oldest go.
	maxOffers = 10_000
	// sameOffer is how long requests about the same patient share one offer.
	sameOffer = time.Minute
)

// errNoOffer says that there is no such offer for this person, or no longer.
var errNoOffer = errors.New("no such offer")

// offer is emergency access that the rules offered to one person about one patient.
type offer struct {
	id      string
	refused proxy.Refused
	fresh   bool // signing in again is part of it
	made    time.Time
	taken   time.Time // zero while it can be used
}

// target is whom somebody was refused, and where.
type target struct {
	what      policy.Offer
	who       account
	session   string
	site, app string
	patient   proxy.Patient
	back      string
}

func targetOf(r proxy.Refused) target {
	return target{r.Offer, accountOf(r.Subject), r.Subject.Session, r.Site, r.App, r.Patient, r.Return}
}

// Offer implements proxy.Emergency.
func (s *Service) Offer(ctx context.Context, r proxy.Refused) string {
	now := s.cfg.Now()
	if r.Return == "" {
		r.Return = s.cfg.Home
	}
	s.mu.Lock()
	if old := s.offers[s.latest[targetOf(r)]]; old != nil && old.taken.IsZero() && now.Sub(old.made) < sameOffer {
		s.mu.Unlock()
		return Path + "/" + old.id
	}
	o := &offer{id: strings.ToLower(rand.Text()), refused: r, fresh: s.cfg.Fresh(r), made: now}
	s.forgetOffers(now)
	s.offers[o.id], s.latest[targetOf(r)] = o, o.id
	s.mu.Unlock()
	if err := s.store(ctx, o); err != nil { // another gateway will not know it; this one does
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "offer of emergency access kept in memory only", slog.Any("error", err))
	}
	return Path + "/" + o.id
}

// forgetOffers drops what is too old, or the oldest where there are too many. mu is held.
func (s *Service) forgetOffers(now time.Time) {
	if len(s.offers) < maxOffers {
		return
	}
	var oldest *offer
	for id, o := range s.offers {
		if now.Sub(o.made) > offerLasts {
			delete(s.offers, id)
		} else if oldest == nil || o.made.Before(oldest.made) {
			oldest = o
		}
	}
	if len(s.offers) >= maxOffers {
		delete(s.offers, oldest.id)
	}
	for t, id := range s.latest {
		if s.offers[id] == nil {
			delete(s.latest, t)
		}
	}
}

// stored is an offer as the database holds it.
type stored struct {
	Refused proxy.Refused
	Fresh   bool
}

func (s *Service) store(ctx context.Context, o *offer) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	text, err := json.Marshal(stored{o.refused, o.fresh})
	if err != nil {
		return fmt.Errorf("encode offer: %w", err)
	}
	_, err = s.cfg.DB.ExecContext(ctx, `INSERT INTO breakglass_offer (id, issuer, sub, refused, made, taken) VALUES ($1, $2, $3, $4, $5, 0)`,
		o.id, o.refused.Subject.Issuer, o.refused.Subject.Sub, string(text), o.made.UnixMicro())
	if err != nil {
		return fmt.Errorf("store offer: %w", err)
	}
	return nil
}

// offerOf finds an offer that was made to who. On error: nothing is offered.
func (s *Service) offerOf(ctx context.Context, id string, who policy.Subject) (offer, error) {
	s.mu.RLock()
	known := s.offers[id]
	var o offer
	if known != nil {
		o = *known
	}
	s.mu.RUnlock()
	if known == nil {
		var err error
		if o, err = s.readOffer(ctx, id); err != nil {
			return offer{}, err
		}
	}
	if accountOf(o.refused.Subject) != accountOf(who) {
		return offer{}, errNoOffer
	}
	return o, nil
}

func (s *Service) readOffer(ctx context.Context, id string) (offer, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	o := offer{id: id}
	var text string
	var made, taken int64
	err := s.cfg.DB.QueryRowContext(ctx, `SELECT refused, made, taken FROM breakglass_offer WHERE id = $1`, id).Scan(&text, &made, &taken)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return offer{}, errNoOffer
	case err != nil:
		return offer{}, fmt.Errorf("read offer: %w", err)
	}
	var kept stored
	if err := json.Unmarshal([]byte(text), &kept); err != nil {
		return offer{}, fmt.Errorf("read offer: %w", err)
	}
	o.refused, o.fresh, o.made, o.taken = kept.Refused, kept.Fresh, at(made), at(taken)
	return o, nil
}

// take uses an offer up. It succeeds once, on all gateways together; while the
// database does not answer, once here.
func (s *Service) take(ctx context.Context, o offer) (bool, error) {
	now := s.cfg.Now()
	s.taking.Lock()
	defer s.taking.Unlock()
	s.mu.RLock()
	known := s.offers[o.id]
	used := known != nil && !known.taken.IsZero()
	s.mu.RUnlock()
	if used {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	done, err := s.cfg.DB.ExecContext(ctx, `UPDATE breakglass_offer SET taken = $1 WHERE id = $2 AND taken = 0`, now.UnixMicro(), o.id)
	if err != nil && known == nil {
		return false, fmt.Errorf("take offer: %w", err) // it may have been used at the gateway that made it
	}
	if err == nil {
		n, err := done.RowsAffected()
		if err != nil || n != 1 && known == nil {
			return false, err
		}
		if n != 1 && s.storedAt(ctx, o.id) {
			return false, nil
		}
	}
	if known != nil {
		s.mu.Lock()
		known.taken = now
		s.mu.Unlock()
	}
	return true, nil
}

// storedAt reports whether the database has the offer: one that it never got was not
// used anywhere else.
func (s *Service) storedAt(ctx context.Context, id string) bool {
	var n int
	err := s.cfg.DB.QueryRowContext(ctx, `SELECT COUNT(*) FROM breakglass_offer WHERE id = $1`, id).Scan(&n)
	return err != nil || n > 0
}

// giveBack makes an offer usable again whose grant could not be recorded.
func (s *Service) giveBack(ctx context.Context, o offer) {
	s.mu.Lock()
	if known := s.offers[o.id]; known != nil {
		known.taken = time.Time{}
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	if _, err := s.cfg.DB.ExecContext(ctx, `UPDATE breakglass_offer SET taken = 0 WHERE id = $1`, o.id); err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "offer of emergency access not given back", slog.Any("error", err))
	}
}

func at(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
