package rl_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
)

// imitation teaches a table over a to e: the letter after the prompt's, sometimes b
// after that, and the end, which is e.
func imitation(p *policytest.TablePolicy) *rl.Imitation {
	demos := []rl.Demonstration{{Prompt: []int32{0}, Tokens: []int32{1}}, {Prompt: []int32{2}, Tokens: []int32{3}}, {Prompt: []int32{2}, Tokens: []int32{3, 1}}}
	return &rl.Imitation{
		Policy: p, Demonstrations: rl.Shuffled(demos, 7), End: []int32{4},
		Batch: 2, Steps: 60, LR: rl.Constant{LR: 1},
	}
}

// The first loss is that of a uniform table, log 5 per token; trained, the policy
// writes the demonstrations and stops.
func TestImitation(t *testing.T) {
	p := policytest.NewTablePolicy(vocab, nil, 4)
	m := imitation(p)
	var losses []float64
	m.Recorder = rl.RecorderFunc(func(step int64, metrics map[string]float64) error {
		require.EqualValues(t, len(losses)+1, step)
		losses = append(losses, metrics["loss"])
		require.Equal(t, 1., metrics["lr"])
		require.Equal(t, 2., metrics["prompt_tokens"])
		require.GreaterOrEqual(t, metrics["tokens"], 4.)
		return nil
	})
	require.NoError(t, m.Run(t.Context()))
	require.Len(t, losses, m.Steps)
	require.InDelta(t, math.Log(vocab), losses[0], 1e-12)

	q := rollout.Request{Prompt: []int32{2}, N: 1, Params: rollout.Params{Temperature: 0.1, MaxTokens: 8}}
	require.NoError(t, p.Generate(t.Context(), []rollout.Request{q}, func(c rollout.Completion) error {
		require.Equal(t, rollout.FinishStop, c.Finish, "it has learnt the end, too")
		require.Equal(t, int32(3), c.Tokens[0])
		return nil
	}))
}

// A step depends on its number alone: a run that goes on from a saved policy ends
// with the same bits, however its steps are accumulated in between.
func TestImitationResumes(t *testing.T) {
	whole := policytest.NewTablePolicy(vocab, nil, 4)
	require.NoError(t, imitation(whole).Run(t.Context()))

	p := policytest.NewTablePolicy(vocab, nil, 4)
	m := imitation(p)
	for i := range 25 {
		_, err := m.Step(t.Context(), i)
		require.NoError(t, err)
	}
	ref, err := p.Save(t.Context(), "25")
	require.NoError(t, err)
	_, err = m.Step(t.Context(), 25)
	require.NoError(t, err)
	require.NoError(t, p.Load(t.Context(), ref))
	m = imitation(p)
	for i := 25; i < m.Steps; i++ {
		_, err := m.Step(t.Context(), i)
		require.NoError(t, err)
	}
	require.Equal(t, logits(whole), logits(p))
}

// The order is a permutation in every pass, and another one in each.
func TestShuffled(t *testing.T) {
	var demos []rl.Demonstration
	for i := range int32(50) {
		demos = append(demos, rl.Demonstration{Prompt: []int32{i}})
	}
	at := rl.Shuffled(demos, 3)
	orders := map[int][]int32{}
	for i := range 100 {
		d, err := at(i)
		require.NoError(t, err)
		orders[i/50] = append(orders[i/50], d.Prompt[0])
	}
	require.ElementsMatch(t, orders[0], orders[1])
	require.NotEqual(t, orders[0], orders[1])
	again, err := at(3)
	require.NoError(t, err)
	require.Equal(t, orders[0][3], again.Prompt[0])
	require.PanicsWithValue(t, "rl: Shuffled of no demonstrations", func() { rl.Shuffled(nil, 1) })
}

func TestImitationErrors(t *testing.T) {
	p := policytest.NewTablePolicy(vocab, nil, 4)
	for want, spoil := range map[string]func(*rl.Imitation){
		"rl: Imitation.Policy is missing":                                                  func(m *rl.Imitation) { m.Policy = nil },
		"rl: Imitation.Demonstrations is missing":                                          func(m *rl.Imitation) { m.Demonstrations = nil },
		"rl: Imitation.LR is missing":                                                      func(m *rl.Imitation) { m.LR = nil },
		"rl: Imitation has batches of 0 and 60 steps, need at least 1 of each":             func(m *rl.Imitation) { m.Batch = 0 },
		"rl: Imitation has batches of 2 and 0 steps, need at least 1 of each":              func(m *rl.Imitation) { m.Steps = 0 },
		"rl: Imitation.Accumulate is 3, want 0 (for 1) to the 2 demonstrations of a batch": func(m *rl.Imitation) { m.Accumulate = 3 },
		"rl: Imitation.MaxNorm is -1, want 0 (no clipping) or a positive number":           func(m *rl.Imitation) { m.MaxNorm = -1 },
		"rl: Imitation.LR: rl: Constant.LR is -1, want a finite number of at least 0":      func(m *rl.Imitation) { m.LR = rl.Constant{LR: -1} },
		"rl: demonstration 0: 1 prompt tokens and 0 completion tokens, need some of both":  func(m *rl.Imitation) { m.Demonstrations = rl.Shuffled([]rl.Demonstration{{Prompt: []int32{1}}}, 1) },
		"rl: demonstration 0: no such row": func(m *rl.Imitation) {
			m.Demonstrations = func(int) (rl.Demonstration, error) { return rl.Demonstration{}, errors.New("no such row") }
		},
		"rl: recording training step 1: full": func(m *rl.Imitation) {
			m.Recorder = rl.RecorderFunc(func(int64, map[string]float64) error { return errors.New("full") })
		},
	} {
		m := imitation(p)
		spoil(m)
		require.EqualError(t, m.Run(t.Context()), want)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, imitation(p).Run(done), context.Canceled)
	require.PanicsWithValue(t, "rl: training step 60 of 60", func() { _, _ = imitation(p).Step(t.Context(), 60) })
}

// Before reinforcement learning, a policy learns the form of the answers from a few
// that are given.
func ExampleImitation() {
	const end = 4 // the policy's letters are a to e, and e ends a text
	policy := policytest.NewTablePolicy(vocab, nil, end)
	warmup := rl.Imitation{
		Policy: policy,
		Demonstrations: rl.Shuffled([]rl.Demonstration{
			{Prompt: []int32{0}, Tokens: []int32{1}},    // after a: b
			{Prompt: []int32{2}, Tokens: []int32{3, 1}}, // after c: db
		}, 1),
		End:   []int32{end},
		Batch: 2, Steps: 50,
		LR: rl.WarmupCosine{LR: 2, Warmup: 5, Total: 50},
	}
	warmup.Recorder = rl.RecorderFunc(func(step int64, m map[string]float64) error {
		if step == 1 || step == 50 {
			fmt.Printf("step %d: loss %.2f per token\n", step, m["loss"])
		}
		return nil
	})
	if err := warmup.Run(context.Background()); err != nil {
		panic(err)
	}
	// Output:
	// step 1: loss 1.61 per token
	// step 50: loss 0.08 per token
}
