package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit/detect/evaluate"
	"github.com/matron-epr/matron/audit/detect/yardstick"
)

func newDetectBaseline() *cobra.Command {
	var runs, without []string
	var zone string
	c := &cobra.Command{
		Use: "baseline --run DIR", Short: "Make the lists of cases that are usual elsewhere, to compare with", Args: cobra.NoArgs,
		Long: `Writes baseline-NAME.ndjson into a folder of "matron simulate hospital", one list of cases
for each usual way: volume (how far a day is above what the person usually opens), rules
(own record, household, colleague, VIP), rules-unexplained (those without what is
explained), raw-sum (all signals of a day added up) and isolation-forest. Each holds the cases
of a budget of 20 a day for 1,000 staff.`,
		Example: "  matron detect baseline --run sim1\n" +
			"  matron detect evaluate --run sim1 --cases cases.ndjson --cases baseline-rules.ndjson",
	}
	c.Flags().StringArrayVar(&runs, "run", nil, "folder of a made-up hospital; may be given several times")
	c.Flags().StringVar(&zone, "zone", "Europe/London", "time zone of the hospital")
	c.Flags().StringArrayVar(&without, "without", nil, "as if a feed were missing; may be given several times")
	_ = c.MarkFlagRequired("run")
	c.RunE = func(c *cobra.Command, _ []string) error {
		location, err := time.LoadLocation(zone)
		if err != nil {
			return fmt.Errorf("--zone %q is not known: write for example Europe/London", zone)
		}
		for _, dir := range runs {
			if err := baselines(c, dir, location, without); err != nil {
				return failure{exitFailure, err}
			}
		}
		return nil
	}
	return c
}

func baselines(c *cobra.Command, dir string, location *time.Location, without []string) error {
	f, err := openFolder(c, dir, location, without)
	if err != nil {
		return err
	}
	staff := f.context.People()
	if staff == 0 {
		staff = f.accesses.People.Len() - 1 // nobody has said who works here: everybody who was seen
	}
	budgets := evaluate.Budgets()
	masks := f.engine.Rows(f.accesses, nil)
	lists := yardstick.Lists(yardstick.Input{
		Accesses: f.accesses, Context: f.context, Machines: f.machines, Location: location, InUse: f.engine.InUse,
		Explained: func(row int) bool { return masks[row].Strong() },
		Limit:     budgets[len(budgets)-1] * f.days() * staff / 1000,
	})
	made := 0
	for _, l := range lists {
		made += len(l.Cases)
	}
	if err := f.recordRun("detect baseline", map[string]string{"zone": location.String(), "without": strings.Join(without, ",")}, made); err != nil {
		return err
	}
	for _, l := range lists {
		path := filepath.Join(dir, "baseline-"+l.Name+".ndjson")
		if err := writeCases(path, l.Cases); err != nil {
			return err
		}
		c.Printf("%s: %d cases\n", path, len(l.Cases))
	}
	return nil
}

func writeCases(path string, cases []evaluate.Case) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // the operator names the folder
	if err != nil {
		return fmt.Errorf("write cases: %w", err)
	}
	out := bufio.NewWriter(f)
	enc := json.NewEncoder(out)
	for _, one := range cases {
		err = errors.Join(err, enc.Encode(one))
	}
	return errors.Join(err, out.Flush(), f.Close())
}
