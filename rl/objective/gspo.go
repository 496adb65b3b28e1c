package objective

import (
	"cmp"
	"errors"
	"fmt"
	"math"
)

// ErrSharedRatio is the error of GSPO for a sequence whose tokens differ in
// advantage.
var ErrSharedRatio = errors.New("objective: GSPO shares one ratio among all tokens, which would average away what step credit or TopEntropy masks; use GSPOToken")

// GSPO is Group Sequence Policy Optimization (arXiv:2507.18071): the clipped
// surrogate with one ratio for the whole sequence, through which its gradient
// flows. With n tokens that count
//
//	s = exp(1/n·Σ_t log π_t/π_old,t)
//	L_t = max(-A·s, -A·clip(s, 1-ClipLow, 1+ClipHigh))
//	∂L_t/∂logπ_u = -A·s/n for every t and u where not clipped, else 0
//
// This is TRL's importance_sampling_level="sequence". Every token receives the
// mean of all tokens' advantages, so a sequence whose tokens differ in
// advantage, masked ones counting as 0, is an error that wraps ErrSharedRatio:
// step credit needs GSPOToken.
//
// A token counts if its Weight is not 0. So with MaskedStay a partly masked
// completion is that error, and a fully masked one contributes nothing; with
// MaskedExclude and MaskedExcludeLoss masked tokens are no part of s and
// contribute nothing.
type GSPO struct {
	// ClipLow and ClipHigh are the distances of the bounds from 1, both
	// positive; the paper has 3e-4 and 4e-4.
	ClipLow  float64 `json:"clip_low"`
	ClipHigh float64 `json:"clip_high"`
	// LogRatioMax limits log s from above and stops the gradient beyond
	// (verl, SkyRL: 10); 0 = none.
	LogRatioMax float64 `json:"log_ratio_max"`
}

// Needs returns InputOld.
func (GSPO) Needs() Inputs { return InputOld }

// Validate returns an error that names the first invalid setting.
func (p GSPO) Validate() error {
	return cmp.Or(
		checkClip("GSPO", p.ClipLow, p.ClipHigh),
		checkNonNegative("GSPO.LogRatioMax", p.LogRatioMax),
	)
}

// Eval implements Objective.
func (p GSPO) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	q, err := s.sequenceRatio(p.LogRatioMax)
	if err != nil || q.n == 0 {
		return 0, err
	}
	adv, err := s.sharedAdvantage()
	if err != nil {
		return 0, err
	}
	clip := PPO{ClipLow: p.ClipLow, ClipHigh: p.ClipHigh}.clip()
	l, byRatio, met := clip.at(q.ratio, adv)
	var y tally
	var grad float64
	for t, w := range s.Weight {
		if w == 0 {
			continue
		}
		loss += w * l
		grad += w * byRatio * q.slope / q.n
		if !s.masked(t) {
			y.n++
			y.hits[met]++
		}
	}
	for t, w := range s.Weight {
		if w != 0 {
			s.Grad[t] += grad
		}
	}
	q.flush(y, m)
	return loss, nil
}

// sharedAdvantage returns the advantage of all tokens that count, 0 for masked
// ones, or an error that wraps ErrSharedRatio if they differ.
func (s *Sequence) sharedAdvantage() (adv float64, err error) {
	first := -1
	for t, w := range s.Weight {
		if w == 0 {
			continue
		}
		a := 0.0
		if !s.masked(t) {
			a = s.Adv[t]
		}
		switch {
		case !finite(a):
			return 0, s.blame(t, InputOld)
		case first < 0:
			first, adv = t, a
		case a != adv:
			return 0, fmt.Errorf("%w (advantages %v at position %d, %v at position %d)", ErrSharedRatio, adv, first, a, t)
		}
	}
	return adv, nil
}

// sequenceRatio is the ratio of a whole sequence.
type sequenceRatio struct {
	n     float64 // tokens with a weight
	ratio float64 // exp of their mean log-ratio
	slope float64 // d(ratio)/d(mean log-ratio): the ratio, or 0 where it is limited
}

