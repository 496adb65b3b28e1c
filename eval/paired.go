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
// conservative. For the difference of two systems d holds the paired differences. It
// takes many runs: with one alone it says nothing of how runs differ. It panics if d is
// not a rectangle, if o has Clusters, and on options that Validate
// rejects.
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
	if o.Clusters != nil {
		panic("eval: BootstrapCrossed takes no Clusters: its runs and examples are what is drawn")
	}
	random := rand.New(rand.NewPCG(o.Seed, 1))
	weights := make([]float64, columns)
	drawn := false
	return bootstrap(len(d), o, func(sample []int) float64 {
		// The first call is for the estimate itself.
		for j := range weights {
			weights[j] = 1
		}
		if drawn {
			clear(weights)
			for range weights {
				weights[random.IntN(columns)]++
			}
		}
		drawn = true
		sum := 0.0
		for _, i := range sample {
			for j, x := range d[i] {
				sum += weights[j] * x
			}
		}
		return sum / float64(len(sample)*columns)
	})
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
// standard deviation sd: ((z₁₋α⁄₂ + z_power)·sd/difference)², rounded up. It panics
// unless all are positive, and alpha and power below 1.
func PairedRuns(difference, sd, alpha, power float64) int {
	if !(difference > 0 && sd > 0 && 0 < alpha && alpha < 1 && 0 < power && power < 1) {
		panic(fmt.Sprintf("eval: PairedRuns(%v, %v, %v, %v), want positive numbers, the last two below 1", difference, sd, alpha, power))
	}
	z := math.Sqrt2 * (math.Erfinv(1-alpha) + math.Erfinv(2*power-1))
	return int(math.Ceil(z * z * sd * sd / (difference * difference)))
}
