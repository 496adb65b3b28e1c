package sam_test

import (
	"math"
	"slices"
	"testing"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// A world is a tiny tabular policy whose completions can all be listed, so
// that the expectation of any credit's gradient is a finite sum.
//
// A trace is a list of decisions; decision d in context x is a softmax over
// the logits of node[d] given x. Every decision is one token.
type world struct {
	logits [][]float64 // per node
	traces []trace
}

type trace struct {
	nodes, actions []int
	completion     rollout.Completion // Rewards, Tokens, Steps
}

func softmax(z []float64) []float64 {
	p, sum := make([]float64, len(z)), 0.0
	for i, x := range z {
		p[i] = math.Exp(x)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

func (w *world) prob(tr trace) float64 {
	p := 1.0
	for d, n := range tr.nodes {
		p *= softmax(w.logits[n])[tr.actions[d]]
	}
	return p
}

// probs is the distribution over traces.
func (w *world) probs() []float64 {
	p := make([]float64, len(w.traces))
	for i, tr := range w.traces {
		p[i] = w.prob(tr)
	}
	return p
}

// expect is E[f].
func (w *world) expect(f func(trace) float64) float64 {
	e := 0.0
	for i, p := range w.probs() {
		e += p * f(w.traces[i])
	}
	return e
}

// fixed evaluates f for every trace now, so that derivative does not
// differentiate what f itself takes from the policy.
func (w *world) fixed(f func(trace) float64) func(trace) float64 {
	values := make([]float64, len(w.traces))
	for i, tr := range w.traces {
		values[i] = f(tr)
	}
	return func(tr trace) float64 {
		for i := range w.traces {
			if slices.Equal(w.traces[i].nodes, tr.nodes) && slices.Equal(w.traces[i].actions, tr.actions) {
				return values[i]
			}
		}
		panic("unknown trace")
	}
}

// derivative is dE[f]/d(logits of node), by central differences.
func (w *world) derivative(node int, f func(trace) float64) []float64 {
	const h = 1e-5
	g := make([]float64, len(w.logits[node]))
	for a := range g {
		z := w.logits[node][a]
		w.logits[node][a] = z + h
		up := w.expect(f)
		w.logits[node][a] = z - h
		down := w.expect(f)
		w.logits[node][a] = z
		g[a] = (up - down) / (2 * h)
	}
	return g
}

// gradient is the exact expectation of (1/n) Σ_i Σ_t Â_{i,t} ∇ log π(t) over all
// groups of n, per node.
func (w *world) gradient(t *testing.T, n int, est advantage.Estimator, kind sam.Credit) [][]float64 {
	t.Helper()
	grad := make([][]float64, len(w.logits))
	soft := make([][]float64, len(w.logits))
	for node := range grad {
		grad[node] = make([]float64, len(w.logits[node]))
		soft[node] = softmax(w.logits[node])
	}
	probs := w.probs()
	pick := make([]int, n)
	batch := []rollout.Group{make(rollout.Group, n)}
	for {
		weight := 1.0
		for i, j := range pick {
			c := &batch[0][i]
			adv, keep := c.Adv, c.Keep
			*c = w.traces[j].completion
			c.Adv, c.Keep = adv, keep
			weight *= probs[j]
		}
		if err := est.Estimate(batch); err != nil {
			t.Fatal(err)
		}
		if _, err := kind.Assign(batch); err != nil {
			t.Fatal(err)
		}
		for i, j := range pick {
			for d, node := range w.traces[j].nodes {
				a := weight * batch[0][i].Adv[d] / float64(n)
				for v, q := range soft[node] {
					grad[node][v] -= a * q
				}
				grad[node][w.traces[j].actions[d]] += a
			}
		}
		if !next(pick, len(w.traces)) {
			return grad
		}
	}
}

// next counts pick up in base m; false after the last.
func next(pick []int, m int) bool {
	for i := range pick {
		if pick[i]++; pick[i] < m {
			return true
		}
		pick[i] = 0
	}
	return false
}

func verdictOf(right bool) rollout.Verdict {
	if right {
		return rollout.VerdictCorrect
	}
	return rollout.VerdictIncorrect
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// chain is a world of two steps, each right if it takes action 1; the second
// step sees the first. The outcome is a table of its own in which, for each
// step, right and wrong answers come from right and wrong steps alike.
func chain() *world {
	w := &world{logits: [][]float64{{.3, -.2}, {.5, .1, -.3}, {-.4, .2, .1}}}
	outcome := [2][3]float64{{0, 0, 1}, {0, 1, 0}}
	for s1, row := range outcome {
		for s2, r := range row {
			w.traces = append(w.traces, trace{
				nodes:   []int{0, 1 + s1},
				actions: []int{s1, s2},
				completion: rollout.Completion{
					Rewards: []float64{r},
					Tokens:  make([]int32, 2),
					Steps: []rollout.Step{
						{Name: "one", Start: 0, End: 1, Verdict: verdictOf(s1 == 1), Reward: number(s1 == 1)},
						{Name: "two", Start: 1, End: 2, Verdict: verdictOf(s2 == 1), Reward: number(s2 == 1)},
					},
				},
			})
		}
	}
	return w
}

// skipping is a world in which the policy may leave the first step out: the
// first token is a wrong (0) or right (1) step one, or already a wrong (2) or
// right (3) step two. The outcome is right if step two is.
func skipping() *world {
	w := &world{logits: [][]float64{{.3, -.2, .4, .1}, {.5, .1}, {-.4, .2}}}
	two := func(start, s2 int) rollout.Step {
		return rollout.Step{Name: "two", Start: start, End: start + 1, Verdict: verdictOf(s2 == 1), Reward: number(s2 == 1)}
	}
	for s1 := range 2 {
		for s2 := range 2 {
			w.traces = append(w.traces, trace{
				nodes:   []int{0, 1 + s1},
				actions: []int{s1, s2},
				completion: rollout.Completion{
					Rewards: []float64{number(s2 == 1)},
					Tokens:  make([]int32, 2),
					Steps: []rollout.Step{
						{Name: "one", Start: 0, End: 1, Verdict: verdictOf(s1 == 1), Reward: number(s1 == 1)},
						two(1, s2),
					},
				},
			})
		}
	}
	for s2 := range 2 {
		w.traces = append(w.traces, trace{
			nodes:   []int{0},
			actions: []int{2 + s2},
			completion: rollout.Completion{
				Rewards: []float64{number(s2 == 1)},
				Tokens:  make([]int32, 1),
				Steps:   []rollout.Step{{Name: "one", Verdict: rollout.VerdictBroken, Reward: math.NaN()}, two(0, s2)},
			},
		})
	}
	return w
}

// right reports whether step k of the trace is right; a missing one is not.
func right(tr trace, k int) bool { return tr.completion.Steps[k].Verdict == rollout.VerdictCorrect }

// prefixRight reports whether steps 0..k are all right.
func prefixRight(tr trace, k int) bool {
	for j := range k + 1 {
		if !right(tr, j) {
			return false
		}
	}
	return true
}

func solved(tr trace) bool { return tr.completion.Rewards[0] == 1 }

// successRate is the probability of a right answer.
func (w *world) successRate() float64 {
	return w.expect(func(tr trace) float64 { return tr.completion.Rewards[0] })
}
