package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/export/auditevent"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

func newObserve() *cobra.Command {
	c := &cobra.Command{Use: "observe", Short: "What would be refused if it were enforced", GroupID: "rules"}
	c.AddCommand(newObserveReport())
	return c
}

// observing is one run of "matron observe report".
type observing struct {
	config, app, from, to string
	asJSON                bool
}

// observed is what it prints as JSON.
type observed struct {
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Counted string    `json:"counted_in"`
	audit.Waived
	Against map[string][]string `json:"against_enforcing"` // by application
}

func newObserveReport() *cobra.Command {
	var o observing
	c := &cobra.Command{
		Use: "report", Short: "Count what would have been refused, by route and role", Args: cobra.NoArgs,
		Long: "Counts what went on in observe mode, and while an application was bypassed, although the rules, the\n" +
			"limits or the map would have refused it: by route, role and reason, and how many people it concerns.\n" +
			"It names no patient and nobody else. For each application it says what stands against enforcing. It\n" +
			"counts in ClickHouse or, where that does not answer, in the journal.\n\n" +
			"A day counts from its first to its last moment in the hospital's time zone. Without --from and --to:\n" +
			"the last seven days.",
		Example: "  matron observe report\n" +
			"  matron observe report --app fhir --from 2026-11-01 --to 2026-11-30\n" +
			"  matron observe report --json | jq .against_enforcing",
	}
	f := c.Flags()
	f.StringVarP(&o.config, "config", "c", "matron.yaml", "configuration file")
	f.StringVar(&o.app, "app", "", "application, as the configuration names it (default: all)")
	f.StringVar(&o.from, "from", "", "from this day or moment on, for example 2026-11-01 or 2026-11-01T08:00:00Z")
	f.StringVar(&o.to, "to", "", "to the end of this day, or before this moment (default: now)")
	f.BoolVar(&o.asJSON, "json", false, "print as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error { return o.run(c) }
	return c
}

func (o *observing) run(c *cobra.Command) error {
	cfg, _, err := load(o.config)
	if err != nil {
		return err
	}
	if o.app != "" && !slices.ContainsFunc(cfg.Applications, func(a config.Application) bool { return a.Name == o.app }) {
		return failure{exitUsage, fmt.Errorf("--app %s is no application of %s", o.app, o.config)}
	}
	from, to, zone, err := period(o.from, o.to)
	if err != nil {
		return failure{exitUsage, err}
	}
	if to.IsZero() {
		to = time.Now()
	}
	if from.IsZero() {
		y, m, d := to.In(zone).Date()
		from = time.Date(y, m, d-6, 0, 0, 0, 0, zone)
	}
	w, counted, err := gateway.Waived(c.Context(), cfg, audit.WaivedQuery{Site: cfg.Site, App: o.app, From: from, To: to})
	if err != nil {
		return failure{exitFailure, err}
	}
	out := observed{From: from.UTC(), To: to.UTC(), Counted: counted, Waived: w, Against: map[string][]string{}}
	for _, a := range cfg.Applications {
		if o.app == "" || o.app == a.Name {
			i := slices.IndexFunc(w.Apps, func(found audit.WaivedApp) bool { return found.App == a.Name })
			if i < 0 {
				w.Apps, i = append(w.Apps, audit.WaivedApp{App: a.Name}), len(w.Apps)
			}
			out.Against[a.Name] = w.Apps[i].Against()
		}
	}
	if o.asJSON {
		return json.NewEncoder(c.OutOrStdout()).Encode(out)
	}
	printObserved(c.OutOrStdout(), out, zone)
	return nil
}

func printObserved(out io.Writer, o observed, zone *time.Location) {
	const at = "2 January 2006 15:04 MST"
	_, _ = fmt.Fprintf(out, "%s to %s, counted in %s\n", o.From.In(zone).Format(at), o.To.In(zone).Format(at), o.Counted)
	for _, a := range o.Apps {
		_, _ = fmt.Fprintf(out, "%s: %d requests, not enforced; %d of them, of %d people, would have been refused\n", a.App, a.Requests, a.Refusals, a.People)
	}
	for _, app := range slices.Sorted(maps.Keys(o.Against)) {
		against := o.Against[app]
		if len(against) == 0 {
			against = []string{"nothing stands against enforcing"}
		}
		_, _ = fmt.Fprintf(out, "%s: %s\n", app, strings.Join(against, "\n"+strings.Repeat(" ", len(app)+2)))
	}
	if len(o.Rows) == 0 {
		return
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "\nAPPLICATION\tMODE\tROUTE\tROLE\tWHY\tREQUESTS\tPEOPLE")
	for _, r := range o.Rows {
		route, role := r.Route, r.Role
		if route == "" {
			route = "(not in the map)"
		}
		if role == "" {
			role = "(none)"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\n", r.App, r.Mode, route, role, r.Reason, r.Requests, r.People)
	}
	_ = w.Flush()
	if len(o.Rows) == audit.MaxWaivedRows {
		_, _ = fmt.Fprintf(out, "Only the first %d are listed.\n", audit.MaxWaivedRows)
	}
}

// period reads the flags --from and --to as days or moments in the hospital's time
// zone; zero for one that is not given.
func period(from, to string) (begin, end time.Time, zone *time.Location, err error) {
	if zone, err = time.LoadLocation("Europe/London"); err != nil { // as the pages show times
		return begin, end, nil, err
	}
	if from != "" {
		if begin, _, err = auditevent.ParseTime(from, zone); err != nil {
			return begin, end, nil, fmt.Errorf("--from %s: %w", from, err)
		}
	}
	if to == "" {
		return begin, end, zone, nil
	}
	first, last, err := auditevent.ParseTime(to, zone)
	if err != nil {
		return begin, end, nil, fmt.Errorf("--to %s: %w", to, err)
	}
	end = last
	if strings.Contains(to, "T") {
		end = first
	}
	if !begin.Before(end) {
		return begin, end, nil, errors.New("--to " + to + " is not after --from " + from)
	}
	return begin, end, zone, nil
}
