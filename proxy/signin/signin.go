// Package signin proves who sends a request: OpenID Connect sign-in with
// sessions kept on the server, bearer tokens for API clients, sign-out at both
// ends, and the signed voucher that tells the application who is asking.
//
// It never stores or logs a password, a token or a session id in clear, never
// makes a session usable before the record of its sign-in is durable, and never
// falls back from a refused credential to another one. A Service and a Voucher
// are safe for concurrent use.
package signin

import (
	"context"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/matron-epr/matron/proxy"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations holds the numbered SQL files that make and change the tables, in
// the order of their names. They are valid on SQLite and PostgreSQL.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return migrations // cannot happen: the name is valid
	}
	return sub
}

// Service signs people in and knows their sessions. It is a proxy.Identifier.
type Service struct {
	cfg         Config
	discovery   *discovery
	store       *store
	page        *template.Template
	crossOrigin *http.CrossOriginProtection
	authTime    atomic.Int32 // authTimeUnseen and on
}

var _ proxy.Identifier = (*Service)(nil)

// New makes a Service. A provider that does not answer is no error: sessions
// that exist live on, and sign-in is tried again when somebody asks for it.
func New(ctx context.Context, cfg Config) (*Service, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	parsed, err := parsePage()
	if err != nil {
		return nil, fmt.Errorf("sign-in page: %w", err)
	}
	s := &Service{
		cfg:         cfg,
		discovery:   newDiscovery(cfg),
		store:       newStore(cfg.DB, cfg.Now, cfg.Ended),
		page:        parsed,
		crossOrigin: http.NewCrossOriginProtection(),
	}
	_ = s.Available(ctx) // asked early to save the first person the wait; discovery logs the error
	return s, nil
}

// answerWithin is how long Answers waits.
const answerWithin = 2 * time.Second

// Available tells whether people can sign in: whether the provider has been
// found. Its error wraps proxy.ErrIdentityUnavailable. It is not a reason to
// stop serving those who are signed in.
func (s *Service) Available(ctx context.Context) error {
	_, err := s.discovery.provider(ctx)
	return err
}

// Answers reports whether the provider answers now: whether somebody can be asked to
// sign in again.
func (s *Service) Answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	_, err := oidc.NewProvider(oidc.ClientContext(ctx, s.discovery.client), s.cfg.Issuer)
	return err == nil
}

// Handler serves the paths of sign-in and sign-out below /.matron/.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.matron/sign-in", s.start)
	mux.HandleFunc("GET /.matron/callback", s.callback)
	mux.HandleFunc("GET /.matron/sign-out", s.askSignOut)
	mux.HandleFunc("POST /.matron/sign-out", s.signOut)
	mux.HandleFunc("GET /.matron/signed-out", s.signedOut)
	mux.HandleFunc("POST /.matron/backchannel-logout", s.backchannel)
	return mux
}
