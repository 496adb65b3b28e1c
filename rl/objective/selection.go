package objective

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/settings"
)

// Unit is what Rejection decides about: a token or a whole sequence.
type Unit uint8

const (
	// UnitToken: each token by its own estimate (default).
	UnitToken Unit = iota
	// UnitMean: a sequence, by the mean over its tokens.
	UnitMean
	// UnitSum: a sequence, by the sum over its tokens.
	UnitSum
	// UnitWorst: a sequence, by its worst token: it is rejected if any token by
	// itself would be.
	UnitWorst
)

var unitNames = []string{UnitToken: "token", UnitMean: "mean", UnitSum: "sum", UnitWorst: "worst"}

// String returns "token", "mean", "sum" or "worst".
func (u Unit) String() string { return settings.EnumString(unitNames, u) }

// MarshalText returns the same; an invalid value is an error.
func (u Unit) MarshalText() ([]byte, error) { return settings.EnumText(unitNames, u) }

// UnmarshalText is the inverse of MarshalText.
func (u *Unit) UnmarshalText(text []byte) error { return settings.ParseEnum(unitNames, text, u) }

// Rejection excludes tokens, or whole sequences, to which the trainer and the engine
// that sampled them give too different probabilities, whether by different arithmetic
// or by older weights (verl's rollout_rs). It looks at the estimate k(d) of
// KL(π_rollout‖π_old) with d = logπ_rollout - logπ_old, and accepts what is within
//
//	Min ≤ k(d) ≤ Max
//
// What it rejects is in no term of the loss and in no denominator, so that it must be
// known before an Aggregation fixes the weights (Layout.Reject). Corrected with
// OutsideGate takes tokens out of the policy loss alone: they stay in the denominators
// and in KL and entropy terms, and the others' share of the gradient does not grow.
type Rejection struct {
	// Estimator is k: K1 for bounds of the ratio π_rollout/π_old, or of its product
	// (UnitSum) or geometric mean (UnitMean) over a sequence; K3 and UnitMean for a
	// divergence per token.
	Estimator KLEstimator `json:"estimator"`
	Unit      Unit        `json:"unit"`
	// Min and Max are the bounds in nats. Max is positive. K1 has either sign, and needs a
	// negative Min: log 0.5 and log 2 bound the ratio by 0.5 and 2. The others are
	// never negative, and Min is 0.
	Min float64 `json:"min"`
	Max float64 `json:"max"`
}

// Validate returns an error that names the first invalid setting.
func (r Rejection) Validate() error {
	if err := cmp.Or(
		settings.CheckEnum("objective: Rejection.Estimator", klEstimatorNames, r.Estimator),
		settings.CheckEnum("objective: Rejection.Unit", unitNames, r.Unit),
	); err != nil {
		return err
	}
	switch k1 := r.Estimator == K1; {
	case !(r.Max > 0):
		return fmt.Errorf("objective: Rejection.Max is %v, want a positive number of nats", r.Max)
	case k1 && !(r.Min < 0):
		return fmt.Errorf("objective: Rejection.Min is %v, want a negative number of nats for k1, which has either sign", r.Min)
	case !k1 && r.Min != 0:
		return fmt.Errorf("objective: Rejection.Min is %v, want 0 for %v, which is never negative", r.Min, r.Estimator)
	}
	return nil
}

// Reject returns Include without what any of the rejections does not accept, and how
// many of the included tokens that are. Each looks at all included tokens, whatever the
// others reject. old and rollout are log-probs in the shape of Include; excluded
// positions are not read. An error names an invalid setting, or sequence and position.
func (l Layout) Reject(old, rollout [][]float64, by ...Rejection) (include [][]bool, rejected Sum, err error) {
	for _, r := range by {
		if err := r.Validate(); err != nil {
			return nil, Sum{}, err
		}
	}
	if err := cmp.Or(l.shaped("old log-probs", old), l.shaped("rollout log-probs", rollout)); err != nil {
		return nil, Sum{}, err
	}
	include = make([][]bool, len(l.Include))
	for i, in := range l.Include {
		include[i] = slices.Clone(in)
		for t := range in {
			if in[t] && !finite(rollout[i][t]-old[i][t]) {
				return nil, Sum{}, fmt.Errorf("objective: sequence %d: log-probs at position %d are %v and %v (rollout), want finite numbers", i, t, old[i][t], rollout[i][t])
			}
		}
		for _, r := range by {
			r.reject(include[i], in, old[i], rollout[i])
		}
		for t := range in {
			if in[t] {
				rejected.Count++
				if !include[i][t] {
					rejected.Sum++
				}
			}
		}
	}
	return include, rejected, nil
}

