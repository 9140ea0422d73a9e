package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/audit/detect/detectors"
	"github.com/matron-epr/matron/audit/detect/explain"
	"github.com/matron-epr/matron/audit/detect/learn"
	"github.com/matron-epr/matron/audit/detect/table"
	"github.com/matron-epr/matron/audit/feeds"
	"github.com/matron-epr/matron/audit/spool"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// casesFile is where the cases of a run stand, in its folder or in the data folder.
const casesFile = "cases.ndjson"

// historyRows bounds what is read of one day of imported history.
const historyRows = 20_000_000

// detecting is one run of "matron detect run".
type detecting struct {
	config, folder string
	from, to       string
	zone           string
	without        []string
	budget         int
	seed           uint64
	weights        string
	dryRun         bool
	location       *time.Location
	version        learn.Version // of the weights
}

func newDetectRun() *cobra.Command {
	var d detecting
	c := &cobra.Command{
		Use: "run", Short: "Look for what is not explained and make cases of it", Args: cobra.NoArgs,
		Long: `Reads accesses and feeds, explains each access, lets the detectors look at what stays
unexplained and writes the cases that there is time for, best first, to cases.ndjson:
with --run into the folder of accesses and feeds, else into the data folder of the
configuration, from what the gateway has seen itself and the history that "matron audit
import" has brought in. Who ran it for which days is recorded: with --run in
detection-runs.ndjson of the folder, else in the journal.

Cases are weighed as the active version of "matron detect learn" says; --weights tries another
one, by its number or its file, and 1 is without weights. Each case names the version.

Cases that must be reviewed are outside the budget. One case in twenty is drawn by lot among
accesses that no detector points at.`,
		Example: "  matron detect run --run sim1\n" +
			"  matron detect run -c matron.yaml --from 2026-09-01 --to 2026-10-30\n" +
			"  matron detect run --run sim1 --without rota --dry-run\n" +
			"  matron detect run --run sim2 --weights sim1/weights/2.json",
	}
	f := c.Flags()
	f.StringVarP(&d.config, "config", "c", "matron.yaml", "configuration file")
	f.StringVar(&d.folder, "run", "", "folder of accesses and feeds, as \"matron simulate hospital\" writes it")
	f.StringVar(&d.from, "from", "", "from this day on")
	f.StringVar(&d.to, "to", "", "to the end of this day")
	f.StringVar(&d.zone, "zone", "Europe/London", "time zone of the hospital")
	f.StringArrayVar(&d.without, "without", nil, "with --run: as if a feed were missing; may be given several times")
	f.IntVar(&d.budget, "budget", 20, "cases a day for 1,000 staff, in all")
	f.Uint64Var(&d.seed, "seed", 1, "of what is drawn by lot")
	f.StringVar(&d.weights, "weights", "", "version of the weights, or its file (default: the active one)")
	f.BoolVar(&d.dryRun, "dry-run", false, "say how many cases there would be, and write none")
	c.RunE = func(c *cobra.Command, _ []string) error { return d.run(c) }
	return c
}

func (d *detecting) run(c *cobra.Command) error {
	var err error
	if d.location, err = time.LoadLocation(d.zone); err != nil {
		return fmt.Errorf("--zone %q is not known: write for example Europe/London", d.zone)
	}
	if d.budget < 1 {
		return failure{exitUsage, errors.New("--budget is how many cases a day for 1,000 staff: at least 1")}
	}
	boundMemory()
	var f *folder
	out := filepath.Join(d.folder, casesFile)
	if d.folder != "" {
		if err = d.weigh(d.folder); err != nil {
			return err
		}
		f, err = openFolder(c, d.folder, d.location, d.without)
	} else {
		f, out, err = d.history(c)
	}
	if c.Context().Err() != nil {
		return stopped()
	}
	if err != nil {
		return err
	}
	if err := d.narrow(f); err != nil {
		return err
	}
	made, found, ran, err := f.cases(c, d.budget, d.seed, d.version.Apply(cases.DefaultScoring()))
	if err != nil {
		return err
	}
	for _, m := range found.NotEvaluated {
		c.PrintErrf("%s: %s\n", m.Detector, m.Reason)
	}
	lanes := map[cases.Lane]int{}
	for i := range made {
		lanes[made[i].Lane]++
	}
	c.Printf("%d accesses, %d explained; %d cases: %d in the budget, %d that must be reviewed, %d drawn by lot; weights version %d\n",
		found.Accesses, found.Explained, len(made), lanes[cases.Budget], lanes[cases.MustReview], lanes[cases.Random], d.version.Number)
	if d.dryRun {
		return nil
	}
	if d.folder != "" {
		if err := f.recordRun("detect run", d.options(), len(made)); err != nil {
			return failure{exitFailure, err}
		}
	}
	err = putFile(out, func(to io.Writer) error { return cases.Write(to, made) })
	if err == nil {
		err = ran.write(filepath.Dir(out))
	}
	if err != nil {
		return failure{exitFailure, err}
	}
	c.Println(out)
	return nil
}

