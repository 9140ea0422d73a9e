package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/cases"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/detect"
	runs "github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/policy"
)

// CasesFile is where the cases of the last run of detection over the record stand.
func CasesFile(c config.Config) string { return filepath.Join(c.DataDir, "cases.ndjson") }

// runCases reads the cases of the last run, and again when there was another. It is
// safe for concurrent use.
type runCases struct {
	path string

	mu    sync.Mutex
	at    time.Time // of the file; guarded by mu
	cases []runs.Case
}

// read is none when there was no run.
func (l *runCases) read() ([]runs.Case, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in, err := os.Open(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	if info.ModTime().Equal(l.at) {
		return l.cases, nil
	}
	all, err := runs.Read(in)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", l.path, err)
	}
	l.at, l.cases = info.ModTime(), all
	return all, nil
}

// Alerts lists the newest alerts that were found live, and the cases of the last run,
// by rank; what is part of such a case is not listed once more. It is for a command
// beside the gateway.
func Alerts(ctx context.Context, c config.Config, limit int) ([]detect.Alert, []runs.Case, error) {
	db, err := openDatabase(ctx, c, false)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = db.Close() }()
	made, err := (&runCases{path: CasesFile(c)}).read()
	if err != nil {
		return nil, nil, err
	}
	live, err := apart(ctx, cases.New(db), made, limit)
	return live, made[:min(limit, len(made))], err
}

// Dispositions lists what was made of alerts and cases, oldest first, for a command
// beside the gateway.
func Dispositions(ctx context.Context, c config.Config) ([]cases.Disposition, error) {
	db, err := openDatabase(ctx, c, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	return cases.New(db).Dispositions(ctx, "")
}

// apart lists up to limit alerts, newest first, without those whose accesses are all
// part of one case.
func apart(ctx context.Context, store *cases.Store, made []runs.Case, limit int) ([]detect.Alert, error) {
	in := map[string][]int{} // access → cases
	for i := range made {
		for _, id := range made[i].Accesses {
			in[id] = append(in[id], i)
		}
	}
	var out []detect.Alert
	for before := ""; ; {
		page, err := store.List(ctx, limit, before)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if !within(&page[i], in) && len(out) < limit {
				out = append(out, page[i])
			}
		}
		if len(page) < limit || len(out) == limit {
			return out, nil
		}
		before = page[len(page)-1].ID
	}
}

// within says whether all accesses of an alert are part of one case.
func within(a *detect.Alert, in map[string][]int) bool {
	held := map[int]int{}
	for _, ref := range a.Evidence {
		for _, i := range in[accessID(ref)] {
			if held[i]++; held[i] == len(a.Evidence) {
				return true
			}
		}
	}
	return false
}

// accessID is how a case names an access that the gateway saw itself.
func accessID(r detect.Ref) string { return fmt.Sprintf("%s-%d", r.Source, r.Seq) }

// refOf is the opposite of accessID. An imported access may have such an id too.
func refOf(id string) (detect.Ref, bool) {
	i := strings.LastIndexByte(id, '-')
	if i < 1 {
		return detect.Ref{}, false
	}
	seq, err := strconv.ParseUint(id[i+1:], 10, 64)
	return detect.Ref{Source: id[:i], Seq: seq}, err == nil
}

// caseAlert shows a case of a run as an alert.
func caseAlert(c *runs.Case) dashboards.Alert {
	a := dashboards.Alert{
		ID: c.ID, Time: c.MadeAt, Detectors: measured(c.Detectors), Person: c.Person, People: c.People, Patients: c.Patients, Days: c.Days, Rank: c.Rank, Sentences: c.Sentences,
		Severity: severity(c.Lane),
	}
	if len(c.Patients) == 1 {
		a.Patient = c.Patients[0]
	}
	for _, e := range c.Explanations {
		a.Explanations = append(a.Explanations, dashboards.AlertReason{Template: e.Template, Sentence: e.Sentence, Evidence: e.Evidence, Strong: e.Strength == "strong"})
	}
	return a
}

// measured is what detectors said, and how common that is.
func measured(all []runs.Detector) []dashboards.AlertDetector {
	var out []dashboards.AlertDetector
	for _, d := range all {
		out = append(out, dashboards.AlertDetector{ID: d.ID, Version: d.Version, Share: d.P})
	}
	return out
}

const (
	// evidenceRows is how many accesses a page of one alert shows.
	evidenceRows = 50
	// importedRows bounds the imported accesses that are searched for those of a case.
	importedRows = 20_000
)

