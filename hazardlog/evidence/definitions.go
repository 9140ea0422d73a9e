package evidence

import (
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/hazardlog"
)

// Format is the version of the format of the embedded indicators.
const Format = "matron-indicators/1"

//go:embed indicators.json queries
var embedded embed.FS

// Definition is what one safety performance indicator counts, and where that comes
// from: exactly one of Query, Reading and Missing is set.
type Definition struct {
	ID         string `json:"id"`
	Hazard     string `json:"hazard"`
	Control    string `json:"control"`
	Name       string `json:"name"`
	Claim      string `json:"claim"` // what it supports, in words that a clinician can contest
	Definition string `json:"definition"`
	Unit       string `json:"unit"`
	Hours      int    `json:"window_hours"` // 0: as it is now
	MinSample  int    `json:"min_sample"`

	// The threshold; with neither the value is reported and supports nothing.
	AtMost  *float64 `json:"at_most"`
	AtLeast *float64 `json:"at_least"`
	// Any says that one miss contradicts, however small the sample.
	Any bool `json:"any"`

	// Query is SQL for ClickHouse over the audit records, with {{records}} for their
	// table and {{before}}, {{from}} and {{to}} for times: the begin of the window before,
	// and begin and end of the window. It answers with one row: the value, NULL for
	// none, and the sample.
	Query   string `json:"-"`
	Reading string `json:"reading"` // name of what the gateway reads of itself
	Missing string `json:"missing"` // why it cannot be measured

	Owner  string `json:"owner"`
	Action string `json:"action"`
}

// Definitions are the indicators that are built in, in the order of their ids.
func Definitions() ([]Definition, error) {
	raw, err := embedded.ReadFile("indicators.json")
	if err != nil {
		return nil, err
	}
	var file struct {
		Format     string       `json:"format"`
		Indicators []Definition `json:"indicators"`
	}
	if err := json.Unmarshal(raw, &file); err != nil || file.Format != Format {
		return nil, fmt.Errorf("indicators.json: format %q, expected %q: %w", file.Format, Format, err)
	}
	for i := range file.Indicators {
		d := &file.Indicators[i]
		if d.Reading != "" || d.Missing != "" {
			continue
		}
		query, err := embedded.ReadFile(path.Join("queries", d.ID+".sql"))
		if err != nil {
			return nil, fmt.Errorf("indicators.json: %s: %w", d.ID, err)
		}
		d.Query = string(query)
	}
	return file.Indicators, nil
}

// Window is the time that the indicator looks at, 0: it is as it is now.
func (d Definition) Window() time.Duration { return time.Duration(d.Hours) * time.Hour }

// Threshold is "at most 2 %", or that there is none.
func (d Definition) Threshold() string {
	switch {
	case d.AtMost != nil:
		return "at most " + d.amount(*d.AtMost)
	case d.AtLeast != nil:
		return "at least " + d.amount(*d.AtLeast)
	}
	return "none: it is reported"
}

// amount is a value with its unit.
func (d Definition) amount(v float64) string {
	return strconv.FormatFloat(v, 'f', max(0, min(3, decimals(v))), 64) + " " + d.Unit
}

// decimals is how many digits after the point a value needs.
func decimals(v float64) int {
	_, after, found := strings.Cut(strconv.FormatFloat(v, 'f', -1, 64), ".")
	if !found {
		return 0
	}
	return len(after)
}

// Measurement is what was measured for an indicator.
type Measurement struct {
	Value  *float64  `json:"value"` // nil: there is none
	Sample int       `json:"sample"`
	At     time.Time `json:"at"`
	Why    string    `json:"why,omitempty"` // there is no value
}

// freshFor is for how long a measurement counts.
const freshFor = 24 * time.Hour

// Judge says what a measurement means. The zero Measurement is none.
func (d Definition) Judge(m Measurement, now time.Time) Indicator {
	i := Indicator{
		ID: d.ID, Hazard: d.Hazard, Control: d.Control, Name: d.Name, Claim: d.Claim, Definition: d.Definition, Query: d.source(), Unit: d.Unit,
		Window: d.Window(), MinSample: d.MinSample, Threshold: d.Threshold(), Owner: d.Owner, Action: d.Action,
		Value: m.Value, Sample: m.Sample, At: m.At,
	}
	i.State, i.Reason = d.judge(m, now)
	return i
}

func (d Definition) source() string {
	switch {
	case d.Missing != "":
		return "none"
	case d.Reading != "":
		return "the gateway: " + d.Reading
	}
	return d.Query
}

func (d Definition) judge(m Measurement, now time.Time) (state hazardlog.EvidenceState, reason string) {
	switch {
	case d.Missing != "":
		return hazardlog.NotMeasured, d.Missing
	case m.At.IsZero():
		return hazardlog.NotMeasured, "The gateway has not measured it yet."
	case now.Sub(m.At) > freshFor:
		return hazardlog.Stale, "It was last measured on " + hazardlog.DayOf(m.At).String() + "."
	case m.Value == nil && m.Why != "":
		return hazardlog.NotMeasured, m.Why
	case m.Value == nil:
		return hazardlog.NotEnough, fmt.Sprintf("Nothing was there to be counted%s.", d.within())
	case d.AtMost == nil && d.AtLeast == nil:
		return hazardlog.NotMeasured, d.amount(*m.Value) + " is reported: no threshold says what it would have to be."
	case d.missed(*m.Value) && (d.Any || m.Sample >= d.MinSample):
		return hazardlog.Contradicted, fmt.Sprintf("%s%s, but %s is claimed (sample %d).", d.amount(*m.Value), d.within(), d.Threshold(), m.Sample)
	case m.Sample < d.MinSample:
		return hazardlog.NotEnough, fmt.Sprintf("%s in a sample of %d, which must be at least %d%s.", d.amount(*m.Value), m.Sample, d.MinSample, d.bound(m))
	}
	return hazardlog.Supported, fmt.Sprintf("%s%s, %s is claimed (sample %d).", d.amount(*m.Value), d.within(), d.Threshold(), m.Sample)
}

// missed reports whether a value is on the wrong side of the threshold. One that
// is no number is.
func (d Definition) missed(v float64) bool {
	return d.AtMost != nil && !(v <= *d.AtMost) || d.AtLeast != nil && !(v >= *d.AtLeast)
}

func (d Definition) within() string {
	switch {
	case d.Hours == 0:
		return ""
	case d.Hours%24 == 0:
		return fmt.Sprintf(" in %d days", d.Hours/24)
	}
	return fmt.Sprintf(" in %d hours", d.Hours)
}

// bound is what none in a small sample proves, by the rule of three: with 95 %
// confidence at most 3 in n.
func (d Definition) bound(m Measurement) string {
	if *m.Value != 0 || d.AtMost == nil || m.Sample == 0 {
		return ""
	}
	return fmt.Sprintf(": none in %d proves no more than fewer than %.2g in 100 (95 %% confidence)", m.Sample, min(100, 300/float64(m.Sample)))
}
