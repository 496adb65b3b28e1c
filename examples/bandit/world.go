package main

import (
	"math"

	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam/explain"
)

// The arms of a step.
const (
	right = iota
	shortcut
	wrong
	arms
)

const (
	steps   = 2
	prompts = 3
)

// perArm has a number for each arm of each step of each prompt.
type perArm [prompts][steps][arms]float64

// world is the task and the policy, with a softmax for each step of each prompt.
type world struct {
	// hit holds each arm's factor of the probability of a right answer.
	hit [arms]float64
	// fooled says that the step rule takes shortcuts for right.
	fooled bool
	// logits are the policy's.
	logits perArm
}

// newWorld returns a world whose policy takes a step's right arm with
// probability .2, .5 and .8, by prompt.
func newWorld(luck float64, fooled bool) *world {
	w := &world{hit: [arms]float64{right: .95, shortcut: luck, wrong: .1}, fooled: fooled}
	for p, q := range [prompts]float64{.2, .5, .8} {
		for k := range steps {
			w.logits[p][k] = [arms]float64{math.Log(q), math.Log((1 - q) / 2), math.Log((1 - q) / 2)}
		}
	}
	return w
}

// policy returns the probabilities of a step's arms.
func (w *world) policy(prompt, step int) [arms]float64 {
	z, sum := w.logits[prompt][step], 0.0
	for a := range z {
		z[a] = math.Exp(z[a])
		sum += z[a]
	}
	for a := range z {
		z[a] /= sum
	}
	return z
}

// draw is a sampled completion: the arm of each step, and whether the answer is
// right.
type draw struct {
	arm   [steps]int
	right bool
}

// completion is what a trainer sees of a draw: one token per step.
func (w *world) completion(d draw) rollout.Completion {
	c := rollout.Completion{Rewards: []float64{indicator(d.right)}, Tokens: make([]int32, steps)}
	for k, a := range d.arm {
		s := rollout.Step{Name: string(rune('a' + k)), Start: k, End: k + 1, Verdict: rollout.VerdictIncorrect}
		if a == right || w.fooled && a == shortcut {
			s.Verdict, s.Reward = rollout.VerdictCorrect, 1
		}
		c.Steps = append(c.Steps, s)
	}
	return c
}

// draws lists every draw of a prompt with its probability.
func (w *world) draws(prompt int) (draws []draw, types []explain.Type) {
	for a := range arms {
		for b := range arms {
			hit, prob := w.hit[a]*w.hit[b], w.policy(prompt, 0)[a]*w.policy(prompt, 1)[b]
			yes, no := draw{[steps]int{a, b}, true}, draw{[steps]int{a, b}, false}
			draws = append(draws, yes, no)
			types = append(types, explain.Type{Completion: w.completion(yes), Prob: prob * hit},
				explain.Type{Completion: w.completion(no), Prob: prob * (1 - hit)})
		}
	}
	return draws, types
}

// expect is the mean of f over the prompts and their draws.
func (w *world) expect(f func(draw) float64) float64 {
	sum := 0.0
	for p := range prompts {
		draws, types := w.draws(p)
		for j, d := range draws {
			sum += types[j].Prob * f(d) / prompts
		}
	}
	return sum
}

func (w *world) rightAnswers() float64 {
	return w.expect(func(d draw) float64 { return indicator(d.right) })
}

func (w *world) rightSteps() float64 {
	return w.expect(rightShare)
}

// wrongInRight is the share of wrong steps among those of right answers.
func (w *world) wrongInRight() float64 {
	return w.expect(func(d draw) float64 { return indicator(d.right) * (1 - rightShare(d)) }) / w.rightAnswers()
}

// rightShare is the share of right steps in a draw.
func rightShare(d draw) float64 {
	n := 0.0
	for _, a := range d.arm {
		n += indicator(a == right)
	}
	return n / steps
}

func indicator(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// truth is the exact policy gradient, summed over the prompts, if every step of
// a draw is credited with its value.
func (w *world) truth(value func(d draw, step int) float64) perArm {
	var g perArm
	for p := range prompts {
		draws, types := w.draws(p)
		for j, d := range draws {
			for k := range steps {
				w.addScore(&g, p, k, d.arm[k], types[j].Prob*value(d, k))
			}
		}
	}
	return g
}

// addScore adds weight·∇ log π(arm) of a step to g.
func (w *world) addScore(g *perArm, prompt, step, arm int, weight float64) {
	for a, q := range w.policy(prompt, step) {
		g[prompt][step][a] -= weight * q
	}
	g[prompt][step][arm] += weight
}

// add adds weight·b to a.
func add(a *perArm, weight float64, b *perArm) {
	for p := range prompts {
		for k := range steps {
			for i := range arms {
				a[p][k][i] += weight * b[p][k][i]
			}
		}
	}
}

func dot(a, b *perArm) float64 {
	sum := 0.0
	for p := range prompts {
		for k := range steps {
			for i := range arms {
				sum += a[p][k][i] * b[p][k][i]
			}
		}
	}
	return sum
}
