package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/audit/detect/learn"
	"github.com/matron-epr/matron/audit/intake"
	"github.com/matron-epr/matron/audit/spool"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// weighing is one run of "matron detect learn".
type weighing struct {
	config, folder string
	cases          []string
	list, revert   bool
	activate       int
	templates      string
	support        int
	asJSON         bool

	cfg   config.Config // with --config
	kept  learn.Folder
	dir   string // of the cases of the last run
	by    string
	now   time.Time
	files []learn.File
	notes []learn.Note
}

func newDetectLearn() *cobra.Command {
	var w weighing
	c := &cobra.Command{
		Use: "learn [DISPOSITIONS…]", Short: "Weigh detectors by what reviewers said of their cases",
		Long: `Reads what reviewers said of cases, one JSON object a line with case, disposition (misuse,
policy-breach, training, justified, systemic, insufficient or duplicate), by and at, and makes a
version of weights of it: how often each detector was right in each role, with the interval that
holds nine in ten, and the weight that follows. A version is in shadow: it counts once --activate
is given, and --revert goes back. Cases with an own record, a household or a VIP are never lowered,
whatever reviewers said.

Without files it takes what reviewers said on the pages.

The cases are those of the last run of detection, and those of earlier runs that --cases names.
With --templates it also writes what justified cases share and no case of misuse has (a role or
team, and care of one kind on one ward) as templates of the site, weak and in shadow: a person
reads them, and turns on what is true. Cases with anything protected make none.

Lines that do not count, and late ones, are named in FILE.rejects.ndjson; the rest goes in.

Exit code 0 when every line counted or is only late, 1 when a line was left out or a file cannot be
read. The version is made in either case.`,
		Example: "  matron detect learn dispositions.ndjson --run sim1\n" +
			"  matron detect learn -c matron.yaml\n" +
			"  matron detect learn dispositions.ndjson -c matron.yaml --cases cases-september.ndjson\n" +
			"  matron detect run --run sim1 --weights 2 --dry-run\n" +
			"  matron detect learn --run sim1 --activate 2\n" +
			"  matron detect learn dispositions.ndjson --run sim1 --templates candidates.yaml\n" +
			"  matron detect learn --run sim1 --list\n" +
			"  matron detect learn --run sim1 --revert",
	}
	f := c.Flags()
	f.StringVarP(&w.config, "config", "c", "matron.yaml", "configuration file")
	f.StringVar(&w.folder, "run", "", "folder that \"matron detect run --run\" has written cases into")
	f.StringArrayVar(&w.cases, "cases", nil, "file of cases of an earlier run; may be given several times")
	f.BoolVar(&w.list, "list", false, "list the versions, and which of them is active")
	f.IntVar(&w.activate, "activate", 0, "make this version count")
	f.BoolVar(&w.revert, "revert", false, "make the version that was active before count again")
	f.StringVar(&w.templates, "templates", "", "file to write candidates for templates of the site to, from what justified cases share")
	f.IntVar(&w.support, "support", 5, "justified cases that a candidate needs")
	f.BoolVar(&w.asJSON, "json", false, "print one JSON object")
	c.MarkFlagsMutuallyExclusive("list", "activate", "revert")
	c.RunE = func(c *cobra.Command, files []string) error { return w.run(c, files) }
	return c
}

func (w *weighing) run(c *cobra.Command, files []string) error {
	changes := w.list || w.revert || c.Flags().Changed("activate")
	switch {
	case changes && len(files) > 0:
		return failure{exitUsage, errors.New("--list, --activate and --revert take no files")}
	case !changes && len(files) == 0 && w.folder != "":
		return failure{exitUsage, errors.New("name the files of dispositions")}
	}
	w.now = time.Now()
	if err := w.open(); err != nil {
		return err
	}
	var err error
	switch {
	case w.list:
		return w.printList(c)
	case changes:
		err = w.turn(c)
	default:
		err = w.learn(c, files)
	}
	var known failure
	if err != nil && !errors.As(err, &known) {
		return failure{exitFailure, err}
	}
	return err
}