// Alert implements dashboards.AlertReader.
func (r alertReader) Alert(ctx context.Context, id string) (dashboards.Alert, error) {
	ctx, cancel := context.WithTimeout(ctx, pageQuery)
	defer cancel()
	a, ids, err := r.find(ctx, id)
	if err != nil {
		return a, err
	}
	who := r.names.of(ctx, a.Person)
	a.PersonName, a.Roles = who.name, who.roles
	said, err := r.store.Dispositions(ctx, id)
	if err != nil {
		return a, err
	}
	for _, d := range said {
		a.Reviews = append(a.Reviews, dashboards.AlertReview{Made: d.Made, Name: d.Name, Verdict: d.Outcome, Note: d.Note})
		a.Verdict = d.Outcome
	}
	var whole bool
	a.Evidence, whole = r.evidence(ctx, &a, ids)
	slices.SortFunc(a.Evidence, func(x, y audit.Access) int { return y.Time.Compare(x.Time) })
	switch missing := len(ids) - len(a.Evidence); {
	case !whole:
		a.Partial = "The searchable copy of the record does not answer: not all accesses can be shown now."
	case missing > 0:
		a.Partial = fmt.Sprintf("%d more accesses are not shown here. \"matron alerts list --json\" names all of them.", missing)
	}
	return a, nil
}

// find is an alert that was found live, else a case of the last run, and the accesses
// that it rests on.
func (r alertReader) find(ctx context.Context, id string) (dashboards.Alert, []string, error) {
	var ids []string
	live, err := r.store.Get(ctx, id)
	if err == nil {
		for _, ref := range live.Evidence {
			ids = append(ids, accessID(ref))
		}
		return r.page(live), ids, nil
	}
	if !errors.Is(err, cases.ErrNotFound) {
		return dashboards.Alert{}, nil, err
	}
	made, err := r.last.read()
	if err != nil {
		return dashboards.Alert{}, nil, err
	}
	i := slices.IndexFunc(made, func(c runs.Case) bool { return c.ID == id })
	if i < 0 {
		return dashboards.Alert{}, nil, dashboards.ErrNoAlert
	}
	return caseAlert(&made[i]), made[i].Accesses, nil
}

// evidence reads accesses from the index, the gateway's own and imported ones. whole
// is false when it does not answer.
func (r alertReader) evidence(ctx context.Context, a *dashboards.Alert, ids []string) (rows []audit.Access, whole bool) {
	imported := map[string]bool{}
	for _, id := range ids[:min(len(ids), evidenceRows)] {
		ref, own := refOf(id)
		var row audit.Access
		err := clickhouse.ErrNoRecord
		if own {
			row, err = r.index.Event(ctx, ref.Source, ref.Seq)
		}
		switch {
		case err == nil:
			rows = append(rows, row)
		case errors.Is(err, clickhouse.ErrNoRecord):
			imported[id] = true
		default:
			return rows, false
		}
	}
	if len(imported) == 0 {
		return rows, true
	}
	more, err := r.imported(ctx, a, imported)
	return append(rows, more...), err == nil
}

// imported finds accesses that another system wrote down.
func (r alertReader) imported(ctx context.Context, a *dashboards.Alert, ids map[string]bool) ([]audit.Access, error) {
	store, err := r.index.office.open()
	if err != nil || len(a.Days) == 0 {
		return nil, err
	}
	q := audit.Query{Site: r.site, Person: a.Person, Limit: importedRows}
	if a.Person == "" {
		q.Patient = a.Patient
	}
	first, errFirst := time.Parse(time.DateOnly, slices.Min(a.Days))
	last, errLast := time.Parse(time.DateOnly, slices.Max(a.Days))
	if err := errors.Join(errFirst, errLast); err != nil {
		return nil, err
	}
	q.From, q.To = first.AddDate(0, 0, -1), last.AddDate(0, 0, 2)
	all, err := store.Imported(ctx, q)
	if err != nil {
		return nil, err
	}
	var rows []audit.Access
	for i := range all {
		if one := &all[i]; ids[one.ID] {
			rows = append(rows, importedAccess(one))
		}
	}
	return rows, nil
}

// importedAccess shows an imported access as one of the gateway's. It has no place in
// a journal, and what became of it is as the other system says.
func importedAccess(r *audit.Imported) audit.Access {
	a := audit.Access{Record: audit.Record{
		Site: r.Site, Time: r.Time, Person: r.Person, Patient: r.Patient, Action: r.Action, App: r.App, Area: r.Area, Screen: r.Screen, Resource: r.Resource,
		Device: r.Device, Deliberate: r.Deliberate, Effect: policy.Allow.String(), Certainty: audit.Authoritative,
	}}
	if r.Role != "" {
		a.Roles = []string{r.Role}
	}
	switch r.Outcome {
	case "success":
		a.Settled, a.Outcome = true, audit.Success
	case "denied":
		a.Effect = policy.Deny.String()
	case "failed":
		a.Settled, a.Outcome = true, audit.MinorFailure
	}
	return a
}

// Judge implements dashboards.AlertReader.
func (r alertReader) Judge(ctx context.Context, who policy.Subject, id, verdict, note string) error {
	return r.store.Judge(ctx, cases.Disposition{Alert: id, Made: r.now(), Issuer: who.Issuer, Sub: who.Sub, Name: who.Name, Outcome: verdict, Note: note})
}
