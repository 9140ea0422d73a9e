package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit/retention"
	"github.com/matron-epr/matron/audit/spool"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

func newRetentionHold() *cobra.Command {
	var path, from, to string
	var h retention.Hold
	c := &cobra.Command{
		Use: "hold", Short: "Place a legal hold: what it covers is never disposed of", Args: cobra.NoArgs,
		Long: "Holds the records of patients, of members of staff, or of an inquiry: a period, for all or for those\n" +
			"listed. Give the patient's id and NHS number both: some records have only one of them.",
		Example: "  matron audit retention hold --patient P0042 --nhs-number 9990000018 --reason \"claim 2026/17\"\n" +
			"  matron audit retention hold --inquiry \"Winter inquiry\" --from 2024-11-01 --to 2025-03-01 --reason \"letter of 3 May 2026\"",
	}
	c.Flags().StringVarP(&path, "config", "c", "matron.yaml", "configuration file")
	c.Flags().StringArrayVar(&h.Patients, "patient", nil, "patient id as the application knows it; may be given again")
	c.Flags().StringArrayVar(&h.NHSNumbers, "nhs-number", nil, "NHS number, ten digits; spaces are ignored; may be given again")
	c.Flags().StringArrayVar(&h.People, "person", nil, "member of staff; may be given again")
	c.Flags().StringVar(&h.Inquiry, "inquiry", "", "name of the inquiry")
	c.Flags().StringVar(&from, "from", "", "first day, for example 2024-11-01 (UTC)")
	c.Flags().StringVar(&to, "to", "", "day after the last one")
	c.Flags().StringVar(&h.Reason, "reason", "", "why")
	_ = c.MarkFlagRequired("reason") // fails only for a flag that is not there
	c.RunE = func(c *cobra.Command, _ []string) error {
		var err error
		if h.From, err = holdDay(from); err == nil {
			h.To, err = holdDay(to)
		}
		if err != nil {
			return failure{exitUsage, err}
		}
		for i, n := range h.NHSNumbers {
			h.NHSNumbers[i] = strings.ReplaceAll(n, " ", "")
		}
		return changeHolds(c, path, func(holds *retention.Holds, by string, now time.Time) (retention.Hold, error) {
			h.By, h.At = by, now
			return holds.Place(h)
		})
	}
	return c
}

func holdDay(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return t, fmt.Errorf("%q is not a day: write for example 2024-11-01", text)
	}
	return t, nil
}

func newRetentionRelease() *cobra.Command {
	var path, reason string
	c := &cobra.Command{
		Use: "release HOLD", Short: "Release a legal hold", Args: cobra.ExactArgs(1),
		Example: "  matron audit retention release H1a2b3c4d --reason \"claim settled, letter of 9 June 2026\"",
	}
	c.Flags().StringVarP(&path, "config", "c", "matron.yaml", "configuration file")
	c.Flags().StringVar(&reason, "reason", "", "why")
	_ = c.MarkFlagRequired("reason") // fails only for a flag that is not there
	c.RunE = func(c *cobra.Command, args []string) error {
		return changeHolds(c, path, func(holds *retention.Holds, by string, now time.Time) (retention.Hold, error) {
			return holds.Release(args[0], retention.Release{Reason: reason, By: by, At: now})
		})
	}
	return c
}

// changeHolds places or releases a hold, and leaves the record of it for the
// journal.
func changeHolds(c *cobra.Command, path string, change func(h *retention.Holds, by string, now time.Time) (retention.Hold, error)) (err error) {
	cfg, _, err := load(path)
	if err != nil {
		return err
	}
	by, err := operator(cfg.DataDir)
	if err != nil {
		return failure{exitFailure, err}
	}
	holds, err := retention.OpenHolds(gateway.HoldsFile(cfg), cfg.Source)
	if err != nil {
		return failure{exitFailure, err}
	}
	defer func() { err = errors.Join(err, holds.Close()) }()
	h, err := change(holds, by, time.Now().UTC().Truncate(time.Microsecond))
	switch {
	case errors.Is(err, retention.ErrHold):
		return failure{exitUsage, err}
	case err != nil:
		return failure{exitFailure, err}
	}
	if err := spool.Put(gateway.SpoolDir(cfg), h.Record()); err != nil {
		return failure{exitFailure, fmt.Errorf("hold %s is changed; the record of it could not be left for the journal: %w", h.ID, err)}
	}
	printHold(c.OutOrStdout(), h)
	return nil
}

func newRetentionHolds() *cobra.Command {
	var path string
	var asJSON, all bool
	c := &cobra.Command{
		Use: "holds", Short: "List the legal holds", Args: cobra.NoArgs,
		Example: "  matron audit retention holds\n  matron audit retention holds --all --json",
	}
	c.Flags().StringVarP(&path, "config", "c", "matron.yaml", "configuration file")
	c.Flags().BoolVar(&all, "all", false, "also those that were released")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, _, err := load(path)
		if err != nil {
			return err
		}
		holds, err := retention.ReadHolds(gateway.HoldsFile(cfg), cfg.Source)
		if err != nil {
			return failure{exitFailure, err}
		}
		list := holds.Active()
		if all {
			list = holds.List
		}
		if len(list) == 0 && !asJSON {
			_, err := fmt.Fprintln(c.OutOrStdout(), "No legal hold is in force.")
			return err
		}
		enc := json.NewEncoder(c.OutOrStdout())
		for _, h := range list {
			if !asJSON {
				printHold(c.OutOrStdout(), h)
			} else if err := enc.Encode(h); err != nil {
				return failure{exitFailure, err}
			}
		}
		return nil
	}
	return c
}

func printHold(out io.Writer, h retention.Hold) {
	const day = "2 January 2006"
	_, _ = fmt.Fprintf(out, "%s  placed %s by %s: %s\n", h.ID, h.At.UTC().Format(day), h.By, h.Reason)
	for _, part := range []struct {
		what string
		list []string
	}{{"patients", h.Patients}, {"NHS numbers", h.NHSNumbers}, {"people", h.People}} {
		if len(part.list) > 0 {
			_, _ = fmt.Fprintf(out, "  %s: %s\n", part.what, strings.Join(part.list, ", "))
		}
	}
	if h.Inquiry != "" {
		_, _ = fmt.Fprintf(out, "  inquiry: %s\n", h.Inquiry)
	}
	if !h.From.IsZero() {
		_, _ = fmt.Fprintf(out, "  from %s\n", h.From.UTC().Format(day))
	}
	if !h.To.IsZero() {
		_, _ = fmt.Fprintf(out, "  until the day before %s\n", h.To.UTC().Format(day))
	}
	if h.Released != nil {
		_, _ = fmt.Fprintf(out, "  released %s by %s: %s\n", h.Released.At.UTC().Format(day), h.Released.By, h.Released.Reason)
	}
}
