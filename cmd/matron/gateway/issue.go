package gateway

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
	"github.com/matron-epr/matron/hazardlog/report"
	"github.com/matron-epr/matron/hazardlog/workbook"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy/strictyaml"
)

// Issue makes the issue pack of a log for a command beside c's gateway, with what the
// gateway ran last.
func Issue(ctx context.Context, c config.Config, l hazardlog.Log, draft bool, now time.Time) (report.Pack, error) {
	known, err := Evidence(ctx, c, l, now)
	if err != nil {
		return report.Pack{}, err
	}
	running := hazardlog.Baseline{Program: known.Build, Config: known.Config, Policy: known.Policy}
	return makeIssue(c, l, known, running, draft)
}

func makeIssue(c config.Config, l hazardlog.Log, known evidence.Report, running hazardlog.Baseline, draft bool) (report.Pack, error) {
	texts, err := reportTexts(c.HazardLog.TextsFile)
	if err != nil {
		return report.Pack{}, err
	}
	return report.Make(report.Input{Log: l, Evidence: known, Running: running, Texts: texts, Draft: draft}, workbook.Books{})
}

// reportTexts reads what people wrote for the safety case report, nothing for no
// file.
func reportTexts(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("hazard_log.texts_file: %w", err)
	}
	var texts map[string]string
	doc := strictyaml.Decode(path, text, &texts)
	var topics []string
	for _, t := range report.Topics() {
		topics = append(topics, t.ID)
	}
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		if !slices.Contains(topics, key) {
			doc.Report(key, "is no part of the report that people write: there are "+strings.Join(topics, ", "))
		}
	}
	return texts, doc.Err()
}

// issuePacker makes the issue pack of the log that pages show.
type issuePacker struct{ g *Gateway }

// Pack implements dashboards.IssuePacker.
func (p issuePacker) Pack(ctx context.Context, w io.Writer) error {
	l, err := hazardReader{p.g.hazards}.Hazards(ctx)
	if err != nil {
		return err
	}
	known, err := p.g.evidenceOf(l)
	if err != nil {
		return err
	}
	pack, err := makeIssue(*p.g.settings.Load(), l, known, p.g.running(), false)
	if err != nil {
		return err
	}
	data, err := pack.Zip()
	if err != nil {
		return err
	}
	if err := p.g.record(ctx, packRecord(policy.SubjectFrom(ctx), pack, p.g.now())); err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// packRecord is what the journal is told of a pack before it is handed out: to whom,
// which version, and the hash of everything in it.
func packRecord(who policy.Subject, p report.Pack, at time.Time) *audit.Record {
	m := p.Manifest
	r := &audit.Record{
		Kind: audit.KindHazard, Time: at.UTC().Truncate(time.Microsecond), Action: "issue", Resource: "issue-pack", ResourceID: m.Log,
		UserIssuer: who.Issuer, UserSub: who.Sub, UserName: who.Name, Person: who.Person,
		Detail: []string{"log=" + m.Log, "version=" + m.Version, "snapshot_sha256=" + m.Snapshot, "manifest_sha256=" + p.SHA256},
	}
	r.Bound()
	return r
}
