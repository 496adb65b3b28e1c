package objective_test

import (
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

var excluded = math.NaN()

// newSequence makes a sequence of which every token weighs 1 except where the
// log-prob is NaN: those are excluded.
func newSequence(logp, old, ref, adv []float64) *objective.Sequence {
	n := len(logp)
	s := &objective.Sequence{LogP: logp, Old: old, Ref: ref, Adv: adv, Grad: make([]float64, n),
		Weight: make([]float64, n), KLWeight: make([]float64, n)}
	for t, x := range logp {
		if !math.IsNaN(x) {
			s.Weight[t], s.KLWeight[t] = 1, 1
		}
	}
	return s
}

// randomSequence makes a sequence of n tokens that has every input: advantages
// of both signs, some masked tokens, some excluded ones full of NaN, weights of
// all sizes, three candidates per position and the rest.
func randomSequence(rng *rand.Rand, n int) *objective.Sequence {
	s := &objective.Sequence{Cand: &objective.Candidates{K: 3, IDs: make([]int32, 3*n)}}
	for _, f := range []*[]float64{&s.LogP, &s.Entropy, &s.Old, &s.Ref, &s.Rollout, &s.Teacher, &s.Adv, &s.CovRank, &s.Weight, &s.KLWeight, &s.Grad, &s.EntropyGrad} {
		*f = make([]float64, n)
	}
	s.Keep = make([]bool, n)
	for t := range n {
		logp := -3 * rng.Float64()
		s.LogP[t], s.Old[t] = logp, logp+.6*rng.NormFloat64()
		s.Ref[t], s.Rollout[t] = logp+.6*rng.NormFloat64(), s.Old[t]+.4*rng.NormFloat64()
		s.Teacher[t] = logp + .6*rng.NormFloat64()
		s.Entropy[t], s.Adv[t] = 2*rng.Float64(), rng.NormFloat64()
		s.Weight[t], s.KLWeight[t] = .1+rng.Float64(), .1+rng.Float64()
		s.Keep[t], s.CovRank[t] = rng.Float64() < .8, float64(t)/float64(n)
		s.Cand.Teacher = append(s.Cand.Teacher, logSoftmax(rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64())...)
		s.Cand.LogP = append(s.Cand.LogP, logSoftmax(rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64())...)
		if rng.Float64() < .2 {
			exclude(s, t)
		}
	}
	s.Cand.Grad = make([]float64, 4*n)
	return s
}

// exclude takes position t out and fills it with NaN and infinities.
func exclude(s *objective.Sequence, t int) {
	s.Weight[t], s.KLWeight[t] = 0, 0
	s.LogP[t], s.Old[t], s.Ref[t], s.Rollout[t] = math.NaN(), math.Inf(-1), math.Inf(1), math.NaN()
	s.Adv[t], s.Entropy[t] = math.Inf(1), math.NaN()
	s.Teacher[t] = math.NaN()
	for i := 4 * t; i < 4*t+4; i++ {
		s.Cand.Teacher[i], s.Cand.LogP[i] = math.NaN(), math.Inf(1)
	}
}

func logSoftmax(x ...float64) []float64 {
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(v)
	}
	for i := range x {
		x[i] -= math.Log(sum)
	}
	return x
}

// eval clears the gradients of s and evaluates o on it.
func eval(t require.TestingT, o objective.Objective, s *objective.Sequence) (float64, objective.Metrics) {
	clearGrads(s)
	m := objective.Metrics{}
	loss, err := o.Eval(s, m)
	require.NoError(t, err)
	return loss, m
}

func clearGrads(s *objective.Sequence) {
	clear(s.Grad)
	clear(s.EntropyGrad)
	if s.Cand != nil {
		clear(s.Cand.Grad)
	}
}

