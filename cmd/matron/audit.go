package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

func newAudit() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "Who did what, and can it be trusted", GroupID: "ask"}
	c.AddCommand(newAuditWho(), newAuditUser(), newAuditVerify(), newAuditGrants(), newAuditReindex())
	return c
}

// lookup is what the two questions share.
type lookup struct {
	config string
	asJSON bool
	since  time.Duration
	limit  int
}

func (l *lookup) flags(c *cobra.Command) {
	c.Flags().StringVarP(&l.config, "config", "c", "matron.yaml", "configuration file")
	c.Flags().BoolVar(&l.asJSON, "json", false, "print one JSON object a line")
	c.Flags().DurationVar(&l.since, "since", 0, "only accesses within this time, for example 24h")
	c.Flags().IntVar(&l.limit, "limit", 100, "at most this many accesses, newest first")
}

func newAuditWho() *cobra.Command {
	var l lookup
	var patient, nhsNumber string
	c := &cobra.Command{
		Use: "who --patient ID", Short: "Who viewed this record?", Args: cobra.NoArgs,
		Example: "  matron audit who --patient P0042\n  matron audit who --nhs-number 9990000018 --since 168h --json",
	}
	l.flags(c)
	c.Flags().StringVar(&patient, "patient", "", "patient id as the application knows it")
	c.Flags().StringVar(&nhsNumber, "nhs-number", "", "NHS number, ten digits; spaces are ignored")
	c.MarkFlagsOneRequired("patient", "nhs-number")
	c.MarkFlagsMutuallyExclusive("patient", "nhs-number")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return l.run(c, audit.Query{Patient: patient, NHSNumber: strings.ReplaceAll(nhsNumber, " ", "")})
	}
	return c
}

func newAuditUser() *cobra.Command {
	var l lookup
	c := &cobra.Command{
		Use: "user ID", Short: "What did this person open?", Args: cobra.ExactArgs(1),
		Example: "  matron audit user S0007\n  matron audit user S0007 --since 24h --json",
	}
	l.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return l.run(c, audit.Query{Person: args[0]})
	}
	return c
}

func (l *lookup) run(c *cobra.Command, q audit.Query) error {
	cfg, _, err := load(l.config)
	if err != nil {
		return err
	}
	store, err := gateway.OpenIndex(c.Context(), cfg)
	if err != nil {
		return failure{exitFailure, err}
	}
	defer func() { _ = store.Close() }()
	q.Limit = l.limit
	if l.since > 0 {
		q.From = time.Now().Add(-l.since)
	}
	accesses, err := store.Accesses(c.Context(), q)
	if err != nil {
		return failure{exitFailure, err}
	}
	if l.asJSON {
		return printAccessesJSON(c.OutOrStdout(), accesses)
	}
	printAccesses(c.OutOrStdout(), accesses)
	return nil
}

// accessLine is one access as scripts read it.
type accessLine struct {
	Time      time.Time `json:"time"`
	Source    string    `json:"source"`
	Seq       uint64    `json:"seq"`
	Request   string    `json:"request"`
	Person    string    `json:"person"`
	Name      string    `json:"name"`
	Roles     []string  `json:"roles"`
	App       string    `json:"app"`
	Action    string    `json:"action"`
	Area      string    `json:"area"`
	Resource  string    `json:"resource"`
	Patient   string    `json:"patient"`
	NHSNumber string    `json:"nhs_number"`
	Effect    string    `json:"effect"`
	Reasons   []string  `json:"reasons"`
	Outcome   string    `json:"outcome"` // "" unknown
	Status    uint64    `json:"status"`
	Device    string    `json:"device"`
	ClientIP  string    `json:"ip"`
}

func printAccessesJSON(out io.Writer, accesses []audit.Access) error {
	enc := json.NewEncoder(out)
	for _, a := range accesses {
		line := accessLine{
			a.Time, a.Source, a.Seq, a.Request, a.Person, a.UserName, a.Roles, a.App, a.Action, a.Area, a.Resource,
			a.Patient, a.NHSNumber, a.Effect, a.Reasons, string(a.Outcome), a.Status, a.Device, a.ClientIP,
		}
		if err := enc.Encode(line); err != nil {
			return failure{exitFailure, err}
		}
	}
	return nil
}

func printAccesses(out io.Writer, accesses []audit.Access) {
	if len(accesses) == 0 {
		_, _ = fmt.Fprintln(out, "No access is recorded.")
		return
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "TIME (UTC)\tPERSON\tNAME\tROLES\tACTION\tAREA\tPATIENT\tDECISION\tSTATUS")
	for _, a := range accesses {
		status := "unknown"
		if a.Settled {
			status = fmt.Sprint(a.Status)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.Time.UTC().Format("2 Jan 2006 15:04:05"),
			a.Person, a.UserName, strings.Join(a.Roles, ","), a.Action, a.Area, a.Patient, a.Effect, status)
	}
	_ = w.Flush()
}

func newAuditVerify() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "verify JOURNAL", Short: "Check a journal folder without the gateway", Args: cobra.ExactArgs(1),
		Long: "Reads every record of a journal folder and names gaps, damage and decisions without outcome.\n" +
			"Exit code 5 when something is wrong with the record.",
		Example: "  matron audit verify /var/lib/matron/journal",
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	c.RunE = func(c *cobra.Command, args []string) error {
		report, err := journal.Verify(args[0])
		if err != nil {
			return failure{exitIntegrity, err}
		}
		if asJSON {
			if err := json.NewEncoder(c.OutOrStdout()).Encode(report); err != nil {
				return failure{exitFailure, err}
			}
		} else {
			printReport(c.OutOrStdout(), report)
		}
		if err := report.Err(); err != nil {
			return failure{exitIntegrity, err}
		}
		return nil
	}
	return c
}

func printReport(out io.Writer, r journal.Report) {
	_, _ = fmt.Fprintf(out, "%s: %d records, %d to %d, in %d segments\n", r.Source, r.Records, r.First, r.Last, r.Segments)
	for _, kind := range slices.Sorted(maps.Keys(r.Kinds)) {
		_, _ = fmt.Fprintf(out, "  %-18s %d\n", kind, r.Kinds[kind])
	}
	for _, g := range r.Gaps {
		_, _ = fmt.Fprintf(out, "Missing: %d to %d\n", g.First, g.Last)
	}
	if n := len(r.Unsettled); n > 0 {
		_, _ = fmt.Fprintf(out, "Outcome unknown: %d decisions, the first is record %d\n", n, r.Unsettled[0])
	}
	if r.Torn > 0 {
		_, _ = fmt.Fprintf(out, "Unfinished write at the end: %d bytes, never acknowledged\n", r.Torn)
	}
}

func newAuditGrants() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "grants", Short: "Print the SQL for ClickHouse users of least privilege", Args: cobra.NoArgs,
		Example: "  matron audit grants -c matron.yaml | clickhouse-client",
	}
	c.Flags().StringVarP(&path, "config", "c", "matron.yaml", "configuration file")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, _, err := load(path)
		if err != nil {
			return err
		}
		sql, err := clickhouse.Grants(cfg.ClickHouse.Database)
		if err != nil {
			return failure{exitConfig, err}
		}
		_, err = fmt.Fprint(c.OutOrStdout(), sql)
		return err
	}
	return c
}
