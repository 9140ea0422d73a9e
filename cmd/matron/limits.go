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

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/cmd/matron/incident"
)

func newLimits() *cobra.Command {
	c := &cobra.Command{
		Use: "limits", Short: "Lift the limits for people in a major incident", GroupID: "run",
		Long: "Limits slow people down who ask for very much, or meet more different patients than their role does.\n" +
			"In a major incident one person who is on call lifts them for a time. See docs/limits.md.",
		Example: "  matron limits incident start --reason \"M5 coach crash\" --for 4h --name ann --key ann.key",
	}
	i := &cobra.Command{
		Use: "incident", Short: "Begin, end and list major incidents",
		Long: "While an incident is on, nobody is slowed down, and no patient counts against a budget. Everything is\n" +
			"decided and recorded as ever. It ends by itself, and survives a restart of the gateway until then.",
		Example: "  matron limits incident start --reason \"M5 coach crash\" --for 4h --name ann --key ann.key\n" +
			"  matron limits incident status\n" +
			"  matron limits incident end I1a2b3c4d --reason \"stood down\"",
	}
	i.AddCommand(newIncidentStart(), newIncidentEnd(), newIncidentStatus(),
		newKey("declares a major incident", "limits.incident.people", "matron limits incident key"))
	c.AddCommand(i)
	return c
}

// onCall is what the commands about incidents share.
type onCall struct {
	config string
	asJSON bool
}

func (o *onCall) flags(c *cobra.Command) {
	c.Flags().StringVarP(&o.config, "config", "c", "matron.yaml", "configuration file")
	c.Flags().BoolVar(&o.asJSON, "json", false, "print as JSON")
}

// change changes the file. The gateway records what becomes of it.
func (o *onCall) change(c *cobra.Command, do func(l *incident.Ledger, operator string) (incident.Incident, error)) (err error) {
	cfg, rules, err := o.rules()
	if err != nil {
		return err
	}
	by, err := operator(cfg.DataDir)
	if err != nil {
		return failure{exitFailure, err}
	}
	l, err := incident.Open(gateway.IncidentFile(cfg), rules)
	if err != nil {
		return failure{exitFailure, err}
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	i, err := do(l, by)
	if err != nil {
		return failure{exitFailure, err}
	}
	return o.print(c.OutOrStdout(), l, i)
}

func (o *onCall) rules() (config.Config, incident.Rules, error) {
	cfg, _, err := load(o.config)
	if err != nil {
		return cfg, incident.Rules{}, err
	}
	rules, err := gateway.IncidentRules(cfg)
	if err != nil {
		return cfg, rules, failure{exitFailure, err}
	}
	return cfg, rules, nil
}

func newIncidentStart() *cobra.Command {
	var o onCall
	var i incident.Incident
	var key string
	c := &cobra.Command{
		Use: "start", Short: "Lift the limits for people", Args: cobra.NoArgs,
		Long: "Lifts the limits within two seconds, once the gateway has recorded that, and for the time given here, at\n" +
			"most limits.incident.longest of the configuration. It takes one person and their key. Another incident\n" +
			"may be begun before this one ends. The reason is shown on pages: name no patient in it.",
		Example: "  matron limits incident start --reason \"M5 coach crash\" --for 4h --name ann --key ann.key",
	}
	o.flags(c)
	c.Flags().DurationVar(&i.For, "for", 4*time.Hour, "how long it lasts")
	c.Flags().StringVar(&i.Reason, "reason", "", "what has happened")
	c.Flags().StringVar(&i.DeclaredBy, "name", "", "your name in limits.incident.people")
	c.Flags().StringVar(&key, "key", "", "file of your secret key")
	_ = errors.Join(c.MarkFlagRequired("reason"), c.MarkFlagRequired("name"), c.MarkFlagRequired("key")) // fail only for flags that are not there
	c.RunE = func(c *cobra.Command, _ []string) error {
		signer, err := readSigner(key)
		if err != nil {
			return err
		}
		return o.change(c, func(l *incident.Ledger, _ string) (incident.Incident, error) {
			i.DeclaredAt = time.Now()
			return l.Declare(i, signer)
		})
	}
	return c
}

func newIncidentEnd() *cobra.Command {
	var o onCall
	var reason string
	c := &cobra.Command{
		Use: "end INCIDENT", Short: "Put the limits in force again", Args: cobra.ExactArgs(1),
		Long:    "Ends an incident now. It takes one person and no key: limits are in force again within two seconds.",
		Example: "  matron limits incident end I1a2b3c4d --reason \"stood down\"",
	}
	o.flags(c)
	c.Flags().StringVar(&reason, "reason", "", "why it is over")
	_ = c.MarkFlagRequired("reason") // fails only for a flag that is not there
	c.RunE = func(c *cobra.Command, args []string) error {
		return o.change(c, func(l *incident.Ledger, operator string) (incident.Incident, error) {
			return l.End(args[0], incident.End{Reason: reason, By: operator, At: time.Now().UTC().Truncate(time.Microsecond)})
		})
	}
	return c
}

func newIncidentStatus() *cobra.Command {
	var o onCall
	var all bool
	c := &cobra.Command{
		Use: "status", Short: "List the incidents that lift limits", Args: cobra.NoArgs,
		Long: "Reads the file beside the gateway. What the gateway itself does is in /readyz and on its health page: it\n" +
			"lifts nothing that it cannot record.",
		Example: "  matron limits incident status\n  matron limits incident status --all --json",
	}
	o.flags(c)
	c.Flags().BoolVar(&all, "all", false, "also those that are over")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, rules, err := o.rules()
		if err != nil {
			return err
		}
		l, err := incident.Read(gateway.IncidentFile(cfg), rules)
		if err != nil {
			return failure{exitIntegrity, fmt.Errorf("%w: limits are in force; move the file away to declare a new incident, and keep it as evidence", err)}
		}
		now := time.Now()
		list := slices.DeleteFunc(slices.Clone(l.List), func(i incident.Incident) bool { return !all && l.Check(i, now) != nil })
		if len(list) == 0 && !o.asJSON {
			_, err := fmt.Fprintln(c.OutOrStdout(), "Limits are in force.")
			return err
		}
		for _, i := range list {
			if err := o.print(c.OutOrStdout(), l, i); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// print shows one incident, and whether it lifts limits.
func (o *onCall) print(out io.Writer, l *incident.Ledger, i incident.Incident) error {
	why := l.Check(i, time.Now())
	if o.asJSON {
		line := struct {
			incident.Incident
			Lifts bool      `json:"lifts"`
			Until time.Time `json:"until"`
			Why   string    `json:"why_not,omitempty"`
		}{Incident: i, Lifts: why == nil, Until: i.Until()}
		if why != nil {
			line.Why = strings.TrimPrefix(why.Error(), incident.ErrRefused.Error()+": ")
		}
		return json.NewEncoder(out).Encode(line)
	}
	const at = "2 January 2006 15:04:05 MST"
	_, _ = fmt.Fprintf(out, "%s  declared by %s at %s: %s\n", i.ID, i.DeclaredBy, i.DeclaredAt.UTC().Format(at), i.Reason)
	if why != nil {
		_, err := fmt.Fprintf(out, "  limits are in force: %s\n", strings.TrimPrefix(why.Error(), incident.ErrRefused.Error()+": "))
		return err
	}
	_, err := fmt.Fprintf(out, "  lifts limits for people until %s\n", i.Until().UTC().Format(at))
	return err
}
