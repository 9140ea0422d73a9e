package evaluate

import "math"

// Spread is how a figure differs between runs with other seeds.
type Spread struct {
	Mean  float64 `json:"mean"`
	Least float64 `json:"least"`
	Most  float64 `json:"most"`
	Runs  int     `json:"runs"` // that have a value
}

// NewSpread leaves out what has no value.
func NewSpread(values []float64) Spread {
	var s Spread
	sum := 0.
	for _, v := range values {
		if math.IsNaN(v) {
			continue
		}
		if s.Runs == 0 || v < s.Least {
			s.Least = v
		}
		if s.Runs == 0 || v > s.Most {
			s.Most = v
		}
		s.Runs++
		sum += v
	}
	if s.Runs > 0 {
		s.Mean = sum / float64(s.Runs)
	}
	return s
}
