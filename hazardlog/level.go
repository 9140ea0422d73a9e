package hazardlog

import "strconv"

// Acceptability says whether a risk may be left as it is.
type Acceptability string

// The acceptabilities. NotRated is nobody's permission.
const (
	NotRated     Acceptability = "not rated"
	Unacceptable Acceptability = "unacceptable"
	WithReason   Acceptability = "acceptable with a stated reason"
	Acceptable   Acceptability = "acceptable"
)

// Level is what a risk means.
type Level struct {
	Risk          Risk
	Meaning       string
	Acceptability Acceptability
}

// Level explains the risk. Anything but 1 to 5 is not rated.
func (r Risk) Level() Level {
	switch r {
	case 5:
		return Level{r, "Not acceptable at all.", Unacceptable}
	case 4:
		return Level{r, "Remove the hazard, or add controls until the risk is acceptable.", Unacceptable}
	case 3:
		return Level{r, "Not wanted: reduce it further. It may stay only where that is impractical, and the log must say why.", WithReason}
	case 2:
		return Level{r, "May stay where reducing it further is impractical or not worth its cost, and the log says so.", WithReason}
	case 1:
		return Level{r, "Acceptable as it is.", Acceptable}
	}
	return Level{0, "Nobody has rated this yet.", NotRated}
}

// Levels lists the five levels, the worst first.
func Levels() []Level {
	return []Level{Risk(5).Level(), Risk(4).Level(), Risk(3).Level(), Risk(2).Level(), Risk(1).Level()}
}

// String is the number of the level, or "not rated".
func (r Risk) String() string {
	if !r.Rated() {
		return string(NotRated)
	}
	return strconv.Itoa(int(r))
}
