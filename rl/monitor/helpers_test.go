package monitor_test

import (
	"math"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

// world says how probable everything is in simulated rollouts.
type world struct {
	right                         float64 // of a completion
	wrongIfRight, broken, unknown float64 // of step "a"
	agree                         float64 // of step "b", with the outcome
	masked, dead                  float64 // of a completion, of a group
	groups, size                  int
	random                        *rand.Rand
}

// rollouts simulates one training step.
func (w *world) rollouts() *rl.Rollouts {
	is := func(p float64) bool { return w.random.Float64() < p }
	r := &rl.Rollouts{}
	for range w.groups {
		var g rollout.Group
		deadGroup := is(w.dead)
		for i := range w.size {
			right := is(w.right)
			if deadGroup {
				right = true
			} else if i < 2 {
				right = i == 0 // live
			}
			c := rollout.Completion{Tokens: make([]int32, 1), Keep: []bool{!is(w.masked)}, Rewards: []float64{0}}
			a, b := rollout.Step{Name: "a", Verdict: rollout.VerdictCorrect}, rollout.Step{Name: "b", Verdict: rollout.VerdictIncorrect}
			if right {
				c.Rewards[0] = 1
			}
			if right == is(w.agree) {
				b.Verdict = rollout.VerdictCorrect
			}
			switch {
			case is(w.broken):
				a.Verdict = rollout.VerdictBroken
			case is(w.unknown):
				a.Verdict = rollout.VerdictUnknown
			case right && is(w.wrongIfRight), !right && is(.5):
				a.Verdict = rollout.VerdictIncorrect
			}
			c.Steps = []rollout.Step{a, b}
			g = append(g, c)
		}
		r.Groups = append(r.Groups, g)
	}
	return r
}

// usual is an undisturbed world.
func usual(seed uint64) *world {
	return &world{
		right: .5, wrongIfRight: .15, broken: .05, unknown: .05, agree: .8, masked: .05, dead: .3,
		groups: 8, size: 8, random: rand.New(rand.NewPCG(seed, 1)),
	}
}

var nan = math.NaN()

// rloo is the estimator of the runs.
var rloo = advantage.PerGroup(advantage.RLOO{})
