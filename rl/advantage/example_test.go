package advantage_test

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

// One prompt, three completions: right, wrong, and one that no rule could
// score.
func ExamplePerGroup() {
	batch := []rollout.Group{{
		{Rewards: []float64{1}, Tokens: make([]int32, 2)},
		{Rewards: []float64{0}, Tokens: make([]int32, 3)},
		{Rewards: []float64{math.NaN()}, Tokens: make([]int32, 1)},
	}}
	est := advantage.PerGroup(advantage.RLOO{})
	if err := est.Estimate(batch); err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range batch[0] {
		fmt.Println(c.Advantage, c.Adv)
	}
	// Output:
	// 1 [1 1]
	// -1 [-1 -1 -1]
	// 0 [0]
}

// Several rewards are added up with weights; one of weight 0 is only logged.
func ExamplePerGroup_weights() {
	batch := []rollout.Group{{
		{Rewards: []float64{1, 0, 7}},
		{Rewards: []float64{1, 1, 3}},
		{Rewards: []float64{0, 1, 5}},
	}}
	est := advantage.PerGroup(advantage.DrGRPO{}, 1, .5, 0)
	if err := est.Estimate(batch); err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range batch[0] {
		fmt.Println(c.Advantage)
	}
	// Output:
	// 0
	// 0.5
	// -0.5
}

// halves is a custom normaliser: +1 for the better half of the group,
// −1 for the others.
type halves struct{}

func (halves) Validate() error { return nil }

func (halves) Normalize(dst, rewards []float64) {
	advantage.DrGRPO{}.Normalize(dst, rewards)
	for i, a := range dst {
		if a != 0 {
			dst[i] = math.Copysign(1, a)
		}
	}
}

// A custom normaliser serves estimators and step credit alike.
func ExampleNormalizer() {
	batch := []rollout.Group{{{Rewards: []float64{3}}, {Rewards: []float64{5}}, {Rewards: []float64{10}}}}
	if err := advantage.PerGroup(halves{}).Estimate(batch); err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range batch[0] {
		fmt.Println(c.Advantage)
	}
	// Output:
	// -1
	// -1
	// 1
}
