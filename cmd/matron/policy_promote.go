package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/spool"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/cmd/matron/promotion"
	"github.com/matron-epr/matron/policy/rego"
)

// promoting is one run of "matron policy promote".
type promoting struct {
	config, verdict, reason string
	back, list, asJSON      bool
}

func newPolicyPromote() *cobra.Command {
	var p promoting
	c := &cobra.Command{
		Use: "promote [CANDIDATE]", Short: "Bring rules before the people who put them in force", Args: cobra.MaximumNArgs(1),
		Long: "Where the configuration says policy.promotion: required, rules come in force by two people. This command\n" +
			"keeps a copy of CANDIDATE beside the verdict of its replay, and checks that the verdict is about these very\n" +
			"rules and those in force, is young, and unchanged. It gives no permission: one signed-in person then\n" +
			"proposes the candidate on the page Rules, and another one approves it. Where it would newly refuse what\n" +
			"may be care, a clinical safety officer marks it in between.\n\n" +
			"CANDIDATE is the folder of a bundle, \"built-in\", or the revision of one that the gateway keeps.\n\n" +
			"--rollback puts the rules before the present ones in force again, within two seconds. It takes one person.",
		Example: "  matron policy replay --since 7d --against ./candidate --out verdict.json\n" +
			"  matron policy promote ./candidate --verdict verdict.json --reason \"pharmacists may read theatre lists\"\n" +
			"  matron policy promote --list\n" +
			"  matron policy promote --rollback --reason \"ward clerks cannot open demographics\"",
	}
	f := c.Flags()
	f.StringVarP(&p.config, "config", "c", "matron.yaml", "configuration file")
	f.StringVar(&p.verdict, "verdict", "", "file that \"matron policy replay --out\" has written")
	f.StringVar(&p.reason, "reason", "", "what the change is for; shown on pages")
	f.BoolVar(&p.back, "rollback", false, "go back to the rules that were in force before")
	f.BoolVar(&p.list, "list", false, "list what waits, and what was in force")
	f.BoolVar(&p.asJSON, "json", false, "print as JSON")
	c.MarkFlagsMutuallyExclusive("rollback", "list")
	c.RunE = func(c *cobra.Command, args []string) error { return p.run(c, args) }
	return c
}

func (p *promoting) run(c *cobra.Command, args []string) error {
	cfg, _, err := load(p.config)
	if err != nil {
		return err
	}
	switch {
	case cfg.Policy.Promotion != config.PromotionRequired:
		return failure{exitUsage, fmt.Errorf("%s does not demand promotion: rules come in force from policy.dir, by a reload; set policy.promotion: required", p.config)}
	case p.list:
		return p.show(c.OutOrStdout(), cfg)
	case p.back && len(args) == 0 && p.verdict == "":
		return p.change(c, cfg, p.rollBack)
	case !p.back && len(args) == 1 && p.verdict != "":
		return p.change(c, cfg, func(l *promotion.Ledger, by promotion.Act) (string, *audit.Record, error) {
			return p.stage(c, cfg, l, args[0], by)
		})
	}
	return failure{exitUsage, errors.New("give a CANDIDATE with --verdict, or --rollback, or --list")}
}

// change changes the file, and leaves the record of that for the journal.
func (p *promoting) change(c *cobra.Command, cfg config.Config, do func(*promotion.Ledger, promotion.Act) (string, *audit.Record, error)) (err error) {
	account, err := operator(cfg.DataDir)
	if err != nil {
		return failure{exitFailure, err}
	}
	l, err := promotion.Open(gateway.PromotionsFile(cfg))
	if err != nil {
		return failure{exitFailure, err}
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if l.Active() == "" {
		return failure{exitUsage, errors.New("no rules are in force yet: start \"matron serve\" with this configuration once")}
	}
	said, r, err := do(l, promotion.Act{By: promotion.Who{Account: account}, At: time.Now(), Reason: p.reason})
	if err != nil {
		return failure{exitFailure, err}
	}
	if err := spool.Put(gateway.SpoolDir(cfg), r); err != nil {
		return failure{exitFailure, fmt.Errorf("it is done; the record of it could not be left for the journal: %w", err)}
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), said)
	return err
}

func (p *promoting) stage(c *cobra.Command, cfg config.Config, l *promotion.Ledger, candidate string, by promotion.Act) (string, *audit.Record, error) {
	secret, err := gateway.VerdictKey(cfg)
	if err != nil {
		return "", nil, err
	}
	f, err := os.Open(p.verdict)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = f.Close() }()
	v, err := promotion.ReadVerdict(f, secret)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", p.verdict, err)
	}
	dir, err := gateway.RulesDir(cfg, candidate)
	if err != nil {
		return "", nil, err
	}
	if _, err := rego.Load(c.Context(), dir); err != nil {
		return "", nil, err
	}
	revision, err := gateway.Bundles(cfg).Keep(dir)
	if err != nil {
		return "", nil, err
	}
	staged, r, err := l.Stage(revision, v, by)
	if err != nil {
		return "", nil, err
	}
	said := fmt.Sprintf("%s: the rules %s wait for two people on %s/.matron/rules", staged.ID, revision, cfg.ExternalURL)
	if v.NeedsMark() {
		said += ", and for the mark of a clinical safety officer"
	}
	return said, r, nil
}

func (p *promoting) rollBack(l *promotion.Ledger, by promotion.Act) (string, *audit.Record, error) {
	r, err := l.RollBack(by)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("the rules %s are in force again within two seconds of a gateway that runs", l.Active()), r, nil
}

// show lists what waits and what was in force, the newest last.
func (p *promoting) show(out io.Writer, cfg config.Config) error {
	l, err := promotion.Read(gateway.PromotionsFile(cfg))
	if err != nil {
		return failure{exitIntegrity, err}
	}
	if p.asJSON {
		return json.NewEncoder(out).Encode(struct {
			InForce   string               `json:"in_force"`
			Changes   []promotion.Change   `json:"changes"`
			Proposals []promotion.Proposal `json:"proposals"`
		}{l.Active(), l.Changes, l.Proposals})
	}
	const at = "2 January 2006 15:04:05 MST"
	for _, c := range l.Changes {
		_, _ = fmt.Fprintf(out, "%s  %s %s by %s: %s\n", c.Revision, c.At.UTC().Format(at), c.How, c.By, c.Reason)
	}
	for _, w := range l.Proposals {
		if w.Open() {
			_, _ = fmt.Fprintf(out, "%s  %s waits: %s\n", w.ID, w.Revision, strings.Join(w.Missing(), ", "))
		}
	}
	return nil
}
