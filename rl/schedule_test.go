package rl_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/rl"
)

func TestSchedules(t *testing.T) {
	for _, c := range []struct {
		name     string
		schedule rl.Schedule
		want     []float64 // steps 0, 1, …
	}{
		{"constant", rl.Constant{LR: 0.5}, []float64{0.5, 0.5, 0.5}},
		{"cosine", rl.WarmupCosine{LR: 1, Warmup: 2, Total: 6, Final: 0}, []float64{0.5, 1, 0.8535533905932737, 0.5, 0.14644660940672627, 0, 0, 0}},
		{"cosine to a floor", rl.WarmupCosine{LR: 1, Warmup: 0, Total: 2, Final: 0.2}, []float64{0.6, 0.2, 0.2}},
		{"linear", rl.WarmupLinear{LR: 1, Warmup: 2, Total: 6, Final: 0}, []float64{0.5, 1, 0.75, 0.5, 0.25, 0, 0}},
		{"linear to a floor", rl.WarmupLinear{LR: 2, Warmup: 1, Total: 3, Final: 1}, []float64{2, 1.5, 1, 1}},
		{"warm-up only", rl.WarmupLinear{LR: 1, Warmup: 4, Total: 4, Final: 0.25}, []float64{0.25, 0.5, 0.75, 1, 0.25}},
		{"no steps", rl.WarmupCosine{LR: 1, Warmup: 0, Total: 0, Final: 0.1}, []float64{0.1, 0.1}},
	} {
		assert.NoError(t, c.schedule.Validate(), c.name)
		for step, want := range c.want {
			assert.InDelta(t, want, c.schedule.At(int64(step)), 1e-15, "%s, step %d", c.name, step)
		}
	}
	assert.Error(t, rl.Constant{LR: math.NaN()}.Validate())
	assert.Error(t, rl.WarmupLinear{LR: math.Inf(1), Total: 2}.Validate())
	assert.Error(t, rl.ScheduleFunc(nil).Validate())
	assert.Error(t, rl.WarmupCosine{LR: 1, Warmup: 3, Total: 2, Final: 0}.Validate())
	assert.Error(t, rl.WarmupLinear{LR: 1, Warmup: -1, Total: 2, Final: 0}.Validate())
	assert.Error(t, rl.WarmupLinear{LR: 1e-3, Warmup: 1, Total: 2, Final: 0.1}.Validate(), "a share of the rate")
	assert.Error(t, rl.WarmupCosine{LR: 1, Warmup: 1, Total: 2, Final: -0.1}.Validate())
}

// TestScheduleShape: rates rise during the warm-up, reach lr at its end, fall
// after it and end at final.
func TestScheduleShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		warmup := rapid.Int64Range(1, 20).Draw(t, "warmup")
		total := warmup + rapid.Int64Range(1, 50).Draw(t, "decay")
		for _, rate := range []rl.Schedule{
			rl.WarmupCosine{LR: 3, Warmup: warmup, Total: total, Final: 1}, rl.WarmupLinear{LR: 3, Warmup: warmup, Total: total, Final: 1},
		} {
			for step := range total {
				if step+1 < warmup && rate.At(step) >= rate.At(step+1) || step+1 >= warmup && rate.At(step) < rate.At(step+1) {
					t.Fatalf("wrong direction after step %d: %v, %v", step, rate.At(step), rate.At(step+1))
				}
			}
			if rate.At(warmup-1) != 3 || rate.At(total-1) != 1 {
				t.Fatalf("peak %v, end %v; want 3 and 1", rate.At(warmup-1), rate.At(total-1))
			}
		}
	})
}
