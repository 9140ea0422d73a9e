package gateway

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit/cases"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/verify"
	"github.com/matron-epr/matron/cmd/matron/config"
)

// PublicKeyName is the file beside a journal that holds the public key of its
// checkpoints.
const PublicKeyName = "checkpoint.pub"

// CosignedFile is where the last checkpoint is that witnesses have cosigned.
func CosignedFile(journalDir string) string { return filepath.Join(journalDir, "checkpoint.cosigned") }

// IndexToVerify connects to ClickHouse for a comparison with the journal.
func IndexToVerify(ctx context.Context, c config.Config) (*verify.Index, func(), error) {
	store, err := OpenIndex(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	if err := store.Ping(ctx); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("compare with ClickHouse (is \"matron serve\" running?): %w", err), store.Close())
	}
	fail := func(err error) (*verify.Index, func(), error) {
		_ = store.Close()
		return nil, nil, fmt.Errorf("compare with ClickHouse: %w", err)
	}
	entries, err := journal.ReadLedger(paths{c.DataDir}.ledger())
	if err != nil {
		return fail(err)
	}
	verified, err := clickhouse.Verified(c.Source, entries)
	if err != nil {
		return fail(err)
	}
	reader, err := journal.OpenReader(JournalDirs(c)...)
	if err != nil {
		return fail(err)
	}
	index := &verify.Index{
		Rows: rows{store}, Alone: c.ClickHouse.Embedded, Verified: verified, HasLedger: true, Now: time.Now,
		Committed: func() (uint64, error) {
			err := reader.Refresh()
			return reader.Last(), err
		},
	}
	return index, func() { _, _ = reader.Close(), store.Close() }, nil
}

// rows is what ClickHouse holds, as verify asks for it.
type rows struct{ *clickhouse.Store }

// Sources implements verify.Rows.
func (r rows) Sources(ctx context.Context) ([]verify.Stretch, error) {
	found, err := r.Store.Sources(ctx)
	list := make([]verify.Stretch, len(found))
	for i, b := range found {
		list[i] = verify.Stretch{Source: b.Source, First: b.First, Last: b.Last}
	}
	return list, err
}

// PublicKeyFile holds the key that checks the checkpoints of c's gateway.
func PublicKeyFile(c config.Config) string { return paths{c.DataDir}.checkpointPub() }

// CheckpointSigner reads the key that signs for c's gateway.
func CheckpointSigner(c config.Config) (note.Signer, error) {
	signer, _, _, err := checkpointKeys(c)
	return signer, err
}

// CaseRecords are the numbers of the records of c's gateway that an alert rests on,
// and the other gateways whose records it rests on as well.
func CaseRecords(ctx context.Context, c config.Config, id string) (seqs []uint64, others []string, err error) {
	db, err := openDatabase(ctx, c, false)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = db.Close() }()
	a, err := cases.New(db).Get(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	for _, ref := range a.Evidence {
		if ref.Source == c.Source {
			seqs = append(seqs, ref.Seq)
		} else if !slices.Contains(others, ref.Source) {
			others = append(others, ref.Source)
		}
	}
	return seqs, others, nil
}
