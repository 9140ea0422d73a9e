package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/store"
)

func newHazardVerify() *cobra.Command {
	var b book
	c := &cobra.Command{
		Use: "verify", Short: "Compare the hazard log with the audit journal, event by event", Args: cobra.NoArgs,
		Long: "Each change of the log is in the journal once, by its hash. Whoever altered the database, or put an old\n" +
			"copy of it back, shows here; \"matron audit verify\" proves that the journal itself was not. Exit code 5\n" +
			"when the two differ, or an event is not what was written.",
		Example: "  matron hazard verify",
	}
	b.flags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return b.with(c, func() error {
			// A gateway may be recording meanwhile: what had its place before the walk must be
			// in the journal, and what the walk met is in the log after it.
			places, err := b.store.Places(c.Context(), b.log)
			if err != nil {
				return err
			}
			recorded := map[string][]string{} // hashes by event, of this log
			err = gateway.Walk(c.Context(), b.cfg, time.Time{}, time.Time{}, nil, func(r *audit.Record) {
				if r.Kind == audit.KindHazard && detail(r, "log=") == b.log && detail(r, "event=") != "" {
					recorded[r.Request] = append(recorded[r.Request], detail(r, "sha256="))
				}
			})
			if err != nil {
				return err
			}
			if b.current, err = b.store.Log(c.Context(), b.log); err != nil {
				return err
			}
			return b.compare(c, places, recorded)
		})
	}
	return c
}

func detail(r *audit.Record, name string) string {
	for _, d := range r.Detail {
		if value, ok := strings.CutPrefix(d, name); ok {
			return value
		}
	}
	return ""
}

func (b *book) compare(c *cobra.Command, places map[string]store.Place, recorded map[string][]string) error {
	var wrong []string
	for _, a := range b.current.Versions {
		if !a.Evidence.Whole() {
			wrong = append(wrong, "the evidence under version "+a.Version+" is not what its hash says")
		}
	}
	same, waiting, elsewhere := 0, 0, 0
	for _, e := range b.current.Events() {
		body, err := e.Encode()
		if err != nil {
			return err
		}
		hashes := recorded[e.ID]
		delete(recorded, e.ID)
		switch p := places[e.ID]; {
		case len(hashes) == 1 && hashes[0] == hazardlog.Hash(body):
			same++
		case len(hashes) > 0:
			wrong = append(wrong, fmt.Sprintf("event %d is recorded %d time(s), with another hash", e.Seq, len(hashes)))
		case p.Seq == 0:
			waiting++
		case p.Source != b.cfg.Source:
			elsewhere++
		default:
			wrong = append(wrong, fmt.Sprintf("event %d is not in the journal, where it was record %d", e.Seq, p.Seq))
		}
	}
	if len(recorded) > 0 {
		wrong = append(wrong, fmt.Sprintf("%d event(s) are in the journal and not in the log: they were taken out, or an old copy was put back", len(recorded)))
	}
	if len(wrong) > 0 {
		return failure{exitIntegrity, fmt.Errorf("log %s:\n%s", b.log, strings.Join(wrong, "\n"))}
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "Log %s: %d event(s) are as recorded; %d wait for the gateway, %d are recorded by another one.\n", b.log, same, waiting, elsewhere)
	return err
}