// flush writes the metrics of the tokens in y, which share the ratio, to m.
func (q sequenceRatio) flush(y tally, m Metrics) {
	if y.n > 0 {
		m.Add("ratio", q.ratio*y.n, y.n)
	}
	y.end(m)
}

// sequenceRatio computes the ratio of GSPO over all tokens with a weight.
func (s *Sequence) sequenceRatio(logRatioMax float64) (q sequenceRatio, err error) {
	if err := s.checkPolicy(0); err != nil {
		return q, err
	}
	sum, n, err := s.logRatio(0)
	if err != nil || n == 0 {
		return q, err
	}
	q.n = n
	mean := sum / q.n
	if logRatioMax > 0 && mean > logRatioMax {
		q.ratio = math.Exp(logRatioMax)
	} else {
		q.ratio = math.Exp(mean)
		q.slope = q.ratio
	}
	if !finite(q.ratio) {
		return q, fmt.Errorf("objective: the sequence ratio overflows at a mean log-ratio of %v; limit it or find out why the policies differ so much", mean)
	}
	return q, nil
}

// logRatio adds up the log-ratios of all n tokens with a weight, each held within ±clamp
// (0 = no clamp).
func (s *Sequence) logRatio(clamp float64) (sum, n float64, err error) {
	old := s.old()
	for t, w := range s.Weight {
		if w == 0 {
			continue
		}
		log := s.LogP[t] - old[t]
		if !finite(log) {
			return 0, 0, s.blame(t, InputOld)
		}
		sum += limited(log, clamp)
		n++
	}
	return sum, n, nil
}

// GSPOToken is the token form of GSPO (arXiv:2507.18071, section 4.3): the
// sequence's ratio in value, each token's own log-prob in gradient, so that
// tokens may differ in advantage. With s as in GSPO and sg stopping the
// gradient
//
//	s_t = sg(s)·π_t/sg(π_t)
//	L_t = max(-A_t·s_t, -A_t·clip(s_t, 1-ClipLow, 1+ClipHigh))
//	∂L_t/∂logπ_t = -A_t·s where not clipped, else 0
//
// Each token is clipped by the sign of its own A_t, which may change inside a
// sequence. verl and SkyRL call this "gspo". With one advantage for all tokens
// its gradient is GSPO's, under every aggregation of this package.
//
// A masked token contributes nothing; with MaskedStay it is still part of s.
type GSPOToken struct {
	// ClipLow and ClipHigh are the distances of the bounds from 1, both
	// positive; the paper has 3e-4 and 4e-4.
	ClipLow  float64 `json:"clip_low"`
	ClipHigh float64 `json:"clip_high"`
	// LogRatioMax limits log s from above and stops the gradient beyond
	// (verl, SkyRL: 10); 0 = none.
	LogRatioMax float64 `json:"log_ratio_max"`
}

// Needs returns InputOld.
func (GSPOToken) Needs() Inputs { return InputOld }

// Validate returns an error that names the first invalid setting.
func (p GSPOToken) Validate() error {
	return cmp.Or(
		checkClip("GSPOToken", p.ClipLow, p.ClipHigh),
		checkNonNegative("GSPOToken.LogRatioMax", p.LogRatioMax),
	)
}

// Eval implements Objective.
func (p GSPOToken) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	q, err := s.sequenceRatio(p.LogRatioMax)
	if err != nil {
		return 0, err
	}
	clip := PPO{ClipLow: p.ClipLow, ClipHigh: p.ClipHigh}.clip()
	var y tally
	for t, w := range s.Weight {
		if w == 0 || s.masked(t) {
			continue
		}
		if !finite(s.Adv[t]) {
			return 0, s.blame(t, InputOld)
		}
		l, byRatio, met := clip.at(q.ratio, s.Adv[t])
		loss += w * l
		s.Grad[t] += w * byRatio * q.slope
		y.n++
		y.hits[met]++
	}
	q.flush(y, m)
	return loss, nil
}
