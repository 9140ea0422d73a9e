package gateway

import (
	"errors"
	"os"

	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/journal"
)

// condenseAbove is how many entries a ledger may have at a start before it is
// written anew: about a day's.
const condenseAbove = 100_000

// openLedger opens the shipper's ledger. One that has grown long is replaced by
// a short one that means the same once it has more than limit entries; a crash
// on the way leaves the long one.
func openLedger(path, source string, limit int) (*journal.Ledger, [][]byte, error) {
	ledger, entries, err := journal.OpenLedger(path)
	if err != nil || len(entries) <= limit {
		return ledger, entries, err
	}
	short, err := clickhouse.Condense(source, entries)
	if err != nil {
		return nil, nil, errors.Join(err, ledger.Close())
	}
	if err := errors.Join(ledger.Close(), replaceLedger(path, short)); err != nil {
		return nil, nil, err
	}
	return journal.OpenLedger(path)
}

// replaceLedger puts a ledger of these entries in the place of the one at path.
// On error the old one stays.
func replaceLedger(path string, entries [][]byte) error {
	fresh := path + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := writeLedger(fresh, entries); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

func writeLedger(path string, entries [][]byte) error {
	ledger, _, err := journal.OpenLedger(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ledger.Append(e); err != nil {
			return errors.Join(err, ledger.Close())
		}
	}
	return ledger.Close()
}
