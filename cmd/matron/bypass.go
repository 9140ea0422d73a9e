package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/spool"
	"github.com/matron-epr/matron/cmd/matron/bypass"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

func newBypass() *cobra.Command {
	c := &cobra.Command{
		Use: "bypass", Short: "Put the gateway's decisions aside in an emergency", GroupID: "run",
		Long: "For an emergency in which the decisions of the gateway hinder care: requests to one application are\n" +
			"passed on and recorded, and nothing is refused but what the map closes to everybody. One person asks,\n" +
			"another approves, each with a key of their own, and it ends by itself. See docs/modes.md.",
		Example: "  matron bypass start --app fhir --for 1h --reason \"nobody on ICU can open charts\" --name ann --key ann.key\n" +
			"  matron bypass approve B1a2b3c4d --name bob --key bob.key\n" +
			"  matron bypass status\n" +
			"  matron bypass end B1a2b3c4d --reason \"rules are mended\"",
	}
	c.AddCommand(newBypassStart(), newBypassApprove(), newBypassEnd(), newBypassStatus(),
		newKey("asks for a bypass or approves one", "bypass.people", "matron bypass key"))
	return c
}

// emergency is what the commands about a bypass share.
type emergency struct {
	config, name, key string
	asJSON            bool
}

func (e *emergency) flags(c *cobra.Command, signs bool) {
	c.Flags().StringVarP(&e.config, "config", "c", "matron.yaml", "configuration file")
	c.Flags().BoolVar(&e.asJSON, "json", false, "print as JSON")
	if signs {
		c.Flags().StringVar(&e.key, "key", "", "file of your secret key")
		c.Flags().StringVar(&e.name, "name", "", "your name in bypass.people")
		_ = errors.Join(c.MarkFlagRequired("key"), c.MarkFlagRequired("name")) // fail only for flags that are not there
	}
}

