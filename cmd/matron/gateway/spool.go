package gateway

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/matron-epr/matron/audit/pseudonym"
	"github.com/matron-epr/matron/audit/spool"
	"github.com/matron-epr/matron/cmd/matron/config"
)

// SpoolDir is where commands leave records for the gateway.
func SpoolDir(c config.Config) string { return filepath.Join(c.DataDir, "spool") }

// Hasher makes the keyed hashes of what names a person, for commands beside the
// gateway.
func Hasher(c config.Config) (pseudonym.Hasher, error) {
	key, err := readKey(paths{c.DataDir}.matchKey())
	if err != nil {
		return pseudonym.Hasher{}, err
	}
	return pseudonym.New(key)
}

// drainSpool records what commands have left, at once and then every two
// seconds, until ctx ends.
func (g *Gateway) drainSpool(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		if _, err := spool.Drain(ctx, SpoolDir(g.cfg), g.journal); err != nil && ctx.Err() == nil {
			g.log.LogAttrs(ctx, slog.LevelError, "spooled records wait", slog.String("error", err.Error()))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
