package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/hazardlog"
)

func newHazardLint() *cobra.Command {
	var b book
	var issue, starter bool
	c := &cobra.Command{
		Use: "lint", Short: "Check the hazard log as a reviewer would", Args: cobra.NoArgs,
		Long: "Errors stand in the way of approving a version; with --issue also of giving it to others, which needs\n" +
			"an approval that still holds. Warnings want an answer. Each names its rule and the clause that asks for\n" +
			"it. Exit code 4 when there are errors.",
		Example: "  matron hazard lint\n  matron hazard lint --issue --json",
	}
	b.flags(c)
	b.jsonFlag(c)
	c.Flags().BoolVar(&issue, "issue", false, "may this be given to others?")
	c.Flags().BoolVar(&starter, "starter", false, "the log that is built in")
	report := func(c *cobra.Command, l hazardlog.Log, facts hazardlog.Facts) error {
		findings := l.Lint(facts)
		errors := len(hazardlog.Errors(findings))
		enc := json.NewEncoder(c.OutOrStdout())
		for _, f := range findings {
			if !b.asJSON {
				_, _ = fmt.Fprintln(c.OutOrStdout(), f)
			} else if err := enc.Encode(f); err != nil {
				return err
			}
		}
		c.PrintErrf("%d error(s), %d warning(s)\n", errors, len(findings)-errors)
		if errors > 0 {
			return failure{exitTests, fmt.Errorf("log %s has errors", l.ID)}
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		if starter {
			l, err := hazardlog.StarterLog()
			if err != nil {
				return failure{exitFailure, err}
			}
			return report(c, l, hazardlog.Facts{Today: today(), Issue: issue})
		}
		return b.with(c, func() error {
			facts, err := b.facts(c.Context())
			if err != nil {
				return err
			}
			facts.Issue = issue
			return report(c, b.current, facts)
		})
	}
	return c
}

// facts are what is true now, apart from the log.
func (b *book) facts(ctx context.Context) (hazardlog.Facts, error) {
	running, err := gateway.Running(ctx, b.cfg)
	return hazardlog.Facts{Today: today(), Running: running}, err
}
