package signin

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

const (
	// recheck is how long a session is believed from memory, so that one ended
	// by another gateway on the same database ends here too. Sessions ended by
	// this gateway end at once.
	recheck = 5 * time.Second
	// believeFor is how long a session is believed while the database does not
	// answer.
	believeFor = 5 * time.Minute
	// labelLength is how much of the hash of a session id names the session in
	// records: 128 bits.
	labelLength = 32
)

// row is a session as stored.
type row struct {
	id      string // hash of the id that the cookie holds
	issuer  string
	sub     string
	sid     string
	subject policy.Subject
	idToken string // sealed with the id
	email   string
	created time.Time
	seen    time.Time
	expires time.Time
}

// entry is a session in memory.
type entry struct {
	row                  // never changed
	seen    atomic.Int64 // last activity, microseconds
	written atomic.Int64 // last activity that the database knows
	checked atomic.Int64 // when the database last confirmed the session
}

// store keeps sessions and attempts in the database and sessions in memory in
// front of it.
type store struct {
	db          *sql.DB
	now         func() time.Time
	told        func(session string) // of the end of a session
	maxAttempts int

	mu    sync.RWMutex         // guards what follows
	live  map[string]*entry    // by label
	ended map[string]time.Time // by id: ended here, kept until it would have expired
	// undone holds ids that ended here while the database did not take it.
	undone map[string]struct{}
}

func newStore(db *sql.DB, now func() time.Time, told func(string)) *store {
	return &store{
		db: db, now: now, told: told, maxAttempts: maxAttempts,
		live: map[string]*entry{}, ended: map[string]time.Time{}, undone: map[string]struct{}{},
	}
}

func label(id string) string { return id[:labelLength] }

// session finds a session by the hash of its id. The error wraps
// proxy.ErrSessionExpired or proxy.ErrIdentityUnavailable.
func (st *store) session(ctx context.Context, id string) (*entry, error) {
	now := st.now()
	st.mu.RLock()
	e := st.live[label(id)]
	_, dead := st.ended[id]
	st.mu.RUnlock()
	if dead {
		return nil, proxy.ErrSessionExpired
	}
	if e != nil && e.id == id && now.UnixMicro()-e.checked.Load() < recheck.Microseconds() {
		return e, nil
	}
	found, err := st.read(ctx, id)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		st.forget(id)
		return nil, proxy.ErrSessionExpired
	case err != nil:
		return believed(e, id, now, err)
	}
	return st.keep(found, now)
}

// believed answers for a database that does not: a session that it confirmed
// a short while ago lives on, so that a fault of the session store does not
// take the record away from everybody at once (GW-02). Any other is refused.
func believed(e *entry, id string, now time.Time, err error) (*entry, error) {
	if e != nil && e.id == id && now.UnixMicro()-e.checked.Load() < believeFor.Microseconds() {
		return e, nil
	}
	return nil, fmt.Errorf("read session: %w: %w", proxy.ErrIdentityUnavailable, err)
}

// keep puts a row that was just read into memory, unless the session ended
// while it was being read.
func (st *store) keep(found row, now time.Time) (*entry, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if _, dead := st.ended[found.id]; dead {
		return nil, proxy.ErrSessionExpired
	}
	e := st.live[label(found.id)]
	if e == nil || e.id != found.id {
		e = &entry{row: found}
		st.live[label(found.id)] = e
	}
	seen := found.seen.UnixMicro()
	raise(&e.seen, seen)
	raise(&e.written, seen)
	e.checked.Store(now.UnixMicro())
	return e, nil
}

// raise sets v to at least n.
func raise(v *atomic.Int64, n int64) {
	for old := v.Load(); old < n; old = v.Load() {
		if v.CompareAndSwap(old, n) {
			return
		}
	}
}

func (st *store) forget(id string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.live, label(id))
}

// bury makes a session unusable in this gateway at once, whatever the database
// says afterwards.
func (st *store) bury(rows ...row) {
	st.mu.Lock()
	for _, r := range rows {
		delete(st.live, label(r.id))
		st.ended[r.id] = r.expires
	}
	st.mu.Unlock()
	for _, r := range rows {
		st.told(label(r.id))
	}
}

// tellOver tells of the sessions in memory that are over, though nobody ended them.
func (st *store) tellOver(over func(*entry) bool) {
	var names []string
	st.mu.RLock()
	for name, e := range st.live {
		if over(e) {
			names = append(names, name)
		}
	}
	st.mu.RUnlock()
	for _, name := range names {
		st.told(name)
	}
}

// touched notes activity; the database learns of it later.
func (st *store) touched(label string, now time.Time) {
	st.mu.RLock()
	e := st.live[label]
	st.mu.RUnlock()
	if e != nil {
		raise(&e.seen, now.UnixMicro())
	}
}

const rowColumns = `id, issuer, sub, sid, subject, id_token, created, seen, expires, email`

func scanRow(scan func(...any) error) (row, error) {
	var r row
	var subject string
	var created, seen, expires int64
	if err := scan(&r.id, &r.issuer, &r.sub, &r.sid, &subject, &r.idToken, &created, &seen, &expires, &r.email); err != nil {
		return row{}, err
	}
	if err := json.Unmarshal([]byte(subject), &r.subject); err != nil {
		return row{}, fmt.Errorf("subject of session: %w", err)
	}
	r.created, r.seen, r.expires = time.UnixMicro(created).UTC(), time.UnixMicro(seen).UTC(), time.UnixMicro(expires).UTC()
	return r, nil
}

