package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/demo"
)

func newDemo() *cobra.Command {
	o := demo.Options{Version: version, EngineArgs: []string{engineChildName}}
	var length time.Duration
	var asJSON, verbose bool
	c := &cobra.Command{
		Use: "demo", Short: "Run a demonstration hospital on this machine", GroupID: "run", Args: cobra.NoArgs,
		Long: "Starts a made-up hospital on this machine: a patient record, a sign-in service, the gateway\n" +
			"with an embedded ClickHouse, and simulated staff who work through it over real HTTPS.\n" +
			"Everybody in it is invented. Ctrl-C ends everything; the data stay for the next start.\n\n" +
			"With --for it runs that long without anybody at the keyboard, then counts: every request sent\n" +
			"must have one decision, one outcome and one row. Exit code 1 when any of them differs.\n\n" +
			"With --play the hospital is that of a folder written by \"matron simulate hospital\": its staff live\n" +
			"the last day of it again, through the gateway, as fast as --rate lets them. Then the counts follow,\n" +
			"and how much of that day's misuse the gateway's alerts ask about.",
		Example: "  matron demo\n  matron demo --dir /tmp/hospital --for 60s --json\n" +
			"  matron simulate hospital --staff 100 --days 7 --start 2026-11-20 --out sim && matron demo --play sim --dir played",
	}
	c.Flags().StringVar(&o.Dir, "dir", "demo-data", "folder for everything that the demonstration keeps")
	c.Flags().DurationVar(&length, "for", 0, "stop after this time and print counts")
	c.Flags().BoolVar(&asJSON, "json", false, "print the counts as JSON")
	c.Flags().BoolVar(&verbose, "verbose", false, "show the technical log on the terminal")
	c.Flags().IntVar(&o.Port, "port", -1, "port of the gateway; 0 takes any free one (default 8443, or any free one with --for or --play)")
	c.Flags().Lookup("port").DefValue = "0" // the text says which
	c.Flags().Float64Var(&o.Rate, "rate", 0, "application requests a second over all staff (default 5, or 50 with --play)")
	c.Flags().StringVar(&o.Play, "play", "", "folder of \"matron simulate hospital\" whose last day, which must be today, is lived again")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if o.Port < 0 {
			o.Port = 8443
			if length > 0 || o.Play != "" {
				o.Port = 0
			}
		}
		if o.Play != "" && o.Rate == 0 {
			o.Rate = 50
		}
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return failure{exitFailure, err}
		}
		log, closeLog, err := demoLog(c, o.Dir, verbose)
		if err != nil {
			return failure{exitFailure, err}
		}
		defer closeLog()
		o.Log = log
		if !asJSON && o.Play == "" {
			o.Ready = func(a demo.Addresses) { c.Print(a.String()) }
		}
		ctx := c.Context()
		if length > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, length)
			defer cancel()
		}
		tuneMemory()
		stop := showPlayed(c, &o)
		counts, err := demo.Run(ctx, o)
		stop()
		if err != nil {
			return failure{exitFailure, err}
		}
		return printCounts(c, counts, asJSON, length > 0 || o.Play != "")
	}
	return c
}

// showPlayed shows how far a played day is.
func showPlayed(c *cobra.Command, o *demo.Options) (stop func()) {
	if o.Play == "" {
		return func() {}
	}
	var done, all atomic.Int64
	o.Played = func(n, of int) {
		done.Store(int64(n))
		all.Store(int64(of))
	}
	return show(c.ErrOrStderr(), func(time.Duration) string { return fmt.Sprintf("%d of %d accesses sent", done.Load(), all.Load()) })
}

// demoLog writes the technical log to a file in the folder, so that the
// terminal keeps the addresses in sight.
func demoLog(c *cobra.Command, dir string, verbose bool) (*slog.Logger, func(), error) {
	if verbose {
		return newLogger(c, config.Log{Level: "info", Format: "text"}), func() {}, nil
	}
	f, err := os.OpenFile(filepath.Join(dir, "matron.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // the operator names the folder
	if err != nil {
		return nil, nil, err
	}
	return slog.New(slog.NewTextHandler(f, nil)), func() { _ = f.Close() }, nil
}

// printCounts prints the counts and turns disagreement into the exit code.
func printCounts(c *cobra.Command, counts demo.Counts, asJSON, mustAgree bool) error {
	if asJSON {
		enc := json.NewEncoder(c.OutOrStdout())
		enc.SetIndent("", "  ")
		if err := enc.Encode(counts); err != nil {
			return failure{exitFailure, err}
		}
	} else {
		c.Print(counts.String())
	}
	if mustAgree && len(counts.Disagreements) > 0 {
		return failure{exitFailure, errors.Join(disagreements(counts)...)}
	}
	return nil
}

func disagreements(counts demo.Counts) []error {
	var errs []error
	for _, d := range counts.Disagreements {
		errs = append(errs, fmt.Errorf("counts disagree: %s", d))
	}
	return errs
}
