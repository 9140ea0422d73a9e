package breakglass

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// Cause says why a grant ended.
type Cause string

// The causes.
const (
	ByTime    Cause = "time"
	ByPerson  Cause = "person"
	BySession Cause = "session" // the person signed out, or the session reached a limit
)

// Grant is emergency access: one person, one patient, for a time.
type Grant struct {
	ID      string
	Kind    policy.Offer // BreakGlass, or Purpose: what for was stated, which opens nothing by itself
	Offer   string
	Issuer  string
	Sub     string
	Session string
	Site    string
	App     string
	Patient proxy.Patient
	Purpose string
	Began   time.Time
	Until   time.Time
	Ended   time.Time // zero while it is in force
	Cause   Cause
	// Explained is when care was found to explain it, zero for not, and Evidence by what.
	Explained time.Time
	Evidence  string
	Verdict   Verdict   // "" for none yet
	Judged    time.Time // when the last word was said, zero for not
	Facts

	lease time.Duration // by the monotonic clock, when it ends in any case
	seen  time.Time     // until when it is known to have been in force
}

// Facts are what people who look at a grant need to know besides.
type Facts struct {
	Request string // reference of the refusal
	Person  string
	Name    string
	Roles   []string
	Org     string
	Area    policy.Area
	Refused []string // codes of the reasons of the refusal
	Reason  string   // code
	Note    string   // what the person wrote
	Again   string   // whether signing in again was part of it: "" no, AgainDone or AgainUnavailable
	Receipt string   // where the record of its beginning stands
}

// Whether signing in again was part of it.
const (
	AgainDone        = "done"
	AgainUnavailable = "unavailable" // the sign-in service did not answer
)

// covers reports whether g is about a patient of an application. A number of the same
// authority is the same patient whatever the application, and so is an NHS number;
// beside another number of that authority it is not, since whoever sends a request can
// write it there.
func (s *Service) covers(g Grant, site, app string, p proxy.Patient) bool {
	switch {
	case g.Site != site:
		return false
	case p.ID != "" && g.Patient.ID != "" && s.sameNumbers(g.App, app):
		return p.ID == g.Patient.ID
	}
	return p.NHSNumber != "" && p.NHSNumber == g.Patient.NHSNumber
}

// sameNumbers reports whether two applications know patients by the same numbers.
func (s *Service) sameNumbers(one, other string) bool {
	authority := s.cfg.Authority(one)
	return one == other || authority != "" && authority == s.cfg.Authority(other)
}

// countsIn says for the record where a grant counts: wherever the patient is named by
// NHS number or by a number of the same authority, or in one application alone.
func (s *Service) countsIn(g Grant) string {
	var ways []string
	if g.Patient.NHSNumber != "" {
		ways = append(ways, "nhs-number")
	}
	if authority := s.cfg.Authority(g.App); authority != "" && g.Patient.ID != "" {
		ways = append(ways, "authority:"+authority)
	}
	return strings.Join(append(ways, "application:"+g.App), " ")
}

// Granted implements proxy.Emergency.
func (s *Service) Granted(who policy.Subject, site, app string, patients []proxy.Patient) proxy.Grant {
	s.mu.RLock()
	defer s.mu.RUnlock()
	held := s.grants[accountOf(who)]
	if len(held) == 0 || len(patients) == 0 {
		return proxy.Grant{}
	}
	now := s.read()
	for _, kind := range []policy.Offer{policy.BreakGlass, policy.Purpose} {
		if all, ok := s.together(held, kind, now, site, app, patients); ok {
			return all
		}
	}
	return proxy.Grant{}
}

