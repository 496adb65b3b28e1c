package main

import (
	"math"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
	"github.com/stepwise-rl/stepwise/sam/explain"
)

// measurement is how a rule's gradient compares with the true ones.
type measurement struct{ cosine, bias, noise, answerCosine float64 }

// measure computes the mean and the spread of the rule's gradient, over all
// groups that the policy can sample.
func (w *world) measure(group int, rule sam.Credit) (measurement, error) {
	var mean table
	squares := 0.0 // E‖ĝ‖², summed over the prompts
	for p := range prompts {
		traces, types := w.traces(p)
		err := explain.Groups(types, group, advantage.PerGroup(normalizer), rule, func(prob float64, pick []int, g rollout.Group) {
			var sample table
			for i, j := range pick {
				for k := range steps {
					w.addScore(&sample, p, k, traces[j].arm[k], g[i].Adv[k]/float64(group))
				}
			}
			squares += prob * dot(&sample, &sample)
			add(&mean, prob, &sample)
		})
		if err != nil {
			return measurement{}, err
		}
	}

	stepTruth := w.truth(func(t trace, k int) float64 { return indicator(t.arm[k] == right) })
	answerTruth := w.truth(func(t trace, _ int) float64 { return indicator(t.right) })
	difference := mean
	add(&difference, -1, &stepTruth)
	return measurement{
		cosine:       cosine(&mean, &stepTruth),
		bias:         norm(&difference) / norm(&stepTruth),
		noise:        math.Sqrt(squares-dot(&mean, &mean)) / norm(&mean),
		answerCosine: cosine(&mean, &answerTruth),
	}, nil
}

func norm(g *table) float64 { return math.Sqrt(dot(g, g)) }

func cosine(a, b *table) float64 { return dot(a, b) / (norm(a) * norm(b)) }

// training is how to train.
type training struct {
	updates, seeds int
	rate           float64
}

// train trains copies of the policy on sampled groups and returns their mean
// share of right steps and right answers.
func (w *world) train(group int, rule sam.Credit, tr training) (rightSteps, rightAnswers float64, err error) {
	for seed := range tr.seeds {
		c := *w
		rng := rand.New(rand.NewPCG(1, uint64(seed)))
		for range tr.updates {
			if err := c.update(rng, group, rule, tr.rate); err != nil {
				return 0, 0, err
			}
		}
		rightSteps += c.rightSteps() / float64(tr.seeds)
		rightAnswers += c.rightAnswers() / float64(tr.seeds)
	}
	return rightSteps, rightAnswers, nil
}

// update takes one step on one sampled group per prompt.
func (w *world) update(rng *rand.Rand, group int, rule sam.Credit, rate float64) error {
	batch := make([]rollout.Group, prompts)
	sampled := make([][]trace, prompts)
	for p := range batch {
		for range group {
			t := w.sample(rng, p)
			sampled[p] = append(sampled[p], t)
			batch[p] = append(batch[p], w.completion(t))
		}
	}
	if err := advantage.PerGroup(normalizer).Estimate(batch); err != nil {
		return err
	}
	if _, err := rule.Assign(batch); err != nil {
		return err
	}
	var g table
	for p := range batch {
		for i := range batch[p] {
			for k := range steps {
				w.addScore(&g, p, k, sampled[p][i].arm[k], batch[p][i].Adv[k]/float64(group))
			}
		}
	}
	add(&w.logits, rate, &g)
	return nil
}

// sample draws a trace.
func (w *world) sample(rng *rand.Rand, prompt int) trace {
	var t trace
	hit := 1.0
	for k := range steps {
		u := rng.Float64()
		for a, q := range w.policy(prompt, k) {
			t.arm[k] = a
			if u -= q; u < 0 {
				break
			}
		}
		hit *= w.hit[t.arm[k]]
	}
	t.right = rng.Float64() < hit
	return t
}
