package explain

import (
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit/detect/neutral"
)

// TestSentencesAreNeutral: no sentence accuses, and what the patient reads names
// nobody but wards.
// hazard:GW-28 control:C-215
func TestSentencesAreNeutral(t *testing.T) {
	all := sentences()
	for i, s := range append(all[1:Local:Local], dutyOfRole()) {
		if s.reviewer == "" || s.patient == "" {
			t.Errorf("%d has no sentence", i+1)
		}
		if word := neutral.Accuses(s.reviewer + s.patient); word != "" {
			t.Errorf("%q or %q says %s", s.reviewer, s.patient, word)
		}
		if strings.Contains(s.patient, "{team}") || strings.Contains(s.patient, "{kind}") {
			t.Errorf("%q tells the patient more than the ward", s.patient)
		}
	}
}
