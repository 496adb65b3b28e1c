package rl_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/rl"
)

func TestSchedules(t *testing.T) {
	for _, c := range []struct {
		name     string
		schedule optim.Schedule
		want     []float64 // steps 0, 1, …
	}{
		{"constant", optim.Constant(0.5), []float64{0.5, 0.5, 0.5}},
		{"cosine", optim.WarmupCosine(1, 2, 6, 0), []float64{0.5, 1, 0.8535533905932737, 0.5, 0.14644660940672627, 0, 0, 0}},
		{"cosine to a floor", optim.WarmupCosine(1, 0, 2, 0.2), []float64{0.6, 0.2, 0.2}},
		{"linear", optim.WarmupLinear(1, 2, 6, 0), []float64{0.5, 1, 0.75, 0.5, 0.25, 0, 0}},
		{"linear to a floor", optim.WarmupLinear(2, 1, 3, 1), []float64{2, 1.5, 1, 1}},
		{"warm-up only", optim.WarmupLinear(1, 4, 4, 0.25), []float64{0.25, 0.5, 0.75, 1, 0.25}},
		{"no steps", optim.WarmupCosine(1, 0, 0, 0.1), []float64{0.1, 0.1}},
	} {
		for step, want := range c.want {
			assert.InDelta(t, want, c.schedule(int64(step)), 1e-15, "%s, step %d", c.name, step)
		}
	}
	assert.Panics(t, func() { optim.WarmupCosine(1, 3, 2, 0) })
	assert.Panics(t, func() { optim.WarmupLinear(1, -1, 2, 0) })
	assert.Panics(t, func() { optim.WarmupLinear(1e-3, 1, 2, 0.1) }, "a share of the rate")
	assert.Panics(t, func() { optim.WarmupCosine(1, 1, 2, -0.1) })
}

// TestScheduleShape: rates rise during the warm-up, reach lr at its end, fall
// after it and end at final; a schedule can be used as a plain function.
func TestScheduleShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		warmup := rapid.Int64Range(1, 20).Draw(t, "warmup")
		total := warmup + rapid.Int64Range(1, 50).Draw(t, "decay")
		for _, rate := range []func(int64) float64{
			optim.WarmupCosine(3, warmup, total, 1), optim.WarmupLinear(3, warmup, total, 1),
		} {
			for step := range total {
				if step+1 < warmup && rate(step) >= rate(step+1) || step+1 >= warmup && rate(step) < rate(step+1) {
					t.Fatalf("wrong direction after step %d: %v, %v", step, rate(step), rate(step+1))
				}
			}
			if rate(warmup-1) != 3 || rate(total-1) != 1 {
				t.Fatalf("peak %v, end %v; want 3 and 1", rate(warmup-1), rate(total-1))
			}
		}
	})
}
