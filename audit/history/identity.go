package history

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"

	"github.com/matron-epr/matron/audit"
)

// identity is what makes two accesses the same one.
type identity struct{ source, id, patient string }

func identityOf(r *audit.Imported) identity { return identity{r.Source, r.ID, r.Patient} }

// key is a number made of what identifies a row.
func key(r *audit.Imported) uint64 {
	var room [256]byte
	b := room[:0]
	for _, s := range [...]string{r.Site, r.Source, r.ID, r.Patient} {
		b = appendText(b, s)
	}
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:])
}

// content is half of SHA-256 over what is said of an access: equal accesses
// have equal contents, in whatever format and order of fields they come.
func content(r *audit.Imported, patients []string) [16]byte {
	var room [1024]byte
	b := strconv.AppendInt(room[:0], r.Time.UnixMicro(), 10)
	for _, s := range [...]string{
		r.Patient, r.Person, r.Action, r.App, r.Role, r.Session, r.Device, r.IP, r.Area, r.Screen, r.Resource, r.NHS,
		r.Deliberate, r.Purpose, r.Reason, r.Outcome, r.Extra,
	} {
		b = appendText(b, s)
	}
	b = strconv.AppendBool(b, r.BreakGlass)
	b = binary.AppendUvarint(b, r.Bytes)
	b = binary.AppendUvarint(b, r.Results)
	for _, s := range patients {
		b = appendText(b, s)
	}
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

// appendText puts the length first, so that neighbours cannot run together.
func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
