package preset_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// loss is an objective and what its tokens weigh.
type loss struct {
	objective.Objective
	objective.Aggregation
}

// ofPreset is a preset's whole loss, after a change.
func ofPreset(name string, change func(p *Preset)) loss {
	p := get(name)
	if change != nil {
		change(&p)
	}
	return loss{p.Objective(), p.Aggregation}
}

// tokenMean is what most releases default to.
func tokenMean(o objective.Objective) loss { return loss{o, objective.TokenMean{}} }

// losses says for every case of the golden files what the same is here.
var losses = map[string]map[string]loss{
	"trl-1.16.0":       trlLosses,
	"verl-0.9.1":       verlLosses,
	"skyrl-0.4.0":      skyRLLosses,
	"openrlhf-0.11.2":  openRLHFLosses,
	"tinker":           tinkerLosses,
	"prime-rl-559b447": primeRLLosses,
}

// rejections has rollout_rs of the cases that set it.
var rejections = map[string][]objective.Rejection{}

func init() {
	log := math.Log
	for name, by := range map[string][]objective.Rejection{
		"token_k1":    {{Estimator: objective.K1, Min: log(0.75), Max: log(1.5)}},
		"token_k3":    {{Estimator: objective.K3, Max: 0.0078125}},
		"seq_sum_k1":  {{Estimator: objective.K1, Unit: objective.UnitSum, Min: log(0.5), Max: log(2)}},
		"seq_sum_k2":  {{Estimator: objective.K2, Unit: objective.UnitSum, Max: 0.25}},
		"seq_mean_k1": {{Estimator: objective.K1, Unit: objective.UnitMean, Min: log(0.9), Max: log(1.02)}},
		"seq_mean_k3": {{Estimator: objective.K3, Unit: objective.UnitMean, Max: 0.05}},
		"seq_max_k2":  {{Estimator: objective.K2, Unit: objective.UnitWorst, Max: 0.25}},
		"seq_max_k2-token_k1": {
			{Estimator: objective.K2, Unit: objective.UnitWorst, Max: 0.375}, {Estimator: objective.K1, Min: log(0.9), Max: log(1.5)},
		},
	} {
		rejections["vanilla-rs-"+name], rejections["vanilla-rs-"+name+"-seq-mean"] = by, by
	}
	rejections["vanilla-rs-seq_mean_k3-sequence-tis"] = rejections["vanilla-rs-seq_mean_k3"]
	rejections["ppo_loss-rs-token_k1"] = rejections["vanilla-rs-token_k1"]
}

func TestLosses(t *testing.T) {
	in := read[inputs](t, "inputs.json")
	for file, own := range losses {
		seen := map[string]bool{}
		for _, c := range readGolden(t, file).Losses {
			seen[c.Name] = true
			t.Run(file+"/"+c.Name+"/"+c.Batch, func(t *testing.T) {
				l, ok := own[c.Name]
				require.True(t, ok, "a case without a counterpart")
				s := in.Losses[c.Batch]
				if c.Mask != nil {
					s.Mask = c.Mask
				}
				if c.Fresh {
					s.LogP = s.Old
				}
				if adv, ok := otherAdvantages[c.Name]; ok {
					s = s.withAdvantages(adv)
				}
				s.reject, s.topEntropy = rejections[c.Name], topEntropies[c.Name]
				s.ranked = l.Needs()&objective.InputCovRank != 0
				requireLoss(t, c, l, s, file == "tinker")
			})
		}
		for name := range own {
			assert.True(t, seen[name], "%s has no case %q", file, name)
		}
	}
}

// requireLoss compares value and gradients. With oldIsRollout the old log-probs
// of the batch are the sampler's, the only ones that Tinker knows.
func requireLoss(t *testing.T, c lossCase, l loss, s step, oldIsRollout bool) {
	t.Helper()
	seqs := s.sequences(c.Adv == "row_adv")
	if oldIsRollout {
		for _, q := range seqs {
			q.Rollout = q.Old
		}
	}
	total := s.eval(t, l, seqs)
	var grad, entropyGrad [][]float64
	for _, q := range seqs {
		grad, entropyGrad = append(grad, q.Grad), append(entropyGrad, q.EntropyGrad)
	}
	require.InDelta(t, c.Loss, total, tolerance(c.DType)*math.Abs(c.Loss))
	requireClose(t, c.Grad, grad, c.DType)
	if c.EntropyGrad != nil {
		requireClose(t, c.EntropyGrad, entropyGrad, c.DType)
	}
}