func (st *store) read(ctx context.Context, id string) (row, error) {
	return scanRow(st.db.QueryRowContext(ctx, `SELECT `+rowColumns+` FROM signin_session WHERE id = $1`, id).Scan)
}

// replace stores a new session in place of the one the browser held before and, for
// single, of the person's others: all or nothing. The caller buries those.
func (st *store) replace(ctx context.Context, fresh row, old string, single bool) ([]row, error) {
	subject, err := json.Marshal(fresh.subject)
	if err != nil {
		return nil, fmt.Errorf("%w: subject: %w", errStore, err)
	}
	var ended []row
	err = st.inTx(ctx, func(tx *sql.Tx) error {
		var err error
		ended, err = deleteRows(ctx, tx, `id = $1`, old)
		if err != nil {
			return err
		}
		if single {
			others, err := deleteRows(ctx, tx, `issuer = $1 AND sub = $2`, fresh.issuer, fresh.sub)
			if err != nil {
				return err
			}
			ended = append(ended, others...)
		}
		_, err = tx.ExecContext(ctx,
			`INSERT INTO signin_session (`+rowColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			fresh.id, fresh.issuer, fresh.sub, fresh.sid, string(subject), fresh.idToken,
			fresh.created.UnixMicro(), fresh.seen.UnixMicro(), fresh.expires.UnixMicro(), fresh.email)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: store session: %w", errStore, err)
	}
	return ended, nil
}

// end ends one session. Even if the database fails, it is over here.
func (st *store) end(ctx context.Context, r row) error {
	st.bury(r)
	if _, err := st.db.ExecContext(ctx, `DELETE FROM signin_session WHERE id = $1`, r.id); err != nil {
		st.mu.Lock()
		st.undone[r.id] = struct{}{}
		st.mu.Unlock()
		return fmt.Errorf("%w: end session: %w", errStore, err)
	}
	return nil
}

// flush writes activity down.
func (st *store) flush(ctx context.Context) error {
	var active []*entry
	st.mu.RLock()
	for _, e := range st.live {
		if e.seen.Load() > e.written.Load() {
			active = append(active, e)
		}
	}
	st.mu.RUnlock()
	if len(active) == 0 {
		return nil
	}
	written := make(map[*entry]int64, len(active))
	err := st.inTx(ctx, func(tx *sql.Tx) error {
		for _, e := range active {
			seen := e.seen.Load()
			_, err := tx.ExecContext(ctx, `UPDATE signin_session SET seen = $1 WHERE id = $2 AND seen < $3`, seen, e.id, seen)
			if err != nil {
				return fmt.Errorf("write activity: %w", err)
			}
			written[e] = seen
		}
		return nil
	})
	if err != nil {
		return err
	}
	for e, seen := range written {
		raise(&e.written, seen)
	}
	return nil
}

// sweep deletes what is past its limits and returns it for the record.
func (st *store) sweep(ctx context.Context, idle time.Duration) ([]row, error) {
	now := st.now()
	if err := st.finish(ctx); err != nil {
		return nil, err
	}
	// Another gateway's activity reaches the database with a delay.
	const lag = time.Minute
	rows, err := deleteRows(ctx, st.db, `expires <= $1 OR seen <= $2`, now.UnixMicro(), now.Add(-idle-lag).UnixMicro())
	if err != nil {
		return nil, err
	}
	st.bury(rows...)
	if _, err := st.db.ExecContext(ctx, `DELETE FROM signin_logout WHERE expires <= $1`, now.UnixMicro()); err != nil {
		return rows, fmt.Errorf("forget logout tokens: %w", err)
	}
	if _, err := st.db.ExecContext(ctx, `DELETE FROM signin_attempt WHERE created < $1`, now.Add(-attemptLife).UnixMicro()); err != nil {
		return rows, fmt.Errorf("forget old attempts: %w", err)
	}
	st.prune(now)
	return rows, nil
}

// finish deletes from the database what ended here while it did not answer.
func (st *store) finish(ctx context.Context) error {
	st.mu.RLock()
	ids := slices.Collect(maps.Keys(st.undone))
	st.mu.RUnlock()
	for _, id := range ids {
		if _, err := st.db.ExecContext(ctx, `DELETE FROM signin_session WHERE id = $1`, id); err != nil {
			return fmt.Errorf("delete ended session: %w", err)
		}
		st.mu.Lock()
		delete(st.undone, id)
		st.mu.Unlock()
	}
	return nil
}

// prune drops from memory what can no longer matter.
func (st *store) prune(now time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for id, expires := range st.ended {
		if now.After(expires) {
			delete(st.ended, id)
		}
	}
	for name, e := range st.live {
		if now.After(e.expires) {
			delete(st.live, name)
		}
	}
}

// queryer is a *sql.DB or a *sql.Tx.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// deleteRows deletes the sessions that where selects and returns them.
func deleteRows(ctx context.Context, q queryer, where string, args ...any) ([]row, error) {
	rows, err := q.QueryContext(ctx, `DELETE FROM signin_session WHERE `+where+` RETURNING `+rowColumns, args...)
	if err != nil {
		return nil, fmt.Errorf("delete sessions: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var deleted []row
	for rows.Next() {
		r, err := scanRow(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("delete sessions: %w", err)
		}
		deleted = append(deleted, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("delete sessions: %w", err)
	}
	return deleted, nil
}

func (st *store) inTx(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := st.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
