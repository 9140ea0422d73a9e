package explain

import (
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect/table"
)

// TestAWardExplainsNoPartThatTheRoleDoesNotOpen, but an entry of one's own does, and
// so does any reason where the role does open it.
func TestAWardExplainsNoPartThatTheRoleDoesNotOpen(t *testing.T) {
	at := time.Date(2026, 11, 18, 12, 0, 0, 0, time.UTC)
	tab := table.New()
	add := func(person, role, patient, action, screen string) int {
		at = at.Add(time.Second)
		tab.Add(&audit.Imported{Time: at, Person: person, Role: role, Patient: patient, Action: action, Screen: screen, Session: at.String(), Deliberate: "true"})
		return tab.Len() - 1
	}
	for range 3000 {
		add("ned", "nurse", "in", "read", "notes")
		add("sam", "secretary", "let", "read", "notes")
	}
	foreign := add("ned", "nurse", "in", "read", "psychiatry")
	for range 5 {
		add("sam", "secretary", "let", "read", "psychiatry")
	}
	usual := add("sam", "secretary", "let", "read", "psychiatry")
	add("nia", "nurse", "in", "update", "notes")
	charted := add("nia", "nurse", "in", "read", "psychiatry")
	masks := New(Config{}, hospital(t)).Rows(tab, nil)
	if m := masks[foreign]; m.Strong() || !m.Weak() || !m.Has(OnWard) {
		t.Errorf("a part that no nurse opens is explained by the ward: %s", codes(m))
	}
	if m := masks[foreign-2]; !m.Strong() {
		t.Errorf("the rest of the record is not explained any more: %s", codes(m))
	}
	if !masks[usual].Strong() || !masks[charted].Strong() {
		t.Errorf("explained: where the role opens it %v, after an entry %v", masks[usual].Strong(), masks[charted].Strong())
	}
}
