package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit/detect/evaluate"
	"github.com/matron-epr/matron/audit/detect/explain"
	"github.com/matron-epr/matron/audit/feeds"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// evaluating is one run of "matron detect evaluate".
type evaluating struct {
	labels  string
	cases   []string
	runs    []string
	staff   int
	days    int
	zone    string
	without []string
	explain bool
	site    string
	asJSON  bool

	location *time.Location
}

func newDetectEvaluate() *cobra.Command {
	var e evaluating
	c := &cobra.Command{
		Use: "evaluate", Short: "Say how good lists of cases are, where it is known what was misuse", Args: cobra.NoArgs,
		Long: `Compares lists of cases with labels. A case covers a label when the label's person is the
case's person or among its people, its day among the days and, where the label names a
patient, that patient among the patients. At a budget of B cases a day for 1,000 staff the
first B x days x staff / 1,000 cases by rank are shown; precision is the share of the shown
cases that cover a label, without cases of the random lane; recall is the share of the labels
that a shown case covers.

With --run, labels, staff and days are taken from a folder of "matron simulate hospital",
--cases are files in it, and the share of accesses that are explained is counted. Several
runs, with other seeds, are shown with their spread; several --cases side by side.`,
		Example: "  matron detect evaluate --labels labels.ndjson --cases cases.ndjson --staff 1200 --days 60\n" +
			"  matron detect evaluate --run sim1 --run sim2 --run sim3 --cases cases.ndjson\n" +
			"  matron detect evaluate --run sim1 --without staff --staff 1200\n" +
			"  matron detect evaluate --run sim1 --cases matron=cases.ndjson --cases volume=volume.ndjson --json",
	}
	f := c.Flags()
	f.StringVar(&e.labels, "labels", "", "file of labels")
	f.StringArrayVar(&e.cases, "cases", nil, "file of cases, [NAME=]FILE; may be given several times")
	f.StringArrayVar(&e.runs, "run", nil, "folder of a made-up hospital; may be given several times")
	f.IntVar(&e.staff, "staff", 0, "people who could be reviewed (with --run: from the staff file)")
	f.IntVar(&e.days, "days", 0, "days that the accesses span (with --run: from the accesses)")
	f.StringVar(&e.zone, "zone", "Europe/London", "time zone of the hospital")
	f.StringArrayVar(&e.without, "without", nil, "with --run: as if a feed were missing; may be given several times")
	f.BoolVar(&e.explain, "explain", true, "with --run: count how many accesses are explained")
	f.StringVar(&e.site, "templates", "", "with --run: file of the site's own templates; those in shadow are counted")
	f.BoolVar(&e.asJSON, "json", false, "print everything as one JSON object")
	c.MarkFlagsOneRequired("labels", "run")
	c.MarkFlagsMutuallyExclusive("labels", "run")
	c.RunE = func(c *cobra.Command, _ []string) error { return e.run(c) }
	return c
}

// list is one list of cases in one run.
type caseList struct {
	Name string `json:"name"`
	File string `json:"file"`
	evaluate.Report
}

// evaluated is one run and its lists.
type evaluated struct {
	Run       string                    `json:"run"`
	Lists     []caseList                `json:"lists"`
	Explained *evaluate.ExplainedReport `json:"explained,omitempty"`
	labels    []feeds.Label
}

func (e *evaluating) run(c *cobra.Command) error {
	var err error
	if e.location, err = time.LoadLocation(e.zone); err != nil {
		return fmt.Errorf("--zone %q is not known: write for example Europe/London", e.zone)
	}
	if len(e.cases) == 0 && (len(e.runs) == 0 || !e.explain) {
		return errors.New("--cases is missing: name a file of cases, as \"matron alerts export --json\" writes it")
	}
	var all []evaluated
	if len(e.runs) == 0 {
		if e.staff < 1 || e.days < 1 {
			return errors.New("--labels needs --staff and --days: how many people, and how many days of accesses")
		}
		one, err := e.files(evaluated{Run: e.labels}, "", e.staff, e.days)
		if err != nil {
			return failure{exitFailure, err}
		}
		all = append(all, one)
	}
	for _, dir := range e.runs {
		one, err := e.folder(c, dir)
		if err != nil {
			return failure{exitFailure, err}
		}
		all = append(all, one)
	}
	if e.asJSON {
		return printJSON(c, map[string]any{"runs": all, "spread": spreads(all)})
	}
	printEvaluation(c.OutOrStdout(), all)
	return nil
}

// files evaluates each list of cases against the labels.
func (e *evaluating) files(one evaluated, dir string, staff, days int) (evaluated, error) {
	var err error
	if one.labels == nil {
		if one.labels, err = gateway.ReadLabels(e.labels); err != nil {
			return one, err
		}
	}
	one.Lists = []caseList{}
	for _, arg := range e.cases {
		name, file, named := strings.Cut(arg, "=")
		if !named {
			name, file = strings.TrimSuffix(filepath.Base(arg), filepath.Ext(arg)), arg
		}
		path := file
		if dir != "" && !filepath.IsAbs(file) {
			path = filepath.Join(dir, file)
		}
		cases, err := readCases(path)
		if err != nil {
			return one, err
		}
		one.Lists = append(one.Lists, caseList{name, path, evaluate.Evaluate(one.labels, cases, staff, days)})
	}
	return one, nil
}

func readCases(path string) ([]evaluate.Case, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	defer func() { _ = f.Close() }()
	cases, err := evaluate.ReadCases(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return cases, nil
}

// folder evaluates one run.
func (e *evaluating) folder(c *cobra.Command, dir string) (evaluated, error) {
	one := evaluated{Run: dir}
	f, err := openFolder(c, dir, e.location, e.without)
	if err != nil {
		return one, err
	}
	if one.labels, err = f.labels(); err != nil {
		return one, err
	}
	staff, days := e.staff, e.days
	if staff == 0 {
		staff = f.context.People()
	}
	if days == 0 {
		days = f.days()
	}
	if staff == 0 {
		return one, fmt.Errorf("%s holds no staff file: say how many people with --staff", dir)
	}
	if e.explain {
		site, err := gateway.SiteTemplates(config.Detection{Templates: e.site})
		if err != nil {
			return one, err
		}
		f.engine = explain.New(explain.Config{Location: e.location, Site: site}, f.context)
		r := f.explained(one.labels)
		one.Explained = &r
	}
	return e.files(one, dir, staff, days)
}

// explained counts how many accesses are explained, and by what.
func (f *folder) explained(labels []feeds.Label) evaluate.ExplainedReport {
	masks := f.engine.Rows(f.accesses, nil)
	counts := evaluate.NewExplained(labels, f.location)
	t := f.accesses
	for i := range t.Len() {
		if !t.Counts(i) || f.machines[t.Person[i]] {
			continue
		}
		counts.Add(t.People.Text(t.Person[i]), f.engine.InUse(t.Patients.Text(t.Patient[i])), t.Time(i), masks[i])
	}
	return counts.Report()
}
