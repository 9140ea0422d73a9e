package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/cmd/matron/replay"
	"github.com/matron-epr/matron/policy/rego"
)

// replaying is one run of "matron policy replay".
type replaying struct {
	config, since, until, against, out string
	asJSON                             bool
}

// replayed is what it writes: which rules were asked about which time.
type replayed struct {
	Candidate string    `json:"candidate"` // revision
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	ReadFrom  string    `json:"read_from"`
	replay.Report
}

func newPolicyReplay() *cobra.Command {
	var r replaying
	c := &cobra.Command{
		Use: "replay --against DIR", Short: "Say what other rules would have answered", Args: cobra.NoArgs,
		Long: "Asks every question that was recorded since a time again, of the bundle in DIR, and prints what it would\n" +
			"newly refuse and newly allow, by role and route, with the records to look at. It reads ClickHouse or,\n" +
			"where that does not answer, the journal; it names no patient and changes nothing.\n\n" +
			"Compared is what the rules had answered, also where it was not enforced. A record names one patient: an\n" +
			"exchange about several is asked about one by one. Requests that no map knew were never asked about, and\n" +
			"are not.",
		Example: "  matron policy replay --since 7d --against ./candidate\n" +
			"  matron policy replay --since 2026-11-01 --until 2026-11-14 --against ./candidate --out verdict.json\n" +
			"  matron policy replay --against ./candidate --json | jq '.groups[] | select(.was == \"allow\")'",
	}
	f := c.Flags()
	f.StringVarP(&r.config, "config", "c", "matron.yaml", "configuration file")
	f.StringVar(&r.since, "since", "7d", "from this day or moment on, or this long ago, for example 2026-11-01, 7d or 12h")
	f.StringVar(&r.until, "until", "", "to the end of this day, or before this moment (default: now)")
	f.StringVar(&r.against, "against", "", "folder of the bundle to ask")
	f.StringVarP(&r.out, "out", "o", "", "file to write the verdict to as JSON; never overwrites another")
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
	rules, err := rego.New(c.Context(), rego.Config{Dir: r.against})
	if err != nil {
		return failure{exitConfig, err}
	}
	shown := newBar(c.ErrOrStderr(), "replay")
	began := time.Now()
	v := replayed{Candidate: rules.Revision(), From: from.UTC(), To: to.UTC()}
	var source replay.Source
	source, v.ReadFrom = gateway.Decisions(c.Context(), cfg, from, to)
	v.Report, err = replay.Run(c.Context(), byTime(source, from, to, shown), rules)
	shown.close()
	if err != nil {
		return failure{exitFailure, err}
	}
	took := time.Since(began)
	c.PrintErrf("%d decisions in %s (%.0f a second)\n", v.Decisions, took.Round(time.Millisecond), float64(v.Decisions)/took.Seconds())
	if r.out != "" {
		if err := intoFile(r.out, nil, func(out io.Writer) error { return encodeJSON(out, v) }); err != nil {
			return failure{exitFailure, err}
		}
	}
	if r.asJSON {
		return encodeJSON(c.OutOrStdout(), v)
	}
	return printVerdict(c.OutOrStdout(), v, zone)
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

func printVerdict(out io.Writer, v replayed, zone *time.Location) error {
	const at = "2 January 2006 15:04 MST"
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "%s to %s, from %s: %d decisions asked again, %d skipped\n",
		v.From.In(zone).Format(at), v.To.In(zone).Format(at), v.ReadFrom, v.Decisions, v.Skipped)
	_, _ = fmt.Fprintf(w, "answered by %s, asked of %s\n", cmp.Or(strings.Join(v.Revisions, ", "), "nobody"), v.Candidate)
	_, _ = fmt.Fprintf(w, "newly refused: %d, of %d people\nnewly allowed: %d\n", v.NewlyDenied, v.PeopleDenied, v.NewlyAllowed)
	if len(v.Groups) > 0 {
		_, _ = fmt.Fprint(w, "\nbefore\tnow\trequests\tpeople\troles\troute\taction\tarea\tbecause of\tfor example\n")
	}
	for _, g := range v.Groups {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", g.Was, g.Now, g.Count, g.People,
			cmp.Or(g.Roles, "none"), g.App+" "+g.Route, g.Action, g.Area, g.Because, strings.Join(g.Examples, " "))
	}
	if v.Unlisted > 0 {
		_, _ = fmt.Fprintf(w, "and %d more that are not listed\n", v.Unlisted)
	}
	return w.Flush()
}

// window is period with a beginning that may be told as how long ago.
func window(since, until string, now time.Time) (from, to time.Time, zone *time.Location, err error) {
	ago, isAgo := howLong(since)
	if isAgo {
		since = ""
	}
	if from, to, zone, err = period(since, until); err != nil {
		return from, to, zone, fmt.Errorf("--since, --until: %w", err)
	}
	if to.IsZero() {
		to = now
	}
	if isAgo {
		from = to.Add(-ago)
	}
	if !from.Before(to) {
		return from, to, zone, fmt.Errorf("--until %s is not after --since %s", until, since)
	}
	return from, to, zone, nil
}

// howLong reads "7d" and what time.ParseDuration reads.
func howLong(text string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err == nil
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d > 0
}
