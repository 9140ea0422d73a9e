package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/export"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

func newAudit() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "Who did what, and can it be trusted", GroupID: "ask"}
	c.AddCommand(newAuditWho(), newAuditUser(), newAuditVerify(), newAuditProof(), newAuditTiles(), newAuditGrants(), newAuditExport(), newAuditImport(), newAuditReindex())
	c.AddCommand(newAuditRetention())
	return c
}

// lookup is what the two questions share.
type lookup struct {
	config string
	asJSON bool
	since  time.Duration
	limit  int
	// imported lists what other systems wrote down as well, apart.
	imported bool
}

func (l *lookup) flags(c *cobra.Command) {
	c.Flags().StringVarP(&l.config, "config", "c", "matron.yaml", "configuration file")
	c.Flags().BoolVar(&l.asJSON, "json", false, "print one JSON object a line")
	c.Flags().DurationVar(&l.since, "since", 0, "only accesses within this time, for example 24h")
	c.Flags().IntVar(&l.limit, "limit", 100, "at most this many accesses, newest first")
	c.Flags().BoolVar(&l.imported, "imported", false, "list imported accesses as well, which the gateway has not witnessed")
}

func newAuditWho() *cobra.Command {
	var l lookup
	var patient, nhsNumber string
	c := &cobra.Command{
		Use: "who --patient ID", Short: "Who viewed this record?", Args: cobra.NoArgs,
		Example: "  matron audit who --patient P0042\n  matron audit who --nhs-number 9990000018 --since 168h --json\n" +
			"  matron audit who --patient P0042 --imported",
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
		err = printAccessesJSON(c.OutOrStdout(), accesses)
	} else {
		printAccesses(c.OutOrStdout(), accesses)
	}
	if err != nil || !l.imported {
		return err
	}
	return l.printImported(c, cfg, store, q)
}

func printAccessesJSON(out io.Writer, accesses []audit.Access) error {
	enc := json.NewEncoder(out)
	for _, a := range accesses {
		if err := enc.Encode(export.NewLine(a)); err != nil {
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

// operator says who runs this. It must be the gateway's own user, since what is
// left for the gateway is for its owner alone; sudo tells who became that user.
func operator(dataDir string) (string, error) {
	who, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("find out who runs this: %w", err)
	}
	info, err := os.Stat(dataDir)
	if err != nil {
		return "", fmt.Errorf("data folder: %w", err)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && strconv.FormatUint(uint64(owner.Uid), 10) != who.Uid {
		return "", fmt.Errorf("%s belongs to another user: run this as the gateway's user, for example with \"sudo -u\"", dataDir)
	}
	return account()
}

// account is who runs this, by the operating system.
func account() (string, error) {
	who, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("find out who runs this: %w", err)
	}
	if from := os.Getenv("SUDO_USER"); from != "" && from != who.Username {
		return from + " as " + who.Username, nil
	}
	return who.Username, nil
}
