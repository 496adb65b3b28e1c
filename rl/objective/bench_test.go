package objective_test

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

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
		live := make([]bool, benchTokens)
		for t := range live {
			live[t] = t < benchTokens-i%100
		}
		l.Live, l.Keep, l.Prompt = append(l.Live, live), append(l.Keep, s.Keep), append(l.Prompt, i/8)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := (objective.SeqMeanTokenMean{}).Weigh(l); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(benchSequences*benchTokens)*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// Objectives allocate nothing; wrappers that change a slice allocate it once
// per sequence, never per token.
func TestAllocations(t *testing.T) {
	slices := map[string]float64{"distilled": 1, "scaled": 2, "corrected truncate": 1, "corrected drop": 1, "corrected gate": 1,
		"corrected sequence": 1, "corrected geometric": 1, "corrected gspo token": 1}
	for name, o := range all() {
		s := randomSequence(rand.New(rand.NewPCG(63, 64)), 500)
		m := objective.Metrics{}
		got := testing.AllocsPerRun(10, func() {
			_, err := o.Eval(s, m)
			require.NoError(t, err)
		})
		assert.LessOrEqual(t, got, 2+2*slices[name], name)
	}
}
