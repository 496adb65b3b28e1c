package eval

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// BootstrapCrossed returns the interval of the mean of d[i][j], measured on run i and
// example j, where both were drawn: the runs by their seeds, the examples from those
// that there are. A resample draws rows and columns independently of each other, with
// replacement (the pigeonhole bootstrap: Owen 2007, doi:10.1214/07-AOAS122), which is
// conservative. For the difference of two systems d holds the paired differences.
// o.Clusters names the cluster of each example, such as its query; clusters are then
// drawn whole. It takes many runs: with one alone it says nothing of how runs differ. It
// panics if d is not a rectangle, unless o.Clusters is nil or has a name per example,
// and on options that Validate rejects.
func BootstrapCrossed(d [][]float64, o BootstrapOptions) Interval {
	columns := 0
	if len(d) > 0 {
		columns = len(d[0])
	}
	for i := range d {
		if len(d[i]) != columns {
			panic(fmt.Sprintf("eval: run %d has %d examples, run 0 has %d", i, len(d[i]), columns))
		}
	}
	clusters := clusterIndices(columns, o.Clusters)
	o.Clusters = nil // those of examples, where bootstrap draws runs
	random := rand.New(rand.NewPCG(o.Seed, 1))
	weights := make([]float64, columns)
	drawn := false
	return bootstrap(len(d), o, func(sample []int) float64 {
		// The first call is for the estimate itself.
		for j := range weights {
			weights[j] = 1
		}
		total := columns
		if drawn {
			clear(weights)
			total = 0
			for range clusters {
				c := clusters[random.IntN(len(clusters))]
				for _, j := range c {
					weights[j]++
				}
				total += len(c)
			}
		}
		drawn = true
		sum := 0.0
		for _, i := range sample {
			for j, x := range d[i] {
				sum += weights[j] * x
			}
		}
		return sum / float64(len(sample)*total)
	})
}

// Contrast is how two systems differ over runs that are paired: run i of both has the
// same seed, and with it the same data and the same start.
type Contrast struct {
	// Interval is of the mean difference, the first system's value less the second's,
	// with runs and examples drawn (BootstrapCrossed). Low and High are NaN for fewer
	// than two runs, which cannot show how runs differ.
	Interval
	// Runs is the number of pairs, and Better in how many of them the first system has
	// the higher mean.
	Runs, Better int
	// Deviation is the standard deviation of the runs' mean differences; NaN for fewer
	// than two. PairedRuns and PairedDifference take it, unless it is NaN.
	Deviation float64
	// P is the p-value of the runs' mean differences (SignFlip).
	P float64
}

// String returns the contrast in points (hundredths), as suits shares such as accuracy:
// "+2.31 [+1.02 +3.58] points, better in 80 of 97 runs, p 0.0004". Of fewer than two runs
// there is no interval. Of fewer than FewestRuns it adds ", too few runs to conclude".
func (c Contrast) String() string {
	interval := ""
	if c.Runs > 1 {
		interval = fmt.Sprintf(" [%+.2f %+.2f]", 100*c.Low, 100*c.High)
	}
	few := ""
	if c.Runs < FewestRuns {
		few = ", too few runs to conclude"
	}
	return fmt.Sprintf("%+.2f%s points, better in %d of %d runs, p %.2g%s", 100*c.Estimate, interval, c.Better, c.Runs, c.P, few)
}

// CompareRuns contrasts two systems, a minus b. a[i][j] and b[i][j] are their values in
// run i on example j, such as 1 for a right answer and 0 for a wrong one. Below some ten
// runs the interval is too narrow, as that of any bootstrap; P is exact. If a value is
// NaN, so are estimate, interval, deviation and P. It panics if a and b differ in shape, and
// as BootstrapCrossed does.
func CompareRuns(a, b [][]float64, o BootstrapOptions) Contrast {
	if len(a) != len(b) {
		panic(fmt.Sprintf("eval: %d and %d runs are not pairs", len(a), len(b)))
	}
	c := Contrast{Runs: len(a)}
	d, means := make([][]float64, len(a)), make([]float64, len(a))
	for i := range a {
		if len(a[i]) != len(b[i]) {
			panic(fmt.Sprintf("eval: run %d has %d and %d examples, want them in pairs", i, len(a[i]), len(b[i])))
		}
		for j := range a[i] {
			d[i] = append(d[i], a[i][j]-b[i][j])
			means[i] += d[i][j]
		}
		means[i] /= float64(len(d[i]))
		if means[i] > 0 {
			c.Better++
		}
	}
	c.Interval, c.P = BootstrapCrossed(d, o), SignFlip(means, o.Seed)
	if c.Runs < 2 || math.IsNaN(c.Estimate) {
		c.Low, c.High, c.Deviation = math.NaN(), math.NaN(), math.NaN()
		return c
	}
	mean, _ := Mean(means)
	for _, x := range means {
		c.Deviation += (x - mean) * (x - mean) / float64(c.Runs-1)
	}
	c.Deviation = math.Sqrt(c.Deviation)
	return c
}

// FewestRuns is the smallest number of pairs of runs from which Contrast.Finding
// concludes anything: with fewer, SignFlip gives no p of .05 or less, whatever they show
// (2/2⁶ is .03, 2/2⁵ is .06), and the bootstrap's interval is much too narrow.
const FewestRuns = 6

