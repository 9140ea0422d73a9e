package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// Leaf is the RFC 6962 leaf hash of a record's canonical bytes.
func Leaf(canonical []byte) [32]byte {
	var buf [1024]byte // most records fit: hashed in one go, on the stack
	if len(canonical) < len(buf) {
		return sha256.Sum256(buf[:1+copy(buf[1:], canonical)])
	}
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(canonical)
	var leaf [32]byte
	h.Sum(leaf[:0])
	return leaf
}

// Place is where the record stands: "source/seq".
func (r Receipt) Place() string { return r.Source + "/" + strconv.FormatUint(r.Seq, 10) }

// String is the receipt as the response header Matron-Receipt carries it:
// "source/seq;leaf=" and the leaf in hexadecimal.
func (r Receipt) String() string {
	b := make([]byte, 0, len(r.Source)+96)
	b = append(b, r.Source...)
	b = append(b, '/')
	b = strconv.AppendUint(b, r.Seq, 10)
	b = append(b, ";leaf="...)
	return string(hex.AppendEncode(b, r.Leaf[:]))
}
