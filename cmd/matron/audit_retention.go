package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/audit/retention"
	"github.com/matron-epr/matron/audit/spool"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

func newAuditRetention() *cobra.Command {
	c := &cobra.Command{
		Use: "retention", Short: "Dispose of records that were kept long enough, and hold those that must stay",
		Long: "Nothing is ever deleted because time has passed. One person plans a disposal, two others approve\n" +
			"it with keys of their own, and what a legal hold covers stays. See docs/retention.md.",
		Example: "  matron audit retention plan --out plan.json\n" +
			"  matron audit retention approve plan.json --name jsmith --key jsmith.key\n" +
			"  matron audit retention apply plan.json\n" +
			"  matron audit retention hold --patient P0042 --nhs-number 9990000018 --reason \"claim 2026/17\"",
	}
	c.AddCommand(newRetentionPlan(), newRetentionApprove(), newRetentionApply(), newKey("approves disposals", "retention.approvers", "matron audit retention key"),
		newRetentionHold(), newRetentionHolds(), newRetentionRelease())
	return c
}

// newKey makes the keys of people who do something that one alone may not.
func newKey(does, setting, command string) *cobra.Command {
	var out, name string
	c := &cobra.Command{
		Use: "key --out FILE --name NAME", Short: "Make the key of one person", Args: cobra.NoArgs,
		Long: "Makes the key with which one person " + does + ": the secret in FILE, for its owner alone,\n" +
			"and the public key in FILE.pub, which the configuration names under " + setting + ".",
		Example: "  " + command + " --out jsmith.key --name jsmith",
	}
	c.Flags().StringVar(&out, "out", "", "file of the secret key, which must not be there yet")
	c.Flags().StringVar(&name, "name", "", "the person's account")
	_ = errors.Join(c.MarkFlagRequired("out"), c.MarkFlagRequired("name")) // fail only for flags that are not there
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := merkle.GenerateKey(name, out, out+".pub"); err != nil {
			return failure{exitFailure, err}
		}
		text, err := os.ReadFile(out + ".pub") //nolint:gosec // made just now
		if err != nil {
			return failure{exitFailure, err}
		}
		_, err = c.OutOrStdout().Write(text)
		return err
	}
	return c
}

// readSigner reads the secret key of the person who runs a command.
func readSigner(file string) (note.Signer, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the person names it
	if err != nil {
		return nil, failure{exitFailure, err}
	}
	signer, err := merkle.ParseSigner(text)
	if err != nil {
		return nil, failure{exitFailure, fmt.Errorf("%s: %w", file, err)}
	}
	return signer, nil
}

// disposal is what the commands about disposals share.
type disposal struct {
	config string
	cfg    config.Config
	by     string
	log    retention.Log
	close  func()
}

// open reads the log of the configuration and everything that proves it.
func (d *disposal) open(c *cobra.Command) (err error) {
	if d.cfg, _, err = load(d.config); err != nil {
		return err
	}
	if d.by, err = operator(d.cfg.DataDir); err != nil {
		return failure{exitFailure, err}
	}
	_, key, err := gateway.CheckpointKeys(d.cfg)
	if err != nil {
		return failure{exitFailure, err}
	}
	archive := gateway.ArchiveDir(d.cfg)
	list, bad, err := retention.Disposals(archive, key)
	if err != nil {
		return failure{exitFailure, err}
	}
	if len(bad) > 0 {
		return failure{exitIntegrity, fmt.Errorf("%s: %w", bad[0].File, bad[0].Err)}
	}
	verified, err := gateway.Verified(d.cfg)
	if err != nil {
		return failure{exitFailure, fmt.Errorf("find out what ClickHouse holds: %w", err)}
	}
	dirs := gateway.JournalDirs(d.cfg)
	p, cp, _, err := openSigned(dirs, gateway.PublicKeyFile(d.cfg))
	if err != nil {
		return failure{exitFailure, err}
	}
	shown := newBar(c.ErrOrStderr(), "read")
	d.close = func() { shown.close(); p.close() }
	d.log = retention.Log{
		Origin: merkle.Origin(d.cfg.Site, d.cfg.Source), Source: d.cfg.Source, Archive: archive, Dirs: dirs, Tree: p.tree,
		Checkpoint: cp, Verified: verified, Disposed: retention.UpTo(list), Progress: shown.set,
	}
	return nil
}

