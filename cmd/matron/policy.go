package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/policy/rego"
)

func newPolicy() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "The rules that decide", GroupID: "rules"}
	c.AddCommand(newPolicyTest(), newPolicyMatrix(), newPolicyExplain(), newPolicyReplay(), newPolicyPromote())
	return c
}

func newPolicyTest() *cobra.Command {
	var verbose, asJSON bool
	c := &cobra.Command{
		Use: "test [DIR]", Short: "Run the tests and cases of a policy bundle", Args: cobra.MaximumNArgs(1),
		Long: "Runs every test_ rule and every case of the bundle in DIR, or of the built-in bundle, and names the rules\n" +
			"that none of them had hold. Exit code 4 when one fails.",
		Example: "  matron policy test\n  matron policy test ./our-policy -v\n  matron policy test ./our-policy --json",
	}
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "name every test, case and rule")
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	c.RunE = func(c *cobra.Command, args []string) error {
		dir := ""
		if len(args) == 1 {
			dir = args[0]
		}
		trial, err := rego.Test(c.Context(), dir)
		if err != nil {
			return failure{exitConfig, err}
		}
		failed := 0
		for _, tried := range slices.Concat(trial.Tests, trial.Cases) {
			if tried.Problem != nil {
				failed++
			}
		}
		if asJSON {
			err = json.NewEncoder(c.OutOrStdout()).Encode(trialJSON(trial))
		} else {
			err = printTrial(c.OutOrStdout(), trial, failed, verbose)
		}
		switch {
		case err != nil:
			return err
		case failed > 0:
			return failure{exitTests, fmt.Errorf("%d policy tests failed", failed)}
		case len(trial.Tests) == 0:
			return failure{exitTests, errors.New("no policy test was found: name test rules test_…")}
		}
		return nil
	}
	return c
}

func printTrial(out io.Writer, t rego.Trial, failed int, verbose bool) error {
	for _, tried := range slices.Concat(t.Tests, t.Cases) {
		switch {
		case tried.Problem != nil:
			_, _ = fmt.Fprintln(out, tried.Problem)
		case verbose:
			_, _ = fmt.Fprintf(out, "%s: %s passed\n", tried.Place, tried.Name)
		}
	}
	held := 0
	for _, r := range t.Rules {
		switch {
		case !r.Held:
			_, _ = fmt.Fprintf(out, "%s: nothing has %s hold\n", r.Place, r.Name)
			continue
		case verbose:
			_, _ = fmt.Fprintf(out, "%s: %s held\n", r.Place, r.Name)
		}
		held++
	}
	_, err := fmt.Fprintf(out, "%d of %d rules held in %d tests and %d cases\n%d passed, %d failed\n",
		held, len(t.Rules), len(t.Tests), len(t.Cases), len(t.Tests)+len(t.Cases)-failed, failed)
	return err
}

// trialJSON is the form of "matron policy test --json".
func trialJSON(t rego.Trial) any {
	type tried struct {
		Place   string `json:"place"`
		Name    string `json:"name"`
		Passed  bool   `json:"passed"`
		Problem string `json:"problem,omitempty"`
	}
	type rule struct {
		Place string `json:"place"`
		Name  string `json:"name"`
		Held  bool   `json:"held"`
	}
	doc := struct {
		Revision string  `json:"revision"`
		Tests    []tried `json:"tests"`
		Cases    []tried `json:"cases"`
		Rules    []rule  `json:"rules"`
	}{Revision: t.Revision, Tests: []tried{}, Cases: []tried{}, Rules: []rule{}}
	list := func(of []rego.Tried) []tried {
		all := []tried{}
		for _, one := range of {
			entry := tried{Place: one.Place, Name: one.Name, Passed: one.Problem == nil}
			if one.Problem != nil {
				entry.Problem = one.Problem.String()
			}
			all = append(all, entry)
		}
		return all
	}
	doc.Tests, doc.Cases = list(t.Tests), list(t.Cases)
	for _, r := range t.Rules {
		doc.Rules = append(doc.Rules, rule(r))
	}
	return doc
}
