package clickhouse

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/matron-epr/matron/audit"
)

// block is a run of records that is inserted as a whole. Once it is in the
// ledger it is never cut differently, and it never spans two partitions,
// because the server decides on duplicates partition by partition.
type block struct {
	first, last uint64
	month       int    // yyyymm
	hash        string // of the canonical bytes of its records
}

func (b block) rows() uint64 { return b.last - b.first + 1 }

// token is what the server knows the block by. It covers the content: a token
// that came back with other rows would make the server drop them silently.
func (b block) token(source string) string {
	return fmt.Sprintf("%s/%d-%d/%s", source, b.first, b.last, b.hash)
}

// cutBlock makes a block of the records at the head that share a partition.
func cutBlock(records []audit.Record) block {
	b := block{first: records[0].Seq, month: month(&records[0])}
	n := 1
	for n < len(records) && month(&records[n]) == b.month {
		n++
	}
	b.last, b.hash = records[n-1].Seq, contentHash(records[:n])
	return b
}

// month is the partition of a record, as toYYYYMM has it.
func month(r *audit.Record) int {
	t := r.Time.UTC()
	return t.Year()*100 + int(t.Month())
}

// contentHash is SHA-256 over each record's canonical bytes behind their length.
func contentHash(records []audit.Record) string {
	h := sha256.New()
	var buf []byte
	for i := range records {
		buf = records[i].AppendCanonical(buf[:0])
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(buf))))
		h.Write(buf)
	}
	return hex.EncodeToString(h.Sum(nil))
}
