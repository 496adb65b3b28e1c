package main

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/stepwise-rl/stepwise/cmd/stepwise/internal/parity"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

func runLoss(args []string, in io.Reader, out, errs io.Writer) int {
	const prog = "stepwise parity loss"
	v, err := lossSchema.parse(prog, lossAbout, lossPreset, args, out)
	if err != nil {
		return finish(prog, err, errs, exitUsage)
	}
	c, err := lossConfig(v)
	if err != nil {
		return finish(prog, err, errs, exitUsage)
	}
	return finish(prog, parity.Loss(in, out, c), errs, exitInput)
}

// lossConfig builds what the settings say.
func lossConfig(v *settings) (parity.LossConfig, error) {
	c := parity.LossConfig{Supervised: v.text("objective") == "cross-entropy", Aggregation: aggregation(v)}
	if err := v.checkRanges([]limit{
		{"delta", 0, math.Inf(1)}, {"length-epsilon", 0, math.MaxFloat64}, {"max-tokens", 0, math.MaxFloat64},
		{"kl-length-epsilon", 0, math.MaxFloat64}, {"kl-max-tokens", 0, math.MaxFloat64},
	}); err != nil {
		return c, err
	}
	policy, err := policyLoss(v)
	if err != nil {
		return c, err
	}
	terms := objective.Terms{policy}
	var e objective.KLEstimator
	if e.UnmarshalText([]byte(v.text("kl"))) == nil {
		terms = append(terms, lossKL(v, e))
	}
	if coef := v.number("entropy-coef"); coef != 0 {
		terms = append(terms, objective.EntropyBonus{Coef: coef})
	}
	c.Objective = terms
	return c, terms.Validate()
}

func lossKL(v *settings, e objective.KLEstimator) objective.KL {
	k := objective.KL{
		Estimator: e, Beta: v.number("beta"),
		StraightThrough: v.on("kl-straight-through"), Importance: v.on("kl-importance"),
		LogRatioClamp: v.number("kl-log-ratio-clamp"), ValueClamp: v.number("kl-value-clamp"),
	}
	if k.Importance {
		k.ImportanceMax = v.number("kl-importance-max")
	}
	return k
}

// policyLoss is the policy loss with its correction.
func policyLoss(v *settings) (objective.Objective, error) {
	o, err := tokenLoss(v)
	if err != nil {
		return nil, err
	}
	corrected := v.text("correction") != "none"
	if v.on("from-rollout") {
		if corrected {
			return nil, errors.New("-from-rollout and -correction would both count the gap between rollout and old, want one of them")
		}
		return objective.FromRollout{Objective: o}, nil
	}
	if corrected {
		return objective.Corrected{
			Objective: o,
			Level:     objective.Level(v.index("correction") - 1),
			Outside:   objective.Outside(v.index("correction-outside")),
			Min:       v.number("correction-min"), Max: v.number("correction-max"),
			LogRatioClamp: v.number("correction-clamp"),
		}, nil
	}
	return o, nil
}

func tokenLoss(v *settings) (objective.Objective, error) {
	switch name := v.text("objective"); name {
	case "ppo":
		p := objective.PPO{ClipLow: v.number("clip-low"), ClipHigh: v.number("clip-high")}
		if delta := v.number("delta"); delta != 0 {
			if !(delta > 1) {
				return nil, fmt.Errorf("-delta is %v, want more than 1, or 0 for none", delta)
			}
			p = objective.TwoSidedPPO(p.ClipLow, p.ClipHigh, delta)
		}
		p.LogRatioClamp = v.number("log-ratio-clamp")
		return p, nil
	case "dual-clip":
		p := objective.PPO{
			ClipLow: v.number("clip-low"), ClipHigh: v.number("clip-high"),
			DualClip: v.number("dual-clip"), LogRatioClamp: v.number("log-ratio-clamp"),
		}
		if p.DualClip == 0 {
			return nil, errors.New("-dual-clip is 0, want more than 1; for none take -objective ppo")
		}
		return p, nil
	case "gspo":
		return objective.GSPO{ClipLow: v.number("clip-low"), ClipHigh: v.number("clip-high"), LogRatioMax: v.number("log-ratio-max")}, nil
	case "gspo-token":
		return objective.GSPOToken{ClipLow: v.number("clip-low"), ClipHigh: v.number("clip-high"), LogRatioMax: v.number("log-ratio-max")}, nil
	case "cispo":
		p := objective.CISPO{Low: v.number("clip-low"), High: v.number("clip-high")}
		if v.text("bounds") == "relative" {
			p = objective.RelativeCISPO(p.Low, p.High)
		}
		p.Drop, p.LogRatioClamp = v.on("clip-drop"), v.number("log-ratio-clamp")
		return p, nil
	case "sapo":
		return objective.SAPO{TauPos: v.number("tau-pos"), TauNeg: v.number("tau-neg"), LogRatioClamp: v.number("log-ratio-clamp")}, nil
	case "dro":
		return objective.DRO{Beta: v.number("dro-beta")}, nil
	case "importance-sampling":
		return objective.ImportanceSampling{LogRatioClamp: v.number("log-ratio-clamp")}, nil
	case "dppo":
		return objective.DPPO{
			Low: v.number("clip-low"), High: v.number("clip-high"), KL: v.text("divergence") == "kl", MaxWeight: v.number("max-weight"),
			Quadratic: v.number("quadratic"), LogRatioClamp: v.number("log-ratio-clamp"),
		}, nil
	case "cross-entropy":
		return objective.CrossEntropy{}, nil
	default:
		panic("stepwise: no objective " + name)
	}
}

func aggregation(v *settings) objective.Aggregation {
	loss := aggregationOf(v, v.text("aggregation"), "")
	if kl := v.text("kl-aggregation"); kl != "same" {
		return objective.Split{Loss: loss, Regularizer: aggregationOf(v, kl, "kl-")}
	}
	return loss
}

// aggregationOf builds an aggregation whose options have names with a prefix.
func aggregationOf(v *settings, name, prefix string) objective.Aggregation {
	masked := objective.Masked(v.index("denominator"))
	switch name {
	case "token-mean":
		return objective.TokenMean{Masked: masked}
	case "seq-mean-token-mean":
		return objective.SeqMeanTokenMean{Masked: masked, CountEmpty: v.on(prefix + "count-empty"), Epsilon: v.number(prefix + "length-epsilon")}
	case "seq-mean-token-sum":
		return objective.SeqMeanTokenSum{Masked: masked, CountEmpty: v.on(prefix + "count-empty")}
	case "constant":
		return objective.Constant{Masked: masked, Tokens: v.number(prefix + "max-tokens"), PerSequence: v.on(prefix + "per-sequence")}
	case "sum":
		return objective.TokenSum{Masked: masked}
	case "prompt-mean":
		return objective.PromptMean{Masked: masked}
	}
	panic("stepwise: no aggregation " + name)
}