func newRetentionPlan() *cobra.Command {
	var d disposal
	var out string
	var asJSON bool
	c := &cobra.Command{
		Use: "plan", Short: "Say what could be disposed of, and why", Args: cobra.NoArgs,
		Long: "Reads the archive from the oldest record on, compares every record with its signed hash, and says\n" +
			"which segments are old enough, what they hold and what legal holds keep of them. It removes nothing.\n" +
			"With --out it writes the plan that others can approve.",
		Example: "  matron audit retention plan -c matron.yaml\n  matron audit retention plan --out plan.json",
	}
	c.Flags().StringVarP(&d.config, "config", "c", "matron.yaml", "configuration file")
	c.Flags().StringVar(&out, "out", "", "file to write the plan to, which must not be there yet")
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := d.open(c); err != nil {
			return err
		}
		defer d.close()
		holds, err := retention.ReadHolds(gateway.HoldsFile(d.cfg), d.cfg.Source)
		if err != nil {
			return failure{exitFailure, err}
		}
		p, err := retention.Make(c.Context(), d.log, holds, d.cfg.Retention.KeepYears, d.by, time.Now())
		if err != nil {
			return failure{exitFailure, err}
		}
		text, err := p.Encode()
		if err != nil {
			return failure{exitFailure, err}
		}
		if out != "" {
			if err := journal.PutFile(out, text); err != nil {
				return failure{exitFailure, err}
			}
		}
		if asJSON {
			_, err = c.OutOrStdout().Write(text)
			return err
		}
		return printPlan(c.OutOrStdout(), text, out)
	}
	return c
}

func printPlan(out io.Writer, text []byte, file string) error {
	p, sum, err := retention.ParsePlan(text)
	if err != nil {
		return failure{exitFailure, err}
	}
	const day = "2 January 2006"
	_, _ = fmt.Fprintf(out, "%s: records %d to %d, of %s to %s, all older than %d years (before %s)\n", p.Origin, p.First, p.Last,
		p.FirstTime.UTC().Format(day), p.LastTime.UTC().Format(day), p.KeepYears, p.Before.UTC().Format(day))
	_, _ = fmt.Fprintf(out, "%d records in %d segments of %d bytes; not further because %s\n", p.Records, len(p.Segments), p.Bytes, p.Stopped)
	for _, kind := range slices.Sorted(maps.Keys(p.Kinds)) {
		_, _ = fmt.Fprintf(out, "  %-18s %d\n", kind, p.Kinds[kind])
	}
	for _, month := range slices.Sorted(maps.Keys(p.Months)) {
		_, _ = fmt.Fprintf(out, "  %-18s %d\n", month, p.Months[month])
	}
	if len(p.Holds) == 0 {
		_, _ = fmt.Fprintln(out, "No legal hold is in force.")
	}
	for _, h := range p.Holds {
		_, _ = fmt.Fprintf(out, "Hold %s (%s) names %d of them\n", h.ID, h.Reason, h.Records)
	}
	_, _ = fmt.Fprintf(out, "%d records stay, with the rest of their exchanges\nRoot of the log's tree over records 1 to %d: %s\nPlan: sha256 %s\n",
		p.Kept, p.Last, p.Root, sum)
	if file != "" {
		_, _ = fmt.Fprintf(out, "Written to %s. Two people other than %s must now approve it.\n", file, p.MadeBy)
	}
	return nil
}