// together is what grants of a kind let a person do with all of the patients: the first
// to end ends it.
func (s *Service) together(held []Grant, kind policy.Offer, now reading, site, app string, patients []proxy.Patient) (all proxy.Grant, ok bool) {
	for _, p := range patients {
		i := slices.IndexFunc(held, func(g Grant) bool { return g.Kind == kind && g.inForce(now) && s.covers(g, site, app, p) })
		if i < 0 {
			return proxy.Grant{}, false
		}
		g := held[i]
		if until := g.ends(now); all.Until.IsZero() || until.Before(all.Until) {
			all.Until = until
		}
		all.Purpose = g.Purpose
		if kind == policy.BreakGlass && !slices.Contains(strings.Fields(all.ID), g.ID) {
			all.ID = strings.TrimSpace(all.ID + " " + g.ID)
		}
	}
	return all, true
}

// open makes a grant of an offer: the record of it is durable before it counts. On
// error: nobody is let in (GW-12).
func (s *Service) open(r *http.Request, o offer, who policy.Subject, f Facts, purpose string) (Grant, error) {
	clocks := s.read()
	now := clocks.wall
	ref := o.refused
	g := Grant{
		ID: newID(), Kind: ref.Offer, Offer: o.id, Issuer: who.Issuer, Sub: who.Sub, Session: who.Session, Site: ref.Site, App: ref.App,
		Patient: ref.Patient, Purpose: purpose, Began: now.UTC(), Until: now.Add(s.cfg.Lasts).UTC(), Facts: f,
		lease: clocks.mono + s.cfg.Lasts,
	}
	g.Request, g.Person, g.Name, g.Roles, g.Org, g.Area = ref.Request, who.Person, who.Name, who.Roles, who.Organisation, ref.Area
	for _, reason := range ref.Reasons {
		g.Refused = append(g.Refused, reason.Code)
	}
	if g.Kind == policy.BreakGlass {
		receipt, err := s.recordStart(r, g, ref, who)
		if err != nil {
			return Grant{}, err
		}
		g.Receipt = fmt.Sprintf("%s/%d", receipt.Source, receipt.Seq)
	} // a purpose stands in the record of each access
	s.mu.Lock()
	s.turn++
	s.leases[g.ID] = g.lease
	s.grants[accountOf(who)] = append(s.grants[accountOf(who)], g)
	s.mu.Unlock()
	s.owe(r.Context(), func(ctx context.Context) error { return s.insert(ctx, g) })
	if g.Kind == policy.BreakGlass && g.Issuer != policy.ProbeIssuer {
		s.announce(r.Context(), g, s.cfg.Address(who))
	}
	return g, nil
}

// recordStart makes the beginning of a grant durable.
func (s *Service) recordStart(r *http.Request, g Grant, ref proxy.Refused, who policy.Subject) (audit.Receipt, error) {
	rec := s.record(audit.KindBreakGlassStart, g)
	rec.Method, rec.Target, rec.ClientIP, rec.UserAgent = r.Method, Path, clientIP(r), r.UserAgent()
	rec.Route, rec.PatientSource, rec.Certainty = ref.Rule, ref.Source, ref.Certainty
	describe(rec, who)
	rec.Bound()
	return s.cfg.Log.Append(r.Context(), rec)
}

// newID makes an id that people can read out: no letters that look like digits.
func newID() string {
	text := rand.Text() // base32: A to Z, 2 to 7
	return "BG-" + text[:4] + "-" + text[4:8] + "-" + text[8:12]
}

// record begins a record about a grant.
func (s *Service) record(kind audit.Kind, g Grant) *audit.Record {
	rec := &audit.Record{
		Site: g.Site, Kind: kind, Time: s.cfg.Now().UTC().Truncate(time.Microsecond), Request: g.Request,
		App: g.App, Action: string(kind), Area: string(g.Area), Patient: g.Patient.ID, NHSNumber: g.Patient.NHSNumber,
		UserIssuer: g.Issuer, UserSub: g.Sub, Person: g.Person, UserName: g.Name, Roles: g.Roles, Org: g.Org, Session: g.Session,
		Purpose: g.Purpose, Basis: audit.BasisBreakGlass + g.ID, Outcome: audit.Success,
		PatientSource: audit.SourceNone, Certainty: audit.Authoritative,
		Detail: []string{"grant=" + g.ID},
	}
	if kind == audit.KindBreakGlassEnd {
		rec.Detail = append(rec.Detail, "cause="+string(g.Cause))
		return rec
	}
	rec.Detail = append(rec.Detail, "reason="+g.Reason, "expires="+g.Until.Format(time.RFC3339Nano))
	if g.Note != "" {
		rec.Detail = append(rec.Detail, "note="+g.Note)
	}
	if g.Again != "" {
		rec.Detail = append(rec.Detail, "signed_in_again="+g.Again)
	}
	if len(g.Refused) > 0 {
		rec.Detail = append(rec.Detail, "refused="+strings.Join(g.Refused, " "))
	}
	rec.Detail = append(rec.Detail, "counts_in="+s.countsIn(g))
	return rec
}

