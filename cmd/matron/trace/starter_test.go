package trace_test

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/cmd/matron/trace"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

// unproved says which controls claim more, or less, than tests show.
func unproved(l hazardlog.Log, tags []evidence.Tag) (wrong []string) {
	for _, c := range l.Controls {
		tested := slices.ContainsFunc(tags, func(t evidence.Tag) bool { return t.Control == c.ID && t.Kind == evidence.TestTag })
		claims := c.Status == hazardlog.Implemented || c.Status == hazardlog.Verified
		switch {
		case claims && c.Type != hazardlog.Design:
			wrong = append(wrong, c.ID+" is "+string(c.Type)+", which no program implements")
		case claims && !tested:
			wrong = append(wrong, c.ID+" says that it is "+string(c.Status)+", but no test names it")
		case c.Status == hazardlog.Proposed && tested:
			wrong = append(wrong, c.ID+" is tested, but only proposed")
		}
	}
	return wrong
}

// Each control of the built-in log that says it is implemented points at tests that
// are there; what no test shows is only proposed.
// hazard:GW-32 control:C-239
func TestImplementedControlsNameTestsThatExist(t *testing.T) {
	tags, err := trace.Collect(os.DirFS("../../.."), starter(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range unproved(starter(t), tags) {
		t.Error(w)
	}
}

// The test above can fail.
func TestUnprovedControlsAreNamed(t *testing.T) {
	l := starter(t)
	l.Controls = []hazardlog.Control{
		{ID: "C-01", Type: hazardlog.Design, Status: hazardlog.Implemented},
		{ID: "C-02", Type: hazardlog.Design, Status: hazardlog.Implemented},
		{ID: "C-03", Type: hazardlog.Training, Status: hazardlog.Verified},
		{ID: "C-04", Type: hazardlog.Design, Status: hazardlog.Proposed},
	}
	tags := []evidence.Tag{
		{Control: "C-01", Kind: evidence.TestTag}, {Control: "C-02", Kind: evidence.SettingTag}, {Control: "C-04", Kind: evidence.TestTag},
	}
	want := []string{
		"C-02 says that it is implemented, but no test names it",
		"C-03 is training, which no program implements",
		"C-04 is tested, but only proposed",
	}
	if diff := cmp.Diff(want, unproved(l, tags)); diff != "" {
		t.Error(diff)
	}
}
