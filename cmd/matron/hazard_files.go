package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/hazardlog"
)

func newHazardExport() *cobra.Command {
	var b book
	var out string
	c := &cobra.Command{
		Use: "export", Short: "Write the log with its whole history as JSON", Args: cobra.NoArgs,
		Example: "  matron hazard export --out hazards.json",
	}
	b.flags(c)
	c.Flags().StringVarP(&out, "out", "o", "", "file to write, which must not be there yet (default: standard output)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return b.with(c, func() error {
			text, err := b.current.Export()
			if err != nil || out == "" {
				if err == nil {
					_, err = c.OutOrStdout().Write(text)
				}
				return err
			}
			return writeNew(out, text)
		})
	}
	return c
}

func newHazardImport() *cobra.Command {
	var b book
	var dry bool
	c := &cobra.Command{
		Use: "import FILE", Short: "Take in a log that was exported, with its history", Args: cobra.ExactArgs(1),
		Long: "Takes in a new log, or what came after in one that is here. A file whose events do not follow each other\n" +
			"as they were written is refused, and a log that has gone another way since is left as it is.",
		Example: "  matron hazard import hazards.json --dry-run",
	}
	c.Flags().StringVarP(&b.config, "config", "c", "matron.yaml", "configuration file")
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would be taken in")
	c.RunE = func(c *cobra.Command, args []string) error {
		text, err := os.ReadFile(args[0])
		if err != nil {
			return failure{exitFailure, err}
		}
		l, err := hazardlog.Import(text)
		if err != nil {
			return failure{exitFailure, fmt.Errorf("%s: %w", args[0], err)}
		}
		return b.with(c, func() error {
			verb := "Taken in"
			if dry {
				verb = "Would be taken in"
			} else if err := b.store.Import(c.Context(), l.Events()); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "%s: log %s, %d hazards, %d events. %s\n", verb, l.ID, len(l.Hazards), l.Seq(), l.State())
			return err
		})
	}
	return c
}

func newHazardDerive() *cobra.Command {
	var b book
	var id, title, organisation string
	c := &cobra.Command{
		Use: "derive", Short: "Begin your organisation's log from the manufacturer's", Args: cobra.NoArgs,
		Long: "The two stay two logs, each with its own clinical safety officer, standard and approval: hazards keep\n" +
			"their ids and name where they come from. What the manufacturer's clinicians assessed is only proposed\n" +
			"here. From then on commands and pages mean this log, unless --log says otherwise.",
		Example: "  matron hazard derive --id rba --organisation \"Example NHS Trust\"",
	}
	b.flags(c)
	c.Flags().StringVar(&id, "id", "", "name of the new log, for example your ODS code in lower case")
	c.Flags().StringVar(&organisation, "organisation", "", "whose log it is")
	c.Flags().StringVar(&title, "title", "", "title (default: from the organisation)")
	_ = errors.Join(c.MarkFlagRequired("id"), c.MarkFlagRequired("organisation")) // fail only for flags that are not there
	c.RunE = func(c *cobra.Command, _ []string) error {
		b.log = gateway.HazardLogID
		return b.with(c, func() error {
			ids, err := b.store.IDs(c.Context())
			if err != nil {
				return err
			}
			if len(ids) > 1 {
				return fmt.Errorf("there is a log of your organisation already: %s", strings.Join(ids, ", "))
			}
			if title == "" {
				title = "Hazard log of " + organisation + " for the Matron gateway"
			}
			from, version := b.current, ""
			if a := b.current.Approved(); a != nil {
				if from, _, err = b.current.Version(a.Version); err != nil {
					return err
				}
				version = a.Version
			}
			by, err := b.account()
			if err != nil {
				return err
			}
			changes, err := hazardlog.Derive(from, version, hazardlog.Head{Title: title, StandardID: "dcb0160-3.2", Organisation: organisation})
			if err != nil {
				return err
			}
			l, err := b.store.Begin(c.Context(), id, by, changes...)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "Log %s: %d hazards, every rating proposed. %s\n", l.ID, len(l.Hazards), l.State())
			return err
		})
	}
	return c
}
