package hazardlog

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Severity is how bad the worst credible harm would be, a column of the matrix.
// The empty Severity is not assessed.
type Severity string

// Likelihood is how likely the harm is, not the fault: a row of the matrix. The
// empty Likelihood is not assessed.
type Likelihood string

// Risk is the level that the matrix gives, 1 to 5, 5 the worst. The zero Risk
// is not rated; it is never acceptable.
type Risk int

// Rating is how severe the harm would be and how likely it is. The zero Rating
// is not rated. Its risk is looked up in a standard by whoever read the rating:
// nobody types it.
type Rating struct {
	Consequence   string // id in the standard: with Patients it gives the severity; "" when the severity was chosen by its word
	Patients      Patients
	Severity      Severity
	Likelihood    Likelihood
	Justification string
	Lowered       string // residual only: why the severity, not the likelihood alone, is lower than it was
	State         RatingState
	By            string // the clinician who owns it; "" while it is proposed

	risk Risk
}

// Patients says how many a harm would reach at once.
type Patients string

// One or several.
const (
	OnePatient      Patients = "one"
	SeveralPatients Patients = "several"
)

// RatingState says whether a clinician stands behind a rating.
type RatingState string

// The states. A rating that software, an engineer or an import brought is
// proposed.
const (
	RatingProposed RatingState = "proposed"
	RatingAssessed RatingState = "assessed"
)

// Risk is the risk that the standard gives the rating, 0 when it is not rated.
func (r Rating) Risk() Risk { return r.risk }

// Owned reports whether a clinician stands behind the rating.
func (r Rating) Owned() bool { return r.State == RatingAssessed && r.By != "" }

// String is "Major x Low = 3", or "not rated".
func (r Rating) String() string {
	if !r.risk.Rated() {
		return string(NotRated)
	}
	return fmt.Sprintf("%s x %s = %d", r.Severity, r.Likelihood, r.risk)
}

// Rated reports whether the risk is one of the five levels.
func (r Risk) Rated() bool { return r >= 1 && r <= 5 }

// String is the number of the level, or "not rated".
func (r Risk) String() string {
	if !r.Rated() {
		return string(NotRated)
	}
	return strconv.Itoa(int(r))
}

// ratingFile is a rating as it is written. Risk is for readers: null when not
// rated, and refused when it is not the one that the matrix gives.
type ratingFile struct {
	Consequence   string      `json:"consequence,omitempty"`
	Patients      Patients    `json:"patients,omitempty"`
	Severity      Severity    `json:"severity"`
	Likelihood    Likelihood  `json:"likelihood"`
	Risk          *Risk       `json:"risk"`
	Justification string      `json:"justification"`
	Lowered       string      `json:"lowered,omitempty"`
	State         RatingState `json:"state,omitempty"`
	By            string      `json:"by,omitempty"`
}

// MarshalJSON adds the risk that was looked up, null when not rated.
func (r Rating) MarshalJSON() ([]byte, error) {
	file := ratingFile{
		r.Consequence, r.Patients, r.Severity, r.Likelihood, nil, r.Justification, r.Lowered, r.State, r.By,
	}
	if r.risk.Rated() {
		file.Risk = &r.risk
	}
	return json.Marshal(file)
}

// UnmarshalJSON reads a rating with the risk as it was written, for the check
// that it is the one that the matrix gives.
func (r *Rating) UnmarshalJSON(data []byte) error {
	var file ratingFile
	if err := strict(data, &file); err != nil {
		return err
	}
	*r = Rating{
		file.Consequence, file.Patients, file.Severity, file.Likelihood, file.Justification, file.Lowered, file.State, file.By, 0,
	}
	if file.Risk != nil {
		r.risk = *file.Risk
	}
	return nil
}
