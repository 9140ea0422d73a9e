package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/store"
)

func newHazard() *cobra.Command {
	c := &cobra.Command{
		Use: "hazard", Short: "The clinical hazard log", GroupID: "rules",
		Long: "The hazard log in the terms of DCB0129 and DCB0160. Every change is an event that stays, with who made\n" +
			"it and why, and is recorded in the audit journal by its hash. Software proposes and checks; it never\n" +
			"scores and never approves. See docs/hazard-log.md.",
		Example: "  matron hazard list\n" +
			"  matron hazard edit GW-03 --why \"after the workshop\"\n" +
			"  matron hazard lint\n" +
			"  matron hazard approve 1.0 --officer \"Dr Ann Example\" --key ann.key --statement \"The residual risk is acceptable.\"",
	}
	c.AddCommand(newHazardList(), newHazardShow(), newHazardAdd(), newHazardEdit(), newHazardRate(), newHazardAssess(), newHazardAccept(),
		newHazardStatus(), newHazardHistory(), newHazardDiff(), newHazardLint(), newHazardEvidence(), newHazardTrace(), newHazardVerify(), newHazardApprove(), newHazardExport(), newHazardImport(), newHazardIssue(), newHazardDerive(),
		newHazardDecision(), newHazardIncident(), newHazardReview(), newHazardTransfer(), newHazardAnswer(), newHazardPack(), newHazardReceive(), newHazardReply(),
		newKey("signs for the hazard log", "hazard_log.officers", "matron hazard key"))
	return c
}

// book is what the commands about the hazard log share.
type book struct {
	config, log string
	asJSON      bool

	cfg     config.Config
	store   *store.Store
	current hazardlog.Log
	close   func() error
}

func (b *book) flags(c *cobra.Command) {
	c.Flags().StringVarP(&b.config, "config", "c", "matron.yaml", "configuration file")
	c.Flags().StringVar(&b.log, "log", "", "which log: the manufacturer's is \""+gateway.HazardLogID+"\" (default: your organisation's, where there is one)")
}

func (b *book) jsonFlag(c *cobra.Command) {
	c.Flags().BoolVar(&b.asJSON, "json", false, "print as JSON")
}

// with opens the log, does something with it and closes it.
func (b *book) with(c *cobra.Command, do func() error) (err error) {
	if b.cfg, _, err = load(b.config); err != nil {
		return err
	}
	if err := b.open(c.Context()); errors.Is(err, store.ErrCorrupt) {
		return failure{exitIntegrity, err}
	} else if err != nil {
		return failure{exitFailure, err}
	}
	defer func() { err = errors.Join(err, b.close()) }()
	err = do()
	var f failure
	if err != nil && !errors.As(err, &f) {
		return failure{exitFailure, err}
	}
	return err
}

func (b *book) open(ctx context.Context) (err error) {
	if b.store, b.close, err = gateway.OpenHazards(ctx, b.cfg); err != nil {
		return err
	}
	if b.log == "" {
		if b.log, err = gateway.CurrentHazardLog(ctx, b.store); err != nil {
			return errors.Join(err, b.close())
		}
	}
	if b.current, err = b.store.Log(ctx, b.log); err != nil {
		return errors.Join(err, b.close())
	}
	return nil
}

// hazard finds a hazard by its id.
func (b *book) hazard(id string) (hazardlog.Hazard, error) {
	h, ok := b.current.Find(id)
	if !ok {
		return h, fmt.Errorf("there is no hazard %s in log %s: \"matron hazard list\" shows them", id, b.log)
	}
	return h, nil
}

func today() hazardlog.Day { return hazardlog.DayOf(time.Now()) }
