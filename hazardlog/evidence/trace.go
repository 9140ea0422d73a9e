package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/hazardlog"
)

// TraceFormat is the version of the format of a trace.
const TraceFormat = "matron-trace/1"

// Trace says where in the program controls are, and which of their tests passed: it
// is made with a release, since a hospital has no source.
type Trace struct {
	Format string    `json:"format"`
	Build  string    `json:"build"`  // version of the program that it is of
	Commit string    `json:"commit"` // of the source
	At     time.Time `json:"at"`
	Tags   []Tag     `json:"tags"` // in the order of control, kind and name
}

// Tag is one place that names a control.
type Tag struct {
	Control string   `json:"control"`
	Hazards []string `json:"hazards"`
	Kind    TagKind  `json:"kind"`
	Name    string   `json:"name"` // of a test "package.TestName", else what the tag stands above
	File    string   `json:"file"`
	Line    int      `json:"line"`
	// The rest is of tests alone.
	Result Result    `json:"result,omitempty"`
	Commit string    `json:"commit,omitempty"` // at which it last passed
	Passed time.Time `json:"passed,omitzero"`
}

// TagKind is what a tag stands at.
type TagKind string

// The kinds.
const (
	TestTag    TagKind = "test"
	RuleTag    TagKind = "rule"
	SettingTag TagKind = "setting"
)

// Result is what became of a test.
type Result string

// The results. The zero Result is that nobody knows.
const (
	Passed  Result = "passed"
	Failed  Result = "failed"
	Skipped Result = "skipped"
	NotRun  Result = "not run"
	Gone    Result = "gone" // it was there in an earlier trace
)

// ReadTrace reads a trace, and nothing else.
func ReadTrace(content []byte) (*Trace, error) {
	dec := json.NewDecoder(bytes.NewReader(content))
	dec.DisallowUnknownFields()
	var t Trace
	if err := dec.Decode(&t); err != nil {
		return nil, fmt.Errorf("no trace of \"matron hazard trace\": %w", err)
	}
	if t.Format != TraceFormat {
		return nil, fmt.Errorf("format is %q, expected %q", t.Format, TraceFormat)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands behind the trace")
	}
	return &t, nil
}

// tests are those of a control.
func (t *Trace) tests(control string) []Tag {
	if t == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(t.Tags), func(tag Tag) bool { return tag.Control != control || tag.Kind != TestTag })
}

// slot is what the tests of a control say for a program of this build.
func (t *Trace) slot(control, build string) Slot {
	if t == nil {
		return Slot{Reason: "No results of tests came with this program (hazard_log.trace_file)."}
	}
	tests := t.tests(control)
	if len(tests) == 0 {
		return Slot{Reason: "No test names it."}
	}
	s := Slot{State: hazardlog.Supported}
	var bad []string
	for _, test := range tests {
		s.Sources = append(s.Sources, test.Name)
		if test.Passed.After(s.At) {
			s.At = test.Passed
		}
		if test.Result != Passed {
			bad = append(bad, test.Name+" "+test.Result.words(test.Passed))
		}
	}
	switch {
	case len(bad) > 0:
		s.State, s.Reason = hazardlog.Stale, strings.Join(bad, "; ")+"."
	case build != "" && t.Build != build:
		s.State, s.Reason = hazardlog.Stale, fmt.Sprintf("Its tests passed for build %s; %s runs.", t.Build, build)
	default:
		s.Reason = fmt.Sprintf("%d test(s) passed at commit %.12s.", len(tests), t.Commit)
	}
	return s
}

func (r Result) words(passed time.Time) string {
	last := "and never passed"
	if !passed.IsZero() {
		last = "and last passed on " + hazardlog.DayOf(passed).String()
	}
	switch r {
	case Gone:
		return "is gone, " + last
	case Failed:
		return "failed, " + last
	case Skipped:
		return "was skipped, " + last
	case NotRun, Passed:
	}
	return "was not run, " + last
}
