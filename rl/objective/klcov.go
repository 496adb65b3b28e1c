package objective

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// KLCov holds the tokens that make the entropy fall fastest near the old policy
// ("The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models",
// arXiv:2505.22617; verl's loss_mode "kl_cov"). To first order an update changes the
// entropy by minus the covariance of log-prob and advantage, to which few tokens
// contribute nearly all: likely ones of large advantage, and unlikely ones of low. For
// the share of tokens with the largest
//
//	c_t = (A_t - mean(A))·(logπ_old,t - mean(logπ_old))
//
// the term is
//
//	L = Coef·|logπ - logπ_old|,  ∂L/∂logπ = ±Coef
//
// It is one of Terms beside a policy loss, ImportanceSampling in the paper, and shares its
// weights. Before the policy has moved, in the first of several updates on a collection,
// it is 0 with its gradient; where there is only one, FromRollout around it holds the
// policy near the one that sampled.
//
// A masked token contributes nothing.
type KLCov struct {
	// Share is the share of tokens, more than 0 and at most 1; at least one token of the
	// step is chosen. verl has 2e-4.
	Share float64 `json:"share"`
	// Coef is the weight of the term, not negative; 0.1 in verl.
	Coef float64 `json:"coef"`
}

// Needs returns InputOld and InputCovRank.
func (KLCov) Needs() Inputs { return InputOld | InputCovRank }

// Validate returns an error that names the first invalid setting.
func (k KLCov) Validate() error {
	if !(k.Share > 0 && k.Share <= 1) {
		return fmt.Errorf("objective: KLCov.Share is %v, want a share of the tokens, such as 0.0002", k.Share)
	}
	return checkNonNegative("KLCov.Coef", k.Coef)
}

// Eval implements Objective.
func (k KLCov) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	if err := s.check(InputCovRank); err != nil {
		return 0, err
	}
	old := s.old()
	for t, w := range s.Weight {
		if w == 0 || s.masked(t) {
			continue
		}
		d := s.LogP[t] - old[t]
		if !finite(d) {
			return 0, s.blame(t, InputOld)
		}
		if s.CovRank[t] > k.Share {
			continue
		}
		loss += w * k.Coef * math.Abs(d)
		switch {
		case d > 0:
			s.Grad[t] += w * k.Coef
		case d < 0:
			s.Grad[t] -= w * k.Coef
		}
		m.Add("kl_cov", math.Abs(d), 1)
	}
	return loss, nil
}

// CovRanks ranks the included tokens that are kept by the covariance of log-prob and
// advantage, as KLCov reads it: the one with the largest has 0, and the i-th of n has i/n
// (the first in the order of the step, of equal ones). All other positions have 1 and are
// not read. logp and adv have the shape of Include; an error names sequence and position.
func (l Layout) CovRanks(logp, adv [][]float64) ([][]float64, error) {
	if err := cmp.Or(l.check(), l.shaped("log-probs", logp), l.shaped("advantages", adv)); err != nil {
		return nil, err
	}
	type token struct {
		sequence, position int
		cov                float64
	}
	var all []token
	var sumLogP, sumAdv float64
	ranks := make([][]float64, len(l.Include))
	for i, in := range l.Include {
		ranks[i] = make([]float64, len(in))
		kept := l.keep(i, false)
		for t := range in {
			ranks[i][t] = 1
			if !in[t] || kept != nil && !kept[t] {
				continue
			}
			if !finite(logp[i][t]) || !finite(adv[i][t]) {
				return nil, fmt.Errorf("objective: sequence %d: log-prob and advantage at position %d are %v and %v, want finite numbers", i, t, logp[i][t], adv[i][t])
			}
			sumLogP += logp[i][t]
			sumAdv += adv[i][t]
			all = append(all, token{sequence: i, position: t})
		}
	}
	n := float64(len(all))
	for j := range all {
		a := &all[j]
		a.cov = (adv[a.sequence][a.position] - sumAdv/n) * (logp[a.sequence][a.position] - sumLogP/n)
	}
	slices.SortStableFunc(all, func(a, b token) int { return cmp.Compare(b.cov, a.cov) })
	for j, a := range all {
		ranks[a.sequence][a.position] = float64(j+1) / n
		if j == 0 {
			ranks[a.sequence][a.position] = 0
		}
	}
	return ranks, nil
}