// requireGradients compares gradients that Eval has left in s with central
// differences of loss, a function of the numbers in s. Excluded positions must
// have got none.
func requireGradients(t *testing.T, s *objective.Sequence, loss func() float64) {
	t.Helper()
	compare := func(name string, x, grad []float64) {
		got := append([]float64(nil), grad...)
		for i := range x {
			if math.IsNaN(x[i]) || math.IsInf(x[i], 0) {
				require.Zero(t, got[i], "%s: excluded position %d", name, i)
				continue
			}
			const h = 1e-5
			at := x[i]
			x[i] = at + h
			up := loss()
			x[i] = at - h
			down := loss()
			x[i] = at
			require.InDelta(t, (up-down)/(2*h), got[i], 1e-8*(1+math.Abs(got[i])), "%s: position %d", name, i)
		}
	}
	compare("LogP", s.LogP, s.Grad)
	compare("Entropy", s.Entropy, s.EntropyGrad)
	if s.Cand != nil {
		compare("Cand.LogP", s.Cand.LogP, s.Cand.Grad)
	}
}

// all is one of each objective, some in several settings.
func all() map[string]objective.Objective {
	ppo := objective.PPO{ClipLow: .2, ClipHigh: .28}
	return map[string]objective.Objective{
		"ppo":                  ppo,
		"dual clip":            objective.PPO{ClipLow: .2, ClipHigh: .28, DualClip: 1.5, LogRatioClamp: 20},
		"two-sided":            objective.TwoSidedPPO(.2, .28, 1.1),
		"ppo clamped":          objective.PPO{ClipLow: .2, ClipHigh: .28, LogRatioClamp: .1},
		"gspo token":           objective.GSPOToken{ClipLow: .2, ClipHigh: .2, LogRatioMax: 10},
		"cispo":                objective.RelativeCISPO(.2, .28),
		"cispo absolute":       objective.CISPO{High: 1.5},
		"cispo drop":           objective.CISPO{Low: .8, High: 1.5, Drop: true},
		"sapo":                 objective.SAPO{TauPos: 1, TauNeg: 1.05},
		"vespo":                objective.VESPO{KPos: 2, LambdaPos: 3, KNeg: 3, LambdaNeg: 2},
		"kl cov":               objective.KLCov{Share: .6, Coef: .4},
		"dro":                  objective.DRO{Beta: .5},
		"dppo":                 objective.DPPO{Low: .1, High: .2, Quadratic: .3},
		"dppo kl":              objective.DPPO{Low: .02, High: .02, KL: true, LogRatioClamp: 20},
		"dppo weight":          objective.DPPO{Low: .1, High: .2, Quadratic: .3, MaxWeight: 1.2},
		"importance sampling":  objective.ImportanceSampling{LogRatioClamp: 2},
		"cross entropy":        objective.CrossEntropy{},
		"entropy":              objective.EntropyBonus{Coef: .1},
		"k1":                   objective.KL{Estimator: objective.K1, Beta: .3},
		"k2":                   objective.KL{Estimator: objective.K2, Beta: .3},
		"k3":                   objective.KL{Estimator: objective.K3, Beta: .3},
		"abs":                  objective.KL{Estimator: objective.KAbs, Beta: .3},
		"k3 clamped":           objective.KL{Estimator: objective.K3, Beta: .3, LogRatioClamp: .5, ValueClamp: .1},
		"k3 importance clamp":  objective.KL{Estimator: objective.K3, Beta: .3, Importance: true, LogRatioClamp: .5, ValueClamp: .1},
		"k3 importance":        objective.KL{Estimator: objective.K3, Beta: .3, Importance: true},
		"k1+":                  objective.KL{Estimator: objective.K1, Beta: .3, StraightThrough: true},
		"k3+":                  objective.KL{Estimator: objective.K3, Beta: .3, StraightThrough: true},
		"k3+ importance":       objective.KL{Estimator: objective.K3, Beta: .3, StraightThrough: true, Importance: true, ImportanceMax: 1.1},
		"forward kl":           objective.ForwardKL{},
		"reverse kl":           objective.ReverseKL{},
		"jsd":                  objective.JSD{Beta: .3},
		"jsd 0":                objective.JSD{},
		"jsd 1":                objective.JSD{Beta: 1},
		"terms":                objective.Terms{ppo, objective.KL{Estimator: objective.K3, Beta: .3}, objective.EntropyBonus{Coef: .1}},
		"scaled":               objective.Scaled{Objective: objective.Terms{ppo, objective.KL{Estimator: objective.K2, Beta: 1}}, Factor: .25},
		"corrected truncate":   objective.Corrected{Objective: ppo, Max: 1.2},
		"corrected drop":       objective.Corrected{Objective: ppo, Outside: objective.OutsideDrop, Min: .8, Max: 1.2, LogRatioClamp: 20},
		"corrected gate":       objective.Corrected{Objective: ppo, Outside: objective.OutsideGate, Min: .8, Max: 1.2},
		"corrected sequence":   objective.Corrected{Objective: ppo, Level: objective.LevelSequence, Max: 3},
		"corrected geometric":  objective.Corrected{Objective: ppo, Level: objective.LevelGeometric, Max: 3},
		"from rollout":         objective.FromRollout{Objective: ppo},
		"gated":                objective.Gated{Objective: ppo, MaxDrift: .05},
		"distilled":            objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: .5},
		"distilled clamped":    objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: .5, GainClamp: .3},
		"corrected gspo token": objective.Corrected{Objective: objective.GSPOToken{ClipLow: .2, ClipHigh: .2}, Outside: objective.OutsideDrop, Min: .8, Max: 1.2},
	}
}

