package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/policy/rego"
)

func newPolicy() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "The rules that decide", GroupID: "rules"}
	c.AddCommand(newPolicyTest(), newPolicyMatrix(), newPolicyExplain(), newPolicyReplay())
	return c
}

func newPolicyTest() *cobra.Command {
	var verbose bool
	c := &cobra.Command{
		Use: "test [DIR]", Short: "Run the tests of a policy bundle", Args: cobra.MaximumNArgs(1),
		Long:    "Runs every test_ rule of the bundle in DIR, or of the built-in bundle. Exit code 4 when one fails.",
		Example: "  matron policy test\n  matron policy test ./our-policy -v",
	}
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "name every test")
	c.RunE = func(c *cobra.Command, args []string) error {
		dir := ""
		if len(args) == 1 {
			dir = args[0]
		}
		passed, failed, err := rego.Test(c.Context(), dir, c.OutOrStdout(), verbose)
		if err != nil {
			return failure{exitConfig, err}
		}
		c.Printf("%d passed, %d failed\n", passed, failed)
		switch {
		case failed > 0:
			return failure{exitTests, fmt.Errorf("%d policy tests failed", failed)}
		case passed == 0:
			return failure{exitTests, fmt.Errorf("no policy test was found: name test rules test_…")}
		}
		return nil
	}
	return c
}
