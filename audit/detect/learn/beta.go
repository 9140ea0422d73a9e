package learn

import "math"

const (
	// lean is how many cases of the larger group stand in for those that a small one
	// does not have.
	lean = 10
	// Floor is the least weight: what was never right still ranks by what it says.
	Floor = .25
)

// Beta is what is known of a share: A-1 were right and B-1 were not, in effect.
type Beta struct{ A, B float64 }

// leaning is a group that leans on the share of a larger one.
func leaning(prior float64, n Count) Beta {
	return Beta{lean*prior + n.Right, lean*(1-prior) + n.Wrong}
}

// Mean is the share to expect.
func (b Beta) Mean() float64 { return b.A / (b.A + b.B) }

// against is how the odds of being right compare with what is usual for such scores.
func (b Beta) against(n Count) float64 {
	usual := n.usual()
	return b.A / b.B / (usual / (1 - usual))
}

// shift is the share whose odds are times as high.
func shift(share, times float64) float64 {
	odds := times * share / (1 - share)
	return odds / (1 + odds)
}

// weight is the root of how the odds compare, in bounds: a detector that is right as
// often as its scores promise counts in full, one with a quarter of the odds half.
func weight(against float64) float64 { return min(1, max(Floor, math.Sqrt(against))) }

// Quantile is the share that lies below with probability p, by bisection.
func (b Beta) Quantile(p float64) float64 {
	low, high := 0., 1.
	for range 50 {
		if mid := (low + high) / 2; b.below(mid) < p {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}

// below is the regularised incomplete beta function, by its continued fraction
// (Abramowitz and Stegun 26.5.8), evaluated by Lentz's method.
func (b Beta) below(x float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	case x > (b.A+1)/(b.A+b.B+2): // where it converges fast
		return 1 - Beta{b.B, b.A}.below(1-x)
	}
	la, _ := math.Lgamma(b.A)
	lb, _ := math.Lgamma(b.B)
	lab, _ := math.Lgamma(b.A + b.B)
	front := math.Exp(lab-la-lb+b.A*math.Log(x)+b.B*math.Log1p(-x)) / b.A
	const tiny = 1e-30
	f, c, d := 1., 1., 0.
	for i := range 500 {
		m := float64(i / 2)
		var n float64
		switch {
		case i == 0:
			n = 1
		case i%2 == 0:
			n = m * (b.B - m) * x / ((b.A + 2*m - 1) * (b.A + 2*m))
		default:
			n = -(b.A + m) * (b.A + b.B + m) * x / ((b.A + 2*m) * (b.A + 2*m + 1))
		}
		d = 1 / nonZero(1+n*d, tiny)
		c = nonZero(1+n/c, tiny)
		f *= c * d
		if math.Abs(1-c*d) < 1e-12 {
			break
		}
	}
	return front * (f - 1)
}

func nonZero(x, tiny float64) float64 {
	if math.Abs(x) < tiny {
		return tiny
	}
	return x
}
