package eval

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Line is the straight line through points that has the smallest squared
// distances in y.
type Line struct {
	Slope, Intercept float64
	// R2 is the share of the variance of y that the line explains.
	R2 float64
}

// FitLine returns the least-squares line through the points (x[i], y[i]). All is
// NaN with fewer than two different x; R2 is NaN if all y are the same. FitLine
// panics if x and y differ in length.
func FitLine(x, y []float64) Line {
	mx, my, xx, xy, _ := moments(x, y)
	if !varies(x) {
		return Line{math.NaN(), math.NaN(), math.NaN()}
	}
	r := Pearson(x, y)
	return Line{Slope: xy / xx, Intercept: my - xy/xx*mx, R2: r * r}
}

// Pearson returns the correlation coefficient of x and y. It is NaN unless both
// vary, and if any value is NaN. It panics if they differ in length.
func Pearson(x, y []float64) float64 {
	_, _, xx, xy, yy := moments(x, y)
	if !varies(x) || !varies(y) {
		return math.NaN()
	}
	return min(max(xy/(math.Sqrt(xx)*math.Sqrt(yy)), -1), 1)
}

// Spearman returns the rank correlation of x and y: Pearson's coefficient of their
// ranks, equal values having their mean rank. NaN and panics are as in [Pearson].
func Spearman(x, y []float64) float64 {
	mustPair(x, y)
	if !varies(x) || !varies(y) {
		return math.NaN()
	}
	return Pearson(ranks(x), ranks(y))
}

// Kendall returns the rank correlation τ_b of x and y (Kendall 1945,
// doi:10.1093/biomet/33.3.239): of all pairs of points, those in the same order in
// both less those in opposite orders, divided by √((pairs untied in x)·(pairs
// untied in y)). NaN and panics are as in [Pearson].
func Kendall(x, y []float64) float64 {
	mustPair(x, y)
	if !varies(x) || !varies(y) {
		return math.NaN()
	}
	var agree, untiedX, untiedY int
	for i := range x {
		for j := range i {
			a, b := cmp.Compare(x[i], x[j]), cmp.Compare(y[i], y[j])
			agree += a * b
			untiedX += a * a
			untiedY += b * b
		}
	}
	return float64(agree) / math.Sqrt(float64(untiedX)) / math.Sqrt(float64(untiedY))
}

// varies reports whether there are different values, and no NaN.
func varies(x []float64) bool {
	return slices.ContainsFunc(x, func(v float64) bool { return v != x[0] }) && !slices.ContainsFunc(x, math.IsNaN)
}

func mustPair(x, y []float64) {
	if len(x) != len(y) {
		panic(fmt.Sprintf("eval: %d and %d values are not pairs", len(x), len(y)))
	}
}

// moments returns the means, and the sums of the squares and products of the
// distances to them.
func moments(x, y []float64) (mx, my, xx, xy, yy float64) {
	mustPair(x, y)
	for i := range x {
		mx += x[i] / float64(len(x))
		my += y[i] / float64(len(x))
	}
	for i := range x {
		a, b := x[i]-mx, y[i]-my
		xx, xy, yy = xx+a*a, xy+a*b, yy+b*b
	}
	return mx, my, xx, xy, yy
}

// ranks returns the rank of every value from 1, equal values having their mean
// rank.
func ranks(x []float64) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(x[a], x[b]) })
	r := make([]float64, len(x))
	for i := 0; i < len(order); {
		first := i
		for i < len(order) && x[order[i]] == x[order[first]] {
			i++
		}
		for _, at := range order[first:i] {
			r[at] = float64(first+i+1) / 2
		}
	}
	return r
}
