package signin

import "context"

// Tidy does what Run does every minute.
func (s *Service) Tidy(ctx context.Context) error {
	s.tidy(ctx, true)
	return ctx.Err()
}

// SetMaxAttempts lowers the bound on pending attempts.
func (s *Service) SetMaxAttempts(n int) { s.store.maxAttempts = n }
