package objective_test

import (
	"encoding"
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

func TestMissingAndMisshapenInputs(t *testing.T) {
	ppo := objective.PPO{ClipLow: .2, ClipHigh: .2}
	kl := objective.KL{Estimator: objective.K3, Beta: 1}
	for want, c := range map[string]struct {
		o     objective.Objective
		spoil func(s *objective.Sequence)
	}{
		"Adv is missing":                      {ppo, func(s *objective.Sequence) { s.Adv = nil }},
		"the length of Old is 3":              {ppo, func(s *objective.Sequence) { s.Old = s.Old[:3] }},
		"the length of Keep is 3":             {ppo, func(s *objective.Sequence) { s.Keep = s.Keep[:3] }},
		"Weight is missing":                   {ppo, func(s *objective.Sequence) { s.Weight = nil }},
		"the length of Grad is 2":             {ppo, func(s *objective.Sequence) { s.Grad = s.Grad[:2] }},
		"the length of Adv is 1":              {gspoToken, func(s *objective.Sequence) { s.Adv = s.Adv[:1] }},
		"the length of Weight is 1":           {objective.CrossEntropy{}, func(s *objective.Sequence) { s.Weight = s.Weight[:1] }},
		"Ref is missing":                      {kl, func(s *objective.Sequence) { s.Ref = nil }},
		"KLWeight is missing":                 {kl, func(s *objective.Sequence) { s.KLWeight = nil }},
		"CovRank is missing":                  {objective.KLCov{Share: 1}, func(s *objective.Sequence) { s.CovRank = nil }},
		"Entropy is missing":                  {objective.EntropyBonus{Coef: 1}, func(s *objective.Sequence) { s.Entropy = nil }},
		"EntropyGrad is missing":              {objective.EntropyBonus{Coef: 1}, func(s *objective.Sequence) { s.EntropyGrad = nil }},
		"Rollout is missing":                  {objective.Corrected{Objective: ppo, Max: 2}, func(s *objective.Sequence) { s.Rollout = nil }},
		"the length of Teacher is 2":          {objective.Distilled{Objective: ppo, Coef: 1}, func(s *objective.Sequence) { s.Teacher = s.Teacher[:2] }},
		"the length of Adv is 2":              {objective.Distilled{Objective: ppo, Coef: 1}, func(s *objective.Sequence) { s.Adv = s.Adv[:2] }},
		"want one entry per token (4)":        {objective.Terms{ppo, kl}, func(s *objective.Sequence) { s.Ref = s.Ref[:2] }},
		"KLWeight is missing, want one entry": {objective.Scaled{Objective: kl, Factor: 2}, func(s *objective.Sequence) { s.KLWeight = nil }},
	} {
		s := randomSequence(rand.New(rand.NewPCG(51, 52)), 4)
		c.spoil(s)
		_, err := c.o.Eval(s, objective.Metrics{})
		assert.ErrorContains(t, err, want)
	}
}

// Every number that an objective reads is guarded at every position that counts: the
// error names it, and no NaN passes.
func TestNonFiniteNumbers(t *testing.T) {
	inputs := map[string]func(*objective.Sequence) []float64{
		"LogP":    func(s *objective.Sequence) []float64 { return s.LogP },
		"Old":     func(s *objective.Sequence) []float64 { return s.Old },
		"Ref":     func(s *objective.Sequence) []float64 { return s.Ref },
		"Rollout": func(s *objective.Sequence) []float64 { return s.Rollout },
		"Entropy": func(s *objective.Sequence) []float64 { return s.Entropy },
		"Teacher": func(s *objective.Sequence) []float64 { return s.Teacher },
		"Adv":     func(s *objective.Sequence) []float64 { return s.Adv },
	}
	for name, o := range all() {
		for input, of := range inputs {
			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				s := randomSequence(rand.New(rand.NewPCG(53, 54)), 4)
				s.Weight[2], s.KLWeight[2], s.Keep[2] = 1, 1, true
				s.LogP[2], s.Old[2], s.Ref[2], s.Rollout[2], s.Entropy[2], s.Adv[2], s.Teacher[2] = -1, -1.1, -1, -1, 1, 1, -1
				copy(s.Cand.LogP[8:12], logs(.5, .2, .2, .1))
				copy(s.Cand.Teacher[8:12], logs(.5, .2, .2, .1))
				of(s)[2] = bad
				loss, err := o.Eval(s, objective.Metrics{})
				if err != nil {
					if name == "from rollout" && input == "Rollout" {
						require.ErrorContains(t, err, "(Old is Rollout here)")
						continue
					}
					require.ErrorContains(t, err, input+" at position 2 is", "%s with %s = %v", name, input, bad)
					continue
				}
				require.False(t, math.IsNaN(loss) || math.IsInf(loss, 0), "%s with %s = %v", name, input, bad)
				for _, g := range s.Grad {
					require.False(t, math.IsNaN(g) || math.IsInf(g, 0), "%s with %s = %v", name, input, bad)
				}
				if needs := o.Needs(); input == "LogP" && needs&(objective.InputCandidates|objective.InputEntropy) == 0 ||
					input == "Old" && needs&objective.InputOld != 0 || input == "Ref" && needs&objective.InputRef != 0 ||
					input == "Rollout" && needs&objective.InputRollout != 0 || input == "Teacher" && needs&objective.InputTeacher != 0 || input == "Entropy" && needs&objective.InputEntropy != 0 {
					require.Fail(t, "no error", "%s with %s = %v", name, input, bad)
				}
			}
		}
	}
}

