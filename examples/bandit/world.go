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

// table has a number for each arm of each step of each prompt.
type table [prompts][steps][arms]float64

type world struct {
	// hit is what an arm contributes to the probability of a right answer.
	hit [arms]float64
	// fooled is set if the step rule takes shortcuts for right.
	fooled bool
	// logits are the policy.
	logits table
}

func newWorld(luck float64, fooled bool) *world {
	w := &world{hit: [arms]float64{right: .95, shortcut: luck, wrong: .1}, fooled: fooled}
	for p, q := range [prompts]float64{.2, .5, .8} {
		for k := range steps {
			w.logits[p][k] = [arms]float64{math.Log(q), math.Log((1 - q) / 2), math.Log((1 - q) / 2)}
		}
	}
	return w
}

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

// trace is the arms of a completion and its answer.
type trace struct {
	arm   [steps]int
	right bool
}

// completion is what the trainer would see of a trace: one token per step.
func (w *world) completion(t trace) rollout.Completion {
	c := rollout.Completion{Rewards: []float64{0}, Tokens: make([]int32, steps), Final: -1}
	if t.right {
		c.Rewards[0] = 1
	}
	for k, a := range t.arm {
		s := rollout.Step{Name: string(rune('a' + k)), Start: k, End: k + 1, Verdict: rollout.VerdictIncorrect}
		if a == right || w.fooled && a == shortcut {
			s.Verdict, s.Reward = rollout.VerdictCorrect, 1
		}
		c.Steps = append(c.Steps, s)
	}
	return c
}

// traces lists every trace of a prompt with its probability.
func (w *world) traces(prompt int) ([]trace, []explain.Type) {
	var (
		traces []trace
		types  []explain.Type
	)
	for a := range arms {
		for b := range arms {
			p := w.policy(prompt, 0)[a] * w.policy(prompt, 1)[b]
			hit := w.hit[a] * w.hit[b]
			for _, t := range []trace{{[steps]int{a, b}, true}, {[steps]int{a, b}, false}} {
				q := p * hit
				if !t.right {
					q = p * (1 - hit)
				}
				traces = append(traces, t)
				types = append(types, explain.Type{Completion: w.completion(t), Prob: q})
			}
		}
	}
	return traces, types
}

// expect is the mean of f over the prompts and their traces.
func (w *world) expect(f func(trace) float64) float64 {
	sum := 0.0
	for p := range prompts {
		traces, types := w.traces(p)
		for j, t := range traces {
			sum += types[j].Prob * f(t) / prompts
		}
	}
	return sum
}

func (w *world) rightAnswers() float64 {
	return w.expect(func(t trace) float64 { return indicator(t.right) })
}

func (w *world) rightSteps() float64 {
	return w.expect(func(t trace) float64 { return rightShare(t) })
}

// wrongInRight is the share of wrong steps among those of right answers.
func (w *world) wrongInRight() float64 {
	return w.expect(func(t trace) float64 { return indicator(t.right) * (1 - rightShare(t)) }) / w.rightAnswers()
}

func rightShare(t trace) float64 {
	n := 0.0
	for _, a := range t.arm {
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

// truth is the gradient of the sum over prompts of E[value of a step given its
// trace].
func (w *world) truth(value func(t trace, step int) float64) table {
	var g table
	for p := range prompts {
		traces, types := w.traces(p)
		for j, t := range traces {
			for k := range steps {
				w.addScore(&g, p, k, t.arm[k], types[j].Prob*value(t, k))
			}
		}
	}
	return g
}

// addScore adds weight·∇ log π(arm) of a step to g.
func (w *world) addScore(g *table, prompt, step, arm int, weight float64) {
	for a, q := range w.policy(prompt, step) {
		g[prompt][step][a] -= weight * q
	}
	g[prompt][step][arm] += weight
}

// add adds weight·b to a.
func add(a *table, weight float64, b *table) {
	for p := range prompts {
		for k := range steps {
			for i := range arms {
				a[p][k][i] += weight * b[p][k][i]
			}
		}
	}
}

func dot(a, b *table) float64 {
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
