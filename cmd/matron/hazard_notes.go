package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/hazardlog"
)

// raise adds something that is not a hazard, under the next id.
func (b *book) raise(c *cobra.Command, value func(next func(prefix string) string) hazardlog.Value) error {
	return b.with(c, func() error {
		return b.change(c, signs{}, hazardlog.Change{Act: hazardlog.Raise, Value: value(b.current.NextID)})
	})
}

func newHazardDecision() *cobra.Command {
	var b book
	var d hazardlog.Decision
	on := string(today())
	c := &cobra.Command{
		Use: "decision", Short: "Note a decision that influenced clinical risk management", Args: cobra.NoArgs,
		Example: "  matron hazard decision --text \"Theatres are only warned\" --reason \"workshop of 20 November\" --hazard GW-01",
	}
	b.flags(c)
	c.Flags().StringVar(&d.Text, "text", "", "what was decided")
	c.Flags().StringVar(&d.Reason, "reason", "", "why")
	c.Flags().StringVar(&on, "on", on, "the day")
	c.Flags().StringArrayVar(&d.Hazards, "hazard", nil, "a hazard that it is about; may be given again")
	_ = errors.Join(c.MarkFlagRequired("text"), c.MarkFlagRequired("reason")) // fail only for flags that are not there
	c.RunE = func(c *cobra.Command, _ []string) error {
		return b.raise(c, func(next func(string) string) hazardlog.Value {
			d.ID, d.On = next("D"), hazardlog.Day(on)
			return d
		})
	}
	return c
}

func newHazardIncident() *cobra.Command {
	var b book
	var i hazardlog.Incident
	var resolve string
	on := string(today())
	c := &cobra.Command{
		Use: "incident", Short: "Note an incident or near miss, or how it was resolved", Args: cobra.NoArgs,
		Long: "Name no patient and no member of staff: --reference leads to the system that does. The assessment says\n" +
			"whether the hazard was known, whether its controls acted, and whether its rating still holds.",
		Example: "  matron hazard incident --text \"A ward could not open charts for 4 minutes\" --hazard GW-02 --reference \"LFPSE 123\"\n" +
			"  matron hazard incident --resolve I-01 --resolution \"Spare gateway added\"\n",
	}
	b.flags(c)
	c.Flags().StringVar(&resolve, "resolve", "", "the incident that is resolved")
	c.Flags().StringVar(&i.Resolution, "resolution", "", "how it was resolved")
	c.Flags().StringVar(&i.Text, "text", "", "what happened")
	c.Flags().StringVar(&i.Assessment, "assessment", "", "what it means for the safety case")
	c.Flags().StringVar(&i.Reference, "reference", "", "its number elsewhere")
	c.Flags().BoolVar(&i.Harm, "harm", false, "a patient was harmed; without it a near miss")
	c.Flags().StringVar(&on, "on", on, "the day")
	c.Flags().StringArrayVar(&i.Hazards, "hazard", nil, "a hazard that it is about; may be given again")
	c.MarkFlagsOneRequired("text", "resolve")
	c.MarkFlagsMutuallyExclusive("text", "resolve")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if resolve == "" {
			return b.raise(c, func(next func(string) string) hazardlog.Value {
				i.ID, i.On = next("I"), hazardlog.Day(on)
				return i
			})
		}
		return b.with(c, func() error {
			for _, old := range b.current.Incidents {
				if old.ID != resolve {
					continue
				}
				expect := b.current.Revision(old.Subject())
				var changes []hazardlog.Change
				if i.Assessment != "" {
					old.Assessment = i.Assessment
					changes = append(changes, hazardlog.Change{Act: hazardlog.Edit, Value: old, Expect: expect})
					expect++
				}
				old.Resolution, old.Resolved = i.Resolution, true
				return b.change(c, signs{}, append(changes, hazardlog.Change{Act: hazardlog.Move, Value: old, Expect: expect})...)
			}
			return fmt.Errorf("there is no incident %s", resolve)
		})
	}
	return c
}