func TestRatioOverflow(t *testing.T) {
	s := newSequence([]float64{0, 0}, []float64{0, -710}, nil, []float64{1, 1})
	_, err := objective.PPO{ClipLow: .2, ClipHigh: .2}.Eval(s, objective.Metrics{})
	assert.ErrorContains(t, err, "ratio at position 1 overflows")
	loss, _ := eval(t, objective.PPO{ClipLow: .2, ClipHigh: .2, LogRatioClamp: 20}, s)
	assert.InDelta(t, -1-1.2, loss, 1e-15)
}

func TestWeightOverflow(t *testing.T) {
	for _, level := range []objective.Level{objective.LevelToken, objective.LevelSequence, objective.LevelGeometric} {
		s := newSequence([]float64{0, 0}, []float64{0, 0}, nil, []float64{0, 0})
		s.Rollout = []float64{0, -1600}
		c := objective.Corrected{Objective: objective.PPO{ClipLow: .2, ClipHigh: .2}, Level: level, Max: math.Inf(1)}
		require.NoError(t, c.Validate())
		_, err := c.Eval(s, objective.Metrics{})
		require.ErrorContains(t, err, "the importance weight at position", level)
		c.Max = 2
		_, err = c.Eval(s, objective.Metrics{})
		require.NoError(t, err)
	}
}

