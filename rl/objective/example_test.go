package objective_test

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// A GRPO loss with clip-higher and a KL term, on one completion of five tokens
// of which step credit masked two.
func Example() {
	loss := objective.Terms{
		objective.PPO{ClipLow: 0.2, ClipHigh: 0.28},
		objective.KL{Estimator: objective.K3, Beta: 0.04},
	}
	s := objective.Sequence{
		LogP: []float64{-0.5, -1.0, -0.2, -0.9, -0.1},
		Old:  []float64{-0.5, -1.4, -0.2, -0.8, -0.1},
		Ref:  []float64{-0.6, -1.2, -0.2, -0.7, -0.1},
		Adv:  []float64{1, 1, 1, 1, 1},
		Keep: []bool{true, true, false, false, true},
		Grad: make([]float64, 5),
	}
	weight, klWeight, err := objective.TokenMean{Masked: objective.MaskedStay}.Weigh(objective.Layout{
		Include: [][]bool{{true, true, true, true, true}},
		Keep:    [][]bool{s.Keep},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Weight, s.KLWeight = weight[0], klWeight[0]
	m := objective.Metrics{}
	l, err := loss.Eval(&s, m)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("loss %.4f\n", l)
	fmt.Printf("gradient %.4f\n", s.Grad)
	fmt.Printf("clipped above %.2f, KL %.4f\n", m["clip_high"].Mean(), m["kl"].Mean())
	// Output:
	// loss -0.6556
	// gradient [-0.1992 0.0015 0.0000 -0.0018 -0.2000]
	// clipped above 0.33, KL 0.0090
}

// The same masks under the three choices for masked tokens.
func ExampleMasked() {
	l := objective.Layout{
		Include: [][]bool{{true, true, true, true}},
		Keep:    [][]bool{{true, true, false, false}},
	}
	for _, m := range []objective.Masked{objective.MaskedStay, objective.MaskedExclude, objective.MaskedExcludeLoss} {
		loss, kl, err := objective.TokenMean{Masked: m}.Weigh(l)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(m, loss[0], kl[0])
	}
	// Output:
	// stay [0.25 0.25 0.25 0.25] [0.25 0.25 0.25 0.25]
	// exclude [0.5 0.5 0 0] [0.5 0.5 0 0]
	// exclude_loss [0.5 0.5 0 0] [0.25 0.25 0.25 0.25]
}

// Completions that the engine sampled with other probabilities than the trainer computes
// are rejected, and of the rest half of the tokens carry the policy loss.
func ExampleLayout_Reject() {
	l := objective.Layout{Include: [][]bool{{true, true}, {true, true, true, true}}}
	old := [][]float64{{-1, -2}, {-0.5, -1, -0.25, -2}}
	rollout := [][]float64{{-1.5, -2.25}, {-0.5, -1.0625, -0.25, -1.9375}}
	entropy := [][]float64{{1.5, 2}, {0.25, 1.25, 0.125, 1}}

	// A mean divergence of at most 0.01 nats per token.
	include, rejected, err := l.Reject(old, rollout, objective.Rejection{Estimator: objective.K3, Unit: objective.UnitMean, Max: 0.01})
	if err != nil {
		panic(err)
	}
	l.Include = include
	keep, threshold, err := l.TopEntropy(entropy, 0.5)
	if err != nil {
		panic(err)
	}
	l.Keep = keep
	loss, _, err := objective.TokenMean{Masked: objective.MaskedExclude}.Weigh(l)
	if err != nil {
		panic(err)
	}
	fmt.Printf("rejected %.2f of the tokens; kept those of entropy %v and more\n", rejected.Mean(), threshold)
	fmt.Println(loss)
	// Output:
	// rejected 0.33 of the tokens; kept those of entropy 0.625 and more
	// [[0 0] [0 0.5 0 0.5]]
}

// A shared sequence ratio and step credit do not go together.
func ExampleGSPO() {
	s := objective.Sequence{
		LogP: []float64{-1, -1}, Adv: []float64{1, -1}, // right step, wrong step
		Weight: []float64{0.5, 0.5}, Grad: make([]float64, 2),
	}
	_, err := objective.GSPO{ClipLow: 3e-4, ClipHigh: 4e-4}.Eval(&s, objective.Metrics{})
	fmt.Println(err)
	_, err = objective.GSPOToken{ClipLow: 3e-4, ClipHigh: 4e-4}.Eval(&s, objective.Metrics{})
	fmt.Println(err, s.Grad)
	// Output:
	// objective: GSPO shares one ratio among all tokens, which would average away what step credit or TopEntropy masks; use GSPOToken (advantages 1 at position 0, -1 at position 1)
	// <nil> [-0.5 0.5]
}

// Truncated importance weights between the sampling engine and the trainer.
func ExampleCorrected() {
	loss := objective.Corrected{
		Objective: objective.PPO{ClipLow: 0.2, ClipHigh: 0.2},
		Max:       2,
	}
	s := objective.Sequence{
		LogP: []float64{-1, -1}, Old: []float64{-1, -1},
		Rollout: []float64{-1, -1 - math.Log(5)}, // the engine thought it rarer
		Adv:     []float64{1, 1},
		Weight:  []float64{0.5, 0.5}, Grad: make([]float64, 2),
	}
	m := objective.Metrics{}
	_, err := loss.Eval(&s, m)
	fmt.Printf("%.2f %v\n", s.Grad, err)
	fmt.Printf("weight before truncation %.1f on average, %.0f%% above the bound\n", m["rollout_weight"].Mean(), 100*m["rollout_high"].Mean())
	// Output:
	// [-0.50 -1.00] <nil>
	// weight before truncation 3.0 on average, 50% above the bound
}
