package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit/detect"
	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/audit/detect/detectors"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

func newAlerts() *cobra.Command {
	c := &cobra.Command{Use: "alerts", Short: "Accesses that wait for a person to look at", GroupID: "ask"}
	c.AddCommand(newAlertsList(), newAlertsShow(), newAlertsExport(), newAlertsDispositions())
	return c
}

func newAlertsList() *cobra.Command {
	var path string
	var asJSON bool
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List live alerts, newest first, and the cases of the last run, best first", Args: cobra.NoArgs,
		Long: `Lists what detection has raised while the gateway runs, newest first, and then the cases
that "matron detect run" made last of the history, best first. An alert whose accesses are all
in one of these cases is not listed once more. With --json a live alert has the field "id", a
case of a run the field "case".`,
		Example: "  matron alerts list -c matron.yaml\n  matron alerts list --json | jq .sentences\n" +
			"  matron alerts list --json | jq 'select(.case) | [.rank, .person]'",
	}
	c.Flags().StringVarP(&path, "config", "c", "matron.yaml", "configuration file")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	c.Flags().IntVar(&limit, "limit", 50, "at most this many of each")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if limit < 1 {
			return failure{exitUsage, errors.New("--limit is how many to list: at least 1")}
		}
		cfg, _, err := load(path)
		if err != nil {
			return err
		}
		alerts, made, err := gateway.Alerts(c.Context(), cfg, limit)
		if err != nil {
			return failure{exitFailure, err}
		}
		if asJSON {
			return listJSON(c, alerts, made)
		}
		if len(alerts)+len(made) == 0 {
			c.Println("No alert is waiting.")
			return nil
		}
		listAlerts(c, alerts)
		listCases(c, made)
		return nil
	}
	return c
}

func listJSON(c *cobra.Command, alerts []detect.Alert, made []cases.Case) error {
	enc := json.NewEncoder(c.OutOrStdout())
	for i := range alerts {
		if err := enc.Encode(&alerts[i]); err != nil {
			return failure{exitFailure, err}
		}
	}
	return cases.Write(c.OutOrStdout(), made)
}

// listAlerts says nothing when there is none.
func listAlerts(c *cobra.Command, alerts []detect.Alert) {
	if len(alerts) == 0 {
		return
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "TIME (UTC)\tKIND\tPERSON\tPATIENTS\tWHY")
	for i := range alerts {
		a := &alerts[i]
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", a.Made.UTC().Format("2 Jan 2006 15:04"), a.Kind, a.Person, len(a.Patients), strings.Join(a.Sentences, " "))
	}
	_ = w.Flush()
}

// listCases says nothing when there was no run, or nothing was found.
func listCases(c *cobra.Command, made []cases.Case) {
	if len(made) == 0 {
		return
	}
	c.Println("\nCases of the last run of detection:")
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "RANK\tCASE\tLANE\tPERSON\tPATIENTS\tWHY")
	for i := range made {
		one := &made[i]
		who := one.Person
		switch {
		case who == "" && len(one.People) == 0:
			who = "nobody" // it is about what records
		case who == "":
			who = fmt.Sprintf("%d people", len(one.People))
		}
		why := "" // the rarest; "alerts show" has the others
		if len(one.Detectors) > 0 {
			why = detectors.Say(one.Detectors[0].ID, one.Detectors[0].Value)
		}
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%s\n", one.Rank, one.ID, one.Lane, who, len(one.Patients), why)
	}
	_ = w.Flush()
}