// describe copies who the subject is into the record.
func describe(rec *audit.Record, who policy.Subject) {
	rec.Activities, rec.RoleID, rec.ACR, rec.AMR = who.Activities, who.RoleID, who.ACR, who.AMR
	rec.Assurance, rec.Token = uint64(max(who.Assurance, 0)), who.Token
	if !who.AuthTime.IsZero() {
		rec.AuthTime = who.AuthTime.UTC().Truncate(time.Microsecond)
	}
}

// End ends a grant before its time. Only its own person can.
func (s *Service) End(ctx context.Context, who policy.Subject, id string) error {
	ended := s.bury(func(g Grant) bool { return g.ID == id && accountOf(who) == (account{g.Issuer, g.Sub}) })
	if len(ended) == 0 {
		return errNoOffer
	}
	s.finish(ctx, ended, ByPerson)
	return nil
}

// SessionEnded ends the grants that were given in a session.
func (s *Service) SessionEnded(session string) {
	if session == "" {
		return
	}
	ended := s.bury(func(g Grant) bool { return g.Session == session })
	if len(ended) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), writeWithin)
		defer cancel()
		s.finish(ctx, ended, BySession)
	}
}

// SessionRenewed lets the grants of a session go on in the one that took its place,
// when the same person signs in again.
func (s *Service) SessionRenewed(ctx context.Context, old, fresh string) {
	if old == "" {
		return
	}
	moved := false
	s.mu.Lock()
	for who, held := range s.grants {
		for i := range held {
			if held[i].Session == old {
				s.grants[who] = slices.Clone(held)
				held = s.grants[who]
				held[i].Session, moved = fresh, true
			}
		}
	}
	s.turn++
	s.mu.Unlock()
	if !moved {
		return
	}
	s.owe(ctx, func(ctx context.Context) error {
		_, err := s.cfg.DB.ExecContext(ctx, `UPDATE breakglass_grant SET session = $1 WHERE session = $2 AND ended = 0`, fresh, old)
		return err
	})
}

// bury takes grants out of force here, whatever the database says afterwards.
func (s *Service) bury(meant func(Grant) bool) []Grant {
	var ended []Grant
	s.mu.Lock()
	defer s.mu.Unlock()
	for who, held := range s.grants {
		var rest []Grant
		for _, g := range held {
			if meant(g) {
				ended = append(ended, g)
				s.dead[g.ID] = true
			} else {
				rest = append(rest, g)
			}
		}
		if len(rest) == 0 {
			delete(s.grants, who)
		} else if len(rest) < len(held) {
			s.grants[who] = rest
		}
	}
	s.turn++
	return ended
}

// finish records the end of grants that are out of force already, once on all
// gateways together, and has what is open under them looked at.
func (s *Service) finish(ctx context.Context, ended []Grant, cause Cause) {
	now := s.cfg.Now().UTC()
	for _, g := range ended {
		g.Ended, g.Cause = now, cause
		tried := false
		s.owe(ctx, func(ctx context.Context) error {
			first, err := s.close(ctx, g, tried)
			tried = true
			if err != nil {
				return err
			}
			s.mu.Lock()
			delete(s.dead, g.ID)
			s.mu.Unlock()
			if !first || g.Kind != policy.BreakGlass {
				return nil
			}
			return s.cfg.Log.Add(s.record(audit.KindBreakGlassEnd, g))
		})
	}
	s.cfg.Changed()
}

