package rl_test

import (
	"fmt"
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
	assert.ErrorContains(t, rl.WarmupCosine{LR: 1}.Validate(), "Total is 0", "its rate would be 0 throughout")
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

func ExampleDecodeSchedule() {
	s, err := rl.DecodeSchedule([]byte(`{"kind":"warmup_linear","lr":0.001,"warmup":2,"total":4}`))
	if err != nil {
		panic(err)
	}
	fmt.Println(s.At(0), s.At(1), s.At(2), s.At(3))
	text, _ := rl.EncodeSchedule(s)
	fmt.Printf("%s\n", text)
	// Output:
	// 0.0005 0.001 0.0005 0
	// {"kind":"warmup_linear","lr":0.001,"warmup":2,"total":4,"final":0}
}

// steady is a custom schedule.
type steady struct {
	Rate float64 `json:"rate"`
}

func (steady) Validate() error      { return nil }
func (s steady) At(_ int64) float64 { return s.Rate }

// Every kind comes back from JSON as it was, with all settings away from zero.
func TestScheduleKinds(t *testing.T) {
	own := rl.Kinds{"steady": steady{Rate: 2}}
	seen := map[string]bool{}
	for _, s := range []rl.Schedule{
		rl.Constant{LR: 1}, steady{Rate: 3},
		rl.WarmupCosine{LR: 4, Warmup: 1, Total: 2, Final: 3}, rl.WarmupLinear{LR: 4, Warmup: 1, Total: 2, Final: 3},
	} {
		text, err := rl.EncodeSchedule(s, own)
		assert.NoError(t, err)
		got, err := rl.DecodeSchedule(text, own)
		assert.NoError(t, err)
		assert.Equal(t, s, got)
		seen[fmt.Sprintf("%T", s)] = true
	}
	for name, k := range rl.BuiltInKinds() {
		assert.True(t, seen[fmt.Sprintf("%T", k)], name)
	}
	s, err := rl.DecodeSchedule([]byte(`{"kind":"steady"}`), own)
	assert.NoError(t, err)
	assert.Equal(t, steady{Rate: 2}, s, "the prototype's default")
	_, err = rl.EncodeSchedule(rl.ScheduleFunc(s.At))
	assert.ErrorContains(t, err, "Go type rl.ScheduleFunc has no kind")
	_, err = rl.DecodeSchedule([]byte(`{"kind":"warmup_cosine","lr":1,"warmup":3,"total":2}`))
	assert.EqualError(t, err, "settings: WarmupCosine has a warm-up of 3 steps of 2, want 0 ≤ Warmup ≤ Total")
}
