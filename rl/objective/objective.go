package objective

import "strings"

// Objective is a loss as a function of per-token log-probs (and entropies, and
// candidates' log-probs).
type Objective interface {
	// Needs lists the inputs that Eval reads besides LogP and Adv. Without
	// one of them Eval returns an error; only Old may be absent (see
	// Sequence).
	Needs() Inputs
	// Validate returns an error that names the first invalid setting. Whoever
	// accepts an objective calls it once; Eval does not repeat it, and its
	// result with invalid settings is undefined.
	Validate() error
	// Eval returns the sequence's share of the loss, adds its gradient to
	// s.Grad (and s.EntropyGrad, s.Cand.Grad), and adds to m. Numbers at
	// positions whose weight is 0 are never read. A number that is read and
	// is not finite is an error that names the position. After an error
	// gradients and metrics are undefined.
	// Eval may be called concurrently for different sequences and metrics.
	Eval(s *Sequence, m Metrics) (loss float64, err error)
}

// Inputs is the set of inputs that an objective reads besides current log-probs
// and advantages.
type Inputs uint8

const (
	// InputOld: log-probs of the policy before the first inner epoch.
	InputOld Inputs = 1 << iota
	// InputRef: log-probs of the frozen reference policy.
	InputRef
	// InputRollout: log-probs that the sampling engine reported.
	InputRollout
	// InputEntropy: the entropy of each token's distribution, with its
	// gradient.
	InputEntropy
	// InputCandidates: log-probs of several tokens per position, the policy's
	// and a teacher's.
	InputCandidates
	// InputTeacher: log-probs of a teacher.
	InputTeacher
	// InputCovRank: the rank of each token by the covariance of log-prob and
	// advantage over the step (Layout.CovRanks).
	InputCovRank
)

var inputNames = [...]string{"old log-probs", "reference log-probs", "rollout log-probs", "entropies", "candidates", "teacher log-probs", "covariance ranks"}

// String lists the inputs in words, as errors name them.
func (n Inputs) String() string {
	var names []string
	for i, name := range inputNames {
		if n&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// Sum is a metric that can be added over the parts of a batch: a sum, and the
// count to divide it by.
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
