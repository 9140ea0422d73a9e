package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/audit/detect/explain"
	"github.com/matron-epr/matron/audit/feeds"
	"github.com/matron-epr/matron/audit/intake"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/proxy/strictyaml"
)

// read reads the feeds that the configuration names.
func (d *detection) read() (feeds.Context, error) {
	c, err := ReadFeeds(d.hash, d.cfg.Detection, nil)
	for _, k := range feeds.Kinds() {
		if f, ok := c.About[k]; ok {
			d.log.LogAttrs(context.Background(), slog.LevelInfo, "feed read", slog.String("file", f.File), slog.Int("rows", f.Rows),
				slog.Int("rejected", f.Rejected), slog.Int("duplicates", f.Duplicates), slog.Int("contradictions", f.Contradictions),
				slog.Any("unknown_fields", f.Unknown))
		}
	}
	return c, err
}

// ReadFeeds reads the files of the feeds. A feed without a file stays missing,
// which its detectors say; a file that cannot be read is an error. Bad lines go
// to a reject file beside it with their numbers and reasons; the rest goes in.
// lines counts what was read, for progress.
func ReadFeeds(hash feeds.Hasher, files config.Detection, lines *atomic.Int64) (feeds.Context, error) {
	c := feeds.Context{About: map[feeds.Kind]feeds.Feed{}}
	r := feedFiles{hash: hash, mappings: files.Mappings, lines: lines, about: c.About}
	err := errors.Join(
		readFeed(r, feeds.StaffFeed, files.Staff, feeds.Reader.Staff, &c.Staff),
		readFeed(r, feeds.RotaFeed, files.Rota, feeds.Reader.Rota, &c.Rota),
		readFeed(r, feeds.PatientsFeed, files.Patients, feeds.Reader.Patients, &c.Patients),
		readFeed(r, feeds.CareFeed, files.Care, feeds.Reader.Care, &c.Care),
		readFeed(r, feeds.DevicesFeed, files.Devices, feeds.Reader.Devices, &c.Devices),
	)
	c.Match()
	return c, err
}

// FeedsUsed names the feeds of a run for its record: which, of when, how many rows
// and what exactly.
func FeedsUsed(c feeds.Context) []string {
	var out []string
	for _, k := range feeds.Kinds() {
		if f, ok := c.About[k]; ok {
			out = append(out, fmt.Sprintf("feed=%s rows=%d rejected=%d as_of=%s sha256=%s", k, f.Rows, f.Rejected, f.AsOf.Format(time.RFC3339), f.SHA256))
		}
	}
	return out
}

// ReadLabels reads a labels file.
func ReadLabels(path string) ([]feeds.Label, error) {
	var labels []feeds.Label
	r := feedFiles{about: map[feeds.Kind]feeds.Feed{}}
	err := readFeed(r, feeds.LabelsFeed, path, feeds.Reader.Labels, &labels)
	if bad := r.about[feeds.LabelsFeed].Rejected; err == nil && bad > 0 {
		err = fmt.Errorf("read %s: %d lines are no labels, see %s.rejects.ndjson: no figure holds without them", path, bad, path)
	}
	return labels, err
}

type feedFiles struct {
	hash     feeds.Hasher
	mappings map[string]string
	lines    *atomic.Int64
	about    map[feeds.Kind]feeds.Feed
}

func readFeed[T any](files feedFiles, kind feeds.Kind, path string, read func(feeds.Reader, io.Reader) (T, feeds.Feed, error), rows *T) (err error) {
	if path == "" {
		return nil
	}
	r := feeds.Reader{Hasher: files.hash, Lines: files.lines}
	if mapping := files.mappings[string(kind)]; mapping != "" {
		if r.Mapping, err = readMapping(mapping, kind); err != nil {
			return err
		}
	}
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return fmt.Errorf("read feed: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read feed: %w", err)
	}
	rejects := &intake.RejectFile{Path: path + ".rejects.ndjson"}
	r.Reject = rejects.Add
	sum := sha256.New()
	found, feed, err := read(r, io.TeeReader(f, sum))
	if err == nil {
		_, err = io.Copy(sum, f) // what the reader had no need of
	}
	if _, err = rejects.Close(err); err != nil {
		return fmt.Errorf("read feed %s: %w", path, err)
	}
	feed.File, feed.AsOf, feed.SHA256 = path, info.ModTime().UTC(), hex.EncodeToString(sum.Sum(nil))
	*rows, files.about[kind] = found, feed
	return nil
}

// SiteTemplates reads the site's own templates of explanations; the error holds
// every mistake with its place.
func SiteTemplates(c config.Detection) ([]explain.SiteTemplate, error) {
	if c.Templates == "" {
		return nil, nil
	}
	src, err := os.ReadFile(c.Templates)
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	var f explain.SiteFile
	doc := strictyaml.Decode(c.Templates, src, &f)
	for _, p := range f.Validate() {
		doc.Report(p.Path, p.Text)
	}
	return f.Templates, doc.Err()
}

// readMapping reads a mapping file; the error holds every mistake with its place.
func readMapping(path string, kind feeds.Kind) (*feeds.Mapping, error) {
	src, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read mapping: %w", err)
	}
	m := new(feeds.Mapping)
	doc := strictyaml.Decode(path, src, m)
	for _, p := range m.Validate(kind) {
		doc.Report(p.Path, p.Text)
	}
	return m, doc.Err()
}
