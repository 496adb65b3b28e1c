package bench

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

const (
	completions = 1024
	tokens      = 1024
	group       = 8
	steps       = 5
)

// step is one optimiser step: judged groups and the log-probs of their tokens.
type step struct {
	groups    []rollout.Group
	sequences []objective.Sequence
	include   [][]bool
	loss      []float64           // of each sequence
	metrics   []objective.Metrics // of each group
}

func newStep() *step {
	rng := rand.New(rand.NewPCG(1, 2))
	s := &step{loss: make([]float64, completions)}
	for range completions / group {
		g := make(rollout.Group, group)
		for i := range g {
			g[i] = newCompletion(rng)
		}
		s.groups, s.metrics = append(s.groups, g), append(s.metrics, objective.Metrics{})
	}
	for i := range completions {
		c := &s.groups[i/group][i%group]
		advantage.Broadcast(c, 0) // allocates
		q := objective.Sequence{Adv: c.Adv, Keep: c.Keep}
		for _, x := range []*[]float64{&q.LogP, &q.Old, &q.Ref, &q.Grad} {
			*x = make([]float64, tokens)
		}
		include := make([]bool, tokens)
		for t := range tokens {
			include[t] = true
			q.LogP[t] = -2 * rng.Float64()
			q.Old[t], q.Ref[t] = q.LogP[t]+.1*rng.NormFloat64(), q.LogP[t]+.2*rng.NormFloat64()
		}
		s.sequences = append(s.sequences, q)
		s.include = append(s.include, include)
	}
	return s
}

// newCompletion has five steps, of which 70% are right, and a right or wrong
// answer.
func newCompletion(rng *rand.Rand) rollout.Completion {
	c := rollout.Completion{Tokens: make([]int32, tokens), Rewards: []float64{float64(rng.IntN(2))}}
	for k := range steps {
		v := rollout.VerdictCorrect
		if rng.Float64() < .3 {
			v = rollout.VerdictIncorrect
		}
		c.Steps = append(c.Steps, rollout.Step{Name: fmt.Sprint(k), Start: k * 200, End: (k + 1) * 200, Verdict: v, Final: k == steps-1})
	}
	return c
}

// run takes a step from rewards and log-probs to the gradient, and returns the
// loss. The aggregation is one that counts masked tokens, so that the weights
// are known beforehand and all the rest is one pass over the groups.
func (s *step) run(b *testing.B, est advantage.Estimator, credit sam.Credit, agg objective.Aggregation, o objective.Objective) float64 {
	weight, kl, err := agg.Weigh(objective.Layout{Include: s.include})
	if err != nil {
		b.Fatal(err)
	}
	parallel(len(s.groups), func(g int) {
		one := s.groups[g : g+1]
		if err := est.Estimate(one); err != nil {
			b.Error(err)
		}
		if _, err := credit.Assign(one); err != nil {
			b.Error(err)
		}
		clear(s.metrics[g])
		for i := g * group; i < (g+1)*group; i++ {
			q := &s.sequences[i]
			q.Weight, q.KLWeight = weight[i], kl[i]
			clear(q.Grad)
			var err error
			if s.loss[i], err = o.Eval(q, s.metrics[g]); err != nil {
				b.Error(err)
			}
		}
	})
	loss := 0.0
	for _, l := range s.loss {
		loss += l
	}
	return loss
}

// parallel calls f for 0 to n-1 on all processors.
func parallel(n int, f func(i int)) {
	workers := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w * n / workers; i < (w+1)*n/workers; i++ {
				f(i)
			}
		})
	}
	wg.Wait()
}

// BenchmarkObjective goes from judged completions to the gradient of a loss:
// group-relative advantages, Stepwise Advantage Masking, aggregation, objective.
// Under outcome credit no token is masked, so that the objective has all the
// work that it has in trainers without step credit.
func BenchmarkObjective(b *testing.B) {
	ppo := objective.PPO{ClipLow: .2, ClipHigh: .2}
	kl := objective.Terms{ppo, objective.KL{Estimator: objective.K3, Beta: .04}}
	s := newStep()
	for _, c := range []struct {
		name   string
		credit sam.Credit
		o      objective.Objective
	}{
		{"ppo", sam.Mask{}, ppo},
		{"ppo+kl", sam.Mask{}, kl},
		{"outcome/ppo", sam.Outcome{}, ppo},
		{"outcome/ppo+kl", sam.Outcome{}, kl},
	} {
		b.Run(c.name, func(b *testing.B) {
			est := advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4})
			b.ReportAllocs()
			for b.Loop() {
				s.run(b, est, c.credit, objective.TokenMean{}, c.o)
			}
			b.ReportMetric(completions*tokens*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mtokens/s")
		})
	}
}
