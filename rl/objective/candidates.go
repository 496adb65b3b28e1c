package objective

import (
	"fmt"
	"math"
)

// Normalize says which of the two distributions over the candidates of a
// position is divided by its sum before they are compared. It matters for
// top-K candidates only: over the full vocabulary both sum to 1 already.
type Normalize uint8

const (
	// NormalizeNone takes the log-probs as they are (default).
	NormalizeNone Normalize = iota
	// NormalizeTeacher makes the teacher's sum to 1 and leaves the policy's:
	// with ForwardKL it is cross-entropy with soft targets of total weight 1,
	// which pulls all of the policy's mass onto the candidates.
	NormalizeTeacher
	// NormalizeBoth compares the distributions given that one of the
	// candidates is chosen, and leaves the policy's total mass on them alone.
	NormalizeBoth
)

func (n Normalize) validate(name string) error {
	if n > NormalizeBoth {
		return fmt.Errorf("objective: %s.Normalize is %d, want NormalizeNone, NormalizeTeacher or NormalizeBoth", name, n)
	}
	return nil
}

// divergence is a sum over the candidates of a position.
type divergence interface {
	// candidate returns one candidate's share, given the log-probs of
	// teacher and policy, and its derivative with respect to the latter.
	candidate(teacher, policy float64) (v, dv float64)
}

// sumCandidates evaluates a divergence on the kept tokens of s.
func sumCandidates[D divergence](d D, norm Normalize, name string, s *Sequence, m Metrics) (loss float64, err error) {
	if err := s.checkCandidates(); err != nil {
		return 0, err
	}
	c := s.Cand
	var sum, n float64
	for t, w := range s.Weight {
		if w == 0 || !s.kept(t) {
			continue
		}
		teacher, policy, grad := c.Teacher[t*c.K:][:c.K], c.LogP[t*c.K:][:c.K], c.Grad[t*c.K:][:c.K]
		var zt, zp float64
		if norm != NormalizeNone {
			zt = logSumExp(teacher)
		}
		if norm == NormalizeBoth {
			zp = logSumExp(policy)
		}
		var total, slope float64
		for k := range grad {
			v, dv := d.candidate(teacher[k]-zt, policy[k]-zp)
			total += v
			slope += dv
			grad[k] += w * dv
		}
		if !finite(total + slope) {
			return 0, s.blameCandidate(t)
		}
		if norm == NormalizeBoth {
			for k := range grad {
				grad[k] -= w * slope * math.Exp(policy[k]-zp)
			}
		}
		loss += w * total
		sum += total
		n++
	}
	if n > 0 {
		m.Add(name, sum, n)
	}
	return loss, nil
}

// checkCandidates is check for losses that compare distributions.
func (s *Sequence) checkCandidates() error {
	c := s.Cand
	if c == nil {
		return fmt.Errorf("objective: Cand is missing, want candidates for each of %d tokens", len(s.LogP))
	}
	if c.K < 1 {
		return fmt.Errorf("objective: Cand.K is %d, want at least 1", c.K)
	}
	if n := len(s.LogP) * c.K; len(c.Teacher) != n || len(c.LogP) != n || len(c.Grad) != n {
		return fmt.Errorf("objective: Cand has %d, %d and %d entries in Teacher, LogP and Grad, want %d tokens × %d", len(c.Teacher), len(c.LogP), len(c.Grad), len(s.LogP), c.K)
	}
	return s.check(0)
}

// blameCandidate says why the divergence at position t is not finite.
func (s *Sequence) blameCandidate(t int) error {
	c := s.Cand
	for k := range c.K {
		teacher, policy := c.Teacher[t*c.K+k], c.LogP[t*c.K+k]
		if !finite(teacher) || !finite(policy) {
			return fmt.Errorf("objective: candidate %d at position %d has log-probs %v (teacher) and %v, for which the divergence is not finite", k, t, teacher, policy)
		}
	}
	return fmt.Errorf("objective: the divergence at position %d overflows", t)
}

// logSumExp returns log Σ exp(x).
func logSumExp(x []float64) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		if !(v <= top) { // so that a NaN gets through
			top = v
		}
	}
	if !finite(top) {
		return top
	}
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum)
}
