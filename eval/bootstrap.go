package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// BootstrapOptions says how to resample. The zero value asks for a 95% interval
// from 2,000 replicates.
type BootstrapOptions struct {
	// Replicates is the number of resamples; 0 means 2000.
	Replicates int
	// Level is the probability that the interval should cover; 0 means 0.95.
	Level float64
	// Seed determines the resamples: the same seed gives the same interval.
	Seed uint64
	// Clusters, if not nil, names the cluster of each item, such as its
	// query. Clusters are then drawn whole. Without that, an interval is too
	// narrow where items of a cluster are alike.
	Clusters []string
}

// Interval is an estimate with its confidence interval.
type Interval struct {
	// Estimate is the metric of the items themselves.
	Estimate float64
	// Low and High bound the interval; NaN if no replicate is defined.
	Low, High float64
	// Undefined counts the replicates on which the metric was NaN. They stay
	// out of the interval; if they are many, do not trust it.
	Undefined int
}

// Bootstrap returns the percentile bootstrap interval of a metric (Efron and
// Tibshirani 1993, chapter 13): the metric is computed on resamples of the
// items, drawn with replacement, and the interval runs between the quantiles
// (1-Level)/2 and (1+Level)/2 of its values. The metric must not keep or change
// its argument. Bootstrap panics on invalid options.
func Bootstrap[T any](items []T, metric func([]T) float64, o BootstrapOptions) Interval {
	var resampled []T
	return bootstrap(len(items), o, func(sample []int) float64 {
		resampled = pick(resampled, items, sample)
		return metric(resampled)
	})
}

// BootstrapDifference returns the interval of metric(a) - metric(b), where a[i]
// and b[i] are what two systems made of the same example. Each resample takes
// the same examples for both, so that what is hard for both does not widen the
// interval. An interval without 0 in it says that the systems differ.
// BootstrapDifference panics if a and b differ in length, and on invalid
// options.
func BootstrapDifference[T any](a, b []T, metric func([]T) float64, o BootstrapOptions) Interval {
	if len(a) != len(b) {
		panic(fmt.Sprintf("eval: %d and %d items are not pairs", len(a), len(b)))
	}
	var fromA, fromB []T
	return bootstrap(len(a), o, func(sample []int) float64 {
		fromA, fromB = pick(fromA, a, sample), pick(fromB, b, sample)
		return metric(fromA) - metric(fromB)
	})
}

// pick returns the items of a sample, in the memory of dst if that suffices.
func pick[T any](dst, items []T, sample []int) []T {
	dst = dst[:0]
	for _, i := range sample {
		dst = append(dst, items[i])
	}
	return dst
}

// bootstrap resamples the indices of n items.
func bootstrap(n int, o BootstrapOptions, metric func(sample []int) float64) Interval {
	if o.Replicates == 0 {
		o.Replicates = 2000
	}
	if o.Level == 0 {
		o.Level = .95
	}
	if o.Replicates < 0 || !(0 < o.Level && o.Level < 1) {
		panic(fmt.Sprintf("eval: a bootstrap needs replicates and a level between 0 and 1, not %d and %v", o.Replicates, o.Level))
	}
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

// clusterIndices returns the items of each cluster, clusters in the order of
// their first items.
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
