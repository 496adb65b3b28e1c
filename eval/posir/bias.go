package posir

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/stepwise-rl/stepwise/eval"
)

// Bias says how much of a curve's unevenness is the retriever's, where PSI alone
// cannot: PSI takes the lowest and the highest of twenty means, so it rises with
// the noise of sparse bins even if the retriever does not look at positions at all.
type Bias struct {
	// PSI is the curve's own, with an interval from resampling documents with all
	// their queries (or queries, where results do not name documents). Resamples are
	// noisier than the sample, so the interval lies too high where bins are sparse.
	PSI eval.Interval
	// Null is the mean PSI of results whose positions were permuted within their
	// length buckets: what a retriever without any position bias gets. NullHigh is
	// the quantile that it stays below with the probability Level.
	Null, NullHigh float64
	// P is the share of permutations with at least the PSI of the curve itself,
	// this one counted too.
	P float64
	// Split is PSI without the advantage of hindsight: the extreme bins are chosen
	// on one half of the documents and read on the other. It is 1 - min/max of
	// what was read, each on average over halvings: about 0 without a bias, and maybe
	// below.
	Split float64
	// Slope is the slope of the curve's trend: below 0 is primacy, above 0
	// recency. Its interval is as PSI's, and SlopeP is the share of permutations with a
	// slope at least as steep. Where a retriever prefers beginnings or ends, it shows
	// with fewer queries than by PSI.
	Slope  eval.Interval
	SlopeP float64
	// Sparsest is the smallest number of queries in a bin, of bins that are not
	// empty, and Empty the number of empty ones.
	Sparsest, Empty int
}

// BiasOptions are the settings of [MeasureBias]. The zero value takes 1,000
// permutations, halvings and resamples, and intervals of 95%.
type BiasOptions struct {
	// Replicates is the number of permutations, halvings and resamples, at least 99: with
	// fewer P is always above 0.01. 0 means 1000.
	Replicates int
	// Level is the probability of intervals, below 1; 0 means 0.95.
	Level float64
	// Seed determines what is drawn.
	Seed uint64
}

// Validate returns an error that names the first invalid setting.
func (o BiasOptions) Validate() error {
	if err := o.bootstrap().Validate(); err != nil {
		return fmt.Errorf("posir: BiasOptions: %w", err)
	}
	if o.Replicates != 0 && o.Replicates < 99 {
		return fmt.Errorf("posir: BiasOptions.Replicates is %d, want at least 99, so that P can be 0.01 (0 means 1000)", o.Replicates)
	}
	return nil
}

func (o BiasOptions) bootstrap() eval.BootstrapOptions {
	return eval.BootstrapOptions{Replicates: o.Replicates, Level: o.Level, Seed: o.Seed}
}

// MeasureBias measures the bias of a curve: of the results of one length bucket, or
// of all of them with bucket -1. It returns an error if options are invalid or if
// the bucket is unknown.
func MeasureBias(results []Result, bucket int, o BiasOptions) (*Bias, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.Replicates = cmp.Or(o.Replicates, 1000)
	boot := o.bootstrap()
	o.Level = cmp.Or(o.Level, .95)
	if bucket < -1 || bucket >= Buckets {
		return nil, fmt.Errorf("posir: length bucket %d, want -1 for all or 0 to %d", bucket, Buckets-1)
	}
	points := binned(results, bucket)
	curve := curveOf(points)
	b := &Bias{}
	for _, n := range curve.Count {
		if n == 0 {
			b.Empty++
		} else if b.Sparsest == 0 || n < b.Sparsest {
			b.Sparsest = n
		}
	}
	for _, p := range points {
		boot.Clusters = append(boot.Clusters, p.cluster)
	}
	b.PSI = eval.Bootstrap(points, func(p []point) float64 { return curveOf(p).PSI() }, boot)
	b.Slope = eval.Bootstrap(points, func(p []point) float64 { return curveOf(p).slope() }, boot)
	b.permute(points, o)
	b.split(points, o)
	return b, nil
}

