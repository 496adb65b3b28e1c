package objective_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// The batch whose numbers are worked out by hand: two sequences of three and
// four tokens in four columns. The last column of the first is dead: whatever
// stands there must not matter.
func handBatch() []*objective.Sequence {
	dead := math.NaN()
	return []*objective.Sequence{
		newSequence([]float64{-.5, -1, -2, dead}, []float64{-.7, -1, -1.2, dead}, []float64{-.6, -.8, -1.9, dead}, []float64{1, 1, 1, dead}),
		newSequence([]float64{-.2, -.3, -1.5, -.7}, []float64{-.2, -.9, -1.5, -.5}, []float64{-.4, -.3, -1, -.9}, []float64{-.5, -.5, -.5, -.5}),
	}
}

// newSequence makes a sequence; positions with a NaN log-prob are dead.
func newSequence(logp, old, ref, adv []float64) *objective.Sequence {
	n := len(logp)
	return &objective.Sequence{LogP: logp, Old: old, Ref: ref, Adv: adv, Grad: make([]float64, n),
		Weight: make([]float64, n), KLWeight: make([]float64, n)}
}

// weigh applies an aggregation to whole sequences.
func weigh(t *testing.T, agg objective.Aggregation, seqs []*objective.Sequence) {
	t.Helper()
	var l objective.Layout
	var loss, kl [][]float64
	for _, s := range seqs {
		live := make([]bool, len(s.LogP))
		for i, x := range s.LogP {
			live[i] = !math.IsNaN(x)
		}
		l.Live, l.Keep, l.Prompt = append(l.Live, live), append(l.Keep, s.Keep), append(l.Prompt, len(l.Prompt))
		loss, kl = append(loss, s.Weight), append(kl, s.KLWeight)
	}
	require.NoError(t, agg.Weigh(l, loss, kl))
}

// tokenLosses evaluates o with weight 1 on one token at a time and 0 on the
// others' losses only where that is allowed (no shared ratio).
func tokenLosses(t *testing.T, o objective.Objective, s *objective.Sequence) []float64 {
	t.Helper()
	out := make([]float64, len(s.LogP))
	for i := range s.LogP {
		if math.IsNaN(s.LogP[i]) {
			continue
		}
		u := *s
		u.Weight, u.KLWeight = make([]float64, len(s.LogP)), make([]float64, len(s.LogP))
		u.Weight[i], u.KLWeight[i] = 1, 1
		l, err := o.Eval(&u, objective.Metrics{})
		require.NoError(t, err)
		out[i] = l
	}
	return out
}

func evalAll(t *testing.T, o objective.Objective, seqs []*objective.Sequence) (loss float64, m objective.Metrics) {
	t.Helper()
	m = objective.Metrics{}
	for _, s := range seqs {
		l, err := o.Eval(s, m)
		require.NoError(t, err)
		loss += l
	}
	return loss, m
}

func TestTokenLossesByHand(t *testing.T) {
	for _, c := range []struct {
		name string
		o    objective.Objective
		want [2][]float64
	}{
		{"ppo", objective.PPO{ClipLow: .2, ClipHigh: .28}, [2][]float64{
			{-1.221402758, -1, -0.4493289641, 0}, {0.5, 0.9110594002, 0.5, 0.4093653765}}},
		{"k3", objective.KL{Kind: objective.K3, Beta: 1}, [2][]float64{
			{.004837418036, .02140275816, .005170918076, 0}, {.01873075308, 0, .1487212707, .01873075308}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, s := range handBatch() {
				assert.InDeltaSlice(t, c.want[i], tokenLosses(t, c.o, s), 1e-9, "sequence %d", i)
			}
		})
	}
}

func TestAggregatesByHand(t *testing.T) {
	for _, c := range []struct {
		name string
		agg  objective.Aggregation
		want float64
	}{
		{"token mean", objective.TokenMean{}, -0.05004384936},
		{"sequence mean of token mean", objective.SeqMeanTokenMean{}, -0.15506885662},
		{"sequence mean of token sum", objective.SeqMeanTokenSum{}, -0.17515347277},
		{"verl's norm", objective.Constant{Tokens: 4}, -0.08757673639},
		{"Dr. GRPO", objective.Constant{Tokens: 4, PerSequence: true}, -0.04378836819},
	} {
		t.Run(c.name, func(t *testing.T) {
			seqs := handBatch()
			weigh(t, c.agg, seqs)
			loss, _ := evalAll(t, objective.PPO{ClipLow: .2, ClipHigh: .28}, seqs)
			assert.InDelta(t, c.want, loss, 1e-10)
		})
	}
}