// open finds the folder of the versions and who works on it.
func (w *weighing) open() (err error) {
	w.dir = w.folder
	if w.folder == "" {
		if w.cfg, _, err = load(w.config); err != nil {
			return err
		}
		w.dir = w.cfg.DataDir
	}
	w.kept = learn.Folder(filepath.Join(w.dir, gateway.WeightsFolder))
	if w.by, err = operator(w.dir); err != nil {
		return failure{exitFailure, err}
	}
	return nil
}

// record leaves who changed what for the journal, before it is changed.
func (w *weighing) record(detail ...string) error {
	if w.folder != "" {
		return nil
	}
	return spool.Put(gateway.SpoolDir(w.cfg), &audit.Record{
		Kind: audit.KindAuditViewed, Time: w.now, Action: "detect-learn", UserIssuer: "os", UserSub: w.by, UserName: w.by, Detail: detail,
	})
}

func (w *weighing) turn(c *cobra.Command) error {
	before, err := w.kept.Active()
	if err != nil {
		return err
	}
	if w.revert {
		if err := w.record("revert", fmt.Sprintf("from=%d", before.Number)); err != nil {
			return err
		}
		if _, err := w.kept.Revert(w.by, w.now); err != nil {
			return err
		}
	} else {
		if _, err := w.kept.Get(w.activate); err != nil {
			return err
		}
		if err := w.record("activate", fmt.Sprintf("from=%d", before.Number), fmt.Sprintf("to=%d", w.activate)); err != nil {
			return err
		}
		if err := w.kept.Activate(w.activate, w.by, w.now); err != nil {
			return err
		}
	}
	after, err := w.kept.Active()
	if err != nil {
		return err
	}
	if w.asJSON {
		return printJSON(c, map[string]int{"active": after.Number, "before": before.Number})
	}
	c.Printf("version %d is active; before it was version %d\n", after.Number, before.Number)
	return nil
}

// learn makes a version and says what it is and what it would change.
func (w *weighing) learn(c *cobra.Command, files []string) error {
	known, last, err := w.known(c.Context())
	if err != nil {
		return err
	}
	given, err := w.given(c, files)
	if err != nil {
		return err
	}
	counts, notes := learn.Settle(given, known, w.now)
	w.notes = append(w.notes, notes...)
	bad, err := w.rejects(c, files)
	if err != nil {
		return err
	}
	if len(counts) == 0 {
		return errors.New("no disposition that counts says whether a case was worth asking about: there is nothing to learn from")
	}
	parent, err := w.kept.Active()
	if err != nil {
		return err
	}
	in := learn.Input{Dispositions: counts, Cases: known, Scoring: cases.DefaultScoring()}
	if err := w.mine(c, in); err != nil {
		return err
	}
	v := learn.Learn(in)
	v.Parent, v.Inputs, v.LeftOut, v.MadeAt, v.MadeBy = parent.Number, w.files, bad, w.now.UTC(), w.by
	if err := w.record("learn", fmt.Sprintf("parent=%d", parent.Number), fmt.Sprintf("cases=%.0f", v.Cases.N())); err != nil {
		return err
	}
	v, isNew, err := w.kept.Add(v)
	if err != nil {
		return err
	}
	changes, err := w.changes(last, &parent, &v)
	if err != nil {
		return err
	}
	if err := w.printVersion(c, learned{Version: v, New: isNew, Changes: changes, parent: parent}); err != nil {
		return err
	}
	if bad > 0 {
		return failure{exitFailure, fmt.Errorf("%d lines were left out", bad)}
	}
	return nil
}

// changes says what a version would do to the cases of the last run.
func (w *weighing) changes(last []cases.Case, parent, v *learn.Version) ([]learn.Change, error) {
	out := []learn.Change{}
	if last == nil {
		return out, nil
	}
	made, err := readRan(w.dir)
	if err != nil {
		return nil, err
	}
	before, after := parent.Apply(cases.DefaultScoring()), v.Apply(cases.DefaultScoring())
	for _, budget := range []int{5, 15} {
		out = append(out, learn.Compare(last, before, after, budget, budget*made.Days*made.People/1000))
	}
	return out, nil
}

