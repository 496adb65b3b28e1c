package sam_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/sam"
)

// factors are a₊ and a₋: the mean advantage of a right and, negated, of a
// wrong answer, given the success rate p and the group size n.
type factors func(p float64, n int) (plus, minus float64)

// binomial is the mean of f over the number of right answers among m others.
func binomial(p float64, m int, f func(others int) float64) float64 {
	e, choose := 0.0, 1.0
	for j := range m + 1 {
		e += choose * math.Pow(p, float64(j)) * math.Pow(1-p, float64(m-j)) * f(j)
		choose = choose * float64(m-j) / float64(j+1)
	}
	return e
}

var estimators = []struct {
	name string
	norm advantage.Normalizer
	a    factors
}{
	{"rloo", advantage.RLOO{}, func(p float64, _ int) (float64, float64) { return 1 - p, p }},
	{"dr-grpo", advantage.DrGRPO{}, func(p float64, n int) (float64, float64) {
		f := 1 - 1/float64(n)
		return f * (1 - p), f * p
	}},
	{"grpo", advantage.GRPO{Epsilon: 1e-4}, grpoFactors(1e-4, func(k, n float64) float64 { return k * (n - k) / n / (n - 1) })},
	{"grpo population", advantage.GRPO{Std: advantage.StdPopulation}, grpoFactors(0, func(k, n float64) float64 { return k * (n - k) / n / n })},
}

// grpoFactors needs the variance of n numbers of which k are 1 and the others 0.
func grpoFactors(eps float64, variance func(k, n float64) float64) factors {
	return func(p float64, n int) (float64, float64) {
		z := func(r float64, k int) float64 {
			if k == 0 || k == n {
				return 0
			}
			return (r - float64(k)/float64(n)) / (math.Sqrt(variance(float64(k), float64(n))) + eps)
		}
		return binomial(p, n-1, func(others int) float64 { return z(1, others+1) }),
			-binomial(p, n-1, func(others int) float64 { return z(0, others) })
	}
}

// maskValue is the value that Mask gives an outcome r and a verdict c.
func maskValue(plus, minus, leakPlus, leakMinus float64) func(r, c bool) float64 {
	return func(r, c bool) float64 {
		switch {
		case r && c:
			return plus + minus
		case r:
			return minus + leakPlus*plus
		case c:
			return minus * (1 - leakMinus)
		}
		return 0
	}
}

// The gradient of Mask and Prefix through each step equals that of the values
// which the documentation states, for every estimator, group size and leak.
func TestMaskClosedForm(t *testing.T) {
	w := chain()
	p := w.successRate()
	for _, est := range estimators {
		for _, n := range []int{2, 4} {
			for _, leak := range [][2]float64{{0, 0}, {.3, .2}, {-.5, .1}, {1, 1}} {
				t.Run(fmt.Sprint(est.name, n, leak), func(t *testing.T) {
					plus, minus := est.a(p, n)
					value := maskValue(plus, minus, leak[0], leak[1])
					mask := sam.Mask{LeakPositive: leak[0], LeakNegative: leak[1]}
					e := advantage.PerGroup(est.norm)
					compare(t, w, w.gradient(t, n, e, mask), func(tr trace, k int) float64 {
						return value(solved(tr), right(tr, k))
					})
					compare(t, w, w.gradient(t, n, e, sam.Prefix{Mask: mask}), func(tr trace, k int) float64 {
						return value(solved(tr), prefixRight(tr, k))
					})
				})
			}
		}
	}
}

// With a leave-one-out baseline the value is the AND and the OR themselves.
func TestMaskIsAndOnHardOrOnEasy(t *testing.T) {
	w := chain()
	p := w.successRate()
	got := w.gradient(t, 4, advantage.PerGroup(advantage.RLOO{}), sam.Mask{})
	compare(t, w, got, func(tr trace, k int) float64 {
		return (1-p)*number(solved(tr) && right(tr, k)) + p*number(solved(tr) || right(tr, k))
	})
}

// compare checks a gradient, node by node, against that of E[value of the step
// that the node writes]; nodes 1 and up write the second step.
func compare(t *testing.T, w *world, got [][]float64, value func(tr trace, k int) float64) {
	t.Helper()
	for node := range got {
		want := w.derivative(node, func(tr trace) float64 { return value(tr, min(node, 1)) })
		require.InDeltaSlice(t, want, got[node], 1e-9, "node %d", node)
	}
}

func TestPositiveOnlyClosedForm(t *testing.T) {
	w := chain()
	p := w.successRate()
	got := w.gradient(t, 4, advantage.PerGroup(advantage.RLOO{}), sam.Mask{Sign: sam.SignPositive})
	compare(t, w, got, func(tr trace, k int) float64 { return maskValue(1-p, p, 0, 1)(solved(tr), right(tr, k)) })
}

