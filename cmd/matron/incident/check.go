package incident

import (
	"time"

	"github.com/matron-epr/matron/cmd/matron/ledger"
)

const format = "matron-incident/v1"

// declared is what a declaration says, as it is signed.
type declared struct {
	ID     string    `json:"id"`
	For    string    `json:"for"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// text is what whoever declares signs.
func text(origin string, i Incident) string {
	return ledger.Text(format, origin, declared{ID: i.ID, For: i.For.String(), Reason: i.Reason, At: i.DeclaredAt})
}

// parse reads what a declaration says, whoever signed it.
func parse(s ledger.Signature) (Incident, error) {
	var said declared
	if err := s.Said(&said); err != nil {
		return Incident{}, err
	}
	length, err := time.ParseDuration(said.For)
	return Incident{ID: said.ID, For: length, Reason: said.Reason, DeclaredBy: s.By, DeclaredAt: said.At, signed: s.Note}, err
}

// checkDeclared refuses what nobody may declare.
func checkDeclared(i Incident, rules Rules) error {
	if err := ledger.CheckReason(i.Reason, "what has happened"); err != nil {
		return refused("%v", err)
	}
	if err := ledger.CheckLength(i.For, rules.Longest); err != nil {
		return refused("%v", err)
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
	case i.DeclaredAt.After(now.Add(ledger.Ahead)):
		return refused("%s was declared in the future of this clock, which was put back since", i.ID)
	case !now.Before(i.Until()):
		return refused("%s was over by itself at %s", i.ID, i.Until().UTC().Format(time.RFC3339))
	}
	if err := checkDeclared(i, l.rules); err != nil {
		return err
	}
	if _, err := l.rules.People.Verify(ledger.Signature{By: i.DeclaredBy, Note: i.signed}, text(l.rules.Origin, i)); err != nil {
		return refused("%s: %v", i.ID, err)
	}
	return nil
}
