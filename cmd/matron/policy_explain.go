package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/cmd/matron/replay"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/policy"
)

// explaining is one run of "matron policy explain".
type explaining struct {
	config, dir, record         string
	roles, care, protected      []string
	purpose                     string
	assurance                   int
	signedIn                    time.Duration
	action, area, kind, patient string
	machine, asJSON             bool
}

func newPolicyExplain() *cobra.Command {
	var e explaining
	c := &cobra.Command{
		Use: "explain [RECORD]", Short: "Say how the rules come to an answer", Args: cobra.MaximumNArgs(1),
		Long: "Asks the rules and prints the answer, every rule that it rests on with file and line, the facts that the\n" +
			"rules read and how old they were, and what would make it allowed.\n\n" +
			"RECORD is a decision in the journal, as a receipt or a page names it: it is asked again as it was then, of\n" +
			"the rules that decided it where the gateway keeps them, else of those in force now, or of those in\n" +
			"--policy. Without RECORD the flags make the question.",
		Example: "  matron policy explain --role nurse --action create --area prescribing --kind MedicationRequest\n" +
			"  matron policy explain --role nurse --area notes --care -\n" +
			"  matron policy explain --role doctor --area notes --protected sealed --assurance 2 --signed-in 5h\n" +
			"  matron policy explain gw1/1234 -c matron.yaml\n" +
			"  matron policy explain gw1/1234 -c matron.yaml --policy ./candidate --json",
	}
	f := c.Flags()
	f.StringVarP(&e.config, "config", "c", "matron.yaml", "configuration file, for RECORD")
	f.StringVar(&e.dir, "policy", "", "rules to ask: a folder, built-in, or a revision that the gateway keeps (default: those that decided, or built-in)")
	f.StringSliceVar(&e.roles, "role", nil, "role of who asks, by name here or national code; may be given again")
	f.StringVar(&e.action, "action", "read", "read, search, list, create, update, delete, print or export")
	f.StringVar(&e.area, "area", "", "part of the record, for example notes")
	f.StringVar(&e.kind, "kind", "", "kind of entry, for example Condition")
	f.StringVar(&e.patient, "patient", "", "whose record (default: one that is known; - means that nobody can tell)")
	f.StringSliceVar(&e.care, "care", nil, "kind of care relationship that there is, by a register of them: ward-stay, named-clinician, clinic-list,\n"+
		"referral, team-handover, device-in-ward, or - for none; may be given again (default: no register is kept)")
	f.StringSliceVar(&e.protected, "protected", nil, "class that the patient is of, for example staff, vip or sealed; unknown: nobody can tell; may be given again")
	f.StringVar(&e.purpose, "purpose", "", "what for, as a code of HL7 PurposeOfUse, for example TREAT")
	f.IntVar(&e.assurance, "assurance", 0, "level of authentication of who asks, 1 to 3 (default: not known)")
	f.DurationVar(&e.signedIn, "signed-in", 0, "how long ago they signed in, for example 20m (default: not known)")
	f.BoolVar(&e.machine, "machine", false, "a connected system asks, not a person")
	f.BoolVar(&e.asJSON, "json", false, "print as JSON")
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 1 {
			e.record = args[0]
		}
		return e.run(c)
	}
	return c
}

func (e *explaining) run(c *cobra.Command) error {
	questions, err := e.questions(c)
	if err != nil {
		return err
	}
	x, err := gateway.Explain(c.Context(), e.dir, questions)
	if err != nil {
		return failure{exitConfig, err}
	}
	if e.asJSON {
		return json.NewEncoder(c.OutOrStdout()).Encode(explanationJSON(x))
	}
	return printExplanation(c.OutOrStdout(), x)
}

// questions are what the flags ask, or what was asked when RECORD was made.
func (e *explaining) questions(c *cobra.Command) ([]policy.Request, error) {
	if e.record == "" {
		if e.area == "" {
			return nil, failure{exitUsage, errors.New("say what to explain: a RECORD, or --role, --action and --area")}
		}
		if e.dir == gateway.BuiltIn {
			e.dir = ""
		}
		return []policy.Request{e.made()}, nil
	}
	for _, name := range []string{"role", "action", "area", "kind", "patient", "care", "protected", "purpose", "assurance", "signed-in", "machine"} {
		if c.Flags().Changed(name) {
			return nil, failure{exitUsage, fmt.Errorf("--%s has no meaning beside RECORD, which was asked already", name)}
		}
	}
	seq, err := recordNumber(e.record)
	if err != nil {
		return nil, failure{exitUsage, err}
	}
	cfg, _, err := load(e.config)
	if err != nil {
		return nil, err
	}
	return e.recorded(c, cfg, seq)
}

