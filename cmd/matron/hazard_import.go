package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/workbook"
)

// hazardIntake is what "matron hazard import" is told.
type hazardIntake struct {
	book
	dry                       bool
	confirm, id, organisation string
	options                   workbook.Options
}

func newHazardImport() *cobra.Command {
	var i hazardIntake
	c := &cobra.Command{
		Use: "import FILE", Short: "Take in an export with its history, or hazards from an Excel workbook", Args: cobra.ExactArgs(1),
		Long: "An export (JSON) comes in as a new log, or as what came after in one that is here. A file whose events do\n" +
			"not follow each other as they were written is refused, and a log that has gone another way since is left\n" +
			"as it is.\n\n" +
			"A workbook (.xlsx) may be one that Matron wrote, the NHS hazard log template, the layout before it, or what\n" +
			"people made of them. Without --confirm nothing is written: every wrong risk, missing reason, unknown word\n" +
			"and column without a place is named by sheet and cell, then what would change, then the hash that confirms\n" +
			"exactly that. Risks are looked up, formulas are not evaluated, links are not followed, and every rating\n" +
			"comes in as proposed. The workbook itself is kept in the data folder. Name no patient and no member of\n" +
			"staff in it. Exit code 4 when something in the workbook must be mended first.",
		Example: "  matron hazard import hazards.json --dry-run\n" +
			"  matron hazard import trust.xlsx                                       # says what it would do\n" +
			"  matron hazard import trust.xlsx --confirm 3f1c…                        # does exactly that\n" +
			"  matron hazard import trust.xlsx --id rba --organisation \"Example Trust\"  # begins your log with it",
	}
	i.flags(c)
	i.jsonFlag(c)
	c.Flags().BoolVar(&i.dry, "dry-run", false, "only say what would be taken in (a workbook: the default)")
	c.Flags().StringVar(&i.confirm, "confirm", "", "workbook: the hash that the run before printed")
	c.Flags().StringVar(&i.options.Prefix, "prefix", "HZ", "workbook: first part of the id of a hazard that has only a number")
	c.Flags().BoolVar(&i.options.Update, "update", false, "workbook from elsewhere: change hazards that are in the log already")
	c.Flags().StringVar(&i.id, "id", "", "workbook: name of a new log that begins with it, for example your ODS code in lower case")
	c.Flags().StringVar(&i.organisation, "organisation", "", "workbook: whose new log it is")
	c.MarkFlagsRequiredTogether("id", "organisation")
	c.MarkFlagsMutuallyExclusive("dry-run", "confirm")
	c.RunE = func(c *cobra.Command, args []string) error {
		data, err := readBounded(args[0])
		if err != nil {
			return failure{exitFailure, err}
		}
		if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
			return i.export(c, args[0], data)
		}
		return i.with(c, func() error { return i.workbook(c, args[0], data) })
	}
	return c
}

// readBounded reads a file that somebody was sent: an export of many years has a
// few megabytes.
func readBounded(path string) ([]byte, error) {
	const most = 256 << 20
	f, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err = errors.Join(err, f.Close()); err == nil && len(data) > most {
		err = fmt.Errorf("%s has more than %d MB", path, most>>20)
	}
	return data, err
}

// export takes in a log with its history.
func (i *hazardIntake) export(c *cobra.Command, file string, text []byte) error {
	l, err := hazardlog.Import(text)
	if err != nil {
		return failure{exitFailure, fmt.Errorf("%s: %w", file, err)}
	}
	return i.with(c, func() error {
		verb := "Taken in"
		if i.dry {
			verb = "Would be taken in"
		} else if err := i.store.Import(c.Context(), l.Events()); err != nil {
			return err
		}
		_, err := fmt.Fprintf(c.OutOrStdout(), "%s: log %s, %d hazards, %d events. %s\n", verb, l.ID, len(l.Hazards), l.Seq(), l.State())
		return err
	})
}

// workbook says what a workbook would change, or does what was confirmed.
func (i *hazardIntake) workbook(c *cobra.Command, file string, data []byte) error {
	into := i.current
	if i.id != "" {
		into = hazardlog.Begin(i.id)
		i.options.Head = &hazardlog.Head{
			Title: "Hazard log of " + i.organisation + " for the Matron gateway", Role: hazardlog.Deployer, StandardID: "dcb0160-3.2", Organisation: i.organisation,
		}
		if err := i.onlyLog(c); err != nil {
			return err
		}
	}
	i.options.Name = filepath.Base(file)
	plan, err := workbook.Read(data, into, i.options)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := i.show(c, plan); err != nil {
		return err
	}
	switch {
	case plan.Blocked():
		return failure{exitTests, errors.New("nothing was written: mend what is marked \"error\" in the workbook first")}
	case i.options.Head == nil && len(plan.Changes) > 0:
		by, err := i.account()
		if err != nil {
			return err
		}
		if err := i.demandEvidence(c.Context(), by, plan.Changes); err != nil {
			return failure{exitTests, fmt.Errorf("nothing was written: %w", err)}
		}
	}
	switch {
	case i.confirm == "":
		return nil
	case i.confirm != plan.Confirm:
		return errors.New("nothing was written: the workbook or the log is not what was confirmed; look at what would change now")
	}
	return i.write(c, plan, data)
}

// onlyLog makes sure that no log of the organisation is here yet.
func (i *hazardIntake) onlyLog(c *cobra.Command) error {
	ids, err := i.store.IDs(c.Context())
	if err == nil && len(ids) > 1 {
		err = fmt.Errorf("there is a log of your organisation already: leave out --id to bring the workbook into it (%s)", i.log)
	}
	return err
}

func (i *hazardIntake) show(c *cobra.Command, p workbook.Plan) error {
	out := c.OutOrStdout()
	if i.asJSON {
		return json.NewEncoder(out).Encode(p)
	}
	for _, f := range p.Findings {
		_, _ = fmt.Fprintln(out, f)
	}
	for _, line := range p.Words {
		_, _ = fmt.Fprintln(out, line)
	}
	_, err := fmt.Fprintf(out, "Log %s: %d new, %d changed; %d finding(s).\n", p.Log, len(p.New), len(p.Changed), len(p.Findings))
	if i.confirm == "" && p.Confirm != "" {
		_, err = fmt.Fprintf(out, "Nothing was written. To do exactly this, repeat the command with\n  --confirm %s\n", p.Confirm)
	}
	return err
}

// write does what a plan says, and keeps the workbook.
func (i *hazardIntake) write(c *cobra.Command, p workbook.Plan, data []byte) error {
	by, err := i.account()
	if err != nil {
		return err
	}
	path := filepath.Join(i.cfg.DataDir, "workbooks", p.SHA256+".xlsx")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := writeNew(path, data); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if i.options.Head != nil {
		_, err = i.store.Begin(c.Context(), i.id, by, p.Changes...)
	} else {
		_, _, err = i.store.Change(c.Context(), i.log, by, p.Changes...)
	}
	if err == nil && !i.asJSON {
		_, err = fmt.Fprintf(c.OutOrStdout(), "Written. The workbook is kept as %s\n", path)
	}
	return err
}
