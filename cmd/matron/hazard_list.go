package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/hazardlog"
)

func newHazardList() *cobra.Command {
	var b book
	var starter, initial bool
	var status string
	var from int
	c := &cobra.Command{
		Use: "list", Short: "List the hazards, and the matrix they stand in", Args: cobra.NoArgs,
		Example: "  matron hazard list\n" +
			"  matron hazard list --risk 3 --status Open\n" +
			"  matron hazard list --starter                  the log that is built in, without a gateway\n" +
			"  matron hazard list --json | jq '.hazards[].id'",
	}
	b.flags(c)
	b.jsonFlag(c)
	c.Flags().BoolVar(&starter, "starter", false, "the log that is built in")
	c.Flags().BoolVar(&initial, "initial", false, "the matrix of initial instead of residual risk")
	c.Flags().IntVar(&from, "risk", 0, "only hazards whose residual risk is at least this")
	c.Flags().StringVar(&status, "status", "", "only hazards of this status")
	show := func(c *cobra.Command, l hazardlog.Log, doubts map[string][]string) error {
		l.Hazards = slices.DeleteFunc(slices.Clone(l.Hazards), func(h hazardlog.Hazard) bool {
			return int(h.Residual.Risk()) < from || status != "" && !strings.EqualFold(status, string(h.Status))
		})
		if b.asJSON {
			return printSnapshot(c.OutOrStdout(), l, doubts)
		}
		printHazards(c.OutOrStdout(), l, initial, doubts)
		return nil
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		if starter {
			l, err := hazardlog.StarterLog()
			if err != nil {
				return failure{exitFailure, err}
			}
			return show(c, l, nil)
		}
		return b.with(c, func() error {
			doubts, err := b.doubts()
			if err != nil {
				return err
			}
			return show(c, b.current, doubts)
		})
	}
	return c
}

// printSnapshot prints what the log holds, with the ratings that are in question
// where there are any.
func printSnapshot(out io.Writer, l hazardlog.Log, doubts map[string][]string) error {
	text, err := l.Snapshot()
	if err != nil {
		return err
	}
	if len(doubts) > 0 {
		more, err := json.Marshal(doubts)
		if err != nil {
			return err
		}
		text = slices.Concat(bytes.TrimSuffix(text, []byte("}\n")), []byte(`,"in_question":`), more, []byte("}\n"))
	}
	_, err = out.Write(text)
	return err
}

func printHazards(out io.Writer, l hazardlog.Log, initial bool, doubts map[string][]string) {
	_, _ = fmt.Fprintf(out, "%s (log %s, %s)\n%s\n\n", l.Title, l.ID, l.Standard.Edition, l.State())
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ID\tINITIAL\tRESIDUAL\tSTATUS\tHAZARD")
	for _, h := range l.Hazards {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", h.ID, rating(h.Initial), rating(h.Residual)+doubt(doubts[h.ID]), h.Status, h.Name)
	}
	_ = w.Flush()
	m, name := l.ResidualMatrix(), "Residual"
	if initial {
		m, name = l.InitialMatrix(), "Initial"
	}
	_, _ = fmt.Fprintf(out, "\n%s risk: hazards by likelihood and severity, risk level in brackets; * is proposed, not assessed by a clinician\n", name)
	w = tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprint(w, "\t")
	for _, s := range l.Standard.Severities {
		_, _ = fmt.Fprintf(w, "%s\t", s)
	}
	_, _ = fmt.Fprintln(w)
	for _, row := range m.Rows {
		_, _ = fmt.Fprintf(w, "%s\t", row.Likelihood)
		for _, cell := range row.Cells {
			_, _ = fmt.Fprintf(w, "%d (%d)\t", len(cell.Hazards), cell.Risk)
		}
		_, _ = fmt.Fprintln(w)
	}
	_ = w.Flush()
	if m.Unrated > 0 {
		_, _ = fmt.Fprintf(out, "Not rated: %d\n", m.Unrated)
	}
}

// doubt marks a rating whose controls are contradicted.
func doubt(controls []string) string {
	if len(controls) == 0 {
		return ""
	}
	return " IN QUESTION (" + strings.Join(controls, ", ") + ")"
}

func rating(r hazardlog.Rating) string {
	if !r.Risk().Rated() {
		return "not rated"
	}
	text := fmt.Sprintf("%d %s/%s", r.Risk(), r.Severity, r.Likelihood)
	if !r.Owned() {
		text += "*"
	}
	return text
}

