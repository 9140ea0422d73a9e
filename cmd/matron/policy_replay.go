package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/cmd/matron/promotion"
	"github.com/matron-epr/matron/cmd/matron/replay"
	"github.com/matron-epr/matron/policy/rego"
)

// replaying is one run of "matron policy replay".
type replaying struct {
	config, since, until, against, out string
	asJSON                             bool
}

func newPolicyReplay() *cobra.Command {
	var r replaying
	c := &cobra.Command{
		Use: "replay --against CANDIDATE", Short: "Say what other rules would have answered", Args: cobra.NoArgs,
		Long: "Asks every question that was recorded since a time again, of other rules, and prints what they would\n" +
			"newly refuse and newly allow, by role, ward and route, with the records to look at. It reads ClickHouse\n" +
			"or, where that does not answer, the journal; it names no patient and changes nothing. CANDIDATE is the\n" +
			"folder of a bundle, \"built-in\", or the revision of one that the gateway keeps.\n\n" +
			"The ward is that where the patient was at the time, as far as the register of care relationships said so;\n" +
			"else that of the person, by the staff list that the configuration names, on the day of the request.\n" +
			"--out writes the verdict that \"matron policy promote\" demands: it names the rules that were asked and\n" +
			"those in force, the time, who ran it, and has the gateway's seal.\n\n" +
			"Compared is what the rules had answered, also where it was not enforced. A record names one patient: an\n" +
			"exchange about several is asked about one by one. Requests that no map knew were never asked about, and\n" +
			"are not.",
		Example: "  matron policy replay --since 7d --against ./candidate\n" +
			"  matron policy replay --since 2026-11-01 --until 2026-11-14 --against ./candidate --out verdict.json\n" +
			"  matron policy replay --against ./candidate --json | jq '.groups[] | select(.was == \"allow\")'",
	}
	f := c.Flags()
	f.StringVarP(&r.config, "config", "c", "matron.yaml", "configuration file")
	f.StringVar(&r.since, "since", "7d", sinceHelp)
	f.StringVar(&r.until, "until", "", untilHelp)
	f.StringVar(&r.against, "against", "", "rules to ask: a folder, built-in, or a revision that the gateway keeps")
	f.StringVarP(&r.out, "out", "o", "", "file to write the sealed verdict to; never overwrites another")
	f.BoolVar(&r.asJSON, "json", false, "print as JSON")
	_ = c.MarkFlagRequired("against") // fails only for a flag that is not there
	c.RunE = func(c *cobra.Command, _ []string) error { return r.run(c) }
	return c
}

func (r *replaying) run(c *cobra.Command) error {
	cfg, _, err := load(r.config)
	if err != nil {
		return err
	}
	from, to, zone, err := window(r.since, r.until, time.Now())
	if err != nil {
		return failure{exitUsage, err}
	}
	began := time.Now()
	v, err := r.ask(c, cfg, from, to)
	if err != nil {
		return err
	}
	took := time.Since(began)
	c.PrintErrf("%d decisions in %s (%.0f a second)\n", v.Decisions, took.Round(time.Millisecond), float64(v.Decisions)/took.Seconds())
	if r.out != "" {
		if err := r.keep(cfg, v); err != nil {
			return failure{exitFailure, err}
		}
	}
	if r.asJSON {
		return encodeJSON(c.OutOrStdout(), v)
	}
	return printVerdict(c.OutOrStdout(), v, zone)
}