func TestOtherCreditsClosedForm(t *testing.T) {
	w := chain()
	reward := func(tr trace, k int) float64 { return tr.completion.Steps[k].Reward }
	outcome := func(tr trace, _ int) float64 { return tr.completion.Rewards[0] }
	for _, n := range []int{2, 4} {
		loo := 1 - 1/float64(n)
		pooled := func(steps float64) float64 { return 1 - steps/(2*float64(n)) }
		tests := []struct {
			name   string
			credit sam.Credit
			value  func(tr trace, k int) float64
		}{
			{"outcome", sam.Outcome{}, outcome},
			{"step-loo", sam.StepGroup{Norm: advantage.RLOO{}}, reward},
			{"step-group", sam.StepGroup{Norm: advantage.DrGRPO{}}, func(tr trace, k int) float64 { return loo * reward(tr, k) }},
			// A centred pool holds each completion's own two rewards.
			{"return-to-go", sam.ReturnToGo{Norm: advantage.DrGRPO{}}, func(tr trace, k int) float64 {
				if k == 0 {
					return pooled(2) * (reward(tr, 0) + reward(tr, 1))
				}
				return pooled(1) * reward(tr, 1)
			}},
			{"blend", sam.Blend{A: sam.Outcome{}, B: sam.StepGroup{Norm: advantage.RLOO{}}, Lambda: .3}, func(tr trace, k int) float64 {
				return .3*outcome(tr, k) + .7*reward(tr, k)
			}},
			{"outcome + verdict", sam.OutcomePlusVerdict{Norm: advantage.RLOO{}}, func(tr trace, _ int) float64 {
				return outcome(tr, 0) + (reward(tr, 0)+reward(tr, 1))/2
			}},
		}
		for _, test := range tests {
			t.Run(fmt.Sprint(test.name, n), func(t *testing.T) {
				got := w.gradient(t, n, advantage.PerGroup(advantage.RLOO{}), test.credit)
				compare(t, w, got, test.value)
			})
		}
	}
}

// Fill adds, where the outcome of a group is constant, the gradient of the step
// rewards: with two completions, that of c_1 − c_2 where r_1 = r_2.
func TestFillClosedForm(t *testing.T) {
	w := chain()
	est := advantage.PerGroup(advantage.RLOO{})
	plain := w.gradient(t, 2, est, sam.Mask{})
	fill := w.gradient(t, 2, est, sam.Mask{Fill: advantage.RLOO{}})
	for node := range plain {
		k := min(node, 1)
		value := w.fixed(func(tr trace) float64 {
			return w.expect(func(other trace) float64 {
				if solved(tr) != solved(other) {
					return 0
				}
				return tr.completion.Steps[k].Reward - other.completion.Steps[k].Reward
			})
		})
		for a, want := range w.derivative(node, value) {
			require.InDelta(t, want, fill[node][a]-plain[node][a], 1e-9, "node %d", node)
		}
	}
}

// Where steps can be skipped, a missing step's blame reaches the token that
// skipped it, and the gradient is still that of the stated values.
func TestSkippingClosedForm(t *testing.T) {
	w := skipping()
	p := w.successRate()
	est := advantage.PerGroup(advantage.RLOO{})

	// Through the first token Mask takes step one for right only if it is
	// there. (A step two in its place has the same token: incorrect wins.)
	value := maskValue(1-p, p, 0, 0)
	compare(t, w, w.gradient(t, 2, est, sam.Mask{}), func(tr trace, k int) float64 {
		return value(solved(tr), right(tr, k))
	})
	// The first token of a trace without step one writes step two as well, with
	// a baseline of its own.
	two := w.expect(func(tr trace) float64 { return number(right(tr, 1)) })
	compare(t, w, w.gradient(t, 2, est, sam.StepGroup{Norm: advantage.RLOO{}}), func(tr trace, k int) float64 {
		switch {
		case k == 1:
			return number(right(tr, 1))
		case len(tr.nodes) == 1:
			return number(right(tr, 0)) + number(right(tr, 1)) - two
		}
		return number(right(tr, 0))
	})
}

// Training in the world with a skippable step: the default makes the policy
// write the step; the option that keeps broken steps is the loophole that its
// documentation warns of.
func TestSkippingIsNoLoophole(t *testing.T) {
	skips := func(kind sam.Credit) float64 {
		w := skipping()
		for range 150 {
			g := w.gradient(t, 2, advantage.PerGroup(advantage.RLOO{}), kind)
			for node := range g {
				for a := range g[node] {
					w.logits[node][a] += 2 * g[node][a]
				}
			}
		}
		return w.expect(func(tr trace) float64 { return number(len(tr.nodes) == 1) })
	}
	before := skipping().expect(func(tr trace) float64 { return number(len(tr.nodes) == 1) })
	for _, kind := range []sam.Credit{
		sam.Mask{}, sam.Prefix{}, sam.StepGroup{Norm: advantage.RLOO{}}, sam.StepGroup{Norm: advantage.GRPO{}},
		sam.ReturnToGo{Norm: advantage.GRPO{}}, sam.OutcomePlusVerdict{Norm: advantage.RLOO{}},
	} {
		after := skips(kind)
		t.Logf("%T: P(skip) %.3f → %.3f", kind, before, after)
		require.Less(t, after, before/4, "%T", kind)
	}
	after := skips(sam.Mask{Broken: sam.BrokenKeep})
	t.Logf("kept: P(skip) %.3f → %.3f", before, after)
	require.Greater(t, after, before)
}
