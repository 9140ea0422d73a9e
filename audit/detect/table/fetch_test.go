package table_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect/table"
)

// TestAPageFetchesSoMany patients at once and not more: what a program fetches beyond
// counts.
func TestAPageFetchesSoMany(t *testing.T) {
	for n, want := range map[int]int{4: 4, 40: 0, 100: 0, 160: 60} {
		tab := table.New()
		for i := range n {
			tab.Add(&audit.Imported{Person: "ann", Patient: fmt.Sprint("p", i), Session: "s", Action: "read", Time: at(0).Add(time.Duration(i) * 20 * time.Millisecond)})
		}
		tab.Settle()
		counts := 0
		for row := range n {
			if tab.Counts(row) {
				counts++
			}
		}
		if counts > want || want > 0 && counts == 0 {
			t.Errorf("%d patients at once: %d count, want about %d", n, counts, want)
		}
	}
}
