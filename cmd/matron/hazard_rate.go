package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/hazardlog"
)

func newHazardRate() *cobra.Command {
	var b book
	var s signs
	var initial, residual bool
	var why string
	var r ratingSheet
	c := &cobra.Command{
		Use: "rate HAZARD", Short: "Rate the initial or residual risk of a hazard", Args: cobra.ExactArgs(1),
		Long: "Severity is the worst credible harm to a patient, by its word, or by --consequence and --patients;\n" +
			"likelihood is that of the harm, not of the fault. The risk is looked up in the matrix of the standard.\n" +
			"Without an officer's key the rating is a proposal. One that changes withdraws an acceptance of the old.",
		Example: "  matron hazard rate GW-03 --residual --severity Considerable --likelihood Low --justification \"Reads are never refused.\"\n" +
			"  matron hazard rate GW-03 --initial --consequence severe --patients one --likelihood High --justification \"...\" --officer \"Dr Ann Example\" --key ann.key",
	}
	b.flags(c)
	s.flags(c, false)
	c.Flags().BoolVar(&initial, "initial", false, "with existing controls only")
	c.Flags().BoolVar(&residual, "residual", false, "with every control in place and verified")
	c.Flags().StringVar(&r.Severity, "severity", "", "a word of the matrix")
	c.Flags().StringVar(&r.Consequence, "consequence", "", "instead: what would happen, for example severe")
	c.Flags().StringVar(&r.Patients, "patients", "", "and to how many: one or several")
	c.Flags().StringVar(&r.Likelihood, "likelihood", "", "a word of the matrix")
	c.Flags().StringVar(&r.Justification, "justification", "", "why these words")
	c.Flags().StringVar(&r.Lowered, "lowered", "", "why the severity is lower than the initial one, if it is")
	c.Flags().StringVar(&why, "why", "", "why it is rated now")
	c.MarkFlagsMutuallyExclusive("initial", "residual")
	c.MarkFlagsOneRequired("initial", "residual")
	c.MarkFlagsMutuallyExclusive("severity", "consequence")
	c.MarkFlagsOneRequired("severity", "consequence")
	c.MarkFlagsRequiredTogether("consequence", "patients")
	_ = errors.Join(c.MarkFlagRequired("likelihood"), c.MarkFlagRequired("justification")) // fail only for flags that are not there
	c.RunE = func(c *cobra.Command, args []string) error {
		return b.with(c, func() error {
			h, err := b.hazard(args[0])
			if err != nil {
				return err
			}
			next := h
			rated := &next.Residual
			if initial {
				rated = &next.Initial
			}
			*rated = r.rating(b.current, hazardlog.Rating{})
			if s.officer != "" {
				o, err := b.who(s)
				if err != nil {
					return err
				}
				rated.State, rated.By = hazardlog.RatingAssessed, o.String()
			}
			return b.change(c, s, hazardlog.Steps(h, next, b.current.Revision(h.Subject()), why)...)
		})
	}
	return c
}

func newHazardAssess() *cobra.Command {
	var b book
	var s signs
	var all bool
	var why string
	c := &cobra.Command{
		Use: "assess [HAZARD...]", Short: "Make proposed ratings your own, as a clinical safety officer",
		Long: "A rating that software, an engineer or an import brought is proposed. Whoever assesses it stands behind\n" +
			"it: look at each with \"matron hazard show\" first. Other words: \"matron hazard rate\".",
		Example: "  matron hazard assess GW-03 GW-04 --why \"workshop of 20 November\" --officer \"Dr Ann Example\" --key ann.key",
	}
	b.flags(c)
	s.flags(c, true)
	c.Flags().BoolVar(&all, "all", false, "every rating that is proposed")
	c.Flags().StringVar(&why, "why", "", "on what grounds")
	c.RunE = func(c *cobra.Command, args []string) error {
		if all == (len(args) > 0) {
			return failure{exitUsage, errors.New("name hazards, or give --all")}
		}
		return b.with(c, func() error {
			o, err := b.who(s)
			if err != nil {
				return err
			}
			if all {
				for _, h := range b.current.Hazards {
					args = append(args, h.ID)
				}
			}
			var changes []hazardlog.Change
			for _, id := range args {
				h, err := b.hazard(id)
				if err != nil {
					return err
				}
				next := h
				for _, r := range []*hazardlog.Rating{&next.Initial, &next.Residual} {
					if r.State == hazardlog.RatingProposed {
						r.State, r.By = hazardlog.RatingAssessed, o.String()
					}
				}
				if !hazardlog.Same(h, next) {
					changes = append(changes, hazardlog.Change{Act: hazardlog.Rate, Value: next, Expect: b.current.Revision(h.Subject()), Why: why})
				}
			}
			return b.change(c, s, changes...)
		})
	}
	return c
}

