package incident

import (
	"encoding/json"
	"errors"
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
	format = "matron-incident/v1"
	// shortest is the least time that is worth declaring.
	shortest = time.Minute
	// maxReason bounds the reason in bytes.
	maxReason = 400
	// ahead is how far a declaration may lie in the future of the gateway's clock:
	// beyond that the clock was put back since, and how long ago it was made is not
	// known.
	ahead = time.Minute
)

// declared is what a declaration says, as it is signed.
type declared struct {
	ID     string    `json:"id"`
	For    string    `json:"for"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// text is what whoever declares signs. JSON escapes line ends, so that a reason
// cannot look like another line.
func text(origin string, i Incident) string {
	line, err := json.Marshal(declared{ID: i.ID, For: i.For.String(), Reason: i.Reason, At: i.DeclaredAt})
	if err != nil {
		return "" // a time beyond the year 9999; note.Sign refuses it
	}
	return format + "\n" + origin + "\n" + string(line) + "\n"
}

// parse reads what a declaration says, whoever signed it.
func parse(d declaration) (Incident, error) {
	lines := strings.Split(d.Note, "\n")
	if len(lines) < 4 {
		return Incident{}, errors.New("too short")
	}
	var said declared
	if err := json.Unmarshal([]byte(lines[2]), &said); err != nil {
		return Incident{}, err
	}
	length, err := time.ParseDuration(said.For)
	return Incident{ID: said.ID, For: length, Reason: said.Reason, DeclaredBy: d.By, DeclaredAt: said.At, signed: d.Note}, err
}

// checkDeclared refuses what nobody may declare.
func checkDeclared(i Incident, rules Rules) error {
	longNumber := regexp.MustCompile(`(\d[ -]?){8,}`)
	switch reason := strings.TrimSpace(i.Reason); {
	case reason == "":
		return refused("a reason is needed: say what has happened")
	case len(reason) > maxReason:
		return refused("the reason is longer than %d bytes", maxReason)
	case !utf8.ValidString(i.Reason) || strings.ContainsFunc(i.Reason, unicode.IsControl):
		return refused("the reason must be one line of plain text")
	case longNumber.MatchString(i.Reason):
		return refused("the reason holds a long number: name no patient in it, since it is shown on pages")
	case i.For < shortest || i.For > rules.Longest:
		return refused("it must last from %s to %s, not %s", shortest, rules.Longest, i.For)
	}
	return nil
}

// Check reports why i does not lift limits at a time, or nil when it does. On error:
// limits are in force.
func (l *Ledger) Check(i Incident, now time.Time) error {
	switch {
	case i.Ended != nil:
		return refused("%s was ended by %s: %s", i.ID, i.Ended.By, i.Ended.Reason)
	case i.Closed:
		return refused("%s is over", i.ID)
	case i.DeclaredAt.After(now.Add(ahead)):
		return refused("%s was declared in the future of this clock, which was put back since", i.ID)
	case !now.Before(i.Until()):
		return refused("%s was over by itself at %s", i.ID, i.Until().UTC().Format(time.RFC3339))
	}
	if err := checkDeclared(i, l.rules); err != nil {
		return err
	}
	n := slices.IndexFunc(l.rules.People, func(p Person) bool { return p.Name == i.DeclaredBy })
	if n < 0 {
		return refused("%s is not among limits.incident.people of the configuration", i.DeclaredBy)
	}
	opened, err := note.Open([]byte(i.signed), note.VerifierList(l.rules.People[n].Key))
	switch {
	case err != nil:
		return refused("the signature of %s is not valid", i.ID)
	case len(opened.Sigs) != 1 || !merkle.CanonicalSignature(opened.Sigs[0]):
		return refused("%s does not have one signature", i.ID)
	case opened.Text != text(l.rules.Origin, i):
		return refused("what was signed for %s is something else", i.ID)
	}
	return nil
}
