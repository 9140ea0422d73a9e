package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/hazardlog"
)

func newHazard() *cobra.Command {
	c := &cobra.Command{Use: "hazard", Short: "The clinical hazard log", GroupID: "rules"}
	c.AddCommand(newHazardList())
	return c
}

func newHazardList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list", Short: "List the hazards, and the matrix they stand in", Args: cobra.NoArgs,
		Example: "  matron hazard list\n  matron hazard list --json | jq '.hazards[].id'",
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the whole log as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		log, err := hazardlog.Starter()
		if err != nil {
			return failure{exitFailure, err}
		}
		if asJSON {
			return json.NewEncoder(c.OutOrStdout()).Encode(log)
		}
		printHazards(c.OutOrStdout(), log)
		return nil
	}
	return c
}

func printHazards(out io.Writer, log hazardlog.Log) {
	_, _ = fmt.Fprintf(out, "%s\nStatus: %s. %s\n\n", log.Title, log.Approval.State, log.Approval.Note)
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ID\tINITIAL\tRESIDUAL\tSTATUS\tHAZARD")
	for _, h := range log.Hazards {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", h.ID, rating(h.Initial), rating(h.Residual), h.Status, h.Name)
	}
	_ = w.Flush()
	_, _ = fmt.Fprintln(out, "\nResidual risk: hazards by likelihood and severity, risk level in brackets")
	w = tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprint(w, "\t")
	for _, s := range hazardlog.Severities() {
		_, _ = fmt.Fprintf(w, "%s\t", s)
	}
	_, _ = fmt.Fprintln(w)
	m := log.ResidualMatrix()
	for _, row := range m.Rows {
		_, _ = fmt.Fprintf(w, "%s\t", row.Likelihood)
		for _, cell := range row.Cells {
			_, _ = fmt.Fprintf(w, "%d (%d)\t", len(cell.Hazards), cell.Risk)
		}
		_, _ = fmt.Fprintln(w)
	}
	_ = w.Flush()
	if m.Unrated > 0 {
		_, _ = fmt.Fprintf(out, "Not rated: %d\n", m.Unrated)
	}
}

func rating(r hazardlog.Rating) string {
	if !r.Risk().Rated() {
		return "not rated"
	}
	return fmt.Sprintf("%d %s/%s", r.Risk(), r.Severity, r.Likelihood)
}
