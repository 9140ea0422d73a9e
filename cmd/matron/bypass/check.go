package bypass

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit/merkle"
)

const (
	requestFormat  = "matron-bypass-request/v1"
	approvalFormat = "matron-bypass-approval/v1"

	// Lapse is how long a request waits for its approval: an emergency that can
	// wait longer is none.
	Lapse = time.Hour
	// shortest is the least time that is worth two signatures.
	shortest = time.Minute
	// maxReason bounds the reason in bytes.
	maxReason = 400
	// ahead is how far an approval may lie in the future of the gateway's clock:
	// beyond that the clock was put back since, and how long ago it was given is
	// not known.
	ahead = time.Minute
)

// asked is what a request says, as it is signed.
type asked struct {
	ID     string    `json:"id"`
	App    string    `json:"app"`
	For    string    `json:"for"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// requestText is what who asks signs. JSON escapes line ends, so that a reason
// cannot look like another line.
func requestText(origin string, b Bypass) string {
	line, err := json.Marshal(asked{ID: b.ID, App: b.App, For: b.For.String(), Reason: b.Reason, At: b.RequestedAt})
	if err != nil {
		return "" // a time beyond the year 9999; note.Sign refuses it
	}
	return requestFormat + "\n" + origin + "\n" + string(line) + "\n"
}

// approvalText is what who approves signs: the request with its signature, by
// hash, and when.
func approvalText(origin, request string, at time.Time) string {
	sum := sha256.Sum256([]byte(request))
	return approvalFormat + "\n" + origin + "\n" + hex.EncodeToString(sum[:]) + "\n" + at.UTC().Format(time.RFC3339Nano) + "\n"
}

func sign(text string, signer note.Signer) (string, error) {
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return string(signed), nil
}

// parseRequest reads what a request says, whoever signed it.
func parseRequest(s signature) (Bypass, error) {
	lines := strings.Split(s.Note, "\n")
	if len(lines) < 4 {
		return Bypass{}, errors.New("too short")
	}
	var a asked
	if err := json.Unmarshal([]byte(lines[2]), &a); err != nil {
		return Bypass{}, err
	}
	d, err := time.ParseDuration(a.For)
	return Bypass{ID: a.ID, App: a.App, For: d, Reason: a.Reason, RequestedBy: s.By, RequestedAt: a.At, request: s.Note}, err
}

// parseApproval reads when an approval was given, whoever signed it.
func parseApproval(s signature) (time.Time, error) {
	lines := strings.Split(s.Note, "\n")
	if len(lines) < 5 {
		return time.Time{}, errors.New("too short")
	}
	return time.Parse(time.RFC3339Nano, lines[3])
}

// checkRequest refuses what could not be approved.
func checkRequest(b Bypass, rules Rules) error {
	longNumber := regexp.MustCompile(`(\d[ -]?){8,}`)
	switch reason := strings.TrimSpace(b.Reason); {
	case b.App == "":
		return refused("it names no application")
	case reason == "":
		return refused("a reason is needed: say what hinders care")
	case len(reason) > maxReason:
		return refused("the reason is longer than %d bytes", maxReason)
	case !utf8.ValidString(b.Reason) || strings.ContainsFunc(b.Reason, unicode.IsControl):
		return refused("the reason must be one line of plain text")
	case longNumber.MatchString(b.Reason):
		return refused("the reason holds a long number: name no patient in it, since it is shown on pages")
	case b.For < shortest || b.For > rules.Longest:
		return refused("it must last from %s to %s, not %s", shortest, rules.Longest, b.For)
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
	case b.ApprovedAt.Sub(b.RequestedAt) > Lapse || b.ApprovedAt.Before(b.RequestedAt.Add(-ahead)):
		return refused("%s was asked for at %s and lapsed after %s: ask again", b.ID, b.RequestedAt.UTC().Format(time.RFC3339), Lapse)
	case b.ApprovedAt.After(now.Add(ahead)):
		return refused("%s was approved in the future of this clock, which was put back since", b.ID)
	case !now.Before(b.Until()):
		return refused("%s ended by itself at %s", b.ID, b.Until().UTC().Format(time.RFC3339))
	}
	if err := checkRequest(b, l.rules); err != nil {
		return err
	}
	asker, err := l.verify(b.RequestedBy, b.request, requestText(l.rules.Origin, b))
	if err != nil {
		return refused("the request of %s: %v", b.ID, err)
	}
	approver, err := l.verify(b.ApprovedBy, b.approval, approvalText(l.rules.Origin, b.request, b.ApprovedAt))
	if err != nil {
		return refused("the approval of %s: %v", b.ID, err)
	}
	if asker.KeyHash() == approver.KeyHash() {
		return refused("%s and %s have one key: they must be two people", b.RequestedBy, b.ApprovedBy)
	}
	return nil
}

// verify checks that name has signed exactly text, and returns the key.
func (l *Ledger) verify(name, signed, text string) (note.Verifier, error) {
	i := slices.IndexFunc(l.rules.People, func(p Person) bool { return p.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("%s is not among bypass.people of the configuration", name)
	}
	key := l.rules.People[i].Key
	n, err := note.Open([]byte(signed), note.VerifierList(key))
	switch {
	case err != nil:
		return nil, errors.New("the signature is not valid")
	case len(n.Sigs) != 1 || !merkle.CanonicalSignature(n.Sigs[0]):
		return nil, errors.New("it does not have one signature")
	case n.Text != text:
		return nil, errors.New("what was signed is something else")
	}
	return key, nil
}