// ask asks the candidate about everything from from to to.
func (r *replaying) ask(c *cobra.Command, cfg config.Config, from, to time.Time) (v promotion.Verdict, err error) {
	dir, err := gateway.RulesDir(cfg, r.against)
	if err != nil {
		return v, failure{exitUsage, err}
	}
	rules, err := rego.New(c.Context(), rego.Config{Dir: dir})
	if err != nil {
		return v, failure{exitConfig, err}
	}
	base, err := gateway.RulesInForce(cfg)
	if err != nil {
		return v, failure{exitConfig, err}
	}
	wards, err := gateway.Wards(cfg)
	if err != nil {
		return v, failure{exitFailure, err}
	}
	who, err := user.Current()
	if err != nil {
		return v, failure{exitFailure, err}
	}
	v = promotion.Verdict{
		Candidate: rules.Revision(), Base: base, From: from.UTC(), To: to.UTC(), MadeAt: time.Now().UTC(), MadeBy: who.Username,
	}
	shown := newBar(c.ErrOrStderr(), "replay")
	defer shown.close()
	var source replay.Source
	source, v.ReadFrom = gateway.Decisions(c.Context(), cfg, from, to)
	if v.Report, err = replay.Run(c.Context(), byTime(source, from, to, shown), rules, wards); err != nil {
		return v, failure{exitFailure, err}
	}
	return v, nil
}

// keep writes the verdict with the gateway's seal.
func (r *replaying) keep(cfg config.Config, v promotion.Verdict) error {
	secret, err := gateway.VerdictKey(cfg)
	if err != nil {
		return err
	}
	sealed, err := v.Sealed(secret)
	if err != nil {
		return err
	}
	return intoFile(r.out, nil, func(out io.Writer) error { return encodeJSON(out, sealed) })
}

// byTime shows how far a source is.
func byTime(source replay.Source, from, to time.Time, shown *bar) replay.Source {
	return func(ctx context.Context, visit func(*audit.Record) error) error {
		return source(ctx, func(r *audit.Record) error {
			shown.set(int64(r.Time.Sub(from)), int64(to.Sub(from)))
			return visit(r)
		})
	}
}

func printVerdict(out io.Writer, v promotion.Verdict, zone *time.Location) error {
	const at = "2 January 2006 15:04 MST"
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "%s to %s, from %s: %d decisions asked again, %d skipped\n",
		v.From.In(zone).Format(at), v.To.In(zone).Format(at), v.ReadFrom, v.Decisions, v.Skipped)
	_, _ = fmt.Fprintf(w, "answered by %s, asked of %s; in force: %s\n", cmp.Or(strings.Join(v.Revisions, ", "), "nobody"), v.Candidate, v.Base)
	_, _ = fmt.Fprintf(w, "newly refused: %d, of %d people; %d of them may be care\nnewly allowed: %d\n",
		v.NewlyDenied, v.PeopleDenied, v.CareDenied, v.NewlyAllowed)
	for _, by := range []struct {
		what   string
		counts []replay.Count
	}{{"role", v.DeniedRoles}, {"ward", v.DeniedWards}, {"route", v.DeniedRoutes}} {
		if len(by.counts) > 0 {
			_, _ = fmt.Fprintf(w, "  by %s: %s\n", by.what, most(by.counts))
		}
	}
	if len(v.Groups) > 0 {
		_, _ = fmt.Fprint(w, "\nbefore\tnow\trequests\tpeople\troles\tward\troute\taction\tarea\tbecause of\tfor example\n")
	}
	for _, g := range v.Groups {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", g.Was, g.Now, g.Count, g.People,
			cmp.Or(g.Roles, "none"), cmp.Or(g.Ward, "not known"), g.App+" "+g.Route, g.Action, g.Area, g.Because, strings.Join(g.Examples, " "))
	}
	if v.Unlisted > 0 {
		_, _ = fmt.Fprintf(w, "and %d more that are not listed\n", v.Unlisted)
	}
	return w.Flush()
}

// most lists the most frequent.
func most(counts []replay.Count) string {
	const shown = 8
	var said []string
	for _, c := range counts[:min(len(counts), shown)] {
		said = append(said, fmt.Sprintf("%s %d", cmp.Or(c.Name, "not known"), c.Count))
	}
	if more := len(counts) - shown; more > 0 {
		said = append(said, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(said, ", ")
}