// eval weighs the sequences of a step and returns their loss.
func (s step) eval(t *testing.T, l loss, seqs []*objective.Sequence) (total float64) {
	t.Helper()
	s.weigh(t, l.Aggregation, seqs)
	for _, q := range seqs {
		v, err := l.Eval(q, objective.Metrics{})
		require.NoError(t, err)
		total += v
	}
	return total
}

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

// prime-rl has no preset; its ratio is that to the sampler, under every loss.
var primeRLLosses = map[string]loss{
	"default":        primeRL(objective.DPPO{Low: 0.2, High: 0.2, Quadratic: 0.001}),
	"default-narrow": primeRL(objective.DPPO{Low: 0.05, High: 0.025, Quadratic: 0.001}),
	// adv_tau 0.5 and kl_tau 0.125.
	"default-taus": primeRL(objective.Scaled{Objective: objective.DPPO{Low: 0.2, High: 0.2, Quadratic: 0.25}, Factor: 0.5}),
	// filter_zero_advantages: the golden file has the mask that is left.
	"default-filtered": primeRL(objective.DPPO{Low: 0.2, High: 0.2, Quadratic: 0.001}),
	"ce":               tokenMean(objective.CrossEntropy{}),

	// These two agree with the advantages of otherAdvantages.
	"ipo": primeRL(objective.DPPO{Low: 0.1, High: 0.1, Quadratic: 0.001}),
	"ref_kl": primeRL(objective.Distilled{
		Objective: objective.DPPO{Low: 0.2, High: 1, Quadratic: 0.001}, Coef: 1,
	}),
}

func primeRL(o objective.Objective) loss { return tokenMean(objective.FromRollout{Objective: o}) }

// otherAdvantages are what tokens must come with for some losses to be those here,
// which is how they differ. For Distilled it is what the gain is added to: nothing, if it
// does not differ.
var otherAdvantages = map[string]func(logp, rollout, teacher, adv float64) float64{
	// verl's gain is that over the policy now, on fresh samples the same.
	"distill-k1": func(logp, _, teacher, _ float64) float64 {
		return min(max(teacher-logp, -10), 10)
	},
	"distill-k1-fresh":            noAdvantage,
	"distill-k1-fresh-clamp-0.25": noAdvantage,
	"distill-k1-fresh-no-clamp":   noAdvantage,
	// A token is dropped in whichever direction its probability has moved;
	// DPPO looks at the direction of the advantage.
	"ipo": func(logp, rollout, _, adv float64) float64 {
		if math.Abs(math.Exp(logp)-math.Exp(rollout)) > 0.1 {
			return 0
		}
		return adv
	},
	// The gain is that over the policy now, and a token whose probability has
	// fallen is dropped even if the teacher would raise it.
	"ref_kl": func(logp, rollout, teacher, _ float64) float64 {
		if math.Exp(logp)-math.Exp(rollout) < -0.2 {
			return rollout - teacher
		}
		return rollout - logp
	},
}

func noAdvantage(_, _, _, _ float64) float64 { return 0 }

// withAdvantages is the step with other advantages. The teacher is the reference.
func (s step) withAdvantages(of func(logp, rollout, teacher, adv float64) float64) step {
	rows := make([][]float64, len(s.Adv))
	for i := range rows {
		for j, a := range s.Adv[i] {
			rows[i] = append(rows[i], of(s.LogP[i][j], s.Rollout[i][j], s.Ref[i][j], a))
		}
	}
	s.Adv = rows
	return s
}

// What prime-rl's losses and ours are where they differ, as docs/parity.md says.
func TestPrimeRLDifferences(t *testing.T) {
	in := read[inputs](t, "inputs.json")
	want := map[string]struct{ peer, here float64 }{
		"default-filtered": {2.5791, 2.4931},
		"ipo":              {2.5423, 2.5597},
		"ref_kl":           {0.8419, -5.3872},
	}
	for _, c := range readGolden(t, "prime-rl-559b447").Losses {
		w, ok := want[c.Name]
		if !ok || c.Batch != "step" {
			continue
		}
		s := in.Losses[c.Batch]
		if c.Name == "ref_kl" { // it has no advantages of its own
			s = s.withAdvantages(noAdvantage)
		}
		assert.InDelta(t, w.peer, c.Loss, 1e-4, c.Name)
		assert.InDelta(t, w.here, s.eval(t, primeRLLosses[c.Name], s.sequences(false)), 1e-4, c.Name)
		delete(want, c.Name)
	}
	assert.Empty(t, want)
}

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