func newHazardReview() *cobra.Command {
	var b book
	var r hazardlog.Review
	var due, done string
	c := &cobra.Command{
		Use: "review", Short: "Set a day for a review or drill, or note that it was done", Args: cobra.NoArgs,
		Example: "  matron hazard review --of \"bypass drill\" --due 2027-02-01\n" +
			"  matron hazard review --done R-01 --outcome \"staff found the way within a minute\"",
	}
	b.flags(c)
	c.Flags().StringVar(&r.Of, "of", "", "a hazard, a control, or what else")
	c.Flags().StringVar(&due, "due", "", "the last day for it")
	c.Flags().StringVar(&done, "done", "", "the review that was done today")
	c.Flags().StringVar(&r.Outcome, "outcome", "", "what came out of it")
	c.MarkFlagsOneRequired("of", "done")
	c.MarkFlagsMutuallyExclusive("of", "done")
	c.MarkFlagsRequiredTogether("of", "due")
	c.MarkFlagsRequiredTogether("done", "outcome")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if done == "" {
			return b.raise(c, func(next func(string) string) hazardlog.Value {
				r.ID, r.Due = next("R"), hazardlog.Day(due)
				return r
			})
		}
		return b.with(c, func() error {
			for _, old := range b.current.Reviews {
				if old.ID == done {
					old.Done, old.Outcome = today(), r.Outcome
					return b.change(c, signs{}, hazardlog.Change{Act: hazardlog.Move, Value: old, Expect: b.current.Revision(old.Subject())})
				}
			}
			return fmt.Errorf("there is no review %s", done)
		})
	}
	return c
}

func newHazardTransfer() *cobra.Command {
	var b book
	var t hazardlog.Transfer
	c := &cobra.Command{
		Use: "transfer HAZARD", Short: "Ask another organisation to do something against a hazard", Args: cobra.ExactArgs(1),
		Example: "  matron hazard transfer GW-01 --to \"Example NHS Trust\" --condition \"Train bank staff in emergency access\"",
	}
	b.flags(c)
	c.Flags().StringVar(&t.To, "to", "", "who shall do it")
	c.Flags().StringVar(&t.Condition, "condition", "", "what they shall do")
	c.Flags().StringVar(&t.Control, "control", "", "the control that is meant")
	_ = errors.Join(c.MarkFlagRequired("to"), c.MarkFlagRequired("condition")) // fail only for flags that are not there
	c.RunE = func(c *cobra.Command, args []string) error {
		return b.raise(c, func(next func(string) string) hazardlog.Value {
			t.ID, t.Hazard, t.State = next("T"), args[0], hazardlog.Offered
			return t
		})
	}
	return c
}

func newHazardAnswer() *cobra.Command {
	var b book
	var s signs
	var decline, reason string
	c := &cobra.Command{
		Use: "answer TRANSFER...", Short: "Accept or decline what was transferred to you, as a clinical safety officer", Args: cobra.MinimumNArgs(1),
		Long: "Each transfer that is named gets the same answer, which you sign. \"matron hazard reply\" takes the answers to\n" +
			"the maker.",
		Example: "  matron hazard answer T-01 T-33 --reason \"ward managers do it\" --officer \"Dr Ann Example\" --key ann.key\n" +
			"  matron hazard answer T-34 --decline \"we have no bank staff\" --officer \"Dr Ann Example\" --key ann.key",
	}
	b.flags(c)
	s.flags(c, true)
	c.Flags().StringVar(&decline, "decline", "", "decline, and why")
	c.Flags().StringVar(&reason, "reason", "", "what the acceptance rests on, for example who does it")
	c.MarkFlagsMutuallyExclusive("decline", "reason")
	c.RunE = func(c *cobra.Command, args []string) error {
		return b.with(c, func() error {
			o, err := b.who(s)
			if err != nil {
				return err
			}
			var changes []hazardlog.Change
			for _, id := range args {
				i := slices.IndexFunc(b.current.Transfers, func(t hazardlog.Transfer) bool { return t.ID == id })
				if i < 0 {
					return fmt.Errorf("there is no transfer %s", id)
				}
				t := b.current.Transfers[i]
				t.State, t.Reason, t.By = hazardlog.Accepted, reason, o.String()
				if decline != "" {
					t.State, t.Reason = hazardlog.Declined, decline
				}
				changes = append(changes, hazardlog.Change{Act: hazardlog.Answer, Value: t, Expect: b.current.Revision(t.Subject())})
			}
			return b.change(c, s, changes...)
		})
	}
	return c
}