// reject clears the entries of accepted that r does not accept, of a sequence whose
// included tokens are in.
func (r Rejection) reject(accepted, in []bool, old, rollout []float64) {
	var sum, n float64
	for t := range in {
		if !in[t] {
			continue
		}
		d := rollout[t] - old[t]
		k, _ := r.Estimator.at(d, math.Exp(-d))
		sum += k
		n++
		switch {
		case r.accepts(k):
		case r.Unit == UnitToken:
			accepted[t] = false
		case r.Unit == UnitWorst:
			clear(accepted)
			return
		}
	}
	if r.Unit == UnitSum && !r.accepts(sum) || r.Unit == UnitMean && n > 0 && !r.accepts(sum/n) {
		clear(accepted)
	}
}

func (r Rejection) accepts(k float64) bool { return k >= r.Min && k <= r.Max }

// TopEntropy returns Keep without all included tokens but the share of them, 0 < share ≤
// 1, with the highest entropy, and the threshold: the quantile 1-share of the included
// tokens' entropies, interpolated linearly. Tokens at or above it are kept, if Keep has
// them (Wang et al., "Beyond the 80/20 Rule", arXiv:2506.01939, with a share of 0.2;
// TRL's top_entropy_quantile).
//
// A policy decides at few tokens and completes words at most others; only the former
// then carry the policy loss. Masked in the aggregation says where the others still
// count: with MaskedStay in the denominators and in KL and entropy terms, as in TRL.
//
// entropy has the shape of Include; excluded positions are not read. The entropies are
// those of the policy before the update, so that the choice, like the weights, cannot
// depend on how the step is split. If no token is included the threshold is 0.
func (l Layout) TopEntropy(entropy [][]float64, share float64) (keep [][]bool, threshold float64, err error) {
	if !(share > 0 && share <= 1) {
		return nil, 0, fmt.Errorf("objective: the share of tokens with the highest entropy is %v, want more than 0 and at most 1", share)
	}
	if err := cmp.Or(l.check(), l.shaped("entropies", entropy)); err != nil {
		return nil, 0, err
	}
	var all []float64
	for i, in := range l.Include {
		for t := range in {
			if !in[t] {
				continue
			}
			if !finite(entropy[i][t]) {
				return nil, 0, fmt.Errorf("objective: sequence %d: the entropy at position %d is %v, want a finite number", i, t, entropy[i][t])
			}
			all = append(all, entropy[i][t])
		}
	}
	if len(all) > 0 {
		slices.Sort(all)
		threshold = quantile(all, 1-share)
	}
	keep = make([][]bool, len(l.Include))
	for i, in := range l.Include {
		keep[i] = make([]bool, len(in))
		kept := l.keep(i, false)
		for t := range in {
			keep[i][t] = in[t] && entropy[i][t] >= threshold && (kept == nil || kept[t])
		}
	}
	return keep, threshold, nil
}

// quantile returns the q-quantile of sorted numbers, interpolated linearly.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	if near := math.Round(at); math.Abs(at-near) < 1e-9 { // 1-0.8 is not 0.2 in floating point
		return sorted[int(near)]
	}
	below := sorted[int(at)]
	return below + (at-math.Floor(at))*(sorted[int(at)+1]-below)
}

// shaped returns an error unless rows have the shape of Include.
func (l Layout) shaped(name string, rows [][]float64) error {
	if len(rows) != len(l.Include) {
		return fmt.Errorf("objective: %s of %d sequences, want %d as in Layout.Include", name, len(rows), len(l.Include))
	}
	for i, include := range l.Include {
		if len(rows[i]) != len(include) {
			return fmt.Errorf("objective: sequence %d: %d %s, want %d as in Layout.Include", i, len(rows[i]), name, len(include))
		}
	}
	return nil
}