// options are what decides which cases there are, for the record.
func (d *detecting) options() map[string]string {
	return map[string]string{
		"from": d.from, "to": d.to, "zone": d.zone, "without": strings.Join(d.without, ","),
		"budget": strconv.Itoa(d.budget), "seed": strconv.FormatUint(d.seed, 10), "weights": strconv.Itoa(d.version.Number),
	}
}

// boundMemory keeps garbage from doubling what a long history takes, unless the
// operator has said otherwise.
func boundMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(7 << 30)
	}
}

// weigh takes the weights to use: the active ones of the folder that cases go to, or
// those that were asked for.
func (d *detecting) weigh(dir string) (err error) {
	kept := learn.Folder(filepath.Join(dir, gateway.WeightsFolder))
	n, notNumber := strconv.Atoi(d.weights)
	switch {
	case d.weights == "":
		d.version, err = kept.Active()
	case notNumber == nil:
		d.version, err = kept.Get(n)
	default:
		d.version, err = learn.ReadVersion(d.weights)
	}
	if err != nil {
		return failure{exitFailure, err}
	}
	return nil
}

// history reads what the gateway saw and what was imported, day by day.
func (d *detecting) history(c *cobra.Command) (*folder, string, error) {
	cfg, _, err := load(d.config)
	if err != nil {
		return nil, "", err
	}
	from, to, _, err := period(d.from, d.to)
	if err != nil || from.IsZero() || to.IsZero() {
		return nil, "", failure{exitUsage, errors.Join(errors.New("history needs --from and --to, for example --from 2026-09-01 --to 2026-10-30"), err)}
	}
	if err := d.weigh(cfg.DataDir); err != nil {
		return nil, "", err
	}
	by, err := operator(cfg.DataDir)
	if err != nil {
		return nil, "", failure{exitFailure, err}
	}
	f := &folder{accesses: table.New(), machines: map[uint32]bool{}, location: d.location}
	key, err := gateway.Hasher(cfg)
	if err == nil {
		f.context, err = readFeeds(c, feeds.Hasher{Hasher: key}, cfg.Detection)
	}
	var site []explain.SiteTemplate
	if err == nil {
		site, err = gateway.SiteTemplates(cfg.Detection)
	}
	if err == nil {
		err = readHistory(c.Context(), cfg, from, to, f.accesses)
	}
	if err != nil {
		return nil, "", failure{exitFailure, err}
	}
	f.accesses.Sort()
	f.accesses.Settle()
	f.engine = explain.New(explain.Config{Location: d.location, Site: site}, f.context)
	out := gateway.CasesFile(cfg)
	if d.dryRun {
		return f, out, nil
	}
	return f, out, spool.Put(gateway.SpoolDir(cfg), &audit.Record{
		Kind: audit.KindAuditViewed, Time: time.Now(), Action: "detect", UserIssuer: "os", UserSub: by, UserName: by,
		Detail: append([]string{"from=" + d.from, "to=" + d.to, "weights=" + strconv.Itoa(d.version.Number)}, gateway.FeedsUsed(f.context)...),
	})
}

