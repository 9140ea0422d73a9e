package hazardlog

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
	if l.Standard == nil {
		return m
	}
	for _, row := range l.Standard.Likelihoods {
		cells := MatrixRow{Likelihood: row.Word}
		for i, severity := range l.Standard.Severities {
			at := Rating{Severity: severity, Likelihood: row.Word}
			cells.Cells = append(cells.Cells, Cell{Severity: severity, Likelihood: row.Word, Risk: row.Risks[i], Hazards: l.standing(rating, at)})
		}
		m.Rows = append(m.Rows, cells)
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
