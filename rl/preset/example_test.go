package preset_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/preset"
	"github.com/stepwise-rl/stepwise/rollout"
)

// The same rewards under two trainers: TRL and verl add a different ε to the
// standard deviation, and verl passes the reward of a group of one on as it is.
func Example() {
	for _, name := range []string{"trl-1.16", "verl-0.9.1"} {
		p, err := preset.Get(name)
		if err != nil {
			panic(err)
		}
		batch := []rollout.Group{
			{{Rewards: []float64{1}, Tokens: make([]int32, 3)}, {Rewards: []float64{0}, Tokens: make([]int32, 3)}},
			{{Rewards: []float64{0.5}, Tokens: make([]int32, 2)}},
		}
		if err := p.Estimator.Estimate(batch); err != nil {
			panic(err)
		}
		fmt.Printf("%s: %.5f %.5f %.5f\n", p.Name, batch[0][0].Advantage, batch[0][1].Advantage, batch[1][0].Advantage)
	}
	// Output:
	// trl-1.16: 0.70701 -0.70701 0.00000
	// verl-0.9.1: 0.70711 -0.70711 0.50000
}

// A preset is a plain value: here verl with the KL term of its guide to GRPO.
func ExamplePreset_Objective() {
	p, err := preset.Get("verl-0.9.1")
	if err != nil {
		panic(err)
	}
	fmt.Printf("%T\n", p.Objective())
	p.KL.Beta = 0.001
	for _, term := range p.Objective().(objective.Terms) {
		fmt.Printf("%T\n", term)
	}
	// Output:
	// objective.PPO
	// objective.PPO
	// objective.KL
}

// The same in JSON, with step credit.
func ExampleDecode() {
	p, err := preset.Get("verl-0.9.1")
	if err != nil {
		panic(err)
	}
	p, err = preset.Decode([]byte(`{"credit":{"kind":"mask"}, "kl":{"beta":0.001}}`), p)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%T, %v of %v\n", p.Credit, p.KL.Beta, p.KL.Estimator)
	// Output:
	// sam.Mask, 0.001 of k3
}

func ExampleGet() {
	_, err := preset.Get("trl")
	fmt.Println(err)
	// Output:
	// preset: unknown preset "trl", want one of openrlhf-0.11.2, skyrl-0.4.0, tinker, trl-1.16, verl-0.9.1
}