func TestValidate(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	ppo := objective.PPO{ClipLow: .2, ClipHigh: .2}
	for name, o := range all() {
		require.NoError(t, o.Validate(), name)
	}
	rollout := objective.FromRollout{Objective: ppo}
	require.NoError(t, rollout.Validate())
	require.NoError(t, objective.PPO{ClipLow: 1, ClipHigh: inf}.Validate(), "sides switched off")
	require.NoError(t, objective.TwoSidedPPO(.2, inf, 2).Validate())
	corrected := func(o objective.Objective) objective.Corrected { return objective.Corrected{Objective: o, Max: 2} }
	for _, c := range []struct {
		want string
		o    objective.Objective
	}{
		{"PPO.ClipLow is 0", objective.PPO{}},
		{"PPO.ClipLow", objective.PPO{ClipLow: nan, ClipHigh: .2}},
		{"PPO.ClipLow", objective.PPO{ClipLow: inf, ClipHigh: .2}},
		{"PPO.ClipHigh", objective.PPO{ClipLow: .2, ClipHigh: -1}},
		{"PPO.DualClip is 1", objective.PPO{ClipLow: .2, ClipHigh: .2, DualClip: 1}},
		{"PPO.DualClip is +Inf", objective.PPO{ClipLow: .2, ClipHigh: .2, DualClip: inf}},
		{"PPO.LogRatioClamp is -1", objective.PPO{ClipLow: .2, ClipHigh: .2, LogRatioClamp: -1}},
		{"PPO.ClipHigh", objective.TwoSidedPPO(.2, .2, 1)},
		{"GSPO.ClipLow", objective.GSPO{}},
		{"GSPOToken.LogRatioMax", objective.GSPOToken{ClipLow: .1, ClipHigh: .1, LogRatioMax: inf}},
		{"CISPO.Low and High are 0 and 0", objective.CISPO{}},
		{"CISPO.Low", objective.CISPO{Low: -1, High: 1}},
		{"CISPO.LogRatioClamp", objective.CISPO{High: 1, LogRatioClamp: nan}},
		{"SAPO.TauPos", objective.SAPO{TauPos: 1}},
		{"SAPO.TauPos", objective.SAPO{TauPos: inf, TauNeg: 1}},
		{"SAPO.LogRatioClamp", objective.SAPO{TauPos: 1, TauNeg: 1, LogRatioClamp: -1}},
		{"VESPO.LambdaPos is 0, want a positive number", objective.VESPO{}},
		{"VESPO.LambdaNeg is +Inf", objective.VESPO{LambdaPos: 1, LambdaNeg: inf}},
		{"VESPO.KPos is -1", objective.VESPO{KPos: -1, LambdaPos: 1, LambdaNeg: 1}},
		{"VESPO.KNeg is NaN", objective.VESPO{KNeg: nan, LambdaPos: 1, LambdaNeg: 1}},
		{"KLCov.Share is 0, want a share of the tokens", objective.KLCov{}},
		{"KLCov.Share is NaN", objective.KLCov{Share: nan}},
		{"KLCov.Coef is -1", objective.KLCov{Share: 1, Coef: -1}},
		{"Distilled.GainClamp is -1", objective.Distilled{Objective: ppo, GainClamp: -1}},
		{"DRO.Beta", objective.DRO{Beta: -1}},
		{"DPPO.Low", objective.DPPO{High: 1}},
		{"DPPO.Low", objective.DPPO{Low: .2, High: inf}},
		{"DPPO.Quadratic", objective.DPPO{Low: 1, High: 1, Quadratic: -1}},
		{"DPPO.LogRatioClamp", objective.DPPO{Low: 1, High: 1, LogRatioClamp: -1}},
		{"DPPO.MaxWeight", objective.DPPO{Low: 1, High: 1, MaxWeight: 1}},
		{"DPPO.MaxWeight", objective.DPPO{Low: 1, High: 1, MaxWeight: nan}},
		{"ImportanceSampling.LogRatioClamp", objective.ImportanceSampling{LogRatioClamp: inf}},
		{"EntropyBonus.Coef", objective.EntropyBonus{Coef: inf}},
		{"KL.Estimator is not set, want k1, k2, k3 or abs", objective.KL{}},
		{"KL.Beta", objective.KL{Estimator: objective.K1, Beta: -1}},
		{"KL.LogRatioClamp", objective.KL{Estimator: objective.K1, LogRatioClamp: nan}},
		{"KL.ValueClamp", objective.KL{Estimator: objective.K1, ValueClamp: -1}},
		{"KL.ImportanceMax", objective.KL{Estimator: objective.K1, Importance: true, StraightThrough: true, ImportanceMax: -1}},
		{"not both", objective.KL{Estimator: objective.K1, Importance: true, ImportanceMax: 10}},
		{"JSD.Beta is -0.1", objective.JSD{Beta: -.1}},
		{"JSD.Beta is NaN", objective.JSD{Beta: math.NaN()}},
		{"Terms is empty", objective.Terms{}},
		{"term 1 is nil", objective.Terms{ppo, nil}},
		{"term 1: objective: KL.Estimator", objective.Terms{ppo, objective.KL{}}},
		{"Corrected.Objective is nil", objective.Corrected{Max: 2}},
		{"Corrected.Min and Max are 0 and 0", objective.Corrected{Objective: ppo}},
		{"Corrected.Min", objective.Corrected{Objective: ppo, Min: 2, Max: 2}},
		{"Corrected.Level is objective.Level(3), want token, sequence or geometric", objective.Corrected{Objective: ppo, Level: 3, Max: 2}},
		{"Corrected.Outside is objective.Outside(3), want truncate, drop or gate", objective.Corrected{Objective: ppo, Outside: 3, Max: 2}},
		{"Corrected.LogRatioClamp", objective.Corrected{Objective: ppo, Max: 2, LogRatioClamp: -1}},
		{"PPO.ClipLow", corrected(objective.PPO{})},
		{"counted twice", corrected(rollout)},
		{"counted twice", corrected(objective.Terms{ppo, rollout})},
		{"counted twice", corrected(objective.Scaled{Objective: rollout, Factor: 1})},
		{"counted twice", corrected(objective.Distilled{Objective: rollout, Coef: 1})},
		{"counted twice", corrected(objective.Gated{Objective: rollout, MaxDrift: 1})},
		{"counted twice", objective.Terms{corrected(corrected(rollout))}},
		{"FromRollout.Objective is nil", objective.FromRollout{}},
		{"PPO.ClipLow", objective.FromRollout{Objective: objective.PPO{}}},
		{"Distilled.Objective is nil", objective.Distilled{}},
		{"Distilled.Coef", objective.Distilled{Objective: ppo, Coef: -1}},
		{"Distilled.Discount is 1.1", objective.Distilled{Objective: ppo, Discount: 1.1}},
		{"Gated.Objective is nil", objective.Gated{MaxDrift: 1}},
		{"Gated.MaxDrift is 0, want a positive number", objective.Gated{Objective: ppo}},
		{"Gated.MaxDrift is +Inf", objective.Gated{Objective: ppo, MaxDrift: inf}},
		{"PPO.ClipLow", objective.Gated{Objective: objective.PPO{}, MaxDrift: 1}},
		{"Scaled.Objective is nil", objective.Scaled{}},
		{"Scaled.Factor", objective.Scaled{Objective: ppo, Factor: nan}},
	} {
		require.ErrorContains(t, c.o.Validate(), c.want, "%#v", c.o)
	}
}

