package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/proxy/strictyaml"
)

// version is set by the linker.
var version = "unknown"

// engineChildName is the hidden subcommand that becomes the ClickHouse engine.
const engineChildName = "engine-child"

func newServe() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "serve", Short: "Run the gateway", GroupID: "run", Args: cobra.NoArgs,
		Long: "Runs the gateway until it is told to stop. SIGHUP takes in a changed configuration and\n" +
			"policy at once or, when either has a mistake, keeps the old ones. SIGTERM finishes the\n" +
			"requests in flight first.",
		Example: "  matron serve -c /etc/matron/matron.yaml",
	}
	c.Flags().StringVarP(&path, "config", "c", "matron.yaml", "configuration file")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, hash, err := load(path)
		if err != nil {
			return err
		}
		log := newLogger(c, cfg.Log)
		tuneMemory()
		reload := make(chan os.Signal, 1)
		signal.Notify(reload, syscall.SIGHUP)
		defer signal.Stop(reload)
		g, err := gateway.New(c.Context(), gateway.Options{
			Config: cfg, ConfigPath: path, ConfigHash: hash, Version: version, Log: log, EngineArgs: []string{engineChildName},
		})
		if err != nil {
			return notStarted(err)
		}
		if err := g.Run(c.Context(), reload); err != nil {
			return failure{exitFailure, err}
		}
		return nil
	}
	return c
}

// notStarted says what an operator can do about a record that is not what was
// written: going on would bury the evidence.
func notStarted(err error) error {
	if !errors.Is(err, journal.ErrCorrupt) && !errors.Is(err, journal.ErrSource) {
		return failure{exitFailure, err}
	}
	return failure{exitIntegrity, fmt.Errorf("%w\nChange nothing. Copy the data folder, run \"matron audit verify\" to learn what is missing or altered, "+
		"and bring the missing files back from the second place, the archive or a backup: docs/proving-the-record.md", err)}
}

// tuneMemory trades memory for time unless the operator has said otherwise: the
// live heap is small, so that the collector would run all the time.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(2 << 30)
	}
}

// load reads the configuration; its mistakes are the exit code's business.
func load(path string) (config.Config, string, error) {
	cfg, hash, err := config.Load(path)
	if err != nil {
		return cfg, "", failure{exitConfig, err}
	}
	return cfg, hash, nil
}

func newLogger(c *cobra.Command, l config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Level)) // validated
	options := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(c.ErrOrStderr(), options))
	}
	return slog.New(slog.NewTextHandler(c.ErrOrStderr(), options))
}

func newInit() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "init", Short: "Make the journal, databases and keys", GroupID: "run", Args: cobra.NoArgs,
		Long:    "Makes the data folder once. What is there already stays as it is.",
		Example: "  matron init -c /etc/matron/matron.yaml",
	}
	c.Flags().StringVarP(&path, "config", "c", "matron.yaml", "configuration file")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, _, err := load(path)
		if err != nil {
			return err
		}
		if err := gateway.Init(c.Context(), cfg); err != nil {
			return failure{exitFailure, err}
		}
		c.Printf("%s is ready\n", cfg.DataDir)
		return nil
	}
	return c
}

func newCheckConfig() *cobra.Command {
	var path string
	var asJSON bool
	c := &cobra.Command{
		Use: "check-config", Short: "Find every mistake in the configuration", GroupID: "run", Args: cobra.NoArgs,
		Long: "Reads the configuration and what it names: application maps, policy bundle, key and\n" +
			"certificate files. Nothing is started. Exit code 3 when there is a mistake. What the\n" +
			"sign-in service says of itself, if it answers, may be a warning, which is no mistake.",
		Example: "  matron check-config -c matron.yaml\n  matron check-config -c matron.yaml --json",
	}
	c.Flags().StringVarP(&path, "config", "c", "matron.yaml", "configuration file")
	c.Flags().BoolVar(&asJSON, "json", false, "print the mistakes as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, hash, err := config.Load(path)
		if err == nil {
			err = gateway.Check(c.Context(), cfg)
		}
		var warnings []string
		if err == nil {
			warnings = gateway.Warnings(c.Context(), cfg)
		}
		if asJSON {
			return printChecked(c, path, hash, warnings, err)
		}
		if err != nil {
			return failure{exitConfig, err}
		}
		for _, w := range warnings {
			c.PrintErrf("%s: warning: %s\n", path, w)
		}
		c.Printf("%s: no mistakes (sha256 %s)\n", path, hash)
		return nil
	}
	return c
}

func printChecked(c *cobra.Command, path, hash string, warnings []string, err error) error {
	out := struct {
		File     string               `json:"file"`
		Hash     string               `json:"sha256,omitempty"`
		Problems []strictyaml.Problem `json:"problems"`
		Warnings []string             `json:"warnings,omitempty"`
	}{File: path, Hash: hash, Problems: []strictyaml.Problem{}, Warnings: warnings}
	var ps strictyaml.Problems
	switch {
	case errors.As(err, &ps):
		out.Problems = ps
	case err != nil:
		out.Problems = append(out.Problems, strictyaml.Problem{File: path, Text: err.Error()})
	}
	if err := json.NewEncoder(c.OutOrStdout()).Encode(out); err != nil {
		return failure{exitFailure, err}
	}
	if len(out.Problems) > 0 {
		return failure{exitConfig, fmt.Errorf("%d mistakes", len(out.Problems))}
	}
	return nil
}

func newVersion() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "version", Short: "Print the version", GroupID: "run", Args: cobra.NoArgs,
		Example: "  matron version --json",
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if asJSON {
			return json.NewEncoder(c.OutOrStdout()).Encode(map[string]string{"version": version, "go": runtime.Version()})
		}
		c.Printf("matron %s (%s)\n", version, runtime.Version())
		return nil
	}
	return c
}

// newEngineChild is the process that becomes the ClickHouse engine; only the
// gateway starts it.
func newEngineChild() *cobra.Command {
	return &cobra.Command{
		Use: engineChildName, Hidden: true, DisableFlagParsing: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if code := engine.Child(c.InOrStdin(), c.ErrOrStderr()); code != 0 {
				return failure{code, errors.New("")} // it has said why
			}
			return nil
		},
	}
}
