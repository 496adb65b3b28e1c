package main

import "github.com/stepwise-rl/stepwise/rl/preset"

// advantagesPreset is a preset as settings of parity advantages.
func advantagesPreset(name string) (values, error) {
	p, err := preset.Get(name)
	if err != nil {
		return nil, err
	}
	x := values{}
	x.rewardKL(p.RewardKL)
	return x, x.estimator(p.Estimator)
}

// lossPreset is a preset as settings of parity loss.
func lossPreset(name string) (values, error) {
	p, err := preset.Get(name)
	if err != nil {
		return nil, err
	}
	x := values{}
	x.lossKL(p.KL)
	if err := x.objective(p.Policy); err != nil {
		return nil, err
	}
	return x, x.aggregation(p.Aggregation)
}
