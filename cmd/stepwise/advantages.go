package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/cmd/stepwise/internal/parity"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/sam"
)

func runAdvantages(args []string, in io.Reader, out, errs io.Writer) int {
	const prog = "stepwise parity advantages"
	v, err := advantagesSchema.parse(prog, advantagesAbout, advantagesPreset, args, out)
	if err != nil {
		return finish(prog, err, errs, exitUsage)
	}
	c, err := advantageConfig(v)
	if err != nil {
		return finish(prog, err, errs, exitUsage)
	}
	return finish(prog, parity.Advantages(in, out, c), errs, exitInput)
}

// advantageConfig builds what the settings say.
func advantageConfig(v *settings) (parity.AdvantageConfig, error) {
	c := parity.AdvantageConfig{
		Credit:   creditRule(v, v.text("credit")),
		RewardKL: rewardKL(v),
		Masked:   objective.Masked(v.index("denominator")),
		Estimator: func(rewards []string) (advantage.Estimator, error) {
			w, err := orderedWeights(v, rewards)
			if err != nil {
				return nil, err
			}
			return estimator(v, w), nil
		},
	}
	if c.RewardKL != nil {
		if err := c.RewardKL.Validate(); err != nil {
			return c, err
		}
		if v.on("kl-fold") && v.text("estimator") == "gdpo" {
			return c, errors.New("-kl-fold does not apply to -estimator gdpo, which has no sum of rewards to add to")
		}
	}
	if k := v.text("estimator"); k == "pass-at-k" && v.count("k") == 1 {
		return c, errors.New("-k is 1, want 0 (the whole group) or at least 2; for 1 take -estimator rloo")
	}
	if v.applies("rescale") {
		if x := v.number("rescale"); x != 0 && !(x >= 1 && x <= math.MaxFloat64) {
			return c, fmt.Errorf("-rescale is %v, want 0 or a bound of at least 1", x)
		}
	}
	return c, v.checkRanges([]limit{
		{"epsilon", 0, math.MaxFloat64}, {"min-std", 0, math.MaxFloat64}, {"min-var", 0, math.MaxFloat64},
		{"tolerance", 0, math.MaxFloat64}, {"batch-epsilon", 0, math.MaxFloat64}, {"batch-tolerance", 0, math.MaxFloat64},
		{"gamma", math.SmallestNonzeroFloat64, 1}, {"step-epsilon", 0, math.MaxFloat64},
		{"leak-positive", -math.MaxFloat64, math.MaxFloat64}, {"leak-negative", -math.MaxFloat64, math.MaxFloat64},
		{"broken-reward", -math.MaxFloat64, math.MaxFloat64}, {"lambda", 0, 1},
	})
}

// orderedWeights returns the weights in the order of the rewards; nil if none
// is set.
func orderedWeights(v *settings, rewards []string) ([]float64, error) {
	byName, err := parseWeights(v.text("weights"))
	if err != nil || len(byName) == 0 {
		return nil, err
	}
	w := make([]float64, len(rewards))
	for i, name := range rewards {
		w[i] = 1
		if x, ok := byName[name]; ok {
			w[i] = x
		}
	}
	for name := range byName {
		if !slices.Contains(rewards, name) {
			return nil, fmt.Errorf("-weights has %q, but the rewards of the input are named %s", name, strings.Join(rewards, ", "))
		}
	}
	return w, nil
}

func estimator(v *settings, w []float64) advantage.Estimator {
	combine := advantage.Combine{Weights: w, SkipUnscorable: v.on("skip-unscorable")}
	combine.FoldShaping = v.text("kl") != "none" && v.on("kl-fold")
	perGroup := func(n advantage.Normalizer) advantage.Estimator {
		return advantage.GroupEstimator{Norm: n, Combine: combine}
	}
	tol := tolerance(v.number("tolerance"))
	switch name := v.text("estimator"); name {
	case "grpo":
		return perGroup(grpo(v, tol))
	case "grpo-batch-std":
		return advantage.GRPOBatchStd{Combine: combine, Std: std(v, "std"), Epsilon: v.number("epsilon"), Tolerance: tol}
	case "dr-grpo":
		return perGroup(advantage.DrGRPO{Singleton: singleton(v), Tolerance: tol})
	case "rloo":
		return perGroup(advantage.RLOO{Singleton: singleton(v), Tolerance: tol})
	case "reinforce++":
		return advantage.ReinforcePP{Combine: combine, Gamma: v.number("gamma"), Whitening: whitening(v, tol)}
	case "reinforce++-baseline":
		return advantage.ReinforcePPBaseline{Combine: combine, Gamma: v.number("gamma"), Singleton: singleton(v), Whitening: whitening(v, tol)}
	case "opo":
		return advantage.OPO{Combine: combine, Singleton: singleton(v), Tolerance: tol}
	case "maxrl":
		return perGroup(advantage.MaxRL{Epsilon: v.number("epsilon"), NegativeMean: v.on("negative-mean"), Singleton: singleton(v), Tolerance: tol})
	case "gdpo":
		return gdpo(v, w, tol)
	case "pass-at-k":
		n := advantage.PassAtK{K: v.count("k"), Tolerance: tol}
		if n.DivideByStd = v.on("divide-by-std"); n.DivideByStd {
			n.Std, n.Epsilon = std(v, "std"), v.number("epsilon")
		}
		return perGroup(n)
	default:
		panic("stepwise: no estimator " + name)
	}
}

