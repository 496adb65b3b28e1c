package eval

import (
	"fmt"
	"math"
)

// Wilson returns the score interval of a proportion, successes of n, that
// should cover the true one with probability level; 0 means 0.95 (Wilson 1927):
//
//	(p̂ + z²/2n ± z·√(p̂(1−p̂)/n + z²/4n²)) / (1 + z²/n)
//
// It is of use where a bootstrap is not: with few trials, and where all or none
// succeed. The trials must be independent. Without trials all is NaN. Wilson
// panics unless 0 <= successes <= n and 0 <= level < 1.
func Wilson(successes, n int, level float64) Interval {
	if successes < 0 || successes > n || !(0 <= level && level < 1) {
		panic(fmt.Sprintf("eval: Wilson needs 0 <= successes <= n and a level below 1, not %d of %d and %v", successes, n, level))
	}
	if n == 0 {
		return Interval{Estimate: math.NaN(), Low: math.NaN(), High: math.NaN()}
	}
	if level == 0 {
		level = .95
	}
	z := math.Sqrt2 * math.Erfinv(level)
	p, m := float64(successes)/float64(n), float64(n)
	centre := p + z*z/(2*m)
	half := z * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	scale := 1 + z*z/m
	// At the ends of the scale the bound is the estimate itself: rounding
	// must not move it past.
	return Interval{Estimate: p, Low: min(max((centre-half)/scale, 0), p), High: max(min((centre+half)/scale, 1), p)}
}
