package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/hazardlog"
)

// linting is what "matron hazard lint" is told.
type linting struct {
	book
	issue, starter bool
	from           string
}

func newHazardLint() *cobra.Command {
	var l linting
	c := &cobra.Command{
		Use: "lint [FILE]", Short: "Check the hazard log, or one in a file, as a reviewer would", Args: cobra.MaximumNArgs(1),
		Long: "Errors stand in the way of approving a version; with --issue also of giving it to others, which needs\n" +
			"an approval that still holds. Warnings want an answer. Each names its rule and the clause that asks for\n" +
			"it. FILE is a proposal, an export, a snapshot or a transfer pack: each finding then names the place as\n" +
			"file:line:column. Exit code 4 when there are errors, 2 when a file cannot be read as a hazard log, 5 when\n" +
			"a pack was altered or is somebody else's.",
		Example: "  matron hazard lint\n  matron hazard lint --issue --json\n  matron hazard lint hazards.json\n" +
			"  matron hazard lint matron-1.4.pack --from maker.key.pub",
	}
	l.flags(c)
	l.jsonFlag(c)
	c.Flags().BoolVar(&l.issue, "issue", false, "may this be given to others?")
	c.Flags().BoolVar(&l.starter, "starter", false, "the log that is built in")
	c.Flags().StringVar(&l.from, "from", "", "file of the public key of who made the pack")
	c.RunE = l.run
	return c
}

func (l *linting) run(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 1:
		f, err := readLogFile(args[0], l.from)
		if err != nil {
			return err
		}
		return l.report(c, f.log, hazardlog.Facts{Today: today(), Issue: l.issue}, f.at)
	case l.starter:
		log, err := hazardlog.StarterLog()
		if err != nil {
			return failure{exitFailure, err}
		}
		return l.report(c, log, hazardlog.Facts{Today: today(), Issue: l.issue}, nil)
	}
	return l.with(c, func() error {
		facts, err := l.facts(c.Context())
		if err != nil {
			return err
		}
		facts.Issue = l.issue
		return l.report(c, l.current, facts, nil)
	})
}

// report prints what was found. at names the place of a finding, where there is one.
func (l *linting) report(c *cobra.Command, log hazardlog.Log, facts hazardlog.Facts, at func(hazardlog.Finding) string) error {
	findings := log.Lint(facts)
	errors := len(hazardlog.Errors(findings))
	enc := json.NewEncoder(c.OutOrStdout())
	for _, f := range findings {
		where := ""
		if at != nil {
			where = at(f)
		}
		if l.asJSON {
			if err := enc.Encode(struct {
				hazardlog.Finding
				At string `json:"at,omitempty"` // file:line:column
			}{f, where}); err != nil {
				return err
			}
			continue
		}
		if where != "" {
			where += ": "
		}
		_, _ = fmt.Fprintln(c.OutOrStdout(), where+f.String())
	}
	c.PrintErrf("%d error(s), %d warning(s)\n", errors, len(findings)-errors)
	if errors > 0 {
		return failure{exitTests, fmt.Errorf("log %s has errors", log.ID)}
	}
	return nil
}

// facts are what is true now, apart from the log.
func (b *book) facts(ctx context.Context) (hazardlog.Facts, error) {
	running, err := gateway.Running(ctx, b.cfg)
	if err != nil {
		return hazardlog.Facts{}, err
	}
	known, err := b.evidence(ctx)
	return hazardlog.Facts{Today: today(), Running: running, Evidence: known.States(b.current), Implemented: known.Implemented()}, err
}
