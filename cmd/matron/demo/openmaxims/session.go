package openmaxims

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const cookieName = "JSESSIONID"

// stage is how far a session's sign-in is.
type stage int

const (
	atLogin stage = iota
	atPassword
	atRole
	atLocation
	signedIn
	locked
)

// session is what the server keeps for one JSESSIONID. Whoever holds its turn
// owns the fields below turns.
type session struct {
	id    string
	turns turns

	stage    stage
	greeted  bool // the login page was shown
	attempts int  // wrong passwords so far
	salt     string
	account  *account
	role     role
	location string

	screen       *screen
	behind       *screen // the screen under an open dialog
	dialogOpened bool    // the next request is the print window's first and counts for nothing
	asked        *screen // system form that waits for the system password
	question     *question
	editing      bool
	patient      int // 0 is nobody
	recent       []int
	fields       map[string]string
	rows         map[string]row // of the grid on the screen, by row id
	chosen       row
	drawn        bool     // the menu was sent
	alerted      int      // patient whose alerts were sent
	soap         *account // signed in by SOAP; nil is nobody
}

// question is a message box that waits for its answer.
type question struct {
	text string
	yes  func(*turn)
}

// seen is what the session list shows.
type seen struct {
	ID, User, Role, Host string
	Last                 time.Time
}

// registry holds the live sessions.
type registry struct {
	timeout time.Duration
	now     func() time.Time

	mu   sync.Mutex
	live map[string]*session
	seen map[string]seen
}

func newRegistry(timeout time.Duration, now func() time.Time) *registry {
	return &registry{timeout: timeout, now: now, live: map[string]*session{}, seen: map[string]seen{}}
}

// open starts a session and drops those that were left behind.
func (g *registry) open(host string) *session {
	var raw [16]byte
	rand.Read(raw[:])
	s := &session{id: strings.ToUpper(hex.EncodeToString(raw[:])), fields: map[string]string{}}
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, was := range g.seen {
		if g.now().Sub(was.Last) > g.timeout {
			delete(g.live, id)
			delete(g.seen, id)
		}
	}
	g.live[s.id], g.seen[s.id] = s, seen{ID: s.id, Host: host, Last: g.now()}
	return s
}

// find is the live session of an id, which this keeps alive.
func (g *registry) find(id string) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	was, ok := g.seen[id]
	if !ok || g.now().Sub(was.Last) > g.timeout {
		delete(g.live, id)
		delete(g.seen, id)
		return nil
	}
	was.Last = g.now()
	g.seen[id] = was
	return g.live[id]
}

// name notes who a session is, for the session list.
func (g *registry) name(id, user, role, host string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if was, ok := g.seen[id]; ok {
		was.User, was.Role, was.Host = user, role, host
		g.seen[id] = was
	}
}

func (g *registry) end(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.live[id]
	delete(g.live, id)
	delete(g.seen, id)
	return ok
}

func (g *registry) list() []seen {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []seen
	for _, s := range g.seen {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b seen) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func sessionCookie(r *http.Request) string {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return ""
	}
	return c.Value
}

// setCookie hands out a session as an old container does, with neither HttpOnly
// nor Secure nor SameSite.
func setCookie(w http.ResponseWriter, id string) {
	w.Header().Set("Set-Cookie", cookieName+"="+id+"; Path="+Base)
}

// take waits for the session's turn and returns it, or a new session when there
// is none any more. The caller calls done.
func (s *Server) take(w http.ResponseWriter, r *http.Request) (held *session, done func()) {
	if held = s.sessions.find(sessionCookie(r)); held != nil {
		ready, done := held.turns.queue()
		<-ready
		if s.sessions.find(held.id) == held {
			return held, done
		}
		done() // it ended while this request waited
	}
	held = s.sessions.open(host(r))
	setCookie(w, held.id)
	ready, done := held.turns.queue()
	<-ready
	return held, done
}

// turns lets requests go one at a time, first come, first served, which a mutex
// does not promise. The zero value is ready.
type turns struct {
	mu      sync.Mutex
	busy    bool
	waiting []chan struct{}
}

// queue takes a place. The turn has come when ready is closed, and ends with done.
func (q *turns) queue() (ready <-chan struct{}, done func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	place := make(chan struct{})
	if q.busy {
		q.waiting = append(q.waiting, place)
	} else {
		q.busy = true
		close(place)
	}
	return place, q.next
}

func (q *turns) next() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.busy = false
		return
	}
	close(q.waiting[0])
	q.waiting = q.waiting[1:]
}
