package advantage

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/rollout"
)

// GDPO is Group reward-Decoupled Normalization Policy Optimization
// (arXiv:2601.05242): each reward is normalised within the group by itself,
// so that different combinations with the same sum stay apart; the weighted sum
// is then normalised over the batch:
//
//	a_{i,k} = normalise({r_{j,k} : j in the group})_i
//	x_i = Σ_k w_k·a_{i,k}
//	A_i = (x_i − mean_batch(x)) / (std_batch(x) + ε)
//
// A reward that is constant in its group adds exactly nothing. A group in which
// all rewards are constant, or a singleton, is dead and keeps exact zeros
// (unless Tolerance is negative: then it is shifted by the batch mean like the
// others, as in TRL); so does a batch without any spread. An unscorable
// completion stays out of all statistics and gets 0.
type GDPO struct {
	// Norm normalises one reward within a group; nil means GRPO{Epsilon: 1e-4}.
	Norm Normalizer `json:"norm"`
	// Weights holds one factor per reward; nil = all 1.
	Weights []float64 `json:"weights"`
	// SkipUnscorable lets a completion with some unscorable rewards take part
	// with the others (TRL). By default it is unscorable as a whole.
	SkipUnscorable bool `json:"skip_unscorable"`
	// Std is the kind of standard deviation over the batch.
	Std Std `json:"std"`
	// Epsilon is added to the standard deviation over the batch.
	Epsilon float64 `json:"epsilon"`
	// Tolerance over the batch: 0 means DefaultTolerance, negative none.
	Tolerance float64 `json:"tolerance"`
	// Whitening, if not nil, takes the place of the batch statistics above: x
	// is whitened over all tokens, so that long completions weigh more in mean
	// and spread, and dead groups are shifted too (verl).
	Whitening *Whitening `json:"whitening"`
}

// Validate implements Estimator.
func (e GDPO) Validate() error {
	var norm, whitening error
	if e.Norm != nil {
		norm = e.Norm.Validate()
	}
	if e.Whitening != nil {
		whitening = e.Whitening.Validate()
	}
	return errors.Join(norm, e.combine().Validate(), settings.CheckEnum("advantage: GDPO.Std", stdNames, e.Std), checkNonNegative("GDPO.Epsilon", e.Epsilon), checkTolerance("GDPO", e.Tolerance), whitening)
}

// Dead implements Estimator. Where dead groups are shifted with the others (with
// Whitening, or a negative Tolerance), every group with a usable reward is live.
func (e GDPO) Dead(g rollout.Group) string {
	if e.Whitening != nil || e.Tolerance < 0 {
		return deadIfUnscorable(e.combine(), g)
	}
	return dead(e.combine(), g, func(x []float64) {
		var scratch []float64
		if err := e.group(&scratch, x, 0, g); err != nil {
			x[0] = 1 // live: Estimate reports the error
		}
	})
}

func (e GDPO) combine() Combine { return Combine{Weights: e.Weights, SkipUnscorable: e.SkipUnscorable} }

// WithWeights implements Weighter.
func (e GDPO) WithWeights(w []float64) Estimator {
	e.Weights = w
	return e
}

// Estimate implements Estimator. It is an error if the completions of a group
// differ in their number of rewards.
func (e GDPO) Estimate(batch []rollout.Group) error {
	xs, err := e.combine().batch(batch) // for its NaNs and its checks
	if err != nil {
		return err
	}
	var scratch []float64
	rest := xs
	for gi, g := range batch {
		if err := e.group(&scratch, rest[:len(g)], gi, g); err != nil {
			return err
		}
		rest = rest[len(g):]
	}
	if e.Whitening != nil {
		e.whiten(batch, xs)
		return nil
	}

	m := momentsOf(xs)
	scale, noise := inverse(m.std(e.Std)+e.Epsilon), m.rounding(e.Tolerance)
	if m.constant(e.Tolerance) {
		scale = 0
	}
	for _, g := range batch {
		x := xs[:len(g)]
		xs = xs[len(g):]
		if e.Tolerance < 0 || !allZero(x) {
			affine(x, x, m.mean, scale, noise)
		}
		for i := range g {
			if math.IsNaN(x[i]) {
				x[i] = 0
			}
			Broadcast(&g[i], x[i])
		}
	}
	return nil
}

// whiten turns the sums xs of all completions, end to end, into advantages by
// way of their tokens.
func (e GDPO) whiten(batch []rollout.Group, xs []float64) {
	rest := xs
	for _, g := range batch {
		for i := range g {
			Broadcast(&g[i], rest[i])
		}
		rest = rest[len(g):]
	}
	e.Whitening.batch(batch, xs)
}

// group replaces the combined rewards x of a group by the sum of its normalised
// ones; the NaNs of unscorable completions stay.
func (e GDPO) group(scratch *[]float64, x []float64, gi int, g rollout.Group) error {
	norm := e.Norm
	if norm == nil {
		norm = GRPO{Epsilon: 1e-4}
	}
	for i := range x {
		if len(g[i].Rewards) != len(g[0].Rewards) {
			return at(gi, i, fmt.Errorf("the number of rewards is %d, but completion 0 has %d", len(g[i].Rewards), len(g[0].Rewards)))
		}
		if !math.IsNaN(x[i]) {
			x[i] = 0
		}
	}
	if len(g) == 0 {
		return nil
	}
	r := grow(scratch, len(g))
	for k := range g[0].Rewards {
		w := 1.0
		if e.Weights != nil {
			w = e.Weights[k]
		}
		if w == 0 {
			continue
		}
		for i := range g {
			r[i] = math.NaN()
			if !math.IsNaN(x[i]) {
				r[i] = g[i].Rewards[k]
			}
		}
		norm.Normalize(r, r)
		for i := range g {
			x[i] += w * r[i]
		}
	}
	if m := momentsOf(x); max(m.max, -m.min) <= m.rounding(e.Tolerance) {
		for i := range x { // rewards that cancel leave rounding errors; NaNs stay
			if !math.IsNaN(x[i]) {
				x[i] = 0 // and not -0
			}
		}
	}
	return nil
}

// allZero reports whether all numbers that are not NaN are zero.
func allZero(xs []float64) bool {
	return !slices.ContainsFunc(xs, func(x float64) bool { return x != 0 && !math.IsNaN(x) })
}
