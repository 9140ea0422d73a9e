// Package export is the form in which accesses leave Matron for people and
// scripts. What a standard defines stands in the folders below.
//
// It does no I/O. Values are safe for concurrent use.
package export

import (
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
)

// Line is one access as scripts read it.
type Line struct {
	Time      time.Time `json:"time"`
	Source    string    `json:"source"`
	Seq       uint64    `json:"seq"`
	Request   string    `json:"request"`
	Person    string    `json:"person"`
	Name      string    `json:"name"`
	Roles     []string  `json:"roles"`
	App       string    `json:"app"`
	Action    string    `json:"action"`
	Area      string    `json:"area"`
	Resource  string    `json:"resource"`
	Patient   string    `json:"patient"`
	NHSNumber string    `json:"nhs_number"`
	Effect    string    `json:"effect"`
	Reasons   []string  `json:"reasons"`
	Basis     string    `json:"basis"`
	Outcome   string    `json:"outcome"` // "" unknown
	Status    uint64    `json:"status"`
	Device    string    `json:"device"`
	ClientIP  string    `json:"ip"`
}

// NewLine is the line of an access.
func NewLine(a audit.Access) Line {
	return Line{
		Time: a.Time.UTC(), Source: a.Source, Seq: a.Seq, Request: a.Request, Person: a.Person, Name: a.UserName, Roles: a.Roles,
		App: a.App, Action: a.Action, Area: a.Area, Resource: a.Resource, Patient: a.Patient, NHSNumber: a.NHSNumber,
		Effect: a.Effect, Reasons: a.Reasons, Basis: a.Basis, Outcome: string(a.Outcome), Status: a.Status,
		Device: a.Device, ClientIP: a.ClientIP,
	}
}

// Header names the columns of Row.
func Header() []string {
	return []string{
		"time", "source", "seq", "request", "person", "name", "roles", "app", "action", "area", "resource", "patient", "nhs_number",
		"effect", "reasons", "basis", "outcome", "status", "device", "ip",
	}
}

// Row is the line as the cells of a CSV file (RFC 4180). A cell that a
// spreadsheet would take for a formula begins with an apostrophe.
func (l Line) Row() []string {
	row := []string{
		l.Time.Format(time.RFC3339Nano), l.Source, strconv.FormatUint(l.Seq, 10), l.Request, l.Person, l.Name,
		strings.Join(l.Roles, " "), l.App, l.Action, l.Area, l.Resource, l.Patient, l.NHSNumber, l.Effect,
		strings.Join(l.Reasons, " "), l.Basis, l.Outcome, strconv.FormatUint(l.Status, 10), l.Device, l.ClientIP,
	}
	for i, cell := range row {
		if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
			row[i] = "'" + cell
		}
	}
	return row
}