var tinkerLosses = map[string]loss{
	"importance_sampling": ofPreset("tinker", nil),
	"ppo":                 {objective.FromRollout{Objective: objective.PPO{ClipLow: 0.2, ClipHigh: 0.2}}, objective.TokenSum{}},
	"cispo":               {objective.FromRollout{Objective: objective.CISPO{Low: 0.8, High: 1.2}}, objective.TokenSum{}},
	"cispo-wide":          {objective.FromRollout{Objective: objective.CISPO{High: 5}}, objective.TokenSum{}},
	"cross_entropy":       {objective.CrossEntropy{}, objective.TokenSum{}},
}

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
	"grpo":          {trlPPO, objective.SeqMeanTokenMean{CountEmpty: true}},
	"bnpo":          tokenMean(trlPPO),
	"dr_grpo":       {trlPPO, objective.Constant{Tokens: 10, PerSequence: true}},
	"luspo":         {trlPPO, objective.SeqMeanTokenSum{CountEmpty: true}},
	"sapo":          {objective.SAPO{TauPos: 1, TauNeg: 1.05}, objective.SeqMeanTokenMean{CountEmpty: true}},
	"cispo":         tokenMean(objective.CISPO{High: 1.25}),
	"cispo-5":       tokenMean(objective.CISPO{High: 5}),
	"vespo":         tokenMean(trlVESPO),
	"vespo-uniform": tokenMean(trlVESPO),
	"vespo-wide":    tokenMean(objective.VESPO{KPos: 0.5, LambdaPos: 0.25, KNeg: 1, LambdaNeg: 0.5}),
	"vespo-sampler": tokenMean(objective.FromRollout{
		Objective: objective.VESPO{KPos: 0.25, LambdaPos: 0.125, KNeg: 0.5, LambdaNeg: 0.25},
	}),
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

	// off_policy_mask_threshold, alone and with a correction.
	"dapo-off_policy_mask": tokenMean(objective.Gated{Objective: trlPPO, MaxDrift: 0.05}),
	"dapo-off_policy_mask-token_truncate": tokenMean(objective.Gated{
		Objective: objective.Corrected{Objective: trlPPO, Max: 3}, MaxDrift: 0.05,
	}),
	"cispo-off_policy_mask": tokenMean(objective.Gated{Objective: objective.CISPO{High: 5}, MaxDrift: 0.5}),

	// top_entropy_quantile, of topEntropies.
	"dapo-top_entropy-0.2":                tokenMean(trlPPO),
	"dapo-top_entropy-0.5":                tokenMean(trlPPO),
	"grpo-top_entropy-0.2":                {trlPPO, objective.SeqMeanTokenMean{CountEmpty: true}},
	"dapo-top_entropy-0.2-beta":           ofPreset("trl-1.16", func(p *Preset) { p.KL.Beta = 0.04 }),
	"dapo-top_entropy-0.2-token_truncate": trlCorrected(objective.LevelToken, objective.OutsideTruncate, 0, 3),
	"dapo-top_entropy-0.2-sequence_mask":  trlCorrected(objective.LevelSequence, objective.OutsideDrop, 0, 3),
}

// topEntropies has top_entropy_quantile of the cases that set it.
var topEntropies = map[string]float64{
	"dapo-top_entropy-0.2": 0.2, "dapo-top_entropy-0.5": 0.5, "grpo-top_entropy-0.2": 0.2, "dapo-top_entropy-0.2-beta": 0.2,
	"dapo-top_entropy-0.2-token_truncate": 0.2, "dapo-top_entropy-0.2-sequence_mask": 0.2,
}

var (
	trlPPO  = objective.PPO{ClipLow: 0.2, ClipHigh: 0.2}
	trlGSPO = objective.GSPO{ClipLow: 0.03, ClipHigh: 0.04}

	trlVESPO = objective.VESPO{KPos: 2, LambdaPos: 3, KNeg: 3, LambdaNeg: 2}
)