func newRetentionApprove() *cobra.Command {
	var key, name string
	c := &cobra.Command{
		Use: "approve PLAN", Short: "Approve a disposal with your own key", Args: cobra.ExactArgs(1),
		Long: "Shows the plan, signs its hash and leaves the approval beside it. The plan must be the very file\n" +
			"that \"plan --out\" wrote: compare its hash with the one that the planner tells you.",
		Example: "  matron audit retention approve plan.json --name jsmith --key jsmith.key",
	}
	c.Flags().StringVar(&key, "key", "", "file of your secret key")
	c.Flags().StringVar(&name, "name", "", "your name in retention.approvers")
	_ = errors.Join(c.MarkFlagRequired("key"), c.MarkFlagRequired("name")) // fail only for flags that are not there
	c.RunE = func(c *cobra.Command, args []string) error {
		signer, err := readSigner(key)
		if err != nil {
			return err
		}
		p, err := retention.Approve(args[0], name, signer)
		if err != nil {
			return failure{exitFailure, err}
		}
		text, err := p.Encode()
		if err != nil {
			return failure{exitFailure, err}
		}
		if err := printPlan(c.OutOrStdout(), text, ""); err != nil {
			return err
		}
		c.PrintErrf("approved by %s: %s\n", name, retention.ApprovalFile(args[0], name))
		return nil
	}
	return c
}

func newRetentionApply() *cobra.Command {
	var d disposal
	var user, password string
	var asJSON bool
	c := &cobra.Command{
		Use: "apply PLAN", Short: "Dispose of what a plan names that two people approved", Args: cobra.ExactArgs(1),
		Long: "Checks the approvals and that nothing is other than planned, then signs a disposal note, writes what\n" +
			"legal holds keep into a file of its own, removes the segments and deletes their rows. Interrupted, it\n" +
			"goes on where it was when it is run again. The hash tree stays: what is left can be verified for ever.\n\n" +
			"The account for ClickHouse must be one that may ALTER DELETE; the gateway's own may not, unless the\n" +
			"engine is the embedded one.",
		Example: "  matron audit retention apply plan.json -c matron.yaml\n" +
			"  matron audit retention apply plan.json --user admin --password-file admin.password",
	}
	c.Flags().StringVarP(&d.config, "config", "c", "matron.yaml", "configuration file")
	c.Flags().StringVar(&user, "user", "", "ClickHouse account that may delete rows (default: the configured one)")
	c.Flags().StringVar(&password, "password-file", "", "file of its password")
	c.Flags().BoolVar(&asJSON, "json", false, "print the disposal as JSON")
	c.MarkFlagsRequiredTogether("user", "password-file")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := d.open(c); err != nil {
			return err
		}
		defer d.close()
		if user != "" {
			d.cfg.ClickHouse.User, d.cfg.ClickHouse.PasswordFile = user, password
		}
		done, err := d.apply(c.Context(), args[0])
		switch {
		case errors.Is(err, retention.ErrChanged):
			return failure{exitIntegrity, err}
		case err != nil:
			return failure{exitFailure, err}
		}
		if asJSON {
			return json.NewEncoder(c.OutOrStdout()).Encode(done)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "Records %d to %d were disposed of; %d of them stay%s.\n", done.Plan.First, done.Plan.Last, done.Plan.Kept, inFile(done.KeptFile()))
		return err
	}
	return c
}

func (d *disposal) apply(ctx context.Context, plan string) (done retention.Disposal, err error) {
	signer, verifier, err := gateway.CheckpointKeys(d.cfg)
	if err != nil {
		return done, err
	}
	approvers, err := gateway.Approvers(d.cfg)
	if err != nil {
		return done, err
	}
	holds, err := retention.OpenHolds(gateway.HoldsFile(d.cfg), d.cfg.Source)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, holds.Close()) }()
	store, err := gateway.OpenIndex(ctx, d.cfg)
	if err != nil {
		return done, err
	}
	defer func() { _ = store.Close() }()
	return retention.Applying{
		Log: d.log, Holds: holds, PlanFile: plan, Approvers: approvers, KeepYears: d.cfg.Retention.KeepYears,
		Signer: signer, Verifier: verifier, Rows: store, By: d.by, Now: time.Now(),
		Record: func(r *audit.Record) error { return spool.Put(gateway.SpoolDir(d.cfg), r) },
	}.Apply(ctx)
}
