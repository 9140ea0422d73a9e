package main

import (
	"context"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit/detect/table"
)

// TestDetectRunStops in the middle of its work, and makes no cases of half of it.
func TestDetectRunStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := new(cobra.Command)
	c.SetContext(ctx)
	f := folder{accesses: table.New()}
	rounds := 0
	err := f.step(c, "looking", func(p *table.Progress) {
		for p.Add(1) {
			if rounds++; rounds == 3 {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	})
	if err == nil || rounds < 3 {
		t.Errorf("after %d rounds: %v", rounds, err)
	}
}
