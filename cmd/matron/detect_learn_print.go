package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/audit/detect/learn"
)

// learned is a version that was just made.
type learned struct {
	learn.Version
	New     bool           `json:"new"` // false when the same input was learnt from before
	Changes []learn.Change `json:"changes"`

	parent learn.Version
}

func (w *weighing) printVersion(c *cobra.Command, v learned) error {
	if w.asJSON {
		return printJSON(c, v)
	}
	out := c.OutOrStdout()
	was := "made, in shadow"
	if !v.New {
		was = "was there already: the same input"
	}
	_, _ = fmt.Fprintf(out, "version %d %s; %.0f cases judged, %.0f of them worth asking about; %d lines left out\n\n", v.Number, was, v.Cases.N(), v.Cases.Right, v.LeftOut)
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "DETECTOR\tROLE\tN\tPRECISION\tNINE IN TEN\tWEIGHT")
	for _, g := range v.Groups {
		role, weight := g.Role, fmt.Sprintf("%.2f -> %.2f", v.parent.Weight(g.Detector, g.Role), g.Weight)
		if role == cases.AnyRole {
			role = "(all)"
		}
		if g.Protected {
			weight = "1.00, never lowered"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%.1f\t%.2f\t%.2f-%.2f\t%s\n", g.Detector, role, g.N(), g.Precision, g.Low, g.High, weight)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	printUnflagged(out, v.Unflagged)
	for _, change := range v.Changes {
		printChange(out, change)
	}
	_, _ = fmt.Fprintf(out, "\nTry it with \"matron detect run --weights %d\", and make it count with \"matron detect learn --activate %d\".\n", v.Number, v.Number)
	return nil
}

// mostMoved is how many cases are named; --json has all of them.
const mostMoved = 8

// printChange says which cases of the last run would come in or fall out.
func printChange(out io.Writer, c learn.Change) {
	_, _ = fmt.Fprintf(out, "\nOf the last run, at %d a day for 1,000 staff (%d cases): %d would enter, %d would leave\n", c.Budget, c.Shown, len(c.Enter), len(c.Leave))
	name := func(what string, moved []learn.Moved) {
		for _, m := range moved[:min(mostMoved, len(moved))] {
			_, _ = fmt.Fprintf(out, "  %s %s (%.2f -> %.2f)\n", what, m.Case, m.Score, m.Then)
		}
		if more := len(moved) - mostMoved; more > 0 {
			_, _ = fmt.Fprintf(out, "  and %d more\n", more)
		}
	}
	name("enters", c.Enter)
	name("leaves", c.Leave)
}

// printUnflagged says what the cases drawn by lot tell of what is missed.
func printUnflagged(out io.Writer, u learn.Unflagged) {
	if u.Looked == 0 {
		_, _ = fmt.Fprintln(out, "\nNo case drawn by lot was judged: nobody knows what is missed.")
		return
	}
	_, _ = fmt.Fprintf(out, "\nOf %d cases drawn by lot %d were misuse. They stand for about %.0f looks that no detector points at;\nnine in ten times at most %.2g of a thousand of them are misuse", u.Looked, u.Misuse, u.Of, 1000*u.High)
	if u.Recall >= 0 {
		_, _ = fmt.Fprintf(out, ", and at least %.2f of the misused looks are found", u.Least)
	}
	_, _ = fmt.Fprintln(out, ".")
}

func (w *weighing) printList(c *cobra.Command) error {
	all, err := w.kept.List()
	if err != nil {
		return failure{exitFailure, err}
	}
	turns, err := w.kept.Turns()
	if err != nil {
		return failure{exitFailure, err}
	}
	active, err := w.kept.Active()
	if err != nil {
		return failure{exitFailure, err}
	}
	if w.asJSON {
		return printJSON(c, map[string]any{"active": active.Number, "versions": append([]learn.Version{}, all...), "turns": append([]learn.Turn{}, turns...)})
	}
	t := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "VERSION\tSTATE\tMADE (UTC)\tBY\tCASES\tPARENT\tDIGEST")
	state := func(n int) string {
		if n == active.Number {
			return "active"
		}
		return "shadow"
	}
	_, _ = fmt.Fprintf(t, "%d\t%s\t\t\t\t\twithout weights\n", learn.First, state(learn.First))
	for _, v := range all {
		_, _ = fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%.0f\t%d\t%s\n", v.Number, state(v.Number), v.MadeAt.UTC().Format("2 Jan 2006 15:04"), v.MadeBy, v.Cases.N(), v.Parent, v.Digest)
	}
	_, _ = fmt.Fprintln(t)
	for _, turn := range turns {
		what := "made active"
		if turn.Revert {
			what = "made active again"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", strconv.Itoa(turn.Version), what, turn.At.UTC().Format("2 Jan 2006 15:04"), turn.By)
	}
	return t.Flush()
}
