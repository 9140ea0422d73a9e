package bypass

import (
	"time"

	"github.com/matron-epr/matron/audit"
)

// The actions of records of bypasses.
const (
	actionRequest = "request"
	actionApprove = "approve"
	actionBegin   = "begin"
	actionEnd     = "end"
)

// Requested is the record of a request.
func (b Bypass) Requested(operator string) *audit.Record {
	return b.record(actionRequest, b.RequestedBy, b.RequestedAt, "operator="+operator)
}

// Approved is the record of an approval. What follows it is recorded by the
// gateway.
func (b Bypass) Approved(operator string) *audit.Record {
	return b.record(actionApprove, b.ApprovedBy, b.ApprovedAt, "operator="+operator)
}

// begun is the record that stands before the first request is let through.
func (b Bypass) begun(at time.Time, left time.Duration) *audit.Record {
	again := "false"
	if b.Used > 0 {
		again = "true" // after a restart of the gateway
	}
	return b.record(actionBegin, "", at, "left="+left.String(), "again="+again)
}

// EndedRecord is the record of an end. It must have one.
func (b Bypass) EndedRecord() *audit.Record {
	by := b.Ended.By
	if by == gatewayItself {
		by = ""
	}
	return b.record(actionEnd, by, b.Ended.At, "end_reason="+b.Ended.Reason)
}

// record is what the journal is told. by is "" for the gateway by itself.
func (b Bypass) record(action, by string, at time.Time, detail ...string) *audit.Record {
	r := &audit.Record{
		Kind: audit.KindBypass, Time: at.UTC().Truncate(time.Microsecond), App: b.App, Action: action, Mode: "bypass",
		Detail: append([]string{
			"bypass=" + b.ID, "reason=" + b.Reason, "for=" + b.For.String(), "requested_by=" + b.RequestedBy,
		}, detail...),
	}
	if by != "" {
		r.UserIssuer, r.UserSub, r.UserName = "os", by, by
	}
	if b.ApprovedBy != "" {
		r.Detail = append(r.Detail, "approved_by="+b.ApprovedBy, "until="+b.Until().UTC().Format(time.RFC3339))
	}
	r.Bound()
	return r
}