// Finding is what a contrast shows.
type Finding uint8

const (
	// FindingUnresolved: too few runs (FewestRuns) or examples to say.
	FindingUnresolved Finding = iota
	// FindingBetter and FindingWorse: the first system is, as the whole interval is
	// above or below 0.
	FindingBetter
	FindingWorse
	// FindingEqual: there is no difference that matters, as the whole interval is
	// closer to 0 than the smallest one that does.
	FindingEqual
)

// String returns "not resolved", "better", "worse" or "no difference that matters".
func (f Finding) String() string {
	return [...]string{"not resolved", "better", "worse", "no difference that matters"}[f]
}

// Finding says what c shows, if matters is the smallest difference that matters. A
// difference that is shown counts as shown, also if it is too small to matter. Fewer than
// FewestRuns pairs of runs show nothing: FindingUnresolved.
func (c Contrast) Finding(matters float64) Finding {
	switch {
	case c.Runs < FewestRuns:
		return FindingUnresolved
	case c.Low > 0:
		return FindingBetter
	case c.High < 0:
		return FindingWorse
	case -matters < c.Low && c.High < matters:
		return FindingEqual
	}
	return FindingUnresolved
}

// exactSignFlips is the largest number of differences whose signs SignFlip enumerates.
const exactSignFlips = 16

// SignFlip returns the two-sided p-value of the hypothesis that paired differences are
// as likely to be positive as negative, whatever their size (Fisher's randomisation
// test): the share of all assignments of signs whose mean is at least as far from 0 as
// the one observed. Of more than 16 differences it draws 100,000 assignments by the
// seed, and counts the observed one among them. Without differences, or with one that is
// not finite, it is NaN.
func SignFlip(d []float64, seed uint64) float64 {
	observed, largest := 0.0, 0.0
	for _, x := range d {
		observed += x
		largest += math.Abs(x)
	}
	if len(d) == 0 || math.IsNaN(largest) || math.IsInf(largest, 1) {
		return math.NaN()
	}
	least := math.Abs(observed) - 1e-12*largest // sums in another order differ in the last bits
	if len(d) <= exactSignFlips {
		count := 0
		for signs := range 1 << len(d) {
			if math.Abs(flipped(d, uint64(signs))) >= least {
				count++
			}
		}
		return float64(count) / float64(int(1)<<len(d))
	}
	const draws = 100_000
	random := rand.New(rand.NewPCG(seed, 2))
	count := 1
	for range draws {
		sum := 0.0
		for from := 0; from < len(d); from += 64 {
			sum += flipped(d[from:min(from+64, len(d))], random.Uint64())
		}
		if math.Abs(sum) >= least {
			count++
		}
	}
	return float64(count) / (draws + 1)
}

// flipped is the sum of at most 64 numbers with the signs that are bits.
func flipped(d []float64, signs uint64) (sum float64) {
	for i, x := range d {
		if signs>>i&1 != 0 {
			x = -x
		}
		sum += x
	}
	return sum
}

// Holm returns the p-values adjusted for their number (Holm 1979,
// https://www.jstor.org/stable/4615733): rejecting those of at most α makes a mistake
// about any true hypothesis with probability at most α. NaNs stay, and do not count.
func Holm(p []float64) []float64 {
	order := make([]int, 0, len(p))
	adjusted := slices.Clone(p)
	for i, x := range p {
		if !math.IsNaN(x) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	worst := 0.0
	for k, i := range order {
		worst = max(worst, min(float64(len(order)-k)*p[i], 1))
		adjusted[i] = worst
	}
	return adjusted
}

// PairedRuns returns how many pairs of runs it takes to see a true mean difference with
// a probability of power, in a two-sided test at level alpha, if differences have the
// standard deviation sd: ((z₁₋α⁄₂ + z_power)·sd/difference)², rounded up, 1 at least, and
// math.MaxInt where that is more than an int holds. A power of at most alpha/2 takes 1. It
// panics unless difference is positive, sd is 0 or more, and alpha and power are
// between 0 and 1.
func PairedRuns(difference, sd, alpha, power float64) int {
	z := pairedZ("a difference", difference, sd, alpha, power)
	ratio := z * sd / difference
	if runs := math.Ceil(ratio * ratio); runs < math.MaxInt {
		return max(int(runs), 1)
	}
	return math.MaxInt
}

// PairedDifference is the inverse of PairedRuns: the smallest true mean difference that
// so many pairs of runs see with a probability of power. It panics as PairedRuns does,
// and without a run.
func PairedDifference(runs int, sd, alpha, power float64) float64 {
	return pairedZ("a number of runs", float64(runs), sd, alpha, power) * sd / math.Sqrt(float64(runs))
}

// pairedZ is z₁₋α⁄₂ + z_power; positive is what else must be so.
func pairedZ(name string, positive, sd, alpha, power float64) float64 {
	if !(positive > 0 && sd >= 0 && 0 < alpha && alpha < 1 && 0 < power && power < 1) {
		panic(fmt.Sprintf("eval: paired runs with %s of %v, a deviation of %v, alpha %v and power %v, want the first above 0, the second 0 or more (NaN is that of fewer than two runs), and the others between 0 and 1",
			name, positive, sd, alpha, power))
	}
	return math.Sqrt2 * max(math.Erfinv(1-alpha)+math.Erfinv(2*power-1), 0)
}
