package engine_test

import (
	"log/slog"
	"testing"
	"time"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// eventually waits for something that must happen, however slow the machine is.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	ctx := t.Context()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	for !happened() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited for %s", what)
		case <-limit.C:
			t.Fatalf("waited too long for %s", what)
		case <-tick.C:
		}
	}
}
