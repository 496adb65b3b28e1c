package preset_test

import "github.com/stepwise-rl/stepwise/rl/objective"

var verlLosses = map[string]loss{
	"vanilla":             ofPreset("verl-0.9.1", nil),
	"vanilla-clip-higher": tokenMean(objective.PPO{ClipLow: 0.2, ClipHigh: 0.28, DualClip: 3, LogRatioClamp: 20}),

	// loss_agg_mode as its functions have it, then with the counts of the whole
	// batch, as in training, where empty sequences count.
	"vanilla-token-sum":                      {verlPPO, objective.TokenSum{}},
	"vanilla-token-sum-global":               {verlPPO, objective.TokenSum{}},
	"vanilla-seq-mean-token-sum":             {verlPPO, objective.SeqMeanTokenSum{}},
	"vanilla-seq-mean-token-sum-global":      {verlPPO, objective.SeqMeanTokenSum{CountEmpty: true}},
	"vanilla-seq-mean-token-mean":            {verlPPO, objective.SeqMeanTokenMean{Epsilon: 1e-8}},
	"vanilla-seq-mean-token-mean-global":     {verlPPO, verlSeqMean},
	"vanilla-seq-mean-token-sum-norm":        {objective.Scaled{Objective: verlPPO, Factor: 1. / 8}, objective.SeqMeanTokenSum{}},
	"vanilla-seq-mean-token-sum-norm-global": {verlPPO, objective.Constant{Tokens: 10, PerSequence: true}},

	// rollout_is with rollout_is_threshold.
	"vanilla-token-tis":       verlCorrected(objective.LevelToken, objective.OutsideTruncate, 0, 2),
	"vanilla-sequence-tis":    verlCorrected(objective.LevelSequence, objective.OutsideTruncate, 0, 2),
	"vanilla-token-icepop":    verlCorrected(objective.LevelToken, objective.OutsideDrop, 0.5, 2),
	"vanilla-sequence-icepop": verlCorrected(objective.LevelSequence, objective.OutsideDrop, 0.5, 2),
	"vanilla-far-tis":         verlCorrected(objective.LevelToken, objective.OutsideTruncate, 0, 1e9),
	// bypass_mode with loss_type="reinforce".
	"bypass-reinforce-token-tis": tokenMean(objective.FromRollout{Objective: objective.CISPO{High: 2, LogRatioClamp: 20}}),

	"gspo":            {verlGSPO, objective.SeqMeanTokenMean{Epsilon: 1e-8}},
	"gspo-uniform":    {verlGSPO, objective.SeqMeanTokenMean{Epsilon: 1e-8}},
	"gspo-token-mean": tokenMean(verlGSPO),
	"cispo":           tokenMean(objective.CISPO{Low: 0.8, High: 1.2, LogRatioClamp: 20}),
	"cispo-wide":      tokenMean(objective.CISPO{Low: 0, High: 2.5, LogRatioClamp: 20}),
	"sapo":            {objective.SAPO{TauPos: 1, TauNeg: 1.05, LogRatioClamp: 20}, objective.SeqMeanTokenMean{Epsilon: 1e-8}},
	"dppo_tv":         tokenMean(objective.DPPO{Low: 0.2, High: 0.15, MaxWeight: 3, LogRatioClamp: 20}),
	"dppo_tv-c-20":    tokenMean(objective.DPPO{Low: 0.05, High: 0.05, MaxWeight: 20, LogRatioClamp: 20}),
	"dppo_tv-far":     tokenMean(objective.DPPO{Low: 2, High: 2, MaxWeight: 1e9, LogRatioClamp: 20}),
	"dppo_kl":         tokenMean(objective.DPPO{Low: 0.2, High: 0.15, KL: true, MaxWeight: 3, LogRatioClamp: 20}),
	"dppo_kl-c-20":    tokenMean(objective.DPPO{Low: 0.05, High: 0.05, KL: true, MaxWeight: 20, LogRatioClamp: 20}),
	"dro":             tokenMean(objective.DRO{Beta: 0.05}),
	"gpg":             tokenMean(objective.DRO{}),

	// The actor's whole loss.
	"ppo_loss": ofPreset("verl-0.9.1", func(p *Preset) {
		p.KL.Beta = 0.001
		p.Policy = objective.Terms{p.Policy, objective.EntropyBonus{Coef: 0.01}}
	}),
	"ppo_loss-seq-mean": {objective.Terms{
		verlPPO,
		objective.EntropyBonus{Coef: 0.01},
		objective.KL{Estimator: objective.K3, Beta: 0.5, StraightThrough: true, LogRatioClamp: 20, ValueClamp: 10},
	}, verlSeqMean},
}

var (
	verlPPO     = objective.PPO{ClipLow: 0.2, ClipHigh: 0.2, DualClip: 3, LogRatioClamp: 20}
	verlGSPO    = objective.GSPOToken{ClipLow: 0.03, ClipHigh: 0.04, LogRatioMax: 10}
	verlSeqMean = objective.SeqMeanTokenMean{CountEmpty: true, Epsilon: 1e-8}
)

func verlCorrected(level objective.Level, outside objective.Outside, low, high float64) loss {
	return tokenMean(objective.Corrected{
		Objective: verlPPO, Level: level, Outside: outside, Min: low, Max: high, LogRatioClamp: 20,
	})
}
