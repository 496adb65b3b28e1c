package rl_test

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/policytest"
)

// Half of these problems have nothing to teach: every letter gets the same
// reward. Dynamic sampling draws on until two groups differ.
func ExampleCollectLive() {
	policy := policytest.NewTablePolicy(3, nil, -1)
	source := &rl.SliceSource{Seed: 4, Problems: []rl.Problem{
		say{"a": 0, "b": 0.5, "c": 1}, say{"a": 1, "b": 1, "c": 1},
		say{"a": 1, "b": 0, "c": 0}, say{"a": 0, "b": 0, "c": 0},
	}}
	r, err := rl.CollectLive(context.Background(), policy, source.Next, 2, rloo, rl.DynamicSampling{Rounds: 8}, [2]uint64{1, 0})
	if err != nil {
		panic(err)
	}
	fmt.Println("to train on:", r.Problems)
	fmt.Println("dropped:", r.Dynamic.Dropped.Problems, r.Dynamic.Reasons)
	fmt.Printf("share of live groups: %.2f\n", r.Sampled().LiveShare(rloo))
	// Output:
	// to train on: [map[a:0 b:0.5 c:1] map[a:1 b:0 c:0]]
	// dropped: [map[a:0 b:0 c:0]] [constant_0]
	// share of live groups: 0.67
}
