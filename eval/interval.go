package eval

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Interval is an estimate with its confidence interval.
type Interval struct {
	// Estimate is the metric of the items themselves.
	Estimate float64
	// Low and High bound the interval. They are NaN if there is nothing to
	// compute them from.
	Low, High float64
	// Undefined counts the bootstrap replicates on which the metric was NaN.
	// They are left out of the interval; do not trust it if there are many.
	Undefined int
}

// BootstrapOptions are the settings of a bootstrap. The zero value gives a 95%
// interval from 2,000 replicates.
type BootstrapOptions struct {
	// Replicates is the number of resamples; 0 means 2000.
	Replicates int
	// Level is the probability with which the interval should cover the true
	// value, below 1; 0 means 0.95.
	Level float64
	// Seed determines the resamples. The same seed gives the same interval.
	Seed uint64
	// Clusters, if not nil, names each item's cluster, such as its query.
	// Clusters are then drawn whole; otherwise the interval is too narrow
	// where items of a cluster are alike.
	Clusters []string
}

// Validate returns an error if the number of replicates or the level is
// invalid.
func (o BootstrapOptions) Validate() error {
	if o.Replicates < 0 || !(0 <= o.Level && o.Level < 1) {
		return fmt.Errorf("eval: BootstrapOptions with %d replicates and level %v, need at least 0 and a level from 0 to below 1", o.Replicates, o.Level)
	}
	return nil
}

// Bootstrap returns the percentile bootstrap interval of a metric (Efron and
// Tibshirani 1993, chapter 13). It computes the metric on resamples of the items,
// drawn with replacement; the interval runs from the quantile (1-Level)/2 of the
// values to the quantile (1+Level)/2. The metric must not keep or change its
// argument. One item, or items of one cluster, say nothing of how others would be: the
// bounds are then NaN. Bootstrap panics on options that Validate rejects, and unless
// Clusters is nil or has a name per item.
func Bootstrap[T any](items []T, metric func([]T) float64, o BootstrapOptions) Interval {
	var resampled []T
	return ofSeveral(len(items), o, func(sample []int) float64 {
		resampled = pick(resampled, items, sample)
		return metric(resampled)
	})
}

// BootstrapDifference returns the interval of metric(a) - metric(b), where a[i]
// and b[i] are two systems' results on the same example. A resample has the same
// examples for both, so examples that are hard for both do not widen the
// interval. An interval without 0 in it shows a difference between the systems.
// BootstrapDifference panics if a and b differ in length, and as Bootstrap does.
func BootstrapDifference[T any](a, b []T, metric func([]T) float64, o BootstrapOptions) Interval {
	if len(a) != len(b) {
		panic(fmt.Sprintf("eval: %d and %d items are not pairs", len(a), len(b)))
	}
	var fromA, fromB []T
	return ofSeveral(len(a), o, func(sample []int) float64 {
		fromA, fromB = pick(fromA, a, sample), pick(fromB, b, sample)
		return metric(fromA) - metric(fromB)
	})
}

// ofSeveral is bootstrap without the bounds that all resamples agree on where there is
// one cluster to draw.
func ofSeveral(n int, o BootstrapOptions, metric func(sample []int) float64) Interval {
	i := bootstrap(n, o, metric)
	if len(clusterIndices(n, o.Clusters)) == 1 {
		i.Low, i.High = math.NaN(), math.NaN()
	}
	return i
}

// pick returns the sampled items, in dst's memory if that suffices.
func pick[T any](dst, items []T, sample []int) []T {
	dst = dst[:0]
	for _, i := range sample {
		dst = append(dst, items[i])
	}
	return dst
}

// bootstrap resamples the indices of n items.
func bootstrap(n int, o BootstrapOptions, metric func(sample []int) float64) Interval {
	if err := o.Validate(); err != nil {
		panic(err.Error())
	}
	o.Replicates = cmp.Or(o.Replicates, 2000)
	o.Level = cmp.Or(o.Level, .95)
	clusters := clusterIndices(n, o.Clusters)
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	interval := Interval{Estimate: metric(all)}

	random := rand.New(rand.NewPCG(o.Seed, 0))
	values := make([]float64, 0, o.Replicates)
	var sample []int
	for range o.Replicates {
		sample = sample[:0]
		for range clusters {
			sample = append(sample, clusters[random.IntN(len(clusters))]...)
		}
		if v := metric(sample); math.IsNaN(v) {
			interval.Undefined++
		} else {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	interval.Low = quantile(values, (1-o.Level)/2)
	interval.High = quantile(values, (1+o.Level)/2)
	return interval
}

// clusterIndices returns the indices of each cluster's items; clusters are in the
// order of their first items.
func clusterIndices(n int, names []string) [][]int {
	clusters := make([][]int, 0, n)
	if names == nil {
		for i := range n {
			clusters = append(clusters, []int{i})
		}
		return clusters
	}
	if len(names) != n {
		panic(fmt.Sprintf("eval: %d cluster names for %d items", len(names), n))
	}
	index := make(map[string]int)
	for i, name := range names {
		c, ok := index[name]
		if !ok {
			c = len(clusters)
			index[name] = c
			clusters = append(clusters, nil)
		}
		clusters[c] = append(clusters[c], i)
	}
	return clusters
}

// quantile returns the q-quantile of sorted values, with linear interpolation
// between neighbours.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// Wilson returns the score interval of the proportion successes/n at that
// confidence level; 0 means 0.95 (Wilson 1927,
// doi:10.1080/01621459.1927.10502953):
//
//	(p̂ + z²/2n ± z·√(p̂(1−p̂)/n + z²/4n²)) / (1 + z²/n)
//
// Use it where a bootstrap fails: with few trials, or where all or none succeed.
// The trials must be independent. Without trials everything is NaN. Wilson panics
// unless 0 <= successes <= n and 0 <= level < 1.
func Wilson(successes, n int, level float64) Interval {
	if successes < 0 || successes > n || !(0 <= level && level < 1) {
		panic(fmt.Sprintf("eval: Wilson needs 0 <= successes <= n and a level below 1, not %d of %d and %v", successes, n, level))
	}
	if n == 0 {
		return Interval{Estimate: math.NaN(), Low: math.NaN(), High: math.NaN()}
	}
	level = cmp.Or(level, .95)
	z := math.Sqrt2 * math.Erfinv(level)
	p, m := float64(successes)/float64(n), float64(n)
	centre := p + z*z/(2*m)
	half := z * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	scale := 1 + z*z/m
	// At the ends of the scale a bound is the estimate itself, and rounding
	// must not move it beyond.
	return Interval{Estimate: p, Low: min(max((centre-half)/scale, 0), p), High: max(min((centre+half)/scale, 1), p)}
}