func readHistory(ctx context.Context, cfg config.Config, from, to time.Time, t *table.Table) error {
	store, err := gateway.OpenIndex(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	// An access near midnight may be of the day before or after by another clock.
	before, now := witnessed{}, witnessed{}
	if err := readWitnessed(ctx, store, cfg.Site, from, to, t, now); err != nil {
		return err
	}
	for ; from.Before(to); from = from.AddDate(0, 0, 1) {
		after := witnessed{}
		if err := readWitnessed(ctx, store, cfg.Site, from.AddDate(0, 0, 1), to, t, after); err != nil {
			return err
		}
		rows, err := store.Imported(ctx, audit.Query{Site: cfg.Site, From: from, To: dayEnd(from, to), Limit: historyRows})
		if err != nil {
			return err
		}
		for i := range rows {
			if r := &rows[i]; !before.has(r) && !now.has(r) && !after.has(r) {
				t.Add(r)
			}
		}
		before, now = now, after
	}
	if t.Len() == 0 {
		return errors.New("there is no access on these days, neither of the gateway nor imported")
	}
	return nil
}

// readWitnessed reads what the gateway saw itself of one day, and nothing past the end.
func readWitnessed(ctx context.Context, store *clickhouse.Store, site string, from, to time.Time, t *table.Table, seen witnessed) error {
	if !from.Before(to) {
		return nil
	}
	return store.Witnessed(ctx, site, from, dayEnd(from, to), func(r *audit.Record) error {
		t.Witness(r)
		seen.add(r)
		return nil
	})
}

func dayEnd(from, to time.Time) time.Time {
	if end := from.AddDate(0, 0, 1); end.Before(to) {
		return end
	}
	return to
}

// narrow leaves the accesses of a folder outside the days out.
func (d *detecting) narrow(f *folder) error {
	if d.folder == "" || d.from == "" && d.to == "" {
		return nil
	}
	from, to, _, err := period(d.from, d.to)
	if err != nil {
		return failure{exitUsage, err}
	}
	f.accesses.Keep(from, to)
	if f.accesses.Len() == 0 {
		return failure{exitFailure, errors.New("there is no access on these days")}
	}
	return nil
}

// cases explains, detects, groups and ranks. When ctx ends it stops.
func (f *folder) cases(c *cobra.Command, budget int, seed uint64, scoring cases.Scoring) ([]cases.Case, detectors.Found, ran, error) {
	var masks []explain.Mask
	err := f.step(c, "explaining", func(p *table.Progress) { masks = f.engine.Rows(f.accesses, p) })
	if err != nil {
		return nil, detectors.Found{}, ran{}, err
	}
	explained := make([]detectors.Strength, len(masks))
	for i, m := range masks {
		switch {
		case m.Strong():
			explained[i] = detectors.Strong
		case m.Weak():
			explained[i] = detectors.Weak
		}
	}
	var found detectors.Found
	err = f.step(c, "looking", func(p *table.Progress) {
		found = detectors.Run(detectors.Input{Accesses: f.accesses, Explained: explained, Context: f.context, Location: f.location, Progress: p})
	})
	if err != nil {
		return nil, found, ran{}, err
	}
	people := f.context.People()
	if people == 0 {
		people = found.People
	}
	r := ran{People: people, Days: f.days(), Budget: budget, Seed: seed, Weights: scoring.Version, Accesses: found.Accesses, Explained: found.Explained}
	return cases.Make(&found, f.accesses, cases.Settings{
		Budget: budget, People: people, Days: r.Days, Seed: seed, Scoring: scoring,
		Explain: func(person, patient string, at time.Time) []cases.Explanation {
			return f.explain(masks, person, patient, at)
		},
	}), found, r, nil
}

func stopped() error {
	return failure{exitFailure, errors.New("stopped: no cases were written")}
}

// step does one thing with all accesses and shows how far it is. When the command is
// cancelled it stops.
func (f *folder) step(c *cobra.Command, name string, do func(*table.Progress)) error {
	p, all := new(table.Progress), f.accesses.Len()
	stop := show(c.ErrOrStderr(), func(time.Duration) string { return fmt.Sprintf("%s  %d of %d accesses", name, p.Rows.Load(), all) })
	defer stop()
	defer context.AfterFunc(c.Context(), func() { p.Stop.Store(true) })()
	do(p)
	if c.Context().Err() != nil {
		return stopped()
	}
	return nil
}

// explain says what could explain a look, from the other looks too.
func (f *folder) explain(masks []explain.Mask, person, patient string, at time.Time) []cases.Explanation {
	var out []cases.Explanation
	for row := f.accesses.From(at); row < f.accesses.Len() && f.accesses.Time(row).Equal(at); row++ {
		a := f.engine.Access(f.accesses, row)
		if a.Person != person || f.engine.InUse(a.Patient) != patient {
			continue
		}
		for _, e := range f.engine.Row(a, masks[row]) {
			out = append(out, cases.Explanation{Template: e.Template, Strength: e.Strength, Sentence: e.Sentence, Evidence: e.Evidence})
		}
		break
	}
	return out
}

// ranFile says beside the cases how they were made.
const ranFile = "cases-run.json"

// ran is how the cases of a run were made.
type ran struct {
	People    int    `json:"people"` // who could be reviewed
	Days      int    `json:"days"`   // that the accesses span
	Budget    int    `json:"budget"` // cases a day for 1,000 of them
	Seed      uint64 `json:"seed"`
	Weights   int    `json:"weights"` // version
	Accesses  int    `json:"accesses"`
	Explained int    `json:"explained"`
}

func (r ran) write(dir string) error {
	return putFile(filepath.Join(dir, ranFile), func(out io.Writer) error { return json.NewEncoder(out).Encode(r) })
}

func readRan(dir string) (r ran, err error) {
	text, err := os.ReadFile(filepath.Join(dir, ranFile)) //nolint:gosec // the operator names the folder
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("read how the cases were made: %w", err)
	}
	return r, nil
}

// putFile puts a file in its place at once.
func putFile(path string, write func(io.Writer) error) error {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // the operator names the folder
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(part, path)
}
