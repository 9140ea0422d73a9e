package signin

import (
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/matron-epr/matron/policy"
)

// readsReuse is how long a voucher for reads is given again: a part of voucherLife
// that leaves an application that is slow the rest.
const readsReuse = 15 * time.Second

// readTokens are the vouchers for reads that are given again. All of them are
// forgotten at once, so that none is older than readsReuse, whoever asks, and no
// more are kept than people ask within that time.
type readTokens struct {
	mu    sync.Mutex
	began time.Time              // guarded by mu
	made  map[readsFor]readToken // guarded by mu
}

// readsFor is whom and what a voucher for reads is for.
type readsFor struct {
	issuer, sub      string // of the subject
	audience, method string
}

type readToken struct {
	who   policy.Subject
	at    time.Time // when it was made
	token string
}

// VouchReads implements proxy.Voucher. Whoever has other roles meanwhile, in another
// session or the same, gets another token.
func (v *Voucher) VouchReads(who policy.Subject, method string) (string, error) {
	if method != http.MethodGet && method != http.MethodHead {
		return "", errors.New("vouch: " + method + " does not only read")
	}
	key := readsFor{who.Issuer, who.Sub, v.audience, method}
	now := v.now().Round(0) // by the clock on the wall, which applications compare it with
	if token, ok := v.reads.find(now, key, who); ok {
		return token, nil
	}
	token, err := v.issue(v.claims(who, method))
	if err != nil {
		return "", err
	}
	v.reads.keep(key, readToken{who, now, token})
	return token, nil
}

// find returns the token that was made for key while its subject was as it is now.
func (t *readTokens) find(now time.Time, key readsFor, who policy.Subject) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !recent(t.began, now) {
		t.began, t.made = now, map[readsFor]readToken{}
	}
	kept, ok := t.made[key]
	if !ok || !recent(kept.at, now) || !saidAlike(kept.who, who) {
		return "", false
	}
	return kept.token, true
}

// recent reports whether now is less than readsReuse after then, and not before it,
// as when the clock was put back.
func recent(then, now time.Time) bool {
	age := now.Sub(then)
	return age >= 0 && age < readsReuse
}

// keep notes a token that was made after find found none.
func (t *readTokens) keep(key readsFor, made readToken) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.made[key] = made
}

// saidAlike reports whether a voucher says the same of both subjects.
func saidAlike(a, b policy.Subject) bool {
	return a.Issuer == b.Issuer && a.Sub == b.Sub && a.Person == b.Person && a.Name == b.Name &&
		slices.Equal(a.Roles, b.Roles) && slices.Equal(a.Activities, b.Activities) &&
		a.Organisation == b.Organisation && a.RoleID == b.RoleID && a.Assurance == b.Assurance && a.Machine == b.Machine
}