func newHazardShow() *cobra.Command {
	var b book
	var asYAML bool
	c := &cobra.Command{
		Use: "show HAZARD", Short: "Show one hazard with its controls and ratings", Args: cobra.ExactArgs(1),
		Example: "  matron hazard show GW-03\n" +
			"  matron hazard show GW-03 --yaml > GW-03.yaml    to change it: matron hazard edit GW-03 --file GW-03.yaml",
	}
	b.flags(c)
	b.jsonFlag(c)
	c.Flags().BoolVar(&asYAML, "yaml", false, "print as YAML that \"matron hazard edit\" takes")
	c.MarkFlagsMutuallyExclusive("json", "yaml")
	c.RunE = func(c *cobra.Command, args []string) error {
		return b.with(c, func() error {
			h, err := b.hazard(args[0])
			if err != nil {
				return err
			}
			doubts, err := b.doubts()
			if err != nil {
				return err
			}
			switch out := c.OutOrStdout(); {
			case b.asJSON:
				return json.NewEncoder(out).Encode(struct {
					hazardlog.Hazard
					Controls   []hazardlog.Control  `json:"controls"`
					Transfers  []hazardlog.Transfer `json:"transfers"`
					InQuestion []string             `json:"in_question,omitempty"`
				}{h, b.current.ControlsOf(h.ID), b.current.TransfersOf(h.ID), doubts[h.ID]})
			case asYAML:
				text, err := sheetOf(b.current, h).encode()
				if mark := doubt(doubts[h.ID]); mark != "" {
					text = append([]byte("# The rating is"+mark+": the evidence for these controls is contradicted.\n"), text...)
				}
				if err == nil {
					_, err = out.Write(text)
				}
				return err
			default:
				printHazard(out, b.current, h, doubts[h.ID])
			}
			return nil
		})
	}
	return c
}

func printHazard(out io.Writer, l hazardlog.Log, h hazardlog.Hazard, doubts []string) {
	_, _ = fmt.Fprintf(out, "%s  %s\n", h.ID, h.Name)
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	line := func(name, text string) {
		if text != "" {
			_, _ = fmt.Fprintf(w, "  %s\t%s\n", name, text)
		}
	}
	line("Status", string(h.Status))
	line("Owner", h.Owner)
	line("Effect", h.Effect)
	line("Hazard", h.Hazard)
	line("Harm", h.Harm)
	for _, cause := range h.Causes {
		line("Cause", cause)
	}
	for _, c := range h.Conditions {
		line("Arises in", string(c)+" conditions")
	}
	for _, r := range []struct {
		name   string
		rating hazardlog.Rating
	}{{"Initial risk", h.Initial}, {"Residual risk", h.Residual}} {
		line(r.name, ratingInWords(r.rating)+doubt(doubts))
		line("", r.rating.Justification)
	}
	line("That risk", l.Standard.Level(h.Residual.Risk()).Meaning)
	if h.Acceptance.Accepted {
		line("Accepted", "by "+h.Acceptance.By+": "+h.Acceptance.Reason)
	}
	line("Review by", h.Review.String())
	for _, note := range h.Notes {
		line("Note", note)
	}
	for _, c := range l.ControlsOf(h.ID) {
		line(c.ID, fmt.Sprintf("%s (%s, %s, %s)", c.Text, c.Type, c.Timing, c.Status))
		if c.NewHazards.Answer == hazardlog.SomeNewHazards {
			line("", "brings or changes "+strings.Join(c.NewHazards.Hazards, ", "))
		}
	}
	for _, t := range l.TransfersOf(h.ID) {
		line(t.ID, transferInWords(t))
		for _, a := range l.AnswersTo(t.ID) {
			line("", fmt.Sprintf("%s on %s, on version %s: %s%s", a.From, a.On, a.Version, a.Answer(), sinceChanged(a)))
		}
	}
	_ = w.Flush()
}

// transferInWords is what is asked, of whom, and what they said.
func transferInWords(t hazardlog.Transfer) string {
	asked := strings.TrimSuffix(t.Condition, ".")
	if t.Control != "" {
		asked = t.Control + ": " + asked
	}
	if t.State == hazardlog.Offered {
		return asked + " (offered to " + t.To + ")"
	}
	return asked + " (" + t.Answer() + ", for " + t.To + ")"
}

func sinceChanged(a hazardlog.Answered) string {
	if a.Changed {
		return " (it asks something else now)"
	}
	return ""
}

func ratingInWords(r hazardlog.Rating) string {
	switch {
	case !r.Risk().Rated():
		return r.String()
	case r.Owned():
		return r.String() + ", assessed by " + r.By
	}
	return r.String() + ", proposed: no clinician has assessed it"
}
