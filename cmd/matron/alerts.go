package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/cmd/matron/gateway"
)

func newAlerts() *cobra.Command {
	c := &cobra.Command{Use: "alerts", Short: "Accesses that wait for a person to look at", GroupID: "ask"}
	c.AddCommand(newAlertsList(), newAlertsShow(), newAlertsExport())
	return c
}

func newAlertsList() *cobra.Command {
	var path string
	var asJSON bool
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List alerts, newest first", Args: cobra.NoArgs,
		Example: "  matron alerts list -c matron.yaml\n  matron alerts list --json | jq .sentences",
	}
	c.Flags().StringVarP(&path, "config", "c", "matron.yaml", "configuration file")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	c.Flags().IntVar(&limit, "limit", 50, "at most this many")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, _, err := load(path)
		if err != nil {
			return err
		}
		alerts, err := gateway.Alerts(c.Context(), cfg, limit)
		if err != nil {
			return failure{exitFailure, err}
		}
		if asJSON {
			enc := json.NewEncoder(c.OutOrStdout())
			for _, a := range alerts {
				if err := enc.Encode(a); err != nil {
					return failure{exitFailure, err}
				}
			}
			return nil
		}
		if len(alerts) == 0 {
			c.Println("No alert is waiting.")
			return nil
		}
		w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
		_, _ = fmt.Fprintln(w, "TIME (UTC)\tKIND\tPERSON\tPATIENTS\tWHY")
		for _, a := range alerts {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", a.Made.UTC().Format("2 Jan 2006 15:04"), a.Kind, a.Person, len(a.Patients), strings.Join(a.Sentences, " "))
		}
		return w.Flush()
	}
	return c
}