// point is a result that is in a bin.
type point struct {
	bin, bucket int
	ndcg        float64
	cluster     string
}

func binned(results []Result, bucket int) []point {
	var points []point
	for _, r := range results {
		position, ok := r.Position()
		if !ok {
			continue
		}
		in, ok := r.Bucket()
		if !ok {
			in = -1
		}
		if bucket >= 0 && in != bucket {
			continue
		}
		cluster := "document " + r.Document
		if r.Document == "" {
			cluster = "query " + r.Query
		}
		points = append(points, point{Bin(position), in, r.NDCG, cluster})
	}
	return points
}

func curveOf(points []point) *Curve {
	var c Curve
	for _, p := range points {
		c.add(p.bin, p.ndcg)
	}
	c.finish()
	return &c
}

func (c *Curve) slope() float64 { return eval.FitLine(c.points()).Slope }

// permute sets Null, NullHigh, P and SlopeP.
func (b *Bias) permute(points []point, o BiasOptions) {
	b.Null, b.NullHigh, b.P, b.SlopeP = math.NaN(), math.NaN(), math.NaN(), math.NaN()
	if math.IsNaN(b.PSI.Estimate) {
		return
	}
	points = slices.Clone(points)
	slices.SortStableFunc(points, func(a, c point) int { return cmp.Compare(a.bucket, c.bucket) })
	random := rand.New(rand.NewPCG(o.Seed, 1))
	values := make([]float64, 0, o.Replicates)
	reached, steeper := 1, 1
	const rounding = 1e-12 // sums of the same gains in another order differ in the last bits
	for range o.Replicates {
		for from := 0; from < len(points); {
			to := from
			for to < len(points) && points[to].bucket == points[from].bucket {
				to++
			}
			in := points[from:to]
			random.Shuffle(len(in), func(i, j int) { in[i].bin, in[j].bin = in[j].bin, in[i].bin })
			from = to
		}
		curve := curveOf(points)
		psi := curve.PSI() // defined, as a gain above 0 remains
		if psi >= b.PSI.Estimate-rounding {
			reached++
		}
		if math.Abs(curve.slope()) >= math.Abs(b.Slope.Estimate)-rounding {
			steeper++
		}
		values = append(values, psi)
	}
	slices.Sort(values)
	b.Null, _ = eval.Mean(values)
	b.NullHigh = values[min(int(math.Ceil(o.Level*float64(len(values)))), len(values))-1]
	b.P = float64(reached) / float64(o.Replicates+1)
	if !math.IsNaN(b.Slope.Estimate) {
		b.SlopeP = float64(steeper) / float64(o.Replicates+1)
	}
}

// split sets Split.
func (b *Bias) split(points []point, o BiasOptions) {
	index, side := map[string]int{}, []bool(nil)
	of := make([]int, len(points))
	for i, p := range points {
		c, ok := index[p.cluster]
		if !ok {
			c = len(side)
			index[p.cluster] = c
			side = append(side, false)
		}
		of[i] = c
	}
	for i := range side {
		side[i] = i%2 == 0
	}
	random := rand.New(rand.NewPCG(o.Seed, 2))
	var lowest, highest float64 // sums over halvings
	for range o.Replicates {
		random.Shuffle(len(side), func(i, j int) { side[i], side[j] = side[j], side[i] })
		var halves [2]Curve
		for i, p := range points {
			h := 0
			if side[of[i]] {
				h = 1
			}
			halves[h].add(p.bin, p.ndcg)
		}
		halves[0].finish()
		halves[1].finish()
		for h := range halves {
			choose, read := halves[h], &halves[1-h]
			for i := range choose.Count {
				choose.Count[i] = min(choose.Count[i], read.Count[i]) // neither may be empty
			}
			if low, high := choose.Extremes(); low >= 0 {
				lowest += read.Mean[low]
				highest += read.Mean[high]
			}
		}
	}
	b.Split = math.NaN()
	if highest > 0 {
		b.Split = 1 - lowest/highest
	}
}
