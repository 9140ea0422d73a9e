package gateway

import (
	"context"
	"log/slog"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/retention"
	"github.com/matron-epr/matron/cmd/matron/config"
)

func (p paths) holds() string { return filepath.Join(p.dir, "holds.ledger") }

// HoldsFile is where the legal holds of c's gateway are.
func HoldsFile(c config.Config) string { return paths{c.DataDir}.holds() }

// Verified is up to which record c's gateway has counted every row.
func Verified(c config.Config) (uint64, error) {
	entries, err := journal.ReadLedger(paths{c.DataDir}.ledger())
	if err != nil {
		return 0, err
	}
	return clickhouse.Verified(c.Source, entries)
}

// Approvers reads the keys of those who may approve a disposal.
func Approvers(c config.Config) ([]retention.Approver, error) {
	list := []retention.Approver{} // nobody is not the same as not known
	err := eachKey(c.Retention.Approvers, func(name string, key note.Verifier) {
		list = append(list, retention.Approver{Name: name, Key: key})
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// CheckpointKeys reads the key that signs for c's gateway, and the one that checks
// it.
func CheckpointKeys(c config.Config) (note.Signer, note.Verifier, error) {
	signer, verifier, _, err := checkpointKeys(c)
	return signer, verifier, err
}

// records is the journal as the shipper sees it: what the log has signed to be
// disposed of is not expected in ClickHouse.
func (o *backOffice) records() clickhouse.Source {
	_, key, err := CheckpointKeys(o.cfg)
	if err != nil {
		o.log.LogAttrs(context.Background(), slog.LevelError, "disposals of old records are not believed", slog.String("error", err.Error()))
		return o.journal
	}
	return disposedOf{o.journal, ArchiveDir(o.cfg), key, o.log}
}

type disposedOf struct {
	*journal.Journal
	archive string
	key     note.Verifier
	log     *slog.Logger
}

// Oldest reads the notes each time: "matron audit retention apply" writes one
// beside the running gateway, and only then removes anything. A note that the
// key did not sign changes nothing.
func (d disposedOf) Oldest() uint64 {
	list, bad, err := retention.Disposals(d.archive, d.key)
	for _, b := range bad {
		d.log.LogAttrs(context.Background(), slog.LevelError, "a disposal note is not believed",
			slog.String("file", b.File), slog.String("error", b.Err.Error()))
	}
	if err != nil {
		d.log.LogAttrs(context.Background(), slog.LevelError, "disposal notes cannot be read", slog.String("error", err.Error()))
		return d.Journal.Oldest()
	}
	d.Forget(retention.UpTo(list))
	return d.Journal.Oldest()
}
