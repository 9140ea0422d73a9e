package gateway

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/store"
)

// HazardLogID is the log of Matron's manufacturer, which every database holds.
const HazardLogID = "matron"

// Officer is a clinical safety officer and the key that proves who it is, nil for
// one who signs on the pages alone.
type Officer struct {
	hazardlog.Officer
	Key note.Verifier
}

// Officers reads the clinical safety officers that c names.
func Officers(c config.Config) ([]Officer, error) {
	var list []Officer
	for _, o := range c.HazardLog.Officers {
		officer := Officer{Officer: registered(o)}
		if o.KeyFile != "" {
			text, err := os.ReadFile(o.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("read key of %s: %w", o.Name, err)
			}
			if officer.Key, err = merkle.ParseVerifier(text); err != nil {
				return nil, fmt.Errorf("%s: %w", o.KeyFile, err)
			}
		}
		list = append(list, officer)
	}
	return list, nil
}

func registered(o config.Officer) hazardlog.Officer {
	return hazardlog.Officer{Name: o.Name, Body: o.Body, Number: o.Number, Expires: hazardlog.Day(o.Expires)}
}

// OpenHazards opens the hazard logs of c's gateway, for a command beside it.
func OpenHazards(ctx context.Context, c config.Config) (*store.Store, func() error, error) {
	if !Initialised(c) {
		return nil, nil, fmt.Errorf("%s: %w", c.DataDir, ErrNotInitialised)
	}
	db, err := openDatabase(ctx, c, false)
	if err != nil {
		return nil, nil, err
	}
	if err := migrate(ctx, c, db); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	s, err := openHazardLog(ctx, db)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return s, db.Close, nil
}

// openHazardLog begins the manufacturer's log with the embedded one where there
// is none: proposed by software, assessed and approved by nobody.
func openHazardLog(ctx context.Context, db *sql.DB) (*store.Store, error) {
	s := store.New(db, time.Now)
	ids, err := s.IDs(ctx)
	if err != nil || slices.Contains(ids, HazardLogID) {
		return s, err
	}
	changes, err := hazardlog.Starter()
	if err != nil {
		return nil, err
	}
	_, err = s.Begin(ctx, HazardLogID, hazardlog.Actor{Issuer: hazardlog.SoftwareIssuer, Account: "matron"}, changes...)
	if errors.Is(err, store.ErrExists) { // somebody else was quicker
		err = nil
	}
	return s, err
}

// CurrentHazardLog names the log that is meant when nobody says which: the one
// of the deploying organisation, where there is one.
func CurrentHazardLog(ctx context.Context, s *store.Store) (string, error) {
	ids, err := s.IDs(ctx)
	if err != nil {
		return "", err
	}
	for _, id := range ids {
		if id != HazardLogID {
			return id, nil
		}
	}
	return HazardLogID, nil
}

// hazardReader is the hazard log as pages see it.
type hazardReader struct{ store *store.Store }

// Hazards implements dashboards.HazardReader.
func (h hazardReader) Hazards(ctx context.Context) (hazardlog.Log, error) {
	id, err := CurrentHazardLog(ctx, h.store)
	if err != nil {
		return hazardlog.Log{}, err
	}
	return h.store.Log(ctx, id)
}

