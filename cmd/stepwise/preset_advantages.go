package main

import (
	"errors"
	"fmt"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

func (x values) number(name string, v float64) { x[name] = formatNumber(v) }

func (x values) on(name string, v bool) { x[name] = fmt.Sprint(v) }

// pick sets a word to the choice with the given index.
func (x values) pick(s *schema, name string, index int) { x[name] = s.option(name).choices[index].name }

// estimator is the inverse of the function estimator.
func (x values) estimator(e advantage.Estimator) error {
	var combine advantage.Combine
	switch e := e.(type) {
	case advantage.GroupEstimator:
		combine = e.Combine
		if err := x.normalizer(e.Norm); err != nil {
			return err
		}
	case advantage.GRPOBatchStd:
		combine = e.Combine
		x["estimator"] = "grpo-batch-std"
		x.std("std", e.Std)
		x.number("epsilon", e.Epsilon)
		x.tolerance("tolerance", e.Tolerance)
	case advantage.ReinforcePP:
		combine = e.Combine
		x["estimator"] = "reinforce++"
		x.gamma(e.Gamma)
		x.whitening(e.Whitening)
	case advantage.ReinforcePPBaseline:
		combine = e.Combine
		x["estimator"] = "reinforce++-baseline"
		x.gamma(e.Gamma)
		x.whitening(e.Whitening)
		x.singleton(e.Singleton)
	case advantage.OPO:
		combine = e.Combine
		x["estimator"] = "opo"
		x.singleton(e.Singleton)
		x.tolerance("tolerance", e.Tolerance)
	case advantage.GDPO:
		combine.Weights, combine.SkipUnscorable = e.Weights, e.SkipUnscorable
		if err := x.gdpo(e); err != nil {
			return err
		}
	default:
		return fmt.Errorf("stepwise: an estimator of type %T", e)
	}
	if combine.Weights != nil {
		return errors.New("stepwise: a preset with weights of rewards")
	}
	x.on("skip-unscorable", combine.SkipUnscorable)
	x.on("kl-fold", combine.FoldShaping)
	return nil
}

func (x values) normalizer(n advantage.Normalizer) error {
	switch n := n.(type) {
	case advantage.GRPO:
		x["estimator"] = "grpo"
		x.grpo(n)
	case advantage.DrGRPO:
		x["estimator"] = "dr-grpo"
		x.singleton(n.Singleton)
		x.tolerance("tolerance", n.Tolerance)
	case advantage.RLOO:
		x["estimator"] = "rloo"
		x.singleton(n.Singleton)
		x.tolerance("tolerance", n.Tolerance)
	case advantage.MaxRL:
		x["estimator"] = "maxrl"
		x.number("epsilon", n.Epsilon)
		x.on("negative-mean", n.NegativeMean)
		x.singleton(n.Singleton)
		x.tolerance("tolerance", n.Tolerance)
	case advantage.PassAtK:
		x["estimator"] = "pass-at-k"
		x["k"] = fmt.Sprint(n.K)
		x.on("divide-by-std", n.DivideByStd)
		x.std("std", n.Std)
		x.number("epsilon", n.Epsilon)
		x.tolerance("tolerance", n.Tolerance)
	default:
		return fmt.Errorf("stepwise: a normaliser of type %T", n)
	}
	return nil
}

func (x values) grpo(n advantage.GRPO) {
	x.std("std", n.Std)
	x.number("epsilon", n.Epsilon)
	x.number("min-std", n.MinStd)
	x.singleton(n.Singleton)
	x.tolerance("tolerance", n.Tolerance)
}

func (x values) gdpo(e advantage.GDPO) error {
	norm, ok := e.Norm.(advantage.GRPO)
	if !ok {
		return fmt.Errorf("stepwise: gdpo with a normaliser of type %T", e.Norm)
	}
	x["estimator"], x["batch-over"] = "gdpo", "completions"
	x.grpo(norm)
	over := advantage.Whitening{Std: e.Std, Epsilon: e.Epsilon, Tolerance: e.Tolerance}
	if e.Whitening != nil {
		over, x["batch-over"] = *e.Whitening, "tokens"
	}
	x.std("batch-std", over.Std)
	x.number("batch-epsilon", over.Epsilon)
	x.number("min-var", over.MinVar)
	x.tolerance("batch-tolerance", over.Tolerance)
	return nil
}

func (x values) whitening(w advantage.Whitening) {
	x.std("std", w.Std)
	x.number("epsilon", w.Epsilon)
	x.number("min-var", w.MinVar)
	x.tolerance("tolerance", w.Tolerance)
}

func (x values) std(name string, s advantage.Std) { x.pick(advantagesSchema, name, int(s)) }

func (x values) singleton(s advantage.Singleton) { x.pick(advantagesSchema, "singleton", int(s)) }

func (x values) gamma(g float64) {
	if g == 0 {
		g = 1
	}
	x.number("gamma", g)
}

func (x values) tolerance(name string, t float64) {
	switch {
	case t == 0:
		t = advantage.DefaultTolerance
	case t < 0:
		t = 0
	}
	x.number(name, t)
}

// rewardKL is the inverse of the function rewardKL.
func (x values) rewardKL(k *objective.RewardKL) {
	if k == nil {
		x["kl"] = "none"
		return
	}
	x["kl"] = k.Estimator.String()
	x.number("beta", k.Beta)
	x.number("kl-log-ratio-clamp", k.LogRatioClamp)
	x.number("kl-value-clamp", k.ValueClamp)
	x.on("kl-center", k.Center)
	x.number("kl-discount", k.Discount)
}