func trlCorrected(level objective.Level, outside objective.Outside, low, high float64) loss {
	return tokenMean(objective.Corrected{Objective: trlPPO, Level: level, Outside: outside, Min: low, Max: high})
}

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

	// rollout_rs with rollout_rs_threshold, of rejections.
	"vanilla-rs-token_k1":                     tokenMean(verlPPO),
	"vanilla-rs-token_k1-seq-mean":            {verlPPO, verlSeqMean},
	"vanilla-rs-token_k3":                     tokenMean(verlPPO),
	"vanilla-rs-token_k3-seq-mean":            {verlPPO, verlSeqMean},
	"vanilla-rs-seq_sum_k1":                   tokenMean(verlPPO),
	"vanilla-rs-seq_sum_k1-seq-mean":          {verlPPO, verlSeqMean},
	"vanilla-rs-seq_sum_k2":                   tokenMean(verlPPO),
	"vanilla-rs-seq_sum_k2-seq-mean":          {verlPPO, verlSeqMean},
	"vanilla-rs-seq_mean_k1":                  tokenMean(verlPPO),
	"vanilla-rs-seq_mean_k1-seq-mean":         {verlPPO, verlSeqMean},
	"vanilla-rs-seq_mean_k3":                  tokenMean(verlPPO),
	"vanilla-rs-seq_mean_k3-seq-mean":         {verlPPO, verlSeqMean},
	"vanilla-rs-seq_max_k2":                   tokenMean(verlPPO),
	"vanilla-rs-seq_max_k2-seq-mean":          {verlPPO, verlSeqMean},
	"vanilla-rs-seq_max_k2-token_k1":          tokenMean(verlPPO),
	"vanilla-rs-seq_max_k2-token_k1-seq-mean": {verlPPO, verlSeqMean},
	"vanilla-rs-seq_mean_k3-sequence-tis":     verlCorrected(objective.LevelSequence, objective.OutsideTruncate, 0, 2),

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

	"kl_cov":                tokenMean(verlKLCov(0.0002, 0.1)),
	"kl_cov-0.25":           tokenMean(verlKLCov(0.25, 0.5)),
	"kl_cov-0.25-seq-mean":  {verlKLCov(0.25, 0.5), objective.SeqMeanTokenMean{Epsilon: 1e-8}},
	"kl_cov-0.25-token-tis": tokenMean(objective.Corrected{Objective: verlKLCov(0.25, 0.5), Max: 2, LogRatioClamp: 20}),

	// Distillation from the reference.
	"distill-k1":                  tokenMean(verlPPO),
	"distill-k1-fresh":            tokenMean(objective.Distilled{Objective: verlPPO, Coef: 1, GainClamp: 10}),
	"distill-k1-fresh-clamp-0.25": tokenMean(objective.Distilled{Objective: verlPPO, Coef: 1, GainClamp: 0.25}),
	"distill-k1-fresh-no-clamp":   tokenMean(objective.Distilled{Objective: verlPPO, Coef: 1}),
	"distill-k2-supervised":       tokenMean(objective.KL{Estimator: objective.K2, Beta: 1, ValueClamp: 10}),
	"distill-abs-supervised":      tokenMean(objective.KL{Estimator: objective.KAbs, Beta: 1, ValueClamp: 10}),
	"distill-k3-supervised":       tokenMean(objective.KL{Estimator: objective.K3, Beta: 1, LogRatioClamp: 20, ValueClamp: 10}),

	// The actor's whole loss.
	"ppo_loss":             verlWhole,
	"ppo_loss-rs-token_k1": verlWhole, // rejected tokens are in no term
	"ppo_loss-seq-mean": {objective.Terms{
		verlPPO,
		objective.EntropyBonus{Coef: 0.01},
		objective.KL{Estimator: objective.K3, Beta: 0.5, StraightThrough: true, LogRatioClamp: 20, ValueClamp: 10},
	}, verlSeqMean},
}

var (
	verlPPO   = objective.PPO{ClipLow: 0.2, ClipHigh: 0.2, DualClip: 3, LogRatioClamp: 20}
	verlGSPO  = objective.GSPOToken{ClipLow: 0.03, ClipHigh: 0.04, LogRatioMax: 10}
	verlWhole = ofPreset("verl-0.9.1", func(p *Preset) {
		p.KL.Beta = 0.001
		p.Policy = objective.Terms{p.Policy, objective.EntropyBonus{Coef: 0.01}}
	})
	verlSeqMean = objective.SeqMeanTokenMean{CountEmpty: true, Epsilon: 1e-8}
)

func verlKLCov(share, coef float64) objective.Objective {
	return objective.Terms{objective.ImportanceSampling{}, objective.KLCov{Share: share, Coef: coef}}
}

func verlCorrected(level objective.Level, outside objective.Outside, low, high float64) loss {
	return tokenMean(objective.Corrected{
		Objective: verlPPO, Level: level, Outside: outside, Min: low, Max: high, LogRatioClamp: 20,
	})
}
