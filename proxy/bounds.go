package proxy

import (
	"io"

	"github.com/matron-epr/matron/audit"
)

// What one exchange may make the gateway write down. Each patient is a record of
// its own: without these bounds one request could fill the disk and keep
// everybody else's records waiting (GW-02, GW-12).
const (
	maxPatientsAsked = 1000 // named by one request
	maxPatientsShown = 5000 // named by one response

	growAtOnce = 256 << 10 // bytes taken for a response before any of it is there
)

// metered reads what is kept in memory, and fails once all exchanges together
// keep more than the gateway may: whoever comes last is refused, and nobody runs
// out of memory (GW-02).
type metered struct {
	io.Reader
	x *exchange
}

// Read is part of io.Reader.
func (m metered) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.x.kept += int64(n)
	if m.x.g.kept.Add(int64(n)) > m.x.g.cfg.MaxKept {
		return n, errBusy
	}
	return n, err
}

// giveBack says that so many bytes are not in memory any more.
func (x *exchange) giveBack(n int64) {
	x.g.kept.Add(-n)
	x.kept -= n
}

// letGo gives back what the exchange kept.
func (x *exchange) letGo() {
	x.giveBack(x.kept)
	if x.spooled != nil {
		_ = x.spooled.Close() // nothing of it is needed any more
		x.spooled = nil
	}
}

// nameable reports whether every patient has a name that a record can hold.
func nameable(patients []Patient) bool {
	for _, p := range patients {
		if len(p.ID) > audit.MaxID || len(p.NHSNumber) > audit.MaxID {
			return false
		}
	}
	return true
}

// recordable returns nil when a record can hold all of what a request does. What
// would have to be shortened is refused instead: a record that names half of a
// patient or of a resource names another one (GW-08, GW-13).
func recordable(a *Access) error {
	size := 0
	for i := range a.Parts {
		size += len(partDetail(a.Parts[i])) + 8
	}
	switch {
	case len(a.Patients) > maxPatientsAsked:
		return errTooManyPatients
	case size > audit.MaxParts-partsReserve:
		return errTooManyParts
	case !nameable(a.Patients), len(a.ID) > audit.MaxID, len(a.Version) > audit.MaxID:
		return errUnclassifiable
	}
	return nil
}

// partsReserve is left in a record's detail for what else stands there.
const partsReserve = 256

// partDetail writes one part of an exchange for the record.
func partDetail(p Part) string {
	return audit.DetailPart + string(p.Action) + " " + string(p.Area) + " " + p.Resource
}
