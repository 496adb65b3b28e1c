package posir

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/eval"
)

// Result is how well the document of one query was found.
type Result struct {
	Query string
	// Document is the document with the evidence; "" in the benchmark's result files,
	// which do not name it.
	Document string
	Evidence
	// NDCG is the nDCG@10 of the query, from 0 to 1.
	NDCG float64
}

// Curve is the mean nDCG@10 by the position of the evidence.
type Curve struct {
	// Mean is the mean of each bin: NaN if the bin is empty.
	Mean [Bins]float64
	// Count is the number of queries of each bin.
	Count [Bins]int
}

// NDCG returns the mean of the bins that are not empty, each with the same weight;
// NaN if there are none. That is the benchmark's rule for the buckets, and not the
// mean over their queries.
func (c *Curve) NDCG() float64 {
	mean, _ := eval.Mean(c.Mean[:])
	return mean
}

// queries returns the number of queries in all bins.
func (c *Curve) queries() (n int) {
	for _, count := range c.Count {
		n += count
	}
	return n
}

// PSI returns the position sensitivity index 1 - min/max of the bins that are not
// empty: 0 if a document is found equally well wherever the evidence stands. It is
// NaN if there are none or if the maximum is 0. Sparse bins make it larger
// than it is ([Bias]).
func (c *Curve) PSI() float64 {
	low, high := c.Extremes()
	if low < 0 || c.Mean[high] == 0 {
		return math.NaN()
	}
	return 1 - c.Mean[low]/c.Mean[high]
}

// Extremes returns the bins with the lowest and the highest mean, the first of
// equal ones; -1 if all bins are empty.
func (c *Curve) Extremes() (low, high int) {
	low, high = -1, -1
	for i, m := range c.Mean {
		if c.Count[i] == 0 {
			continue
		}
		if low < 0 || m < c.Mean[low] {
			low = i
		}
		if high < 0 || m > c.Mean[high] {
			high = i
		}
	}
	return low, high
}

// Trend is how the means of the bins go with their positions.
type Trend struct {
	// Line has the slope: the change of nDCG@10 from the beginning to the end of a
	// document. Below 0 is primacy, above 0 recency.
	eval.Line
	Pearson, Spearman, Kendall float64
	// Bins is the number of bins that are not empty.
	Bins int
}

// Trend returns the line through the bins that are not empty, each with the same
// weight, and the correlations of means and positions. What they do not determine
// is NaN.
func (c *Curve) Trend() Trend {
	x, y := c.points()
	return Trend{eval.FitLine(x, y), eval.Pearson(x, y), eval.Spearman(x, y), eval.Kendall(x, y), len(x)}
}

// points returns centre and mean of the bins that are not empty.
func (c *Curve) points() (x, y []float64) {
	for i, m := range c.Mean {
		if c.Count[i] > 0 {
			x, y = append(x, BinCenter(i)), append(y, m)
		}
	}
	return x, y
}

// Analysis is what the benchmark makes of the results of one setting, such as
// "fra-eng": French queries and English documents.
type Analysis struct {
	// Queries is the number of results, and NDCG the mean of their nDCG@10.
	Queries int
	NDCG    float64
	// All has the results of all lengths, and ByLength those of each bucket.
	All      Curve
	ByLength [Buckets]Curve
	// NoPosition counts the results that are in no bin, and NoLength those with a
	// position that are in no bucket. Outside counts those whose span is not in its
	// document, which may be in a bin all the same ([Evidence.Position]).
	NoPosition, NoLength, Outside int
}

// Analyze pools the results of a setting, of all its domains.
func Analyze(results []Result) *Analysis {
	a := &Analysis{Queries: len(results)}
	sum := 0.0
	for _, r := range results {
		sum += r.NDCG
		if r.outside() {
			a.Outside++
		}
		p, ok := r.Position()
		if !ok {
			a.NoPosition++
			continue
		}
		bin := Bin(p)
		a.All.add(bin, r.NDCG)
		if bucket, ok := r.Bucket(); ok {
			a.ByLength[bucket].add(bin, r.NDCG)
		} else {
			a.NoLength++
		}
	}
	a.NDCG = sum / float64(len(results)) // NaN without results
	a.All.finish()
	for i := range a.ByLength {
		a.ByLength[i].finish()
	}
	return a
}

// add and finish keep sums in Mean until all results are there.
func (c *Curve) add(bin int, ndcg float64) {
	c.Mean[bin] += ndcg
	c.Count[bin]++
}

func (c *Curve) finish() {
	for i := range c.Mean {
		c.Mean[i] /= float64(c.Count[i]) // 0/0 is NaN
	}
}

// Metrics are the ten numbers that the benchmark publishes of a setting.
type Metrics struct {
	NDCG       float64
	NDCGBucket [Buckets]float64
	PSI        float64
	PSIBucket  [Buckets]float64
}

// Metrics returns the published numbers.
func (a *Analysis) Metrics() Metrics {
	m := Metrics{NDCG: a.NDCG, PSI: a.All.PSI()}
	for i := range a.ByLength {
		m.NDCGBucket[i], m.PSIBucket[i] = a.ByLength[i].NDCG(), a.ByLength[i].PSI()
	}
	return m
}

// numbers lists the metrics in the order of their published form.
func (m *Metrics) numbers() (names []string, values []*float64) {
	add := func(name string, all *float64, buckets *[Buckets]float64) {
		names, values = append(names, name), append(values, all)
		for i := range buckets {
			names, values = append(names, fmt.Sprintf("%s(%s)", name, BucketNames[i])), append(values, &buckets[i])
		}
	}
	add("nDCG@10", &m.NDCG, &m.NDCGBucket)
	add("PSI", &m.PSI, &m.PSIBucket)
	return names, values
}

// MarshalJSON writes the published form, such as {"nDCG@10": 0.5, "nDCG@10(Q1)":
// ...}. What is undefined is null.
func (m Metrics) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	names, values := m.numbers()
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		value := any(*values[i])
		if math.IsNaN(*values[i]) {
			value = nil
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, '"'), name...), `":`...)
		out = append(out, text...)
	}
	return append(out, '}'), nil
}

// UnmarshalJSON reads the published form, which must have all ten numbers.
func (m *Metrics) UnmarshalJSON(text []byte) error {
	var form map[string]*float64
	if err := json.Unmarshal(text, &form); err != nil {
		return err
	}
	names, values := m.numbers()
	for i, name := range names {
		v, ok := form[name]
		if !ok {
			return fmt.Errorf("posir: metrics lack %q", name)
		}
		*values[i] = math.NaN()
		if v != nil {
			*values[i] = *v
		}
		delete(form, name)
	}
	for name := range form {
		return fmt.Errorf("posir: unknown metric %q", name)
	}
	return nil
}
