package objective

import (
	"fmt"
	"math"
)

// Level says over what an importance weight between the sampling engine and
// the trainer is taken. With d = logπ_old - logπ_rollout of a token:
type Level uint8

const (
	// TokenLevel: exp(d) of each token (default).
	TokenLevel Level = iota
	// SequenceLevel: exp(Σ d), the ratio of the whole completion's
	// probabilities, for all its tokens.
	SequenceLevel
	// GeometricLevel: exp(mean d), for all its tokens.
	GeometricLevel
)

// Outside says what becomes of an importance weight outside its bounds.
type Outside uint8

const (
	// Truncate moves it to the bound (TIS; Yao et al., "Your Efficient RL
	// Framework Secretly Brings You Off-Policy RL Training", 2025) (default).
	Truncate Outside = iota
	// Drop makes it 0 (IcePop, arXiv:2510.18855; TRL's "mask" modes).
	Drop
	// Gate makes it 0, and every weight inside the bounds 1: it selects but
	// does not reweight.
	Gate
)

// Corrected reweights a policy loss for the mismatch between the engine that
// sampled and the trainer that scores, be it numerical or by age of weights:
//
//	L_t = w_t·L_t of the objective,  w from exp(logπ_old - logπ_rollout)
//
// w is a constant to the gradient. Only Weight is scaled: KL and entropy terms
// stay as they are, so it does not matter whether they stand inside or outside.
// A token with w = 0 is out of the objective, and out of the sequence ratio of
// GSPO, but aggregations have counted it. A masked token contributes what it
// does to the objective; under Stay it is part of the sequence's weight.
//
// Corrections nest: one that selects sequences around one that reweights
// tokens, for instance. Metrics are taken before w is bounded.
type Corrected struct {
	Objective Objective
	Level     Level
	Outside   Outside
	// Min and Max bound the weight, 0 ≤ Min < Max. Max = +Inf is no bound.
	// verl truncates at 2, TRL drops sequences beyond 3, OpenRLHF has
	// [0.5, 5].
	Min, Max float64
	// LogRatioClamp limits the logarithm of w to ± itself before exp (verl:
	// 20); 0 = none.
	LogRatioClamp float64
}

// Needs returns what the objective needs, Old and Rollout.
func (c Corrected) Needs() Inputs { return c.Objective.Needs() | Old | Rollout }

// Validate returns an error that names the first bad setting.
func (c Corrected) Validate() error {
	if err := c.check(); err != nil {
		return err
	}
	return validate(c.Objective)
}

func (c Corrected) check() error {
	switch {
	case c.Objective == nil:
		return errNoObjective("Corrected")
	case c.Level > GeometricLevel:
		return fmt.Errorf("objective: Corrected.Level is %d, want TokenLevel, SequenceLevel or GeometricLevel", c.Level)
	case c.Outside > Gate:
		return fmt.Errorf("objective: Corrected.Outside is %d, want Truncate, Drop or Gate", c.Outside)
	case !(c.Min >= 0) || !(c.Max > c.Min):
		return fmt.Errorf("objective: Corrected.Min and Max are %v and %v, want 0 ≤ Min < Max", c.Min, c.Max)
	}
	return checkNonNegative("Corrected.LogRatioClamp", c.LogRatioClamp)
}

// Eval implements Objective.
func (c Corrected) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	if err := c.check(); err != nil {
		return 0, err
	}
	if err := s.check(Rollout); err != nil {
		return 0, err
	}
	u := *s
	u.Weight = make([]float64, len(s.Weight))
	var y correction
	sum, n, err := c.tokens(s, u.Weight, m, &y)
	if err != nil {
		return 0, err
	}
	if c.Level != TokenLevel && n > 0 {
		if c.Level == GeometricLevel {
			sum /= n
		}
		x, _ := clamp(sum, c.LogRatioClamp)
		f := c.weight(math.Exp(x), &y)
		for t, w := range s.Weight {
			if w != 0 {
				u.Weight[t] = w * f
			}
		}
	}
	y.flush(m)
	return c.Objective.Eval(&u, m)
}

// tokens returns Σ d and the number of its terms, and adds to m how far the
// rollout's log-probs are off. At TokenLevel it writes the weights.
func (c Corrected) tokens(s *Sequence, weight []float64, m Metrics, y *correction) (sum, n float64, err error) {
	b := workspaces.Get().(*workspace)
	defer workspaces.Put(b)
	old := s.old()
	var gap, kl float64
	for from := 0; from < len(s.LogP); from += blockSize {
		to := min(from+blockSize, len(s.LogP))
		if keepWeights(&b.w, s.Weight[from:to], allKept[:to-from]) == 0 {
			continue
		}
		ratios(&b.lr, &b.x, &b.r, old[from:to], s.Rollout[from:to], &b.w, noLimit(c.LogRatioClamp))
		for i, w := range b.w[:to-from] {
			if w == 0 {
				continue
			}
			d := b.lr[i]
			if !finite(d) {
				return 0, 0, s.blame(from+i, Old|Rollout)
			}
			sum += d
			n++
			gap += math.Abs(d)
			kl += d * d / 2
			if c.Level == TokenLevel {
				weight[from+i] = w * c.weight(b.r[i], y)
			}
		}
	}
	if n > 0 {
		m.Add("rollout_gap", gap, n)
		m.Add("rollout_kl", kl, n)
	}
	return sum, n, nil
}

// weight puts an importance weight within the bounds.
func (c Corrected) weight(w float64, y *correction) float64 {
	y.add(min(w, maxWeightMetric), w < c.Min, w > c.Max)
	inside := w >= c.Min && w <= c.Max
	switch {
	case c.Outside == Truncate:
		return min(max(w, c.Min), c.Max)
	case !inside:
		return 0
	case c.Outside == Gate:
		return 1
	}
	return w
}

// maxWeightMetric is the most that a single weight, which may be infinite,
// adds to the metrics.
const maxWeightMetric = 1e6

// correction collects the metrics of importance weights.
type correction struct{ n, sum, squares, low, high float64 }

func (y *correction) add(w float64, low, high bool) {
	y.n++
	y.sum += w
	y.squares += w * w
	if low {
		y.low++
	}
	if high {
		y.high++
	}
}

func (y *correction) flush(m Metrics) {
	if y.n == 0 {
		return
	}
	m.Add("rollout_weight", y.sum, y.n)
	m.Add("rollout_weight_sq", y.squares, y.n)
	m.Add("rollout_low", y.low, y.n)
	m.Add("rollout_high", y.high, y.n)
}
