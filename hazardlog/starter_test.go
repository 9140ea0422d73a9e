package hazardlog_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

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
