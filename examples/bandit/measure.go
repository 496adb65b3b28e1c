package main

import (
	"math"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
	"github.com/stepwise-rl/stepwise/sam/explain"
)

// measurement is how a credit's gradient compares with the true ones.
type measurement struct{ cosine, bias, noise, answerCosine float64 }

// measure computes the mean and the spread of the credit's gradient over all
// groups that the policy can sample.
func (w *world) measure(group int, credit sam.Credit) (measurement, error) {
	var mean perArm
	squares := 0.0 // E‖ĝ‖², summed over the prompts
	for p := range prompts {
		draws, types := w.draws(p)
		picked := make([]draw, group)
		err := explain.Groups(types, group, advantage.PerGroup(normalizer), credit, func(prob float64, pick []int, g rollout.Group) {
			for i, j := range pick {
				picked[i] = draws[j]
			}
			gradient := w.gradient(p, picked, g)
			squares += prob * dot(&gradient, &gradient)
			add(&mean, prob, &gradient)
		})
		if err != nil {
			return measurement{}, err
		}
	}

	stepTruth := w.truth(func(d draw, k int) float64 { return indicator(d.arm[k] == right) })
	answerTruth := w.truth(func(d draw, _ int) float64 { return indicator(d.right) })
	difference := mean
	add(&difference, -1, &stepTruth)
	return measurement{
		cosine:       cosine(&mean, &stepTruth),
		bias:         norm(&difference) / norm(&stepTruth),
		noise:        math.Sqrt(squares-dot(&mean, &mean)) / norm(&mean),
		answerCosine: cosine(&mean, &answerTruth),
	}, nil
}

func norm(g *perArm) float64 { return math.Sqrt(dot(g, g)) }

func cosine(a, b *perArm) float64 { return dot(a, b) / (norm(a) * norm(b)) }

// training is how to train.
type training struct {
	updates, seeds int
	rate           float64
}

// train trains copies of the policy on sampled groups, one per seed, and returns
// their mean share of right steps and right answers.
func (w *world) train(group int, credit sam.Credit, tr training) (rightSteps, rightAnswers float64, err error) {
	for seed := range tr.seeds {
		c := *w
		rng := rand.New(rand.NewPCG(1, uint64(seed)))
		for range tr.updates {
			if err := c.update(rng, group, credit, tr.rate); err != nil {
				return 0, 0, err
			}
		}
		rightSteps += c.rightSteps() / float64(tr.seeds)
		rightAnswers += c.rightAnswers() / float64(tr.seeds)
	}
	return rightSteps, rightAnswers, nil
}

// update takes one optimiser step on one sampled group per prompt.
func (w *world) update(rng *rand.Rand, group int, credit sam.Credit, rate float64) error {
	for p := range prompts { // each has logits of its own
		draws, g := make([]draw, group), make(rollout.Group, group)
		for i := range draws {
			draws[i] = w.sample(rng, p)
			g[i] = w.completion(draws[i])
		}
		if err := advantage.PerGroup(normalizer).Estimate([]rollout.Group{g}); err != nil {
			return err
		}
		if _, err := credit.Assign([]rollout.Group{g}); err != nil {
			return err
		}
		gradient := w.gradient(p, draws, g)
		add(&w.logits, rate, &gradient)
	}
	return nil
}

// gradient is the policy gradient of one group of a prompt.
func (w *world) gradient(prompt int, draws []draw, group rollout.Group) perArm {
	var g perArm
	for i, d := range draws {
		for k := range steps {
			w.addScore(&g, prompt, k, d.arm[k], group[i].Adv[k]/float64(len(draws)))
		}
	}
	return g
}

// sample draws a completion.
func (w *world) sample(rng *rand.Rand, prompt int) draw {
	var d draw
	hit := 1.0
	for k := range steps {
		u := rng.Float64()
		for a, q := range w.policy(prompt, k) {
			d.arm[k] = a
			if u -= q; u < 0 {
				break
			}
		}
		hit *= w.hit[d.arm[k]]
	}
	d.right = rng.Float64() < hit
	return d
}
