package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

func newAuditReindex() *cobra.Command {
	var path string
	var dirs []string
	var asJSON bool
	c := &cobra.Command{
		Use: "reindex", Short: "Rebuild ClickHouse from the journal", Args: cobra.NoArgs,
		Long: "Fills a new table from the journal, counts it, and puts it in the place of the one in\n" +
			"use in one step. Until then nothing is changed; afterwards the old table is dropped. It\n" +
			"works beside a running gateway and without one, and goes on where an earlier run was\n" +
			"cut off. Rows of other gateways, older rows than the journal's and imported history stay.\n" +
			"The account needs the right to create, exchange and drop tables.\n" +
			"Exit code 5 when the journal is damaged.",
		Example: "  matron audit reindex -c matron.yaml\n" +
			"  matron audit reindex --journal /mnt/archive/journal --journal /var/lib/matron/journal",
	}
	c.Flags().StringVarP(&path, "config", "c", "matron.yaml", "configuration file")
	c.Flags().StringSliceVar(&dirs, "journal", nil, "folders that hold the journal's segments (default: the gateway's)")
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, _, err := load(path)
		if err != nil {
			return err
		}
		began := time.Now()
		shown := newBar(c.ErrOrStderr(), "reindex")
		done, err := gateway.Reindex(c.Context(), cfg, dirs, []string{engineChildName}, func(done, total uint64) {
			shown.set(int64(done), int64(total)) //nolint:gosec // numbers of records
		})
		shown.close()
		switch {
		case c.Context().Err() != nil:
			return failure{exitFailure, errors.New("stopped; the index in use is as it was, and the next run goes on from here")}
		case errors.Is(err, journal.ErrCorrupt), errors.Is(err, journal.ErrSource), errors.Is(err, clickhouse.ErrContent):
			return failure{exitIntegrity, err}
		case err != nil:
			return failure{exitFailure, err}
		}
		return printRebuilt(c.OutOrStdout(), done, time.Since(began), asJSON)
	}
	return c
}

func printRebuilt(out io.Writer, d clickhouse.Rebuilt, took time.Duration, asJSON bool) error {
	if asJSON {
		if err := json.NewEncoder(out).Encode(d); err != nil {
			return failure{exitFailure, err}
		}
		return nil
	}
	_, _ = fmt.Fprintf(out, "%s: records %d to %d are in the index, each once (%d inserted in %s, %d found", d.Source, d.First, d.Last,
		d.Inserted, took.Round(time.Second), d.Found)
	if d.Kept > 0 {
		_, _ = fmt.Fprintf(out, ", %d of others kept", d.Kept)
	}
	_, _ = fmt.Fprintln(out, ").")
	return nil
}
