package objective

// Sum is a metric that survives splitting a batch: a sum and what it is to be
// divided by.
type Sum struct{ Sum, Count float64 }

// Mean is Sum/Count, and 0 for an empty one.
func (s Sum) Mean() float64 {
	if s.Count == 0 {
		return 0
	}
	return s.Sum / s.Count
}

// Metrics is a set of named sums, merged by addition. The package comment
// lists the names that the objectives here use.
type Metrics map[string]Sum

// Add adds v to the metric's sum and n to its count.
func (m Metrics) Add(name string, v, n float64) {
	s := m[name]
	m[name] = Sum{s.Sum + v, s.Count + n}
}

// Merge adds every metric of o to m.
func (m Metrics) Merge(o Metrics) {
	for k, s := range o {
		m.Add(k, s.Sum, s.Count)
	}
}
