package clickhouse

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// Status says how far a shipper is. It holds no patient data.
type Status struct {
	Committed     uint64        // the last record in the journal
	Shipped       uint64        // the last record that ClickHouse acknowledged
	Verified      uint64        // the last record up to which every row was counted
	Lag           uint64        // records in the journal and not shipped
	LagAge        time.Duration // how long the oldest of them has waited, as far as known
	Inserted      uint64        // rows inserted by this process
	Missing       uint64        // rows found missing and inserted again by this process
	Duplicates    uint64        // rows found more than once by the latest reconcile
	Beyond        uint64        // the highest row above the journal's end, 0 when there is none
	LastError     string        // code of the latest failure, "" after a success
	LastReconcile time.Time     // when every row was last counted; zero if never
}

// The codes of Status.LastError. A failure that ClickHouse itself reports is
// "clickhouse-" and its number.
const (
	CodeLedger      = "ledger"
	CodeContent     = "journal-differs"
	CodeRowsMissing = "rows-missing"
	CodeTimeout     = "timeout"
	CodeUnreachable = "unreachable"
	CodeOther       = "other"
)

// errorCode turns an error into a code that may stand in logs and metrics.
func errorCode(err error) string {
	var exception *driver.Exception
	var network net.Error
	switch {
	case errors.Is(err, ErrLedger):
		return CodeLedger
	case errors.Is(err, ErrContent):
		return CodeContent
	case errors.Is(err, ErrRowsMissing):
		return CodeRowsMissing
	case errors.As(err, &exception):
		return "clickhouse-" + strconv.Itoa(int(exception.Code))
	case errors.Is(err, context.DeadlineExceeded):
		return CodeTimeout
	case errors.As(err, &network):
		return CodeUnreachable
	}
	return CodeOther
}