// given reads what reviewers said: in files, or else on the pages.
func (w *weighing) given(c *cobra.Command, files []string) ([]learn.Disposition, error) {
	if len(files) == 0 {
		return w.onPages(c)
	}
	var out []learn.Disposition
	for _, path := range files {
		all, err := w.read(c, path)
		if err != nil {
			return nil, err
		}
		out = append(out, all...)
	}
	return out, nil
}

// pages stands for a file where dispositions come from the pages; a line is the
// place in their order.
const pages = "the pages"

// onPages reads what reviewers said on the pages.
func (w *weighing) onPages(c *cobra.Command) ([]learn.Disposition, error) {
	said, err := gateway.Dispositions(c.Context(), w.cfg)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	var out []learn.Disposition
	for i, s := range said {
		d := learn.Disposition{Case: s.Alert, Outcome: learn.Outcome(s.Outcome), By: s.Issuer + " " + s.Sub, At: s.Made, File: pages, Line: i + 1}
		if err := json.NewEncoder(sum).Encode(d); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	w.files = append(w.files, learn.File{Name: pages, SHA256: hex.EncodeToString(sum.Sum(nil))})
	return out, nil
}

// known reads the live alerts, the cases of the last run and of those that --cases
// names.
func (w *weighing) known(ctx context.Context) (learn.Cases, []cases.Case, error) {
	known := learn.Cases{}
	if w.folder == "" {
		live, _, err := gateway.Alerts(ctx, w.cfg, mostLive)
		if err != nil {
			return nil, nil, err
		}
		for i := range live {
			known.Add([]cases.Case{ofAlert(&live[i])})
		}
	}
	for _, path := range w.cases {
		all, err := w.casesOf(path)
		if err != nil {
			return nil, nil, err
		}
		known.Add(all)
	}
	last, err := w.casesOf(filepath.Join(w.dir, casesFile))
	switch {
	case errors.Is(err, os.ErrNotExist) && len(known) > 0:
		return known, nil, nil
	case errors.Is(err, os.ErrNotExist):
		return nil, nil, fmt.Errorf("%s is not there: make it with \"matron detect run\", or name cases with --cases", filepath.Join(w.dir, casesFile))
	}
	known.Add(last)
	return known, last, err
}

func (w *weighing) casesOf(path string) (all []cases.Case, err error) {
	err = w.input(path, func(in io.Reader) error {
		all, err = cases.Read(in)
		return err
	})
	return all, err
}

func (w *weighing) read(c *cobra.Command, path string) (all []learn.Disposition, err error) {
	err = w.input(path, func(in io.Reader) error {
		var notes []learn.Note
		var unknown []string
		all, notes, unknown, err = learn.Read(in, path)
		w.notes = append(w.notes, notes...)
		if len(unknown) > 0 {
			c.PrintErrf("%s: fields that the format does not have were not read: %v\n", path, unknown)
		}
		return err
	})
	return all, err
}

// input reads a file and notes its digest.
func (w *weighing) input(path string, read func(io.Reader) error) error {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if err := read(io.TeeReader(f, sum)); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	w.files = append(w.files, learn.File{Name: filepath.Base(path), SHA256: hex.EncodeToString(sum.Sum(nil))})
	return nil
}

// rejects writes which lines do not count and why, beside each file, and names late
// ones there too. bad is how many do not count.
func (w *weighing) rejects(c *cobra.Command, files []string) (bad int, err error) {
	for _, path := range slices.Compact(slices.Sorted(slices.Values(files))) {
		out := &intake.RejectFile{Path: path + ".rejects.ndjson"}
		for _, n := range w.notes {
			if n.File != path || err != nil {
				continue
			}
			if !n.Counts {
				bad++
			}
			err = out.Add(intake.Reject{Line: n.Line, Reason: n.Reason})
		}
		where, err := out.Close(err)
		if err != nil {
			return 0, err
		}
		if where != "" {
			c.PrintErrf("lines that do not count, or are late, and why: %s\n", where)
		}
	}
	for _, n := range w.notes {
		if n.File != pages {
			continue
		}
		if !n.Counts {
			bad++
		}
		c.PrintErrf("%s, number %d: %s\n", pages, n.Line, n.Reason)
	}
	return bad, nil
}