const (
	// writeWithin bounds what one turn of writing may take.
	writeWithin = 5 * time.Second
	// askWithin bounds what somebody waits for the database: one that hangs is as good
	// as none (GW-10).
	askWithin = 500 * time.Millisecond
)

// owe writes to the database now or, while that fails, later, in order. What is owed
// is lost only if this gateway ends first; the record has it in any case.
func (s *Service) owe(ctx context.Context, write func(context.Context) error) {
	s.mu.Lock()
	waiting := len(s.owed) > 0
	s.mu.Unlock()
	if !waiting {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askWithin)
		defer cancel()
		err := write(ctx)
		if err == nil {
			return
		}
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "emergency access not written to the database yet", slog.Any("error", err))
	}
	s.mu.Lock()
	s.owed = append(s.owed, write)
	s.mu.Unlock()
}

// settle writes what is owed, in order, until one fails.
func (s *Service) settle(ctx context.Context) error {
	for {
		s.mu.RLock()
		var next func(context.Context) error
		if len(s.owed) > 0 {
			next = s.owed[0]
		}
		s.mu.RUnlock()
		if next == nil {
			return nil
		}
		if err := next(ctx); err != nil {
			return err
		}
		s.mu.Lock()
		s.owed = s.owed[1:]
		s.mu.Unlock()
	}
}

const grantColumns = `id, kind, offer, issuer, sub, session, site, app, patient, nhs_number, purpose, began, until, ended, cause, facts`

// reviewColumns are those that are filled in afterwards.
const reviewColumns = `, explained, evidence, verdict, judged, seen`

func (s *Service) insert(ctx context.Context, g Grant) error {
	facts, err := json.Marshal(g.Facts)
	if err != nil {
		return fmt.Errorf("encode grant: %w", err)
	}
	_, err = s.cfg.DB.ExecContext(ctx,
		`INSERT INTO breakglass_grant (`+grantColumns+`, seen) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, '', $14, $15)
ON CONFLICT DO NOTHING`, // a write that was reported as failed may have been one
		g.ID, string(g.Kind), g.Offer, g.Issuer, g.Sub, g.Session, g.Site, g.App, g.Patient.ID, g.Patient.NHSNumber, g.Purpose,
		g.Began.UnixMicro(), g.Until.UnixMicro(), string(facts), g.Began.UnixMicro())
	if err != nil {
		return fmt.Errorf("store grant: %w", err)
	}
	return nil
}

// close notes the end of a grant. first is true for one gateway alone; where it is
// tried once more, also when the try before was reported as failed and was not.
func (s *Service) close(ctx context.Context, g Grant, again bool) (first bool, err error) {
	or := int64(0)
	if again {
		or = g.Ended.UnixMicro()
	}
	done, err := s.cfg.DB.ExecContext(ctx, `UPDATE breakglass_grant SET ended = $1, cause = $2 WHERE id = $3 AND ended IN (0, $4)`,
		g.Ended.UnixMicro(), string(g.Cause), g.ID, or)
	if err != nil {
		return false, fmt.Errorf("end grant: %w", err)
	}
	n, err := done.RowsAffected()
	return n == 1, err
}

// Renew implements proxy.Emergency.
func (s *Service) Renew(ctx context.Context, who policy.Subject) bool {
	s.mu.RLock()
	before := len(s.grants[accountOf(who)])
	s.mu.RUnlock()
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	if err := s.load(ctx); err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "emergency access not read", slog.Any("error", err))
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.grants[accountOf(who)]) > before
}

