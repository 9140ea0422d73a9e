package hazardlog_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

// mark is a comment that ties a test, a rule or a setting to a control.
type mark struct {
	at, hazard, control string
	test                bool
}

var (
	markLine = regexp.MustCompile(`^\s*(?://|#) hazard:(\S+) control:(\S+)$`)
	testLine = regexp.MustCompile(`^func Test\w+\(`)
)

// marks reads the comments of a file. What they are about is the first line below
// that is no comment.
func marks(name, text string) (found []mark) {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		m := markLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		below := i + 1
		for below < len(lines)-1 && regexp.MustCompile(`^\s*(?://|#)`).MatchString(lines[below]) {
			below++
		}
		found = append(found, mark{fmt.Sprintf("%s:%d", name, i+1), m[1], m[2], testLine.MatchString(lines[below])})
	}
	return found
}

// allMarks are those of the repository: Go tests, rules and settings.
func allMarks(t *testing.T) (found []mark) {
	t.Helper()
	const root = ".."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() == ".git"):
			return filepath.SkipDir
		case d.IsDir():
			return nil
		case !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(path, ".rego") && !strings.HasPrefix(path, filepath.Join(root, "cmd/matron/config")):
			return nil
		}
		text, err := os.ReadFile(path)
		found = append(found, marks(path, string(text))...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// unproved says which controls claim more than marks show, and which marks are about
// nothing.
func unproved(l hazardlog.Log, all []mark) (wrong []string) {
	tested := map[string]bool{}
	for _, m := range all {
		c, ok := l.Control(m.control)
		if !ok || !slices.Contains(c.Hazards, m.hazard) {
			wrong = append(wrong, fmt.Sprintf("%s: %s is no control of %s", m.at, m.control, m.hazard))
		}
		tested[m.control] = tested[m.control] || m.test
	}
	for _, c := range l.Controls {
		claims := c.Status == hazardlog.Implemented || c.Status == hazardlog.Verified
		switch {
		case claims && c.Type != hazardlog.Design:
			wrong = append(wrong, c.ID+" is "+string(c.Type)+", which no program implements")
		case claims && !tested[c.ID]:
			wrong = append(wrong, c.ID+" says that it is "+string(c.Status)+", but no test is marked with it")
		case c.Status == hazardlog.Proposed && tested[c.ID]:
			wrong = append(wrong, c.ID+" is tested, but only proposed")
		}
	}
	return wrong
}

// Each control of the built-in log that says it is implemented points at tests that
// are there; what no test shows is only proposed.
// hazard:GW-32 control:C-239
func TestImplementedControlsNameTestsThatExist(t *testing.T) {
	l, all := starter(t), allMarks(t)
	if len(all) < 100 {
		t.Errorf("only %d marks were found", len(all))
	}
	for _, w := range unproved(l, all) {
		t.Error(w)
	}
	implemented := len(slices.DeleteFunc(slices.Clone(l.Controls), func(c hazardlog.Control) bool { return c.Status != hazardlog.Implemented }))
	t.Logf("%d of %d controls are implemented, %d marks", implemented, len(l.Controls), len(all))
}

// The test above can fail.
func TestUnprovedControlsAreNamed(t *testing.T) {
	l := starter(t)
	l.Controls = []hazardlog.Control{
		{ID: "C-01", Hazards: []string{"GW-01"}, Type: hazardlog.Design, Status: hazardlog.Implemented},
		{ID: "C-02", Hazards: []string{"GW-01"}, Type: hazardlog.Design, Status: hazardlog.Implemented},
		{ID: "C-03", Hazards: []string{"GW-01"}, Type: hazardlog.Training, Status: hazardlog.Verified},
		{ID: "C-04", Hazards: []string{"GW-01"}, Type: hazardlog.Design, Status: hazardlog.Proposed},
	}
	all := marks("x_test.go", "// TestX tries it.\n// hazard:GW-01 control:C-01\n// hazard:GW-02 control:C-04\nfunc TestX(t *testing.T) {\n"+
		"// hazard:GW-01 control:C-02\nfunc helper() {\n// of hazard:GW-01 control:C-02\nfunc TestY(t *testing.T) {\n\t// hazard:GW-01 control:C-99\n\tLasts time.Duration\n")
	want := []string{
		"x_test.go:3: C-04 is no control of GW-02",
		"x_test.go:9: C-99 is no control of GW-01",
		"C-02 says that it is implemented, but no test is marked with it",
		"C-03 is training, which no program implements",
		"C-04 is tested, but only proposed",
	}
	if diff := cmp.Diff(want, unproved(l, all)); diff != "" {
		t.Error(diff)
	}
}

// Only what a clinician must do stands in the way of approving the built-in log.
func TestStarterWaitsForCliniciansAlone(t *testing.T) {
	l := starter(t)
	for _, f := range l.Lint(hazardlog.Facts{Today: "2026-11-26"}) {
		switch {
		case f.Rule == "not-assessed": // twice a hazard: a clinician owns each rating
		case !f.Error && (f.Rule == "not-accepted" || f.Rule == "no-reason"): // an officer accepts, and says why
		default:
			t.Error(f)
		}
	}
}

// Each indicator measures a control of the hazard that it names.
func TestIndicatorsAreOfControlsOfTheStarter(t *testing.T) {
	l := starter(t)
	definitions, err := evidence.Definitions()
	if err != nil || len(definitions) == 0 {
		t.Fatalf("%d indicators, %v", len(definitions), err)
	}
	for _, d := range definitions {
		if c, ok := l.Control(d.Control); !ok || !slices.Contains(c.Hazards, d.Hazard) {
			t.Errorf("%s measures %s of %s, which are not together in the log", d.ID, d.Control, d.Hazard)
		}
	}
}

// The page for clinical safety officers counts as the log does.
func TestPageForOfficersCountsRight(t *testing.T) {
	l := starter(t)
	page, err := os.ReadFile("../docs/safety-officer.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(page)), " ")
	found := l.Lint(hazardlog.Facts{Today: "2026-11-26"})
	errs := len(hazardlog.Errors(found))
	for _, want := range []string{
		fmt.Sprintf("%d hazards of a gateway", len(l.Hazards)), fmt.Sprintf("%d controls and %d things", len(l.Controls), len(l.Transfers)),
		fmt.Sprintf("finds %d errors and %d warnings", errs, len(found)-errs),
		fmt.Sprintf("**Controls** C-01 to C-%d", len(l.Controls)), fmt.Sprintf("**Transfers** T-01 to T-%d", len(l.Transfers)),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("does not say %q", want)
		}
	}
}

// What is asked of the deploying organisation is asked control by control: whatever
// its people must do is a transfer of its own, under the hazard of the control. And each
// hazard is whole, and says which controls its residual rating supposes that are not
// built.
func TestStarterTransfersEachControlOfTheDeployer(t *testing.T) {
	l := starter(t)
	of := map[string]hazardlog.Transfer{}
	for _, x := range l.Transfers {
		c, ok := l.Control(x.Control)
		if x.Control != "" && (!ok || !slices.Contains(c.Hazards, x.Hazard)) {
			t.Errorf("%s: %s is no control of %s", x.ID, x.Control, x.Hazard)
		}
		of[x.Control] = x
	}
	for _, c := range l.Controls {
		_, asked := of[c.ID]
		if must := c.Timing == hazardlog.Additional && c.Type != hazardlog.Design; must != asked {
			t.Errorf("%s (%s, %s): transferred %v", c.ID, c.Type, c.Timing, asked)
		}
	}
	for _, h := range l.Hazards {
		var missing []string
		for _, c := range l.ControlsOf(h.ID) {
			if c.Timing == hazardlog.Additional && c.Type == hazardlog.Design && c.Status == hazardlog.Proposed {
				missing = append(missing, c.ID)
			}
		}
		want := "Not built yet: " + strings.Join(missing, ", ") + ";"
		if got := strings.Contains(h.Residual.Justification, "Not built yet"); got != (missing != nil) || got && !strings.Contains(h.Residual.Justification, want) {
			t.Errorf("%s does not say what its residual rating supposes: %v: %s", h.ID, missing, h.Residual.Justification)
		}
		if !slices.ContainsFunc(l.TransfersOf(h.ID), func(x hazardlog.Transfer) bool { return x.Control == "" }) {
			t.Errorf("%s asks nothing as a whole", h.ID)
		}
		if len(h.Conditions) == 0 || len(h.Types) == 0 || len(l.ControlsOf(h.ID)) < 3 {
			t.Errorf("%s is not whole: %+v", h.ID, h)
		}
	}
}
