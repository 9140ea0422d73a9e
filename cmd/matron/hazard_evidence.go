package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

func newHazardEvidence() *cobra.Command {
	var b book
	c := &cobra.Command{
		Use: "evidence [CONTROL]", Short: "Show what is known of whether controls are there and work", Args: cobra.MaximumNArgs(1),
		Long: "A control has two slots: implemented (its tests, documents) and effective (its indicators, documents).\n" +
			"The gateway measures the indicators while it runs; this shows what it measured last. No data is never\n" +
			"good evidence. With a control, everything that is known of it. See docs/hazard-log.md.",
		Example: "  matron hazard evidence\n" +
			"  matron hazard evidence C-13\n" +
			"  matron hazard evidence --json | jq '.indicators[] | select(.state == \"contradicted\")'",
	}
	b.flags(c)
	b.jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return b.with(c, func() error {
			r, err := b.evidence(c.Context())
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			switch {
			case b.asJSON:
				enc := json.NewEncoder(out)
				enc.SetIndent("", "  ")
				return enc.Encode(r)
			case len(args) == 1:
				return printControlEvidence(out, b.current, r, args[0])
			}
			printEvidence(out, b.current, r)
			return nil
		})
	}
	return c
}

// evidence is what is known of the controls of the log now.
func (b *book) evidence(ctx context.Context) (evidence.Report, error) {
	return gateway.Evidence(ctx, b.cfg, b.current, time.Now())
}

// doubts names the ratings that are in question, and by which controls.
func (b *book) doubts() (map[string][]string, error) {
	return gateway.InQuestion(b.cfg, b.current, time.Now())
}

func stateWord(s hazardlog.EvidenceState) string { return cmp.Or(string(s), "not measured") }

func printEvidence(out io.Writer, l hazardlog.Log, r evidence.Report) {
	_, _ = fmt.Fprintf(out, "%s (log %s)\n%s\n", l.Title, l.ID, baselineWords(l, r))
	doubted := evidence.InQuestion(l, r)
	for _, h := range l.Hazards {
		if controls := doubted[h.ID]; len(controls) > 0 {
			_, _ = fmt.Fprintf(out, "IN QUESTION: the rating of %s, since the evidence for %s is contradicted\n", h.ID, strings.Join(controls, ", "))
		}
	}
	_, _ = fmt.Fprintln(out, "\nIndicators")
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ID\tCONTROL\tSTATE\tVALUE\tSAMPLE\tTHRESHOLD\tNAME")
	for _, i := range r.Indicators {
		value := "-"
		if i.Value != nil {
			value = strconv.FormatFloat(*i.Value, 'g', 4, 64)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d of %d\t%s\t%s\n", i.ID, i.Control, stateWord(i.State), value, i.Sample, i.MinSample, i.Threshold, i.Name)
	}
	_ = w.Flush()
	_, _ = fmt.Fprintln(out, "\nControls")
	w = tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ID\tIMPLEMENTED\tEFFECTIVE\tSTATUS\tCONTROL")
	for _, c := range l.Controls {
		known := r.Controls[c.ID]
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.ID, stateWord(known.Implemented.State), stateWord(known.Effective.State), c.Status, c.Text)
	}
	_ = w.Flush()
}

// baselineWords say whether what runs is what was approved.
func baselineWords(l hazardlog.Log, r evidence.Report) string {
	running := hazardlog.Baseline{Program: r.Build, Config: r.Config, Policy: r.Policy}
	a := l.Approved()
	switch {
	case running == (hazardlog.Baseline{}):
		return "No gateway has run with this configuration yet."
	case a == nil:
		return "Nothing has been approved that what runs could be compared with."
	}
	if drift := a.Baseline.Drift(running); drift != "" {
		return "What runs is NOT what was approved as version " + a.Version + ": " + drift + "."
	}
	return "What runs is what was approved as version " + a.Version + "."
}

func printControlEvidence(out io.Writer, l hazardlog.Log, r evidence.Report, id string) error {
	c, ok := l.Control(id)
	if !ok {
		return fmt.Errorf("there is no control %s in log %s", id, l.ID)
	}
	_, _ = fmt.Fprintf(out, "%s  %s (%s; for %s)\n", c.ID, c.Text, c.Status, strings.Join(c.Hazards, ", "))
	known := r.Controls[id]
	for _, slot := range []struct {
		name string
		evidence.Slot
	}{{"Implemented", known.Implemented}, {"Effective", known.Effective}} {
		_, _ = fmt.Fprintf(out, "\n%s: %s. %s\n", slot.name, stateWord(slot.State), slot.Reason)
		for _, source := range slot.Sources {
			_, _ = fmt.Fprintln(out, "  "+source)
		}
	}
	for _, i := range r.Indicators {
		if i.Control != id {
			continue
		}
		_, _ = fmt.Fprintf(out, "\n%s  %s: %s\n  Claim: %s\n  Counted: %s\n  %s\n  Owner: %s. When it is missed: %s\n", i.ID, i.Name, stateWord(i.State), i.Claim, i.Definition, i.Reason, i.Owner, i.Action)
	}
	return nil
}

// demandEvidence refuses to call a control implemented or verified without evidence.
func (b *book) demandEvidence(ctx context.Context, by hazardlog.Actor, changes []hazardlog.Change) error {
	return gateway.DemandEvidence(b.current, by, changes, func(after hazardlog.Log) (evidence.Report, error) {
		return gateway.Evidence(ctx, b.cfg, after, time.Now())
	})
}
