package main

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// objective is the inverse of what lossConfig makes of terms.
func (x values) objective(o objective.Objective) error {
	switch o := o.(type) {
	case objective.Terms:
		for _, t := range o {
			if err := x.objective(t); err != nil {
				return err
			}
		}
	case objective.KL:
		x.lossKL(o)
	case objective.EntropyBonus:
		x.number("entropy-coef", o.Coef)
	case objective.FromRollout:
		x.on("from-rollout", true)
		return x.policyLoss(o.Objective)
	case objective.Corrected:
		x.pick(lossSchema, "correction", int(o.Level)+1)
		x.pick(lossSchema, "correction-outside", int(o.Outside))
		x.number("correction-min", o.Min)
		x.number("correction-max", o.Max)
		x.number("correction-clamp", o.LogRatioClamp)
		return x.policyLoss(o.Objective)
	default:
		return x.policyLoss(o)
	}
	return nil
}

// lossKL takes over a KL term. One without a coefficient is none, but says what
// it would be.
func (x values) lossKL(k objective.KL) {
	x["kl"] = "none"
	if k.Beta != 0 {
		x["kl"] = k.Estimator.String()
		x.number("beta", k.Beta)
	}
	x.on("kl-straight-through", k.StraightThrough)
	x.on("kl-importance", k.Importance)
	x.number("kl-importance-max", k.ImportanceMax)
	x.number("kl-log-ratio-clamp", k.LogRatioClamp)
	x.number("kl-value-clamp", k.ValueClamp)
}

func (x values) policyLoss(o objective.Objective) error {
	bounds := func(low, high float64) {
		x.number("clip-low", low)
		x.number("clip-high", high)
	}
	switch o := o.(type) {
	case objective.PPO:
		x["objective"] = "ppo"
		if o.DualClip != 0 {
			x["objective"] = "dual-clip"
			x.number("dual-clip", o.DualClip)
		}
		bounds(o.ClipLow, o.ClipHigh)
		x.number("log-ratio-clamp", o.LogRatioClamp)
	case objective.GSPO:
		x["objective"] = "gspo"
		bounds(o.ClipLow, o.ClipHigh)
		x.number("log-ratio-max", o.LogRatioMax)
	case objective.GSPOToken:
		x["objective"] = "gspo-token"
		bounds(o.ClipLow, o.ClipHigh)
		x.number("log-ratio-max", o.LogRatioMax)
	case objective.CISPO:
		x["objective"] = "cispo"
		x["bounds"] = "absolute"
		bounds(o.Low, o.High)
		x.on("clip-drop", o.Drop)
		x.number("log-ratio-clamp", o.LogRatioClamp)
	case objective.SAPO:
		x["objective"] = "sapo"
		x.number("tau-pos", o.TauPos)
		x.number("tau-neg", o.TauNeg)
		x.number("log-ratio-clamp", o.LogRatioClamp)
	case objective.DRO:
		x["objective"] = "dro"
		x.number("dro-beta", o.Beta)
	case objective.ImportanceSampling:
		x["objective"] = "importance-sampling"
		x.number("log-ratio-clamp", o.LogRatioClamp)
	case objective.DPPO:
		x["objective"] = "dppo"
		bounds(o.Low, o.High)
		x["divergence"] = "tv"
		if o.KL {
			x["divergence"] = "kl"
		}
		x.number("max-weight", o.MaxWeight)
		x.number("quadratic", o.Quadratic)
		x.number("log-ratio-clamp", o.LogRatioClamp)
	case objective.CrossEntropy:
		x["objective"] = "cross-entropy"
	default:
		return fmt.Errorf("stepwise: an objective of type %T", o)
	}
	return nil
}

// aggregation is the inverse of the function aggregation.
func (x values) aggregation(a objective.Aggregation) error {
	if s, ok := a.(objective.Split); ok {
		if err := x.aggregationOf(s.Regularizer, "kl-"); err != nil {
			return err
		}
		a = s.Loss
	}
	return x.aggregationOf(a, "")
}

// aggregationOf is the inverse of the function aggregationOf.
func (x values) aggregationOf(a objective.Aggregation, prefix string) error {
	set := func(name string, m objective.Masked) {
		x[prefix+"aggregation"] = name
		x["denominator"] = m.String()
	}
	switch a := a.(type) {
	case objective.TokenMean:
		set("token-mean", a.Masked)
	case objective.SeqMeanTokenMean:
		set("seq-mean-token-mean", a.Masked)
		x.on(prefix+"count-empty", a.CountEmpty)
		x.number(prefix+"length-epsilon", a.Epsilon)
	case objective.SeqMeanTokenSum:
		set("seq-mean-token-sum", a.Masked)
		x.on(prefix+"count-empty", a.CountEmpty)
	case objective.Constant:
		set("constant", a.Masked)
		x.number(prefix+"max-tokens", a.Tokens)
		x.on(prefix+"per-sequence", a.PerSequence)
	case objective.TokenSum:
		set("sum", a.Masked)
	case objective.PromptMean:
		set("prompt-mean", a.Masked)
	default:
		return fmt.Errorf("stepwise: an aggregation of type %T", a)
	}
	return nil
}
