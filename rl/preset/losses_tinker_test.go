package preset_test

import "github.com/stepwise-rl/stepwise/rl/objective"

var tinkerLosses = map[string]loss{
	"importance_sampling": ofPreset("tinker", nil),
	"ppo":                 {objective.FromRollout{Objective: objective.PPO{ClipLow: 0.2, ClipHigh: 0.2}}, objective.TokenSum{}},
	"cispo":               {objective.FromRollout{Objective: objective.CISPO{Low: 0.8, High: 1.2}}, objective.TokenSum{}},
	"cispo-wide":          {objective.FromRollout{Objective: objective.CISPO{High: 5}}, objective.TokenSum{}},
	"cross_entropy":       {objective.CrossEntropy{}, objective.TokenSum{}},
}
