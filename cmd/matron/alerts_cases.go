package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit/detect"
	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// found is where the cases of a run of detection are read.
type found struct{ config, folder string }

func (f *found) flags(c *cobra.Command) {
	c.Flags().StringVarP(&f.config, "config", "c", "matron.yaml", "configuration file")
	c.Flags().StringVar(&f.folder, "run", "", "folder that \"matron detect run --run\" has written cases into")
}

func (f *found) read() ([]cases.Case, error) {
	dir := f.folder
	if dir == "" {
		cfg, _, err := load(f.config)
		if err != nil {
			return nil, err
		}
		dir = cfg.DataDir
	}
	all, err := casesOfRun(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, failure{exitFailure, fmt.Errorf("%s is not there: make it with \"matron detect run\"", filepath.Join(dir, casesFile))}
	}
	return all, err
}

// mostLive bounds the live alerts that one is searched among.
const mostLive = 100_000

// every is the cases of a folder, or those of the last run over the record and the live
// alerts.
func (f *found) every(ctx context.Context) ([]cases.Case, error) {
	if f.folder != "" {
		return f.read()
	}
	cfg, _, err := load(f.config)
	if err != nil {
		return nil, err
	}
	live, all, err := gateway.Alerts(ctx, cfg, mostLive)
	if err != nil {
		return nil, failure{exitFailure, err}
	}
	for i := range live {
		all = append(all, ofAlert(&live[i]))
	}
	return all, nil
}

// ofAlert is a live alert in the form of a case.
func ofAlert(a *detect.Alert) cases.Case {
	one := cases.Case{
		ID: a.ID, Lane: a.Lane, Score: a.Score, Person: a.Person, People: a.People, Patients: a.Patients, Days: a.Days, Detectors: a.Detectors,
		Sentences: a.Sentences, MadeAt: a.Made, Versions: a.Versions,
	}
	for _, e := range a.Explanations {
		one.Explanations = append(one.Explanations, cases.Explanation(e))
	}
	return one
}

// casesOfRun reads the cases of the last run of a folder.
func casesOfRun(dir string) ([]cases.Case, error) {
	path := filepath.Join(dir, casesFile)
	in, err := os.Open(path) //nolint:gosec // the operator names the folder
	if err != nil {
		return nil, failure{exitFailure, fmt.Errorf("read cases: %w", err)}
	}
	defer func() { _ = in.Close() }()
	all, err := cases.Read(in)
	if err != nil {
		return nil, failure{exitFailure, fmt.Errorf("read %s: %w", path, err)}
	}
	return all, nil
}

func newAlertsExport() *cobra.Command {
	var f found
	var asJSON bool
	c := &cobra.Command{
		Use: "export --json", Short: "Hand out the cases of the last run of detection, best first", Args: cobra.NoArgs,
		Long:    "Writes one case a line, as docs/detection.md describes it.",
		Example: "  matron alerts export --json -c matron.yaml > cases.ndjson\n  matron alerts export --json --run sim1",
	}
	f.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line, the only form there is")
	_ = c.MarkFlagRequired("json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		all, err := f.read()
		if err != nil {
			return err
		}
		return cases.Write(c.OutOrStdout(), all)
	}
	return c
}

func newAlertsShow() *cobra.Command {
	var f found
	c := &cobra.Command{
		Use: "show CASE", Short: "Show one case or live alert: why it was flagged, and what could explain it", Args: cobra.ExactArgs(1),
		Example: "  matron alerts show 7c1f9ab2 --run sim1",
	}
	f.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		all, err := f.every(c.Context())
		if err != nil {
			return err
		}
		for i := range all {
			if strings.HasPrefix(all[i].ID, args[0]) {
				showCase(c, &all[i])
				return nil
			}
		}
		return failure{exitFailure, fmt.Errorf("no case and no live alert begins with %s", args[0])}
	}
	return c
}

// newAlertsDispositions hands out what reviewers said, for "matron detect learn".
func newAlertsDispositions() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "dispositions", Short: "Hand out what reviewers made of alerts and cases, oldest first", Args: cobra.NoArgs,
		Long: `Writes one JSON object a line with case, disposition (justified, systemic, training,
policy-breach, misuse, insufficient or duplicate), by and at. What a reviewer wrote as a
reason stays on the page of the alert and in the record.`,
		Example: "  matron alerts dispositions -c matron.yaml > dispositions.ndjson",
	}
	c.Flags().StringVarP(&path, "config", "c", "matron.yaml", "configuration file")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, _, err := load(path)
		if err != nil {
			return err
		}
		all, err := gateway.Dispositions(c.Context(), cfg)
		enc := json.NewEncoder(c.OutOrStdout())
		for _, d := range all {
			err = errors.Join(err, enc.Encode(struct {
				Case        string    `json:"case"`
				Disposition string    `json:"disposition"`
				By          string    `json:"by"`
				At          time.Time `json:"at"`
			}{d.Alert, d.Outcome, d.Name, d.Made}))
		}
		if err != nil {
			return failure{exitFailure, err}
		}
		return nil
	}
	return c
}

func showCase(c *cobra.Command, one *cases.Case) {
	rank := ""
	if one.Rank > 0 {
		rank = fmt.Sprintf("rank %d, ", one.Rank)
	}
	c.Printf("%s  %slane %s\nPeople: %s\nDays: %s\nPatients: %s\n\nWhy flagged\n", one.ID, rank, one.Lane,
		strings.Join(one.People, ", "), strings.Join(one.Days, ", "), strings.Join(one.Patients, ", "))
	for _, s := range one.Sentences {
		c.Printf("  %s\n", s)
	}
	c.Println("\nWhat could explain it")
	if len(one.Explanations) == 0 {
		c.Println("  Nothing was found in the feeds. That does not say that there was no reason.")
	}
	for _, e := range one.Explanations {
		c.Printf("  %s (%s, %s): %s\n", e.Sentence, e.Template, e.Strength, e.Evidence)
	}
	c.Println("\nWhich detectors")
	for _, d := range one.Detectors {
		c.Printf("  %s, version %d: %.3g\n", d.ID, d.Version, d.Value)
	}
}
