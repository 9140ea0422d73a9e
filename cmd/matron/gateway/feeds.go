package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/matron-epr/matron/audit/detect"
	"github.com/matron-epr/matron/audit/intake"
)

// read reads the feeds that the configuration names. A feed without a file stays
// missing, which its detectors say; a file that cannot be read is an error.
func (d *detection) read(key []byte) (detect.Context, error) {
	var c detect.Context
	hash, err := detect.NewHasher(key)
	if err != nil {
		return c, err
	}
	d.hash = hash
	return c, errors.Join(
		feed(d, d.cfg.Detection.Staff, hash.ReadStaff, &c.Staff),
		feed(d, d.cfg.Detection.Patients, hash.ReadPatients, &c.Patients),
		feed(d, d.cfg.Detection.Care, hash.ReadCare, &c.Care),
	)
}

// feed reads one file into rows. Bad lines go to a reject file beside it with
// their numbers and reasons; the rest goes in.
func feed[T any](d *detection, path string, read func(io.Reader) ([]T, intake.Report, error), rows *[]T) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path) //nolint:gosec // the operator's own configuration
	if err != nil {
		return fmt.Errorf("read feed: %w", err)
	}
	defer func() { _ = f.Close() }()
	found, report, err := read(f)
	if err != nil {
		return fmt.Errorf("read feed %s: %w", path, err)
	}
	*rows = found
	d.log.LogAttrs(context.Background(), slog.LevelInfo, "feed read", slog.String("file", path),
		slog.Int("rows", len(found)), slog.Int("rejected", len(report.Rejects)), slog.Any("unknown_fields", report.Unknown))
	return writeRejects(path+".rejects", report.Rejects)
}

func writeRejects(path string, rejects []intake.Reject) error {
	if len(rejects) == 0 {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // beside the operator's own file
	if err != nil {
		return fmt.Errorf("write rejects: %w", err)
	}
	enc := json.NewEncoder(f)
	for _, r := range rejects {
		err = errors.Join(err, enc.Encode(r))
	}
	return errors.Join(err, f.Close())
}
