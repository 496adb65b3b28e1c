package preset_test

import "github.com/stepwise-rl/stepwise/rl/objective"

var skyRLLosses = map[string]loss{
	"regular-kl":                      ofPreset("skyrl-0.4.0", nil),
	"regular-kl-big":                  ofPreset("skyrl-0.4.0", func(p *Preset) { p.KL.Beta = 0.5 }),
	"regular-token_mean":              tokenMean(skyRLPPO),
	"regular-sequence_mean":           {skyRLPPO, objective.SeqMeanTokenMean{CountEmpty: true}},
	"regular-seq_mean_token_sum_norm": {skyRLPPO, objective.Constant{Tokens: 10, PerSequence: true}},
	"regular-prompt_mean":             {skyRLPPO, objective.PromptMean{CountEmpty: true}},
	"dual_clip":                       tokenMean(objective.PPO{ClipLow: 0.2, ClipHigh: 0.2, DualClip: 3, LogRatioClamp: 20}),
	"gspo":                            {skyRLGSPO, objective.SeqMeanTokenMean{CountEmpty: true}},
	"gspo-uniform":                    {skyRLGSPO, objective.SeqMeanTokenMean{CountEmpty: true}},
	"sapo":                            {objective.SAPO{TauPos: 1, TauNeg: 1.05, LogRatioClamp: 20}, objective.SeqMeanTokenMean{CountEmpty: true}},
	"cispo":                           tokenMean(objective.CISPO{High: 5, LogRatioClamp: 20}),
	"cispo-narrow":                    tokenMean(objective.CISPO{Low: 0.8, High: 1.25, LogRatioClamp: 20}),
	"cispo-rollout":                   tokenMean(objective.FromRollout{Objective: objective.CISPO{High: 5, LogRatioClamp: 20}}),
	"rollout_is":                      tokenMean(objective.FromRollout{Objective: objective.CISPO{Low: 0.8, High: 1.2, Drop: true, LogRatioClamp: 20}}),
	"dppo-tv":                         tokenMean(objective.FromRollout{Objective: objective.DPPO{Low: 0.2, High: 0.15, LogRatioClamp: 20}}),
	"dppo-tv-old":                     tokenMean(objective.DPPO{Low: 0.2, High: 0.2, LogRatioClamp: 20}),
	"dppo-tv-far":                     tokenMean(objective.DPPO{Low: 2, High: 2, LogRatioClamp: 20}),
	"dppo-kl":                         tokenMean(objective.FromRollout{Objective: objective.DPPO{Low: 0.05, High: 0.05, KL: true, LogRatioClamp: 20}}),
	"importance_sampling":             {objective.ImportanceSampling{}, objective.TokenSum{}},

	// off_policy_correction.
	"regular-token-tis":    tokenMean(skyRLCorrected(skyRLPPO, objective.LevelToken, objective.OutsideTruncate, 0, 2)),
	"regular-sequence-tis": tokenMean(skyRLCorrected(skyRLPPO, objective.LevelSequence, objective.OutsideTruncate, 0, 5)),
	"regular-geometric":    tokenMean(skyRLCorrected(skyRLPPO, objective.LevelGeometric, objective.OutsideGate, 0.95, 1.25)),
	"regular-product":      tokenMean(skyRLCorrected(skyRLPPO, objective.LevelSequence, objective.OutsideGate, 0.5, 2)),
	"regular-token-mask":   tokenMean(skyRLCorrected(skyRLPPO, objective.LevelToken, objective.OutsideGate, 0.75, 1.5)),
	"regular-token-mask-tis-product": tokenMean(
		skyRLCorrected(skyRLCorrected(skyRLCorrected(skyRLPPO,
			objective.LevelSequence, objective.OutsideTruncate, 0, 2),
			objective.LevelSequence, objective.OutsideGate, 0.5, 2.5),
			objective.LevelToken, objective.OutsideGate, 0.75, 2.5)),
}

var (
	skyRLPPO  = objective.PPO{ClipLow: 0.2, ClipHigh: 0.2, LogRatioClamp: 20}
	skyRLGSPO = objective.GSPOToken{ClipLow: 0.03, ClipHigh: 0.04, LogRatioMax: 10}
)

func skyRLCorrected(o objective.Objective, level objective.Level, outside objective.Outside, low, high float64) objective.Objective {
	return objective.Corrected{Objective: o, Level: level, Outside: outside, Min: low, Max: high, LogRatioClamp: 20}
}