func newHazardAccept() *cobra.Command {
	var b book
	var s signs
	var a hazardlog.Acceptance
	var why string
	var withdraw bool
	c := &cobra.Command{
		Use: "accept HAZARD", Short: "Accept the residual risk of a hazard, as a clinical safety officer", Args: cobra.ExactArgs(1),
		Long: "A risk of 4 or 5 cannot be accepted; one of 2 or 3 only with a reason. --benefit is the record of risk\n" +
			"against benefit, which a risk of 4 or 5 needs to stay in the log.",
		Example: "  matron hazard accept GW-02 --reason \"Going lower is impractical: all traffic passes through.\" --officer \"Dr Ann Example\" --key ann.key\n" +
			"  matron hazard accept GW-02 --withdraw --why \"two outages\" --officer \"Dr Ann Example\" --key ann.key",
	}
	b.flags(c)
	s.flags(c, true)
	c.Flags().StringVar(&a.Reason, "reason", "", "why the risk may stay")
	c.Flags().StringVar(&a.Benefit, "benefit", "", "risk against benefit")
	c.Flags().BoolVar(&withdraw, "withdraw", false, "no longer accept it")
	c.Flags().StringVar(&why, "why", "", "why now")
	c.MarkFlagsMutuallyExclusive("reason", "withdraw")
	c.RunE = func(c *cobra.Command, args []string) error {
		return b.with(c, func() error {
			h, err := b.hazard(args[0])
			if err != nil {
				return err
			}
			o, err := b.who(s)
			if err != nil {
				return err
			}
			h.Acceptance = hazardlog.Acceptance{Benefit: a.Benefit}
			risk := b.current.Standard.Level(h.Residual.Risk())
			if !withdraw && risk.Acceptability != hazardlog.Unacceptable {
				h.Acceptance = hazardlog.Acceptance{Accepted: true, Reason: a.Reason, Benefit: a.Benefit, By: o.String()}
			}
			if !withdraw && risk.Acceptability == hazardlog.Unacceptable && a.Benefit == "" {
				return fmt.Errorf("%s cannot be accepted: risk %s. %s", h.ID, risk.Risk, risk.Meaning)
			}
			return b.change(c, s, hazardlog.Change{Act: hazardlog.Rate, Value: h, Expect: b.current.Revision(h.Subject()), Why: why})
		})
	}
	return c
}

func newHazardStatus() *cobra.Command {
	var b book
	var why string
	c := &cobra.Command{
		Use: "status HAZARD Open|Closed|Transferred", Short: "Close a hazard, open it again, or mark it transferred", Args: cobra.ExactArgs(2),
		Long:    "A hazard is closed only when a clinical safety officer has accepted its residual risk.",
		Example: "  matron hazard status GW-14 Closed --why \"all controls verified\"",
	}
	b.flags(c)
	c.Flags().StringVar(&why, "why", "", "why")
	_ = c.MarkFlagRequired("why") // fails only for a flag that is not there
	c.RunE = func(c *cobra.Command, args []string) error {
		return b.with(c, func() error {
			h, err := b.hazard(args[0])
			if err != nil {
				return err
			}
			h.Status = hazardlog.Status(args[1])
			return b.change(c, signs{}, hazardlog.Change{Act: hazardlog.Move, Value: h, Expect: b.current.Revision(h.Subject()), Why: why})
		})
	}
	return c
}
