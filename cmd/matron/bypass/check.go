package bypass

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/matron-epr/matron/cmd/matron/ledger"
)

const (
	requestFormat  = "matron-bypass-request/v1"
	approvalFormat = "matron-bypass-approval/v1"

	// Lapse is how long a request waits for its approval: an emergency that can
	// wait longer is none.
	Lapse = time.Hour
)

// asked is what a request says, as it is signed.
type asked struct {
	ID     string    `json:"id"`
	App    string    `json:"app"`
	For    string    `json:"for"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// requestText is what who asks signs.
func requestText(origin string, b Bypass) string {
	return ledger.Text(requestFormat, origin, asked{ID: b.ID, App: b.App, For: b.For.String(), Reason: b.Reason, At: b.RequestedAt})
}

// approvalText is what who approves signs: the request with its signature, by
// hash, and when.
func approvalText(origin, request string, at time.Time) string {
	sum := sha256.Sum256([]byte(request))
	return approvalFormat + "\n" + origin + "\n" + hex.EncodeToString(sum[:]) + "\n" + at.UTC().Format(time.RFC3339Nano) + "\n"
}

// parseRequest reads what a request says, whoever signed it.
func parseRequest(s ledger.Signature) (Bypass, error) {
	var a asked
	if err := s.Said(&a); err != nil {
		return Bypass{}, err
	}
	d, err := time.ParseDuration(a.For)
	return Bypass{ID: a.ID, App: a.App, For: d, Reason: a.Reason, RequestedBy: s.By, RequestedAt: a.At, request: s.Note}, err
}

// parseApproval reads when an approval was given, whoever signed it.
func parseApproval(s ledger.Signature) (time.Time, error) {
	lines := strings.Split(s.Note, "\n")
	if len(lines) < 5 {
		return time.Time{}, errors.New("too short")
	}
	return time.Parse(time.RFC3339Nano, lines[3])
}

// checkRequest refuses what could not be approved.
func checkRequest(b Bypass, rules Rules) error {
	if b.App == "" {
		return refused("it names no application")
	}
	if err := ledger.CheckReason(b.Reason, "what hinders care"); err != nil {
		return refused("%v", err)
	}
	if err := ledger.CheckLength(b.For, rules.Longest); err != nil {
		return refused("%v", err)
	}
	return nil
}

// Check reports why b is not in force at a time, or nil when it is: two people
// whom the configuration names have signed, and it is not over by the clock. On
// error: no bypass (GW-19).
func (l *Ledger) Check(b Bypass, now time.Time) error {
	switch {
	case b.Ended != nil:
		return refused("%s has ended", b.ID)
	case b.ApprovedBy == "":
		return refused("%s waits for a second person to approve it", b.ID)
	case strings.EqualFold(b.ApprovedBy, b.RequestedBy):
		return refused("%s must be approved by somebody else than %s, who asked for it", b.ID, b.RequestedBy)
	case b.ApprovedAt.Sub(b.RequestedAt) > Lapse || b.ApprovedAt.Before(b.RequestedAt.Add(-ledger.Ahead)):
		return refused("%s was asked for at %s and lapsed after %s: ask again", b.ID, b.RequestedAt.UTC().Format(time.RFC3339), Lapse)
	case b.ApprovedAt.After(now.Add(ledger.Ahead)):
		return refused("%s was approved in the future of this clock, which was put back since", b.ID)
	case !now.Before(b.Until()):
		return refused("%s ended by itself at %s", b.ID, b.Until().UTC().Format(time.RFC3339))
	}
	if err := checkRequest(b, l.rules); err != nil {
		return err
	}
	asker, err := l.rules.People.Verify(ledger.Signature{By: b.RequestedBy, Note: b.request}, requestText(l.rules.Origin, b))
	if err != nil {
		return refused("the request of %s: %v", b.ID, err)
	}
	approver, err := l.rules.People.Verify(ledger.Signature{By: b.ApprovedBy, Note: b.approval}, approvalText(l.rules.Origin, b.request, b.ApprovedAt))
	if err != nil {
		return refused("the approval of %s: %v", b.ID, err)
	}
	if asker.KeyHash() == approver.KeyHash() {
		return refused("%s and %s have one key: they must be two people", b.RequestedBy, b.ApprovedBy)
	}
	return nil
}