// load reads what is in force, unless something changed here meanwhile: then the next
// turn does.
func (s *Service) load(ctx context.Context) error {
	s.mu.RLock()
	turn := s.turn
	s.mu.RUnlock()
	found, err := s.query(ctx, `WHERE ended = 0`)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turn != turn || len(s.owed) > 0 {
		return nil
	}
	s.grants = make(map[account][]Grant, len(found))
	leases, now := make(map[string]time.Duration, len(found)), s.read()
	for _, g := range found {
		s.lend(&g, now)
		leases[g.ID] = g.lease
		if !s.dead[g.ID] {
			s.grants[account{g.Issuer, g.Sub}] = append(s.grants[account{g.Issuer, g.Sub}], g)
		}
	}
	s.leases = leases
	return nil
}

// query reads grants; where is the rest of the statement.
func (s *Service) query(ctx context.Context, where string, args ...any) (_ []Grant, err error) {
	rows, err := s.cfg.DB.QueryContext(ctx, `SELECT `+grantColumns+reviewColumns+` FROM breakglass_grant `+where, args...) //nolint:gosec // where is text of this package
	if err != nil {
		return nil, fmt.Errorf("read grants: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var found []Grant
	for rows.Next() {
		var g Grant
		var began, until, ended, explained, judged, seen int64
		var facts string
		if err := rows.Scan(&g.ID, &g.Kind, &g.Offer, &g.Issuer, &g.Sub, &g.Session, &g.Site, &g.App, &g.Patient.ID, &g.Patient.NHSNumber,
			&g.Purpose, &began, &until, &ended, &g.Cause, &facts, &explained, &g.Evidence, &g.Verdict, &judged, &seen); err != nil {
			return nil, fmt.Errorf("read grants: %w", err)
		}
		if err := json.Unmarshal([]byte(facts), &g.Facts); err != nil {
			return nil, fmt.Errorf("read grants: %w", err)
		}
		g.Began, g.Until, g.Ended, g.Explained, g.Judged, g.seen = at(began), at(until), at(ended), at(explained), at(judged), at(seen)
		found = append(found, g)
	}
	return found, rows.Err()
}

// Of lists the grants of a person, newest first, at most limit.
func (s *Service) Of(ctx context.Context, who policy.Subject, limit int) ([]Grant, error) {
	list, err := s.query(ctx, `WHERE kind = 'break-glass' AND issuer = $1 AND sub = $2 ORDER BY began DESC LIMIT $3`, who.Issuer, who.Sub, limit)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i, now := 0, s.read(); i < len(list); i++ {
		s.lend(&list[i], now)
	}
	return list, err
}

// Run reads what other gateways granted and ended, ends what is past its time, and
// writes what is owed, each second until ctx is done. Without it grants still end on
// time here; only the record of it comes later.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeWithin)
			defer cancel()
			s.turnOnce(last)
			return nil
		case <-tick.C:
			s.turnOnce(ctx)
		}
	}
}

// turnOnce does one turn of Run. A database that fails is tried again next turn.
func (s *Service) turnOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	clocks := s.read()
	now := clocks.wall
	if over := s.bury(func(g Grant) bool { return !g.inForce(clocks) }); len(over) > 0 {
		s.finish(ctx, over, ByTime)
	}
	if err := s.settle(ctx); err != nil {
		return // it was told when it was first owed
	}
	if err := s.noteSeen(ctx, clocks); err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "emergency access not noted as in force", slog.Any("error", err))
	}
	if err := s.load(ctx); err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "emergency access not read", slog.Any("error", err))
		return
	}
	if _, err := s.cfg.DB.ExecContext(ctx, `DELETE FROM breakglass_offer WHERE made < $1`, now.Add(-2*offerLasts).UnixMicro()); err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "old offers of emergency access not cleared", slog.Any("error", err))
	}
	if _, err := s.cfg.DB.ExecContext(ctx, `DELETE FROM breakglass_grant WHERE issuer = $1 AND ended > 0 AND began < $2`,
		policy.ProbeIssuer, now.Add(-longestLasts).UnixMicro()); err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "old trials of emergency access not cleared", slog.Any("error", err))
	}
}
