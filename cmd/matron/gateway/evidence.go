package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
	"github.com/matron-epr/matron/hazardlog/store"
)

// reviewWithin is by when a contradicted control is to be looked at.
const reviewWithin = 7 * 24 * time.Hour

// Evidence says what is known of the controls of a log: what the gateway of c
// measured last, the results of tests that came with the program, and documents.
func Evidence(ctx context.Context, c config.Config, l hazardlog.Log, now time.Time) (evidence.Report, error) {
	k, err := readKept(paths{c.DataDir}.measurements())
	if err != nil {
		return evidence.Report{}, err
	}
	running, err := Running(ctx, c)
	if err != nil {
		return evidence.Report{}, err
	}
	if running == nil {
		running = &hazardlog.Baseline{}
	}
	return makeEvidence(c, l, *running, k, now)
}

// InQuestion names, by hazard, the controls of a log whose evidence is contradicted, by
// what the gateway of c ran and measured last.
func InQuestion(c config.Config, l hazardlog.Log, now time.Time) (map[string][]string, error) {
	k, err := readKept(paths{c.DataDir}.measurements())
	if err != nil {
		return nil, err
	}
	r, err := makeEvidence(c, l, k.Running, k, now)
	return evidence.InQuestion(l, r), err
}

func makeEvidence(c config.Config, l hazardlog.Log, running hazardlog.Baseline, k kept, now time.Time) (evidence.Report, error) {
	trace, err := readTrace(c.HazardLog.TraceFile)
	if err != nil {
		return evidence.Report{}, err
	}
	before, err := evidence.Frozen(l.Approved())
	if err != nil {
		return evidence.Report{}, err
	}
	return evidence.Make(l, evidence.Input{Now: now, Running: running, Measured: k.measured(), Trace: trace, Before: before})
}

// readTrace reads the results of tests that came with the program, nil for none.
func readTrace(path string) (*evidence.Trace, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // none is an answer
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("hazard_log.trace_file: %w", err)
	}
	trace, err := evidence.ReadTrace(text)
	if err != nil {
		return nil, fmt.Errorf("hazard_log.trace_file: %s: %w", path, err)
	}
	return trace, nil
}

// evidence is what is known of the controls of the log that pages show: from memory,
// but for the log. Where it cannot be told nothing is known, which is never good.
func (g *Gateway) evidence(ctx context.Context) evidence.Report {
	l, err := hazardReader{g.hazards}.Hazards(ctx)
	if err == nil {
		var r evidence.Report
		if r, err = g.evidenceOf(l); err == nil {
			return r
		}
	}
	g.log.LogAttrs(ctx, slog.LevelError, "evidence for controls is not known", slog.String("error", err.Error()))
	return evidence.Report{}
}

func (g *Gateway) evidenceOf(l hazardlog.Log) (evidence.Report, error) {
	var k kept
	if last := g.measured.Load(); last != nil {
		k = *last
	}
	return makeEvidence(g.cfg, l, g.running(), k, g.now())
}

// DemandEvidence refuses changes that call a control of l implemented or verified
// without evidence: nobody is believed on their word. report says what is known of the
// controls once the changes are made. The error wraps hazardlog.ErrInvalid.
func DemandEvidence(l hazardlog.Log, by hazardlog.Actor, changes []hazardlog.Change, report func(hazardlog.Log) (evidence.Report, error)) error {
	var raised []hazardlog.Control
	for _, c := range changes {
		control, ok := c.Value.(hazardlog.Control)
		before, _ := l.Control(control.ID)
		if ok && control.Status != before.Status && (control.Status == hazardlog.Implemented || control.Status == hazardlog.Verified) {
			raised = append(raised, control)
		}
	}
	if len(raised) == 0 {
		return nil
	}
	n := 0
	after, _, err := l.Record(time.Now(), by, func() string { n++; return "rehearsal-" + strconv.Itoa(n) }, changes...)
	if err != nil {
		return err
	}
	r, err := report(after)
	if err != nil {
		return err
	}
	var missing []error
	for _, c := range raised {
		known := r.Controls[c.ID]
		need := func(what string, slot evidence.Slot) {
			if slot.State != hazardlog.Supported {
				missing = append(missing, fmt.Errorf("%w: %s is not %s: %s is %s. %s", hazardlog.ErrInvalid, c.ID, c.Status, what, cmp.Or(string(slot.State), "not measured"), slot.Reason))
			}
		}
		need("that it is there", known.Implemented)
		if c.Status == hazardlog.Verified {
			need("that it works", known.Effective)
		}
	}
	return errors.Join(missing...)
}

// askForReviews opens a review of each control that is contradicted and was not when
// it was last looked. Ratings stay: who changes one is a clinician.
func (m *indicators) askForReviews(ctx context.Context) {
	if err := m.review(ctx); err != nil && ctx.Err() == nil {
		m.g.log.LogAttrs(ctx, slog.LevelError, "contradicted controls are not brought to review", slog.String("error", err.Error()))
	}
}

func (m *indicators) review(ctx context.Context) error {
	id, err := CurrentHazardLog(ctx, m.g.hazards)
	if err != nil {
		return err
	}
	l, err := m.g.hazards.Log(ctx, id)
	if err != nil {
		return err
	}
	report, err := makeEvidence(m.g.cfg, l, m.g.running(), m.kept, m.g.now())
	if err != nil {
		return err
	}
	var contradicted []string
	for _, c := range l.Controls {
		if report.State(c.ID) != hazardlog.Contradicted {
			continue
		}
		if !slices.Contains(m.kept.Contradicted, c.ID) {
			if err := m.open(ctx, id, c, report); err != nil {
				return err
			}
		}
		contradicted = append(contradicted, c.ID)
	}
	m.kept.Contradicted = contradicted
	return nil
}

// open opens a review of a control, unless one is open: another gateway may have
// been quicker.
func (m *indicators) open(ctx context.Context, id string, c hazardlog.Control, report evidence.Report) error {
	what := c.ID + ": its evidence is contradicted"
	for range 5 {
		l, err := m.g.hazards.Log(ctx, id)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(l.Reviews, func(r hazardlog.Review) bool { return r.Done == "" && strings.HasPrefix(r.Of, what) }) {
			return nil
		}
		_, _, err = m.g.hazards.Change(ctx, id, hazardlog.Actor{Issuer: hazardlog.SoftwareIssuer, Account: "matron"}, hazardlog.Change{
			Act: hazardlog.Raise, Why: report.Controls[c.ID].Effective.Reason,
			Value: hazardlog.Review{
				ID: l.NextID("R"), Due: hazardlog.DayOf(m.g.now().Add(reviewWithin)),
				Of: what + "; the rating of " + strings.Join(c.Hazards, ", ") + " is in question",
			},
		})
		if !errors.Is(err, hazardlog.ErrConflict) && !errors.Is(err, store.ErrExists) {
			return err
		}
	}
	return fmt.Errorf("%s: %w", c.ID, hazardlog.ErrConflict)
}
