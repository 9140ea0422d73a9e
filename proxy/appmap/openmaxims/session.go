package openmaxims

import (
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// Session is what the application last showed in one of its sessions. The zero
// value is unknown; New sessions come from Begin.
type Session struct {
	known    bool // false: whatever the application shows next is read afresh
	signedIn bool
	user     string // as the application names them, "" while nobody is signed in
	role     string

	patient  proxy.Patient // the current one, zero for none
	nameless bool          // the current patient is somebody who cannot be told

	nodes   map[string]string // of the menu: id to caption
	display                   // what is on the screen
	under   []display         // below open dialogs
	opening bool              // a dialog was opened: the next screen is its own
	stale   bool              // the client shows another screen than the application is on

	plan     Plan         // of the request whose answer is awaited
	question []proxy.Part // what a message box waits to do

	mu     sync.Mutex // guards grants, which requests out of turn ask for
	grants []grant
}

// display is one screen and what is on it.
type display struct {
	screen place
	labels map[string]string // control to label
	items  map[string]string // item of its menus to text
	grids  map[string]*grid  // by control
}

// grid is a table on the screen.
type grid struct {
	columns []kind
	rows    map[string]proxy.Patient // by row id; the zero patient is a row of nobody in particular
	order   []string
	named   bool // its columns identify patients
	nobody  bool // its columns are of things that are no patient's
}

// grant is an address that the application handed out.
type grant struct {
	address string
	Grant
}

// Grant says for whom and where an address was handed out.
type Grant struct {
	Patient proxy.Patient // zero when it was nobody's
	Unknown bool          // it was somebody's who cannot be told
	Area    policy.Area
	Screen  string
}

// maxGrants bounds the addresses that one session may hold; the oldest go first.
const maxGrants = 64

// Begin returns the state of a session that the application has not begun yet.
func Begin() *Session { return &Session{known: true} }

// Lose forgets everything that an exchange of unknown outcome may have changed.
// Who is signed in stays: the application never changes that unasked.
func (s *Session) Lose() {
	s.known, s.patient, s.nameless = false, proxy.Patient{}, false
	s.display, s.under, s.opening, s.question = display{}, nil, false, nil
}

// Withheld notes that the client never got the last answer: what it still shows
// is another screen than the application is on, where the same control may be
// another button.
func (s *Session) Withheld() { s.stale = true }

// Leave forgets the session after the application has ended it.
func (s *Session) Leave() { s.leave() }

// leave forgets what belongs to the user who was signed in.
func (s *Session) leave() {
	s.Lose()
	s.known, s.signedIn, s.user, s.role, s.nodes = true, false, "", "", nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grants = nil
}

// SignedIn reports whether the application knows who works in the session.
func (s *Session) SignedIn() bool { return s.signedIn }

// User is the name under which the application knows who works, and Role theirs.
func (s *Session) User() (name, role string) { return s.user, s.role }

// grant notes that the application handed out an address.
func (s *Session) grant(address string) {
	if address == "" {
		return
	}
	g := grant{address, Grant{Patient: s.patient, Unknown: s.nameless, Area: s.screen.area, Screen: s.screen.caption}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.grants, func(old grant) bool { return old.address == address }); i >= 0 {
		s.grants = slices.Delete(s.grants, i, i+1)
	}
	if len(s.grants) >= maxGrants {
		s.grants = slices.Delete(s.grants, 0, 1)
	}
	s.grants = append(s.grants, g)
}

// Granted finds the grant of an address, written from the context path on, such
// as /ReturnAsUrlServlet?id=1. It may be called out of turn.
func (s *Session) Granted(address string) (Grant, bool) {
	address = canonical(address)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.grants {
		if g.address == address {
			return g.Grant, true
		}
	}
	return Grant{}, false
}

// below is an address that the application handed out, from its context path on.
// bases are the paths under which it is mounted.
func below(value string, bases []string) string {
	u, err := url.Parse(value)
	if err != nil {
		return ""
	}
	path := "/" + strings.TrimPrefix(u.Path, "/")
	for _, base := range bases {
		if rest, ok := strings.CutPrefix(path, base+"/"); ok && base != "" {
			path = "/" + rest
			break
		}
	}
	return canonical((&url.URL{Path: path, RawQuery: u.RawQuery}).String())
}

// canonical is one spelling of an address.
func canonical(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Path + "?" + u.Query().Encode()
}
