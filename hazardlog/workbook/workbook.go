// Package workbook writes a hazard log as an Excel workbook (Office Open XML, ISO/IEC
// 29500) and reads hazards out of workbooks that other people keep.
//
// The sheet with the hazards has the 28 columns of the NHS hazard log template
// version 3.6; the file is our own. Reading takes that layout, the older one, and
// what people made of both. A workbook is never believed: risks are looked up in
// the standard's matrix, formulas are not evaluated, links are not followed,
// ratings are proposals, and nothing is left out without saying so by sheet and
// cell. The package changes no log: it says what would be changed. Values are safe
// for concurrent use as long as nobody changes them.
package workbook

import (
	"errors"
	"fmt"
)

// Format marks the workbooks that Write made.
const Format = "matron-hazard-workbook/1"

// ErrRefused is what the error of a file that cannot be read wraps.
var ErrRefused = errors.New("workbook refused")

// Sheets, as the template calls those that it has.
const (
	coverSheet   = "Cover Page"
	historySheet = "Version History"
	hazardSheet  = "Hazard Log"
	matrixSheet  = "Risk Matrix"
	sourceSheet  = "References"
)

// Finding is one thing that whoever imports a workbook should know.
type Finding struct {
	Sheet  string `json:"sheet,omitempty"`
	Cell   string `json:"cell,omitempty"` // "O5"
	Rule   string `json:"rule"`
	Blocks bool   `json:"blocks"` // nothing can be imported before it is mended
	Text   string `json:"text"`
}

// String is "Hazard Log!O5: text [rule]".
func (f Finding) String() string {
	where := f.Sheet
	if f.Cell != "" {
		where += "!" + f.Cell
	}
	if where != "" {
		where += ": "
	}
	kind := ""
	if f.Blocks {
		kind = "error: "
	}
	return fmt.Sprintf("%s%s%s [%s]", where, kind, f.Text, f.Rule)
}

// role is what a column of the sheet with the hazards holds.
type role string

const (
	roleID     role = "no"
	roleAdded  role = "date added"
	roleName   role = "name"
	roleEffect role = "effect"
	roleHazard role = "hazard"
	roleHarm   role = "harm"
	roleImpact role = "potential clinical impact" // older layout: effect and harm in one
	roleCauses role = "possible causes"
	roleOwner  role = "owner"
	roleStatus role = "status"
	roleTest   role = "test" // older layout: evidence of the design

	existingDesign    role = "existing design"
	existingTraining  role = "existing training"
	existingProcess   role = "existing process"
	existingControls  role = "existing controls" // other layouts: kinds not told apart
	additionalDesign  role = "additional design"
	additionalTrain   role = "additional training"
	additionalProcess role = "additional process"

	additionalControls role = "additional controls" // the same

	initialSeverity       role = "initial severity"
	initialLikelihood     role = "initial likelihood"
	initialRisk           role = "initial risk"
	initialJustification  role = "initial justification"
	residualSeverity      role = "residual severity"
	residualLikelihood    role = "residual likelihood"
	residualRisk          role = "residual risk"
	residualJustification role = "residual justification"
)

// evidence is the column with the evidence for the controls of another one.
func (r role) evidence() role { return r + " evidence" }

// head is a column of the template: its headings in rows 1 to 4.
type head struct {
	role  role
	rows  [4]string
	width float64 // in characters
}

// layout is version 3.6 of the template, columns A to AB.
func layout() []head {
	heads := []head{
		{roleID, [4]string{1: "No."}, 9},
		{roleAdded, [4]string{1: "Date Added"}, 12},
		{roleEffect, [4]string{"Hazard Assessment", "Hazard Description", "", "Effect"}, 34},
		{roleHazard, [4]string{"Hazard Assessment", "Hazard Description", "", "Hazard"}, 34},
		{roleHarm, [4]string{"Hazard Assessment", "Hazard Description", "", "Harm"}, 34},
		{roleCauses, [4]string{"Hazard Assessment", "Hazard Description", "", "Possible Causes"}, 40},
	}
	controls := func(top, group string, of [3]role, kinds [3]string) {
		for i, r := range of {
			heads = append(
				heads,
				head{r, [4]string{top, group, kinds[i], "Description"}, 40},
				head{r.evidence(), [4]string{top, group, kinds[i], "Evidence"}, 40},
			)
		}
	}
	rating := func(top, group string, of [4]role) {
		for i, name := range [4]string{"Severity", "Likelihood", "Risk", "Justification"} {
			width := 14.0
			if name == "Justification" {
				width = 40
			}
			heads = append(heads, head{of[i], [4]string{top, group, "", name}, width})
		}
	}
	controls("Initial Risk", "Existing Controls", [3]role{existingDesign, existingTraining, existingProcess},
		[3]string{"HIT Design", "User Training", "Business Process"})
	rating("Initial Risk", "Initial Risk Assessment", [4]role{initialSeverity, initialLikelihood, initialRisk, initialJustification})
	controls("Residual Risk", "Additional Controls", [3]role{additionalDesign, additionalTrain, additionalProcess},
		[3]string{"HIT Design", "User Training", "Business Process Change"})
	rating("Residual Risk", "Residual Risk Assessment", [4]role{residualSeverity, residualLikelihood, residualRisk, residualJustification})
	return append(heads, head{roleOwner, [4]string{"Owner"}, 24}, head{roleStatus, [4]string{"Status"}, 13})
}

// headRows are the rows above the first hazard.
const headRows = 4
