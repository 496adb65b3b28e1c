package preset_test

import (
	"math"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

var openRLHFLosses = map[string]loss{
	"ppo":                 ofPreset("openrlhf-0.11.2", nil),
	"ppo-clip-higher":     tokenMean(objective.PPO{ClipLow: 0.2, ClipHigh: 0.28, LogRatioClamp: 20}),
	"ppo-dual-clip":       tokenMean(objective.PPO{ClipLow: 0.2, ClipHigh: 0.2, DualClip: 3, LogRatioClamp: 20}),
	"ppo-seq-mean":        {openRLHFPPO, objective.SeqMeanTokenMean{Epsilon: 1e-8}},
	"ppo-seq-mean-global": {openRLHFPPO, objective.SeqMeanTokenMean{CountEmpty: true, Epsilon: 1e-8}},
	"ppo-kl-entropy": ofPreset("openrlhf-0.11.2", func(p *Preset) {
		p.KL.Beta = 0.01
		p.Policy = objective.Terms{p.Policy, objective.EntropyBonus{Coef: 0.01}}
	}),
	"gspo":         {openRLHFGSPO, objective.SeqMeanTokenMean{Epsilon: 1e-8}},
	"gspo-rollout": {objective.FromRollout{Objective: openRLHFGSPO}, objective.SeqMeanTokenMean{Epsilon: 1e-8}},

	// is_correction_level and is_correction_mode.
	"ppo-token-clip":        tokenMean(objective.Corrected{Objective: openRLHFPPO, Min: 0.5, Max: 5}),
	"ppo-token-mask":        tokenMean(objective.Corrected{Objective: openRLHFPPO, Outside: objective.OutsideDrop, Min: 0.5, Max: 5}),
	"ppo-token-mask-narrow": tokenMean(objective.Corrected{Objective: openRLHFPPO, Outside: objective.OutsideDrop, Min: 0.9, Max: 1.25}),
	"ppo-seq-mask": tokenMean(objective.Corrected{
		Objective: objective.Corrected{Objective: openRLHFPPO, Max: math.Inf(1)},
		Level:     objective.LevelGeometric, Outside: objective.OutsideGate, Min: 0.95, Max: 1.25,
	}),
}

var (
	openRLHFPPO  = objective.PPO{ClipLow: 0.2, ClipHigh: 0.2, LogRatioClamp: 20}
	openRLHFGSPO = objective.GSPO{ClipLow: 0.03, ClipHigh: 0.04}
)
