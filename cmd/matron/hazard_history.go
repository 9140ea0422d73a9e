package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/store"
)

func newHazardHistory() *cobra.Command {
	var b book
	c := &cobra.Command{
		Use: "history [SUBJECT]", Short: "Who changed what, when and why, and where it is recorded", Args: cobra.MaximumNArgs(1),
		Long: "Lists every change, the first one first: of the whole log, or of one subject by its id. Each names its\n" +
			"place in the audit journal; \"matron audit proof\" proves that record to an outsider.",
		Example: "  matron hazard history GW-03\n  matron hazard history --json | jq .why",
	}
	b.flags(c)
	b.jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return b.with(c, func() error {
			places, err := b.store.Places(c.Context(), b.log)
			if err != nil {
				return err
			}
			enc := json.NewEncoder(c.OutOrStdout())
			for _, e := range b.current.Events() {
				if len(args) == 1 && !strings.EqualFold(args[0], e.Subject.ID) {
					continue
				}
				if b.asJSON {
					if err := enc.Encode(e); err != nil {
						return err
					}
					continue
				}
				_, _ = fmt.Fprintf(c.OutOrStdout(), "%d  %s  %s\n", e.Seq, e.At.Format(time.RFC3339), inJournal(places[e.ID]))
				for _, line := range b.current.Describe(e) {
					_, _ = fmt.Fprintln(c.OutOrStdout(), "   "+line)
				}
			}
			return nil
		})
	}
	return c
}

func inJournal(p store.Place) string {
	if p.Seq == 0 {
		return "waits for the gateway to record it"
	}
	return fmt.Sprintf("recorded as %s/%d", p.Source, p.Seq)
}

func newHazardDiff() *cobra.Command {
	var b book
	c := &cobra.Command{
		Use: "diff [FROM [TO]]", Short: "What changed between two versions, in words", Args: cobra.MaximumNArgs(2),
		Long: "Without versions: what changed since the last approved one. With one: since that one. With two: from\n" +
			"the first to the second.",
		Example: "  matron hazard diff\n  matron hazard diff 1.3 1.4 --json",
	}
	b.flags(c)
	b.jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return b.with(c, func() error {
			before, after, err := b.versions(args)
			if err != nil {
				return err
			}
			changes := hazardlog.Compare(before, after)
			if b.asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(changes)
			}
			for _, d := range changes {
				_, _ = fmt.Fprintln(c.OutOrStdout(), d.Full())
			}
			if len(args) < 2 {
				_, _ = fmt.Fprintln(c.OutOrStdout(), b.current.State())
			}
			return nil
		})
	}
	return c
}

// versions are the two states that args name.
func (b *book) versions(args []string) (before, after hazardlog.Log, err error) {
	after = b.current
	if len(args) == 0 {
		a := b.current.Approved()
		if a == nil {
			return before, after, fmt.Errorf("no version of log %s has been approved, so that there is nothing to compare with", b.log)
		}
		args = []string{a.Version}
	}
	if before, _, err = b.current.Version(args[0]); err != nil {
		return before, after, err
	}
	if len(args) == 2 {
		after, _, err = b.current.Version(args[1])
	}
	return before, after, err
}