func grpo(v *settings, tol float64) advantage.GRPO {
	return advantage.GRPO{Std: std(v, "std"), Epsilon: v.number("epsilon"), MinStd: v.number("min-std"), Singleton: singleton(v), Tolerance: tol}
}

func gdpo(v *settings, w []float64, tol float64) advantage.GDPO {
	e := advantage.GDPO{Norm: grpo(v, tol), Weights: w, SkipUnscorable: v.on("skip-unscorable")}
	kind, epsilon, batchTol := std(v, "batch-std"), v.number("batch-epsilon"), tolerance(v.number("batch-tolerance"))
	if v.text("batch-over") == "tokens" {
		e.Whitening = &advantage.Whitening{Std: kind, Epsilon: epsilon, MinVar: v.number("min-var"), Tolerance: batchTol}
		return e
	}
	e.Std, e.Epsilon, e.Tolerance = kind, epsilon, batchTol
	return e
}

func whitening(v *settings, tol float64) advantage.Whitening {
	return advantage.Whitening{Std: std(v, "std"), Epsilon: v.number("epsilon"), MinVar: v.number("min-var"), Tolerance: tol}
}

// tolerance is what estimators call a tolerance: there 0 is the default and a
// negative one none.
func tolerance(x float64) float64 {
	if x == 0 {
		return -1
	}
	return x
}

func std(v *settings, name string) advantage.Std { return advantage.Std(v.index(name)) }
func singleton(v *settings) advantage.Singleton  { return advantage.Singleton(v.index("singleton")) }

func creditRule(v *settings, name string) sam.Rule {
	switch name {
	case "outcome":
		return sam.Outcome{}
	case "mask":
		return mask(v)
	case "prefix":
		return sam.Prefix{Mask: mask(v)}
	case "return-to-go":
		return sam.ReturnToGo{Norm: stepNorm(v), BrokenReward: v.number("broken-reward")}
	case "step-group":
		return sam.StepGroup{Norm: stepNorm(v), BrokenReward: v.number("broken-reward")}
	case "step-loo":
		return sam.StepLOO{BrokenReward: v.number("broken-reward")}
	case "blend":
		return sam.Blend{A: creditRule(v, v.text("blend-a")), B: creditRule(v, v.text("blend-b")), Lambda: v.number("lambda")}
	}
	panic("stepwise: no rule " + name)
}

func mask(v *settings) sam.Mask {
	m := sam.Mask{
		Sign:         sam.Sign(v.index("mask-sign")),
		LeakPositive: v.number("leak-positive"),
		LeakNegative: v.number("leak-negative"),
		Broken:       sam.Broken(v.index("broken")),
		MaskFinal:    v.on("mask-final"),
		MaskOutside:  v.on("mask-outside"),
		Rescale:      v.number("rescale"),
	}
	if v.on("fill") {
		m.Fill = stepNorm(v)
	}
	return m
}

func stepNorm(v *settings) advantage.Normalizer {
	switch v.text("step-norm") {
	case "dr-grpo":
		return advantage.DrGRPO{}
	case "rloo":
		return advantage.RLOO{}
	}
	return advantage.GRPO{Std: std(v, "step-std"), Epsilon: v.number("step-epsilon")}
}

// rewardKL is nil if there is no penalty.
func rewardKL(v *settings) *objective.RewardKL {
	var e objective.KLEstimator
	if e.UnmarshalText([]byte(v.text("kl"))) != nil {
		return nil // none
	}
	return &objective.RewardKL{
		Estimator: e, Beta: v.number("beta"), LogRatioClamp: v.number("kl-log-ratio-clamp"), ValueClamp: v.number("kl-value-clamp"),
		Center: v.on("kl-center"), Discount: v.number("kl-discount"),
	}
}