// publishHazards takes changes of hazard logs to the journal, at once and then
// every two seconds, until ctx ends.
func (g *Gateway) publishHazards(ctx context.Context) error {
	publisher := store.NewPublisher(g.hazards, hazardTrail{g.journal})
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		if _, err := publisher.Publish(ctx); err != nil && ctx.Err() == nil {
			g.log.LogAttrs(ctx, slog.LevelError, "changes of the hazard log wait for the journal", slog.String("error", err.Error()))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// hazardTrail is the journal as the hazard log sees it.
type hazardTrail struct{ *journal.Journal }

// Append implements store.Journal.
func (t hazardTrail) Append(ctx context.Context, entries []store.Entry) (first, last uint64, err error) {
	records := make([]*audit.Record, len(entries))
	for i, e := range entries {
		records[i] = hazardRecord(e)
	}
	receipt, err := t.Journal.Append(ctx, records...)
	return receipt.Seq, records[len(records)-1].Seq, err
}

// Find implements store.Journal.
func (t hazardTrail) Find(ctx context.Context, after uint64, events map[string]bool) (map[string]uint64, error) {
	const page = 10_000
	found := map[string]uint64{}
	for from := after + 1; from <= t.Committed(); from += page {
		err := t.Walk(from, page, func(r *audit.Record, _ []byte) bool {
			if r.Kind == audit.KindHazard && events[r.Request] {
				found[r.Request] = r.Seq
			}
			return true
		})
		if err := errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// hazardRecord is what the journal is told of a change: who, which subject, which
// fields, and the hash of the rest.
func hazardRecord(e store.Entry) *audit.Record {
	by := e.Event.By
	r := &audit.Record{
		Kind: audit.KindHazard, Time: e.Event.At, Request: e.Event.ID, Action: string(e.Event.Act),
		Resource: string(e.Event.Subject.Kind), ResourceID: e.Event.Subject.ID, ResourceVersion: strconv.FormatUint(e.Event.Revision, 10),
		UserIssuer: by.Issuer, UserSub: by.Account, UserName: by.Name,
		Detail: []string{"log=" + e.Event.Log, "event=" + strconv.FormatUint(e.Event.Seq, 10), "sha256=" + e.Hash},
	}
	if len(e.Changed) > 0 {
		r.Detail = append(r.Detail, "changed="+strings.Join(e.Changed, ","))
	}
	if by.Officer != "" {
		r.Detail = append(r.Detail, "officer="+by.Officer, "proof="+by.Proof.Method)
	}
	if e.Version != "" {
		r.Detail = append(r.Detail, "version="+e.Version, "snapshot_sha256="+e.Snapshot)
	}
	r.Bound()
	return r
}

// Running is what the gateway ran last, as the journal says: the program that
// started, and the configuration and rules in force since. It is nil when none has
// run yet.
func Running(ctx context.Context, c config.Config) (running *hazardlog.Baseline, err error) {
	reader, err := journal.OpenReader(JournalDirs(c)...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	const page = 10_000
	first, end := reader.First(), reader.Last()
	var since []audit.Record // that change it, the newest page first
	for begin := end; running == nil && begin >= first; {
		end, begin = begin, max(first, begin-min(begin, page)+1)
		var here []audit.Record
		err := reader.Walk(begin, int(end-begin+1), func(r *audit.Record, _ []byte) bool { //nolint:gosec // at most a page
			if r.Kind == audit.KindStart || r.Kind == audit.KindConfigChange || r.Kind == audit.KindPolicyChange {
				here = append(here, *r)
			}
			return true
		})
		if err := errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		since = append(here, since...)
		if running = lastRun(since); begin == first {
			break
		}
		begin--
	}
	return running, nil
}

// lastRun follows the records since the last start.
func lastRun(records []audit.Record) *hazardlog.Baseline {
	var b *hazardlog.Baseline
	for _, r := range records {
		switch config := detailOf(r, "config_sha256="); {
		case r.Kind == audit.KindStart:
			b = &hazardlog.Baseline{Program: detailOf(r, "version="), Config: config, Policy: r.PolicyRev}
		case b != nil && r.Kind == audit.KindConfigChange:
			b.Config, b.Policy = config, r.PolicyRev
		case b != nil && detailOf(r, "policy_before=") != "": // not one that was only proposed
			b.Policy = r.PolicyRev
		}
	}
	return b
}

func detailOf(r audit.Record, name string) string {
	for _, d := range r.Detail {
		if value, ok := strings.CutPrefix(d, name); ok {
			return value
		}
	}
	return ""
}
