package hazardlog

// Severity is the possible consequence of a hazard for a patient, in the words
// of the NHS matrix. The empty Severity is not assessed.
type Severity string

// The severities, from the least.
const (
	Minor        Severity = "Minor"
	Significant  Severity = "Significant"
	Considerable Severity = "Considerable"
	Major        Severity = "Major"
	Catastrophic Severity = "Catastrophic"
)

// Likelihood is how likely the harm is, not the fault. The empty Likelihood is
// not assessed.
type Likelihood string

// The likelihoods, from the least.
const (
	VeryLow  Likelihood = "Very Low"
	Low      Likelihood = "Low"
	Medium   Likelihood = "Medium"
	High     Likelihood = "High"
	VeryHigh Likelihood = "Very High"
)

// Risk is the level that the matrix gives, 1 to 5, 5 the worst. The zero Risk
// is not rated; it is never acceptable.
type Risk int

// Risk looks the rating up in the matrix. A rating that lacks a word or has one
// outside the matrix is not rated.
func (r Rating) Risk() Risk {
	column := severityColumn(r.Severity)
	if column < 0 {
		return 0
	}
	switch r.Likelihood {
	case VeryHigh:
		return [5]Risk{3, 4, 4, 5, 5}[column]
	case High:
		return [5]Risk{2, 3, 3, 4, 5}[column]
	case Medium:
		return [5]Risk{2, 2, 3, 3, 4}[column]
	case Low:
		return [5]Risk{1, 2, 2, 3, 4}[column]
	case VeryLow:
		return [5]Risk{1, 1, 2, 2, 3}[column]
	}
	return 0
}

func severityColumn(s Severity) int {
	switch s {
	case Minor:
		return 0
	case Significant:
		return 1
	case Considerable:
		return 2
	case Major:
		return 3
	case Catastrophic:
		return 4
	}
	return -1
}

// Severities lists the columns of the matrix, the least first.
func Severities() []Severity {
	return []Severity{Minor, Significant, Considerable, Major, Catastrophic}
}

// Likelihoods lists the rows of the matrix as it is printed, the highest first.
func Likelihoods() []Likelihood {
	return []Likelihood{VeryHigh, High, Medium, Low, VeryLow}
}

// Rated reports whether the risk is one of the five levels.
func (r Risk) Rated() bool { return r >= 1 && r <= 5 }

// Matrix counts hazards by cell.
type Matrix struct {
	Rows    []MatrixRow
	Unrated int // hazards without a rating; they stand in no cell
}

// MatrixRow is one likelihood across the severities.
type MatrixRow struct {
	Likelihood Likelihood
	Cells      []Cell
}

// Cell is one pair of words, its risk and the hazards that stand there.
type Cell struct {
	Severity   Severity
	Likelihood Likelihood
	Risk       Risk
	Hazards    []string // ids, in the order of the log
}

// InitialMatrix counts the hazards by initial rating.
func (l Log) InitialMatrix() Matrix {
	return l.matrix(func(h Hazard) Rating { return h.Initial })
}

// ResidualMatrix counts the hazards by residual rating.
func (l Log) ResidualMatrix() Matrix {
	return l.matrix(func(h Hazard) Rating { return h.Residual })
}

func (l Log) matrix(rating func(Hazard) Rating) Matrix {
	var m Matrix
	for _, likelihood := range Likelihoods() {
		row := MatrixRow{Likelihood: likelihood}
		for _, severity := range Severities() {
			r := Rating{Severity: severity, Likelihood: likelihood}
			row.Cells = append(row.Cells, Cell{Severity: severity, Likelihood: likelihood, Risk: r.Risk(), Hazards: l.standing(rating, r)})
		}
		m.Rows = append(m.Rows, row)
	}
	for _, h := range l.Hazards {
		if !rating(h).Risk().Rated() {
			m.Unrated++
		}
	}
	return m
}

func (l Log) standing(rating func(Hazard) Rating, cell Rating) []string {
	var ids []string
	for _, h := range l.Hazards {
		r := rating(h)
		if r.Severity == cell.Severity && r.Likelihood == cell.Likelihood {
			ids = append(ids, h.ID)
		}
	}
	return ids
}