// Eval does not check settings again, and survives zero values.
func TestZeroValuesDoNotPanic(t *testing.T) {
	for _, o := range []objective.Objective{
		objective.PPO{}, objective.GSPO{}, objective.GSPOToken{}, objective.CISPO{}, objective.SAPO{}, objective.DRO{}, objective.DPPO{},
		objective.KL{}, objective.EntropyBonus{}, objective.JSD{}, objective.ForwardKL{}, objective.ReverseKL{}, objective.Terms{},
	} {
		s := randomSequence(rand.New(rand.NewPCG(55, 56)), 4)
		require.NotPanics(t, func() { _, _ = o.Eval(s, objective.Metrics{}) }, "%T", o)
	}
	for _, agg := range []objective.Aggregation{objective.Constant{}, objective.TokenMean{Masked: 9}} {
		require.NotPanics(t, func() { _, _, _ = agg.Weigh(layout) }, "%T", agg)
	}
}

// Every choice is a text in settings, and the text is the choice again.
func TestTexts(t *testing.T) {
	type text interface {
		String() string
		MarshalText() ([]byte, error)
	}
	for name, c := range map[string]struct {
		choice text
		read   func(text []byte) (any, error)
	}{
		"stay":         {objective.MaskedStay, read[objective.Masked]},
		"exclude":      {objective.MaskedExclude, read[objective.Masked]},
		"exclude_loss": {objective.MaskedExcludeLoss, read[objective.Masked]},
		"token":        {objective.LevelToken, read[objective.Level]},
		"sequence":     {objective.LevelSequence, read[objective.Level]},
		"geometric":    {objective.LevelGeometric, read[objective.Level]},
		"truncate":     {objective.OutsideTruncate, read[objective.Outside]},
		"drop":         {objective.OutsideDrop, read[objective.Outside]},
		"gate":         {objective.OutsideGate, read[objective.Outside]},
		"k1":           {objective.K1, read[objective.KLEstimator]},
		"k2":           {objective.K2, read[objective.KLEstimator]},
		"k3":           {objective.K3, read[objective.KLEstimator]},
		"abs":          {objective.KAbs, read[objective.KLEstimator]},
	} {
		assert.Equal(t, name, c.choice.String())
		got, err := c.choice.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, name, string(got))
		back, err := c.read(got)
		require.NoError(t, err)
		assert.Equal(t, c.choice, back)
		_, err = c.read([]byte("k4"))
		assert.ErrorContains(t, err, `got "k4"`)
	}
	_, err := read[objective.Masked]([]byte("drop"))
	assert.EqualError(t, err, `want stay, exclude or exclude_loss, got "drop"`)
	assert.Equal(t, "objective.Masked(9)", objective.Masked(9).String())
	settings, err := json.Marshal(objective.Corrected{Objective: objective.CrossEntropy{}, Level: objective.LevelSequence, Max: 2})
	require.NoError(t, err)
	assert.JSONEq(t, `{"objective":{},"level":"sequence","outside":"truncate","min":0,"max":2,"log_ratio_clamp":0}`, string(settings))
}

// read returns the value of an enum that has a text.
func read[E any, P interface {
	*E
	encoding.TextUnmarshaler
}](text []byte) (any, error) {
	var e E
	err := P(&e).UnmarshalText(text)
	return e, err
}

func TestNeeds(t *testing.T) {
	ppo := objective.PPO{ClipLow: .2, ClipHigh: .2}
	terms := objective.Terms{ppo, objective.KL{Estimator: objective.K3}, objective.EntropyBonus{}}
	assert.Equal(t, objective.InputOld|objective.InputRef|objective.InputEntropy, terms.Needs())
	assert.Equal(t, objective.InputOld|objective.InputRollout, objective.Corrected{Objective: ppo}.Needs())
	assert.Equal(t, objective.InputOld|objective.InputTeacher, objective.Distilled{Objective: ppo}.Needs())
	assert.Equal(t, objective.InputOld|objective.InputRollout, objective.Gated{Objective: ppo}.Needs())
	assert.Equal(t, objective.InputOld|objective.InputRef, objective.KL{Importance: true}.Needs())
	assert.Equal(t, objective.InputCandidates, objective.Scaled{Objective: objective.ForwardKL{}}.Needs())
	assert.Zero(t, objective.CrossEntropy{}.Needs())
}

func TestInputsInWords(t *testing.T) {
	assert.Equal(t, "nothing", objective.Inputs(0).String())
	assert.Equal(t, "old log-probs, entropies", (objective.InputOld | objective.InputEntropy).String())
	assert.Equal(t, "reference log-probs, rollout log-probs, candidates", (objective.InputRef | objective.InputRollout | objective.InputCandidates).String())
}
