package main

import (
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
)

// An imported access is the one that the gateway saw when person, patient and action
// are the same and the times nearly so.
func TestTwins(t *testing.T) {
	at := time.Date(2026, 11, 3, 14, 0, 0, 0, time.UTC)
	w := witnessed{}
	for _, r := range []audit.Record{
		{Person: "p", Patient: "x", Action: "read", Time: at},
		{Person: "p", Patient: "x", Action: "read", Time: at.Add(time.Hour)},
		{Person: "p", Patient: "y", Action: "search", PatientSource: audit.SourceURL, Time: at},
		{Person: "p", Patient: "z", Action: "search", PatientSource: audit.SourceResponse, Time: at},
	} {
		w.add(&r)
	}
	for name, row := range map[string]struct {
		of   audit.Imported
		want bool
	}{
		"the same":                     {audit.Imported{Person: "p", Patient: "x", Action: "read", Time: at}, true},
		"written down a moment before": {audit.Imported{Person: "p", Patient: "x", Action: "read", Time: at.Add(-2 * time.Second)}, true},
		"written down a moment after":  {audit.Imported{Person: "p", Patient: "x", Action: "read", Time: at.Add(time.Hour + 2*time.Second)}, true},
		"another time":                 {audit.Imported{Person: "p", Patient: "x", Action: "read", Time: at.Add(3 * time.Second)}, false},
		"before":                       {audit.Imported{Person: "p", Patient: "x", Action: "read", Time: at.Add(-3 * time.Second)}, false},
		"another person":               {audit.Imported{Person: "q", Patient: "x", Action: "read", Time: at}, false},
		"another patient":              {audit.Imported{Person: "p", Patient: "w", Action: "read", Time: at}, false},
		"another action":               {audit.Imported{Person: "p", Patient: "x", Action: "update", Time: at}, false},
		"one patient was asked for":    {audit.Imported{Person: "p", Patient: "y", Action: "read", Time: at}, true},
		"only named in a list":         {audit.Imported{Person: "p", Patient: "z", Action: "read", Time: at}, false},
	} {
		if got := w.has(&row.of); got != row.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
