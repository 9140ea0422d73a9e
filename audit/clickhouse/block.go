package clickhouse

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

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

// packed is a block with its rows as columns, ready to be sent.
type packed struct {
	block
	at      time.Time // of its first record
	columns *encoder
}

// walk hands records with their canonical bytes to visit, as Source.Walk does.
type walk func(from uint64, limit int, visit func(r *audit.Record, canonical []byte) (more bool)) error

// pack cuts a block of at most limit records from number from on, all in one
// partition. Each record is decoded once, and what is hashed are the bytes that
// the journal holds. It returns nil when there is none; damage behind the first
// record ends the block and is met by the next. The caller gives it back to free.
func (s *Store) pack(records walk, from uint64, limit int) (*packed, error) {
	p := &packed{columns: s.encoder(), block: block{first: from, last: from - 1}}
	h := sha256.New()
	var length [8]byte
	err := records(from, limit, func(r *audit.Record, canonical []byte) bool {
		in := month(r)
		if p.rows() == 0 {
			p.first, p.month, p.at = r.Seq, in, r.Time
		} else if in != p.month {
			return false
		}
		binary.BigEndian.PutUint64(length[:], uint64(len(canonical)))
		h.Write(length[:])
		h.Write(canonical)
		p.columns.add(r)
		p.last = r.Seq
		return true
	})
	if p.rows() == 0 {
		s.free(p)
		return nil, err
	}
	p.hash = hex.EncodeToString(h.Sum(nil))
	return p, nil
}

// encoder takes an empty one from those that are free.
func (s *Store) encoder() *encoder {
	e, _ := s.encoders.Get().(*encoder)
	if e == nil {
		return newEncoder()
	}
	e.input.Reset()
	return e
}

// free gives the memory of a block back.
func (s *Store) free(p *packed) {
	if p != nil && !p.columns.lent {
		s.encoders.Put(p.columns)
	}
}

// month is the partition of a record, as toYYYYMM has it.
func month(r *audit.Record) int {
	t := r.Time.UTC()
	return t.Year()*100 + int(t.Month())
}