const (
	benchSequences = 1024
	benchTokens    = 1024
)

// benchBatch makes completions of five steps, of which the second is masked.
func benchBatch() []*objective.Sequence {
	rng := rand.New(rand.NewPCG(61, 62))
	batch := make([]*objective.Sequence, benchSequences)
	for i := range batch {
		s := newSequence(make([]float64, benchTokens), make([]float64, benchTokens), make([]float64, benchTokens), make([]float64, benchTokens))
		s.Rollout, s.Keep = make([]float64, benchTokens), make([]bool, benchTokens)
		adv := rng.NormFloat64()
		for t := range benchTokens {
			s.LogP[t] = -2 * rng.Float64()
			s.Old[t], s.Ref[t], s.Rollout[t] = s.LogP[t]+.1*rng.NormFloat64(), s.LogP[t]+.2*rng.NormFloat64(), s.LogP[t]+.1*rng.NormFloat64()
			s.Adv[t], s.Keep[t] = adv, t/205 != 1
		}
		batch[i] = s
	}
	return batch
}

// BenchmarkEval evaluates a batch of 1,024 completions of 1,024 tokens, value
// and gradient, on one goroutine and on as many as there are processors.
func BenchmarkEval(b *testing.B) {
	ppo := objective.PPO{ClipLow: .2, ClipHigh: .28, DualClip: 3}
	kl := objective.KL{Estimator: objective.K3, Beta: .04}
	batch := benchBatch()
	for _, c := range []struct {
		name string
		o    objective.Objective
	}{
		{"ppo", ppo},
		{"ppo+kl", objective.Terms{ppo, kl}},
		{"gspo-token", objective.GSPOToken{ClipLow: .2, ClipHigh: .28, LogRatioMax: 10}},
		{"cispo", objective.CISPO{High: 5}},
		{"sapo", objective.SAPO{TauPos: 1, TauNeg: 1.05}},
		{"dppo", objective.DPPO{Low: .2, High: .2, Quadratic: 1e-3}},
		{"corrected ppo+kl", objective.Terms{objective.Corrected{Objective: ppo, Max: 2}, kl}},
	} {
		for _, workers := range []int{1, runtime.GOMAXPROCS(0)} {
			name := c.name + "/serial"
			if workers > 1 {
				name = c.name + "/parallel"
			}
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					evalParallel(b, c.o, batch, workers)
				}
				b.ReportMetric(float64(benchSequences*benchTokens)*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
			})
		}
	}
}

func evalParallel(b *testing.B, o objective.Objective, batch []*objective.Sequence, workers int) {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			m := objective.Metrics{}
			for i := w; i < len(batch); i += workers {
				if _, err := o.Eval(batch[i], m); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkWeigh turns the masks of such a batch into weights.
func BenchmarkWeigh(b *testing.B) {
	var l objective.Layout
	for i, s := range benchBatch() {
		include := make([]bool, benchTokens)
		for t := range include {
			include[t] = t < benchTokens-i%100
		}
		l.Include, l.Keep, l.Prompt = append(l.Include, include), append(l.Keep, s.Keep), append(l.Prompt, i/8)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := (objective.SeqMeanTokenMean{}).Weigh(l); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(benchSequences*benchTokens)*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}