// change changes the file, and leaves the record of that for the journal.
func (e *emergency) change(c *cobra.Command, do func(cfg config.Config, l *bypass.Ledger, operator string) (bypass.Bypass, *audit.Record, error)) (err error) {
	cfg, _, err := load(e.config)
	if err != nil {
		return err
	}
	by, err := operator(cfg.DataDir)
	if err != nil {
		return failure{exitFailure, err}
	}
	rules, err := gateway.BypassRules(cfg)
	if err != nil {
		return failure{exitFailure, err}
	}
	l, err := bypass.Open(gateway.BypassFile(cfg), rules)
	if err != nil {
		return failure{exitFailure, err}
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	b, record, err := do(cfg, l, by)
	if err != nil {
		return failure{exitFailure, err}
	}
	if err := spool.Put(gateway.SpoolDir(cfg), record); err != nil {
		return failure{exitFailure, fmt.Errorf("bypass %s is changed; the record of it could not be left for the journal: %w", b.ID, err)}
	}
	return e.print(c.OutOrStdout(), l, b)
}

func newBypassStart() *cobra.Command {
	var e emergency
	b := bypass.Bypass{}
	c := &cobra.Command{
		Use: "start", Short: "Ask for a bypass; another person approves it", Args: cobra.NoArgs,
		Long: "Asks for a bypass of one application. It begins when another person approves it within an hour, and\n" +
			"ends after the time given here, at most bypass.longest of the configuration. The reason is shown on\n" +
			"pages: name no patient in it.",
		Example: "  matron bypass start --app fhir --for 1h --reason \"nobody on ICU can open charts\" --name ann --key ann.key",
	}
	e.flags(c, true)
	c.Flags().StringVar(&b.App, "app", "", "application, as the configuration names it")
	c.Flags().DurationVar(&b.For, "for", time.Hour, "how long it lasts once it is approved")
	c.Flags().StringVar(&b.Reason, "reason", "", "what hinders care")
	_ = errors.Join(c.MarkFlagRequired("app"), c.MarkFlagRequired("reason")) // fail only for flags that are not there
	c.RunE = func(c *cobra.Command, _ []string) error {
		signer, err := readSigner(e.key)
		if err != nil {
			return err
		}
		return e.change(c, func(cfg config.Config, l *bypass.Ledger, operator string) (bypass.Bypass, *audit.Record, error) {
			i := slices.IndexFunc(cfg.Applications, func(a config.Application) bool { return a.Name == b.App })
			switch {
			case i < 0:
				return b, nil, fmt.Errorf("%w: %q is no application of %s", bypass.ErrRefused, b.App, e.config)
			case cfg.Applications[i].Mode != "enforce":
				return b, nil, fmt.Errorf("%w: %s is only observed, so that the rules refuse nothing there", bypass.ErrRefused, b.App)
			}
			b.RequestedBy, b.RequestedAt = e.name, time.Now()
			asked, err := l.Request(b, signer)
			return asked, asked.Requested(operator), err
		})
	}
	return c
}

func newBypassApprove() *cobra.Command {
	var e emergency
	c := &cobra.Command{
		Use: "approve BYPASS", Short: "Approve a bypass that another person asked for: it begins", Args: cobra.ExactArgs(1),
		Long: "Shows what was asked for, signs it and lets it begin. The gateway takes it in within two seconds, once\n" +
			"it has recorded that.",
		Example: "  matron bypass approve B1a2b3c4d --name bob --key bob.key",
	}
	e.flags(c, true)
	c.RunE = func(c *cobra.Command, args []string) error {
		signer, err := readSigner(e.key)
		if err != nil {
			return err
		}
		return e.change(c, func(_ config.Config, l *bypass.Ledger, operator string) (bypass.Bypass, *audit.Record, error) {
			b, err := l.Approve(args[0], e.name, signer, time.Now())
			return b, b.Approved(operator), err
		})
	}
	return c
}

func newBypassEnd() *cobra.Command {
	var e emergency
	var reason string
	c := &cobra.Command{
		Use: "end BYPASS", Short: "End a bypass, or take a request back", Args: cobra.ExactArgs(1),
		Long:    "Ends a bypass now. It takes one person and no key: decisions are enforced again within two seconds.",
		Example: "  matron bypass end B1a2b3c4d --reason \"rules are mended\"",
	}
	e.flags(c, false)
	c.Flags().StringVar(&reason, "reason", "", "why it is no longer needed")
	_ = c.MarkFlagRequired("reason") // fails only for a flag that is not there
	c.RunE = func(c *cobra.Command, args []string) error {
		return e.change(c, func(_ config.Config, l *bypass.Ledger, operator string) (bypass.Bypass, *audit.Record, error) {
			b, err := l.End(args[0], bypass.End{Reason: reason, By: operator, At: time.Now().UTC().Truncate(time.Microsecond)})
			if err != nil {
				return b, nil, err
			}
			return b, b.EndedRecord(), nil
		})
	}
	return c
}

func newBypassStatus() *cobra.Command {
	var e emergency
	var all bool
	c := &cobra.Command{
		Use: "status", Short: "List what is bypassed, and what waits for approval", Args: cobra.NoArgs,
		Long: "Reads the file beside the gateway. What the gateway itself does is in /readyz and on its health page:\n" +
			"it does not begin what it cannot record.",
		Example: "  matron bypass status\n  matron bypass status --all --json",
	}
	e.flags(c, false)
	c.Flags().BoolVar(&all, "all", false, "also those that have ended")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, _, err := load(e.config)
		if err != nil {
			return err
		}
		rules, err := gateway.BypassRules(cfg)
		if err != nil {
			return failure{exitFailure, err}
		}
		l, err := bypass.Read(gateway.BypassFile(cfg), rules)
		if err != nil {
			return failure{exitIntegrity, fmt.Errorf("%w: nothing is bypassed; move the file away to begin a new one, and keep it as evidence", err)}
		}
		list := slices.DeleteFunc(slices.Clone(l.List), func(b bypass.Bypass) bool { return !all && b.Ended != nil })
		if len(list) == 0 && !e.asJSON {
			_, err := fmt.Fprintln(c.OutOrStdout(), "Nothing is bypassed, and nothing waits for approval.")
			return err
		}
		for _, b := range list {
			if err := e.print(c.OutOrStdout(), l, b); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// print shows one bypass, and whether it is in force.
func (e *emergency) print(out io.Writer, l *bypass.Ledger, b bypass.Bypass) error {
	why := l.Check(b, time.Now())
	if e.asJSON {
		line := struct {
			bypass.Bypass
			InForce bool      `json:"in_force"`
			Until   time.Time `json:"until,omitzero"`
			Why     string    `json:"why_not,omitempty"`
		}{Bypass: b, InForce: why == nil, Until: b.Until()}
		if why != nil {
			line.Why = strings.TrimPrefix(why.Error(), bypass.ErrRefused.Error()+": ")
		}
		return json.NewEncoder(out).Encode(line)
	}
	const at = "2 January 2006 15:04:05 MST"
	_, _ = fmt.Fprintf(out, "%s  %s for %s, asked for by %s at %s: %s\n", b.ID, b.App, b.For, b.RequestedBy, b.RequestedAt.UTC().Format(at), b.Reason)
	if b.ApprovedBy != "" {
		_, _ = fmt.Fprintf(out, "  approved by %s at %s\n", b.ApprovedBy, b.ApprovedAt.UTC().Format(at))
	}
	switch {
	case b.Ended != nil:
		_, _ = fmt.Fprintf(out, "  ended by %s at %s: %s\n", b.Ended.By, b.Ended.At.UTC().Format(at), b.Ended.Reason)
	case why == nil:
		_, _ = fmt.Fprintf(out, "  in force until %s\n", b.Until().UTC().Format(at))
	case b.ApprovedBy == "":
		_, _ = fmt.Fprintf(out, "  waits until %s for: matron bypass approve %s --name NAME --key FILE\n", b.RequestedAt.Add(bypass.Lapse).UTC().Format(at), b.ID)
	default:
		_, _ = fmt.Fprintf(out, "  not in force: %s\n", strings.TrimPrefix(why.Error(), bypass.ErrRefused.Error()+": "))
	}
	return nil
}
