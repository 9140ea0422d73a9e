package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

func newHazardApprove() *cobra.Command {
	var b book
	var s signs
	var off hazardlog.SignOff
	c := &cobra.Command{
		Use: "approve VERSION", Short: "Approve a version of the log, as its clinical safety officer", Args: cobra.ExactArgs(1),
		Long: "Shows what changed since the last version and what the checks found, asks for two confirmations, and\n" +
			"signs the log as it stands with your key. Errors forbid it. Whatever is changed afterwards shows as a\n" +
			"draft. The hash of what you sign goes into the audit journal.",
		Example: "  matron hazard approve 1.4 --statement \"The residual risk is acceptable.\" --officer \"Dr Ann Example\" --key ann.key",
	}
	b.flags(c)
	s.flags(c, true)
	c.Flags().StringVar(&off.Statement, "statement", "", "your summary safety statement")
	c.Flags().BoolVar(&off.Confirmed[0], "reviewed", false, "confirm: "+hazardlog.Confirmations()[0])
	c.Flags().BoolVar(&off.Confirmed[1], "registered", false, "confirm: "+hazardlog.Confirmations()[1])
	_ = c.MarkFlagRequired("statement") // fails only for a flag that is not there
	c.RunE = func(c *cobra.Command, args []string) error {
		return b.with(c, func() error {
			o, err := b.who(s)
			if err != nil {
				return err
			}
			if off.Facts, err = b.facts(c.Context()); err != nil {
				return err
			}
			known, err := b.evidence(c.Context())
			if err != nil {
				return err
			}
			if off.Evidence, err = hazardlog.Freeze(known); err != nil {
				return err
			}
			off.Version, off.Officer = args[0], o.Officer
			if off.Facts.Running != nil {
				off.Baseline = *off.Facts.Running
			}
			if err := b.shown(c.OutOrStdout(), off, known); err != nil {
				return err
			}
			if err := confirm(c.InOrStdin(), c.OutOrStdout(), &off.Confirmed); err != nil {
				return err
			}
			by, err := b.account()
			if err != nil {
				return err
			}
			by, change, err := b.current.Approve(c.Context(), by, off, keyProof{s.key, o.Key}, time.Now())
			if err != nil {
				return err
			}
			return b.keep(c, by, change)
		})
	}
	return c
}

// shown says what is about to be signed.
func (b *book) shown(out io.Writer, off hazardlog.SignOff, known evidence.Report) error {
	content, err := b.current.Snapshot()
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "%s, log %s, as version %s\n%s\n", b.current.Title, b.log, off.Version, b.current.State())
	_, changes := b.current.Since()
	for _, d := range changes {
		_, _ = fmt.Fprintln(out, "  "+d.Full())
	}
	findings := b.current.Lint(off.Facts)
	bad := len(hazardlog.Errors(findings))
	_, err = fmt.Fprintf(out, "%s\n%d hazards, %d controls. Checks: %d error(s), %d warning(s).\nSHA-256 of what you sign: %s, of the evidence under it: %s\n",
		evidenceWords(b.current, known), len(b.current.Hazards), len(b.current.Controls), bad, len(findings)-bad, hazardlog.Hash(content), off.Evidence.SHA256)
	return err
}

// evidenceWords count the controls by what is known of them.
func evidenceWords(l hazardlog.Log, r evidence.Report) string {
	counts := map[hazardlog.EvidenceState]int{}
	for _, c := range l.Controls {
		counts[r.State(c.ID)]++
	}
	return fmt.Sprintf("Evidence for controls: %d supported, %d contradicted, %d stale, %d without enough data, %d not measured. Ratings in question: %d.",
		counts[hazardlog.Supported], counts[hazardlog.Contradicted], counts[hazardlog.Stale], counts[hazardlog.NotEnough], counts[hazardlog.NotMeasured],
		len(evidence.InQuestion(l, r)))
}

// confirm asks for what was not confirmed by a flag.
func confirm(in io.Reader, out io.Writer, confirmed *[2]bool) error {
	answers := bufio.NewReader(in)
	for i, text := range hazardlog.Confirmations() {
		if confirmed[i] {
			continue
		}
		_, _ = fmt.Fprintf(out, "%s\nType yes: ", text)
		answer, err := answers.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if confirmed[i] = strings.TrimSpace(answer) == "yes"; !confirmed[i] {
			return errors.New("not confirmed: nothing was signed")
		}
	}
	return nil
}