func (e *explaining) made() policy.Request {
	q := policy.Request{
		Subject: policy.Subject{Issuer: "command line", Sub: "command line", Roles: e.roles, Machine: e.machine},
		Rule:    "command-line", Action: policy.Action(e.action), Area: policy.Area(e.area), Resource: e.kind,
		Patients: []string{cmp.Or(e.patient, "known")}, Certainty: string(audit.Authoritative), Time: time.Now(),
		Sensitivity: policy.Sensitivity{Known: !slices.Contains(e.protected, audit.SensitivityUnknown)}, Purpose: e.purpose,
	}
	q.Subject.Assurance = e.assurance
	if e.signedIn > 0 {
		q.Subject.AuthTime = q.Time.Add(-e.signedIn)
	}
	for _, class := range e.protected {
		if class != audit.SensitivityUnknown {
			q.Sensitivity.Classes = append(q.Sensitivity.Classes, class)
		}
	}
	slices.Sort(q.Sensitivity.Classes)
	if len(e.care) > 0 {
		q.Care = policy.Care{Feed: policy.CurrentFeed, AsOf: q.Time}
		for _, kind := range e.care {
			if kind != "-" {
				q.Care.Kinds = append(q.Care.Kinds, kind)
			}
		}
	}
	if e.patient == "-" {
		q.Patients, q.Certainty = nil, string(audit.Unknown)
	}
	return q
}

// recorded is what the rules were asked when a record of the journal was made. Asked
// again are those that decided then, where they are kept.
func (e *explaining) recorded(c *cobra.Command, cfg config.Config, seq uint64) ([]policy.Request, error) {
	r, err := gateway.RecordedDecision(cfg, seq)
	if err != nil {
		return nil, failure{exitFailure, err}
	}
	questions := replay.Questions(&r)
	if len(questions) == 0 {
		return nil, failure{exitUsage, fmt.Errorf("record %d (%s) is not of a decision that the rules were asked for", seq, r.Kind)}
	}
	if c.Flags().Changed("policy") {
		e.dir, err = gateway.RulesDir(cfg, e.dir)
		return questions, err
	}
	var today bool
	if e.dir, today, err = gateway.RulesThatDecided(cfg, r.PolicyRev); err != nil {
		return nil, failure{exitConfig, err}
	}
	if today {
		c.PrintErrf("the rules that decided then (%s) are not kept: those of today are asked\n", r.PolicyRev)
	}
	return questions, nil
}

func printExplanation(out io.Writer, x dashboards.Explanation) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "%s, by %s\n", strings.ToUpper(x.Effect), strings.Join(x.DecidedBy, ", "))
	for _, r := range x.Reasons {
		_, _ = fmt.Fprintf(w, "  %s: %s\n  %s\n", r.Code, r.Text, r.Remedy)
	}
	for _, o := range x.Obligations {
		_, _ = fmt.Fprintf(w, "  with the obligation %s\n", o)
	}
	_, _ = fmt.Fprint(w, "\nRules\n")
	for _, r := range x.Rules {
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\n", r.Place, r.Name, r.Came())
	}
	_, _ = fmt.Fprint(w, "\nFacts that the rules of allow read\n")
	for _, f := range x.Facts {
		age := ""
		if f.Age > 0 {
			age = f.Age.Round(time.Second).String() + " old"
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\n", f.Name, f.Value, age)
	}
	if x.Effect != policy.Allow.String() {
		_, _ = fmt.Fprint(w, "\nIt would be allowed\n")
		for _, change := range x.Changes {
			_, _ = fmt.Fprintf(w, "  %s\n", strings.Join(change, " and "))
		}
		if len(x.Changes) == 0 {
			_, _ = fmt.Fprint(w, "  by no one or two of these: another role, a known patient, a care relationship, a fresh sign-in, a purpose, emergency access\n")
		}
	}
	_, _ = fmt.Fprintf(w, "\npolicy %s\n", x.Revision)
	return w.Flush()
}

func explanationJSON(x dashboards.Explanation) any {
	type reason struct {
		Code   string `json:"code"`
		Text   string `json:"text"`
		Remedy string `json:"remedy"`
	}
	type rule struct {
		Name    string `json:"name"`
		Place   string `json:"place"`
		Reached bool   `json:"reached"`
		Held    bool   `json:"held"`
		Stopped string `json:"stopped,omitempty"`
	}
	type fact struct {
		Name  string  `json:"name"`
		Value string  `json:"value"`
		Age   float64 `json:"age_seconds,omitempty"`
	}
	doc := struct {
		Effect      string     `json:"effect"`
		Revision    string     `json:"revision"`
		DecidedBy   []string   `json:"decided_by"`
		Reasons     []reason   `json:"reasons"`
		Obligations []string   `json:"obligations"`
		Rules       []rule     `json:"rules"`
		Facts       []fact     `json:"facts"`
		Changes     [][]string `json:"allowed_if"`
	}{
		Effect: x.Effect, Revision: x.Revision, DecidedBy: x.DecidedBy, Obligations: x.Obligations, Changes: x.Changes,
	}
	for _, r := range x.Reasons {
		doc.Reasons = append(doc.Reasons, reason(r))
	}
	for _, r := range x.Rules {
		doc.Rules = append(doc.Rules, rule(r))
	}
	for _, f := range x.Facts {
		doc.Facts = append(doc.Facts, fact{f.Name, f.Value, f.Age.Seconds()})
	}
	return doc
}
