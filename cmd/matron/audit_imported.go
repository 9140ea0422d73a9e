package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// importedLine is one imported access as scripts read it. Only imported ones
// have an origin.
type importedLine struct {
	Origin     string    `json:"origin"` // "imported:" and the format of the file
	Batch      string    `json:"batch"`
	ImportedAt time.Time `json:"imported_at"`
	ImportedBy string    `json:"imported_by"`
	Time       time.Time `json:"time"`
	Source     string    `json:"source"`
	ID         string    `json:"id"`
	Person     string    `json:"person"`
	Role       string    `json:"role"`
	App        string    `json:"app"`
	Action     string    `json:"action"`
	Area       string    `json:"area"`
	Resource   string    `json:"resource"`
	Patient    string    `json:"patient"`
	Outcome    string    `json:"outcome"` // "" unknown
	BreakGlass bool      `json:"break_glass"`
	Device     string    `json:"device"`
	ClientIP   string    `json:"ip"`
}

// printImported lists what other systems wrote down, below and apart from what
// the gateway has witnessed.
func (l *lookup) printImported(c *cobra.Command, cfg config.Config, store *clickhouse.Store, q audit.Query) error {
	if q.NHSNumber != "" {
		hasher, err := gateway.Hasher(cfg)
		if err != nil {
			return failure{exitFailure, err}
		}
		q.NHSNumber = string(hasher.NHS(q.NHSNumber)) // imported accesses hold no number
	}
	rows, err := store.Imported(c.Context(), q)
	if err != nil {
		return failure{exitFailure, err}
	}
	if l.asJSON {
		enc := json.NewEncoder(c.OutOrStdout())
		for _, r := range rows {
			if err := enc.Encode(importedLine{
				"imported:" + r.Origin, r.Batch, r.At, r.By, r.Time, r.Source, r.ID, r.Person, r.Role, r.App, r.Action, r.Area, r.Resource,
				r.Patient, r.Outcome, r.BreakGlass, r.Device, r.IP,
			}); err != nil {
				return failure{exitFailure, err}
			}
		}
		return nil
	}
	if len(rows) == 0 {
		c.Println("\nNo access is imported.")
		return nil
	}
	c.Println("\nImported from other systems, not witnessed by the gateway:")
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "TIME (UTC)\tPERSON\tROLE\tACTION\tAREA\tPATIENT\tOUTCOME\tSOURCE\tORIGIN")
	for _, r := range rows {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\timported:%s\n", r.Time.Format("2 Jan 2006 15:04:05"),
			r.Person, r.Role, r.Action, r.Area, r.Patient, r.Outcome, r.Source, r.Origin)
	}
	return w.Flush()
}
