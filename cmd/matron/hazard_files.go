package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
	"github.com/matron-epr/matron/hazardlog/report"
	"github.com/matron-epr/matron/hazardlog/workbook"
)

func newHazardExport() *cobra.Command {
	var b book
	var out, format string
	c := &cobra.Command{
		Use: "export", Short: "Write the log with its whole history as JSON, or as an Excel workbook", Args: cobra.NoArgs,
		Long: "JSON holds the whole history and comes back exactly. The workbook has the 28 columns of the NHS hazard\n" +
			"log template and sheets for the rest; what people change in it, \"matron hazard import\" takes in.",
		Example: "  matron hazard export --out hazards.json\n  matron hazard export --format xlsx --out hazards.xlsx",
	}
	b.flags(c)
	c.Flags().StringVarP(&out, "out", "o", "", "file to write, which must not be there yet (default: standard output)")
	c.Flags().StringVar(&format, "format", "json", "json or xlsx")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return b.with(c, func() error {
			doubts, err := b.doubts()
			if err != nil {
				return err
			}
			var text []byte
			switch format {
			case "json":
				text, err = b.current.Export(doubts)
			case "xlsx":
				text, err = b.workbook(c.Context())
			default:
				return failure{exitUsage, fmt.Errorf("--format is %q: expected json or xlsx", format)}
			}
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

// workbook is the log as a workbook, and a draft unless it stands as it was approved.
func (b *book) workbook(ctx context.Context) ([]byte, error) {
	known, err := b.evidence(ctx)
	if err != nil {
		return nil, err
	}
	facts := workbook.Facts{
		InQuestion: evidence.InQuestion(b.current, known), Evidence: func(control string) string { return report.EvidenceOf(known, control) },
	}
	if a, changes := b.current.Since(); a == nil || len(changes) > 0 {
		facts.Draft = report.DraftOf(b.current)
	}
	return workbook.Write(b.current, facts)
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
