package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/cmd/matron/demo/simulate"
)

func newSimulate() *cobra.Command {
	c := &cobra.Command{Use: "simulate", Short: "Make up a hospital's accesses, misuse among them, to measure detection", GroupID: "ask"}
	c.AddCommand(newSimulateHospital())
	return c
}

func newSimulateHospital() *cobra.Command {
	cfg := simulate.Default(1, time.Time{})
	var start, zone, out string
	var asJSON bool
	c := &cobra.Command{
		Use: "hospital --out DIR", Short: "Write months of a made-up hospital", Args: cobra.NoArgs,
		Long: `Writes accesses.ndjson.zst and staff, rota, patients, care, devices and labels into a
folder, in the forms of docs/detection.md. The same settings give the same bytes. Nobody in
it exists: NHS numbers are of the 999 range, postcodes of ZZ99.

Among the work of the staff some look where they have no business; labels.ndjson says who,
when and how. Most of it is done on duty, and much of the work has no recorded reason, so
that neither is easy to tell from the other.`,
		Example: "  matron simulate hospital --seed 1 --out sim1\n" +
			"  matron simulate hospital --seed 2 --staff 300 --days 30 --out small\n" +
			"  matron simulate hospital --seed 3 --stealth 0.9 --noise 0.03 --out hard",
	}
	f := c.Flags()
	f.Uint64Var(&cfg.Seed, "seed", 1, "the same seed gives the same hospital")
	f.IntVar(&cfg.Staff, "staff", cfg.Staff, "people on the staff list, from 60")
	f.IntVar(&cfg.Days, "days", cfg.Days, "days of accesses, from 7")
	f.StringVar(&start, "start", "2026-09-01", "first day")
	f.StringVar(&zone, "zone", "Europe/London", "time zone of the hospital")
	f.StringVar(&out, "out", "", "folder to write into; it is made when it is not there")
	f.Float64Var(&cfg.Misuse, "misuse", cfg.Misuse, "how much misuse, as a multiple of the usual")
	f.Float64Var(&cfg.Stealth, "stealth", cfg.Stealth, "share of misuse that is done quietly among the work")
	f.Float64Var(&cfg.Noise, "noise", cfg.Noise, "share of visits whose reason no feed knows")
	f.Float64Var(&cfg.CareLoss, "care-loss", cfg.CareLoss, "share of care events that never reach the care file")
	f.Float64Var(&cfg.RotaLoss, "rota-loss", cfg.RotaLoss, "share of shifts that never reach the rota file")
	f.BoolVar(&asJSON, "json", false, "print a summary as JSON")
	_ = c.MarkFlagRequired("out")
	c.RunE = func(c *cobra.Command, _ []string) error {
		location, err := time.LoadLocation(zone)
		if err != nil {
			return fmt.Errorf("--zone %q is not known: write for example Europe/London", zone)
		}
		if cfg.Start, err = time.ParseInLocation(time.DateOnly, start, location); err != nil {
			return fmt.Errorf("--start %q is not a day: write for example 2026-09-01", start)
		}
		if err := cfg.Validate(); err != nil {
			return fmt.Errorf("--%s", strings.ReplaceAll(err.Error(), "\n", "\n--"))
		}
		return simulateHospital(c, cfg, out, asJSON)
	}
	return c
}

func simulateHospital(c *cobra.Command, cfg simulate.Config, out string, asJSON bool) error {
	if err := os.MkdirAll(out, 0o700); err != nil {
		return failure{exitFailure, fmt.Errorf("make folder: %w", err)}
	}
	began := time.Now()
	var done atomic.Int64
	stop := show(c.ErrOrStderr(), func(time.Duration) string { return fmt.Sprintf("%d of %d days", done.Load(), cfg.Days) })
	s, err := simulate.Run(c.Context(), cfg, out, func(day int) { done.Store(int64(day)) })
	stop()
	if errors.Is(err, context.Canceled) {
		return failure{exitFailure, errors.New("stopped: no file was put in its place")}
	}
	if err != nil {
		return failure{exitFailure, err}
	}
	if asJSON {
		return json.NewEncoder(c.OutOrStdout()).Encode(s)
	}
	_, err = io.WriteString(c.OutOrStdout(), fmt.Sprintf("%d accesses by %d staff in %d days, %d patients, %d events of care, %d labels in %.1f s: %s\n",
		s.Accesses, cfg.Staff, cfg.Days, s.Patients, s.Care, s.Labels, time.Since(began).Seconds(), out))
	return err
}
