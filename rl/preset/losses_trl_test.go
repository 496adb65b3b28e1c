package preset_test

import "github.com/stepwise-rl/stepwise/rl/objective"

var trlLosses = map[string]loss{
	"dapo":                    ofPreset("trl-1.16", nil),
	"dapo-clip-higher":        tokenMean(objective.PPO{ClipLow: 0.2, ClipHigh: 0.28}),
	"dapo-delta":              tokenMean(objective.TwoSidedPPO(0.2, 0.2, 3)),
	"dapo-delta-below-high":   tokenMean(objective.TwoSidedPPO(0.2, 0.2, 1.1)),
	"dapo-beta":               ofPreset("trl-1.16", func(p *Preset) { p.KL.Beta = 0.04 }),
	"dapo-beta-no-correction": ofPreset("trl-1.16", func(p *Preset) { p.KL = objective.KL{Estimator: objective.K3, Beta: 0.04} }),
	"dapo-entropy":            tokenMean(objective.Terms{trlPPO, objective.EntropyBonus{Coef: 0.01}}),
	"grpo-entropy": {objective.Terms{trlPPO, objective.EntropyBonus{Coef: 0.01}}, objective.Split{
		Loss: objective.SeqMeanTokenMean{CountEmpty: true}, Regularizer: objective.TokenMean{},
	}},
	"grpo":           {trlPPO, objective.SeqMeanTokenMean{CountEmpty: true}},
	"bnpo":           tokenMean(trlPPO),
	"dr_grpo":        {trlPPO, objective.Constant{Tokens: 10, PerSequence: true}},
	"luspo":          {trlPPO, objective.SeqMeanTokenSum{CountEmpty: true}},
	"sapo":           {objective.SAPO{TauPos: 1, TauNeg: 1.05}, objective.SeqMeanTokenMean{CountEmpty: true}},
	"cispo":          tokenMean(objective.CISPO{High: 1.25}),
	"cispo-5":        tokenMean(objective.CISPO{High: 5}),
	"sequence-grpo":  {trlGSPO, objective.SeqMeanTokenMean{CountEmpty: true}},
	"sequence-dapo":  tokenMean(trlGSPO),
	"sequence-luspo": {trlGSPO, objective.SeqMeanTokenSum{CountEmpty: true}},

	// vllm_importance_sampling_mode, with the default bounds (none, 3) and two.
	"dapo-token_truncate":           trlCorrected(objective.LevelToken, objective.OutsideTruncate, 0, 3),
	"dapo-token_truncate-bounds":    trlCorrected(objective.LevelToken, objective.OutsideTruncate, 0.75, 1.75),
	"dapo-token_mask":               trlCorrected(objective.LevelToken, objective.OutsideDrop, 0, 3),
	"dapo-token_mask-bounds":        trlCorrected(objective.LevelToken, objective.OutsideDrop, 0.75, 1.75),
	"dapo-sequence_truncate":        trlCorrected(objective.LevelSequence, objective.OutsideTruncate, 0, 3),
	"dapo-sequence_truncate-bounds": trlCorrected(objective.LevelSequence, objective.OutsideTruncate, 0.75, 1.75),
	"dapo-sequence_mask":            trlCorrected(objective.LevelSequence, objective.OutsideDrop, 0, 3),
	"dapo-sequence_mask-bounds":     trlCorrected(objective.LevelSequence, objective.OutsideDrop, 0.75, 1.75),
}

var (
	trlPPO  = objective.PPO{ClipLow: 0.2, ClipHigh: 0.2}
	trlGSPO = objective.GSPO{ClipLow: 0.03, ClipHigh: 0.04}
)

func trlCorrected(level objective.Level, outside objective.Outside, low, high float64) loss {
	return tokenMean(objective.Corrected{Objective: trlPPO, Level: level, Outside: outside, Min: low, Max: high})
}
