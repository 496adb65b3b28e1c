package monitor_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/monitor"
	"github.com/stepwise-rl/stepwise/rollout"
)

// answers makes rollouts of texts, with the reward of each.
func answers(groups ...map[string][]float64) *rl.Rollouts {
	r := &rl.Rollouts{}
	for _, texts := range groups {
		var g rollout.Group
		for text, rewards := range texts {
			for _, v := range rewards {
				tr := boxed.Parse(text, nil)
				g = append(g, rollout.Completion{Text: text, Trace: &tr, Rewards: []float64{v}})
			}
		}
		r.Groups = append(r.Groups, g)
	}
	return r
}

var boxed = prompt.Boxed{}.Parser([]prompt.StepSpec{{Name: "grade", Answers: []string{"1", "2", "3"}}})

func TestSampleMetrics(t *testing.T) {
	r := answers(
		map[string][]float64{`\boxed{2}`: {1, 1, 1}, `so \boxed{2}`: {1}, `\boxed{3}`: {0, 0, 0}, `\boxed{1}`: {0, 0}, `\boxed{9}`: {0}},
		map[string][]float64{`\boxed{1}`: {0, 0, 0, 0, 0}, `\boxed{2}`: {nan, nan}},
		map[string][]float64{`\boxed{1}`: {1, nan}, "": {nan}},
	)
	pass1, pass3 := monitor.PassAtK(r, 1, 1), monitor.PassAtK(r, 1, 3)
	require.InDeltaSlice(t, []float64{.4, 0, 1}, pass1, 1e-12)
	require.InDelta(t, eval.PassAtK(10, 4, 3), pass3[0], 1e-12)
	require.Equal(t, 0.0, pass3[1])
	require.True(t, math.IsNaN(pass3[2]), "one scorable sample is not three")

	maj3 := monitor.MajorityAtK(r, 1, 3, monitor.FinalAnswer)
	require.InDelta(t, eval.MajorityAtK([]int{4, 3, 2}, []float64{1, 0, 0}, 1, 3), maj3[0], 1e-12)
	require.InDelta(t, 0, maj3[1], 1e-12)
	require.True(t, math.IsNaN(maj3[2]))

	m := monitor.SampleMetrics(r, 1, monitor.FinalAnswer, 1, 3, 11)
	require.InDelta(t, 1.4/3, m["pass@1"], 1e-12)
	require.InDelta(t, 1.4/3, m["maj@1"], 1e-12, "one vote is no vote")
	require.InDelta(t, pass3[0]/2, m["pass@3"], 1e-12)
	require.InDelta(t, maj3[0]/2, m["maj@3"], 1e-12)
	require.Len(t, m, 4, "nobody has 11 samples")
	require.Len(t, monitor.SampleMetrics(r, 1, nil, 1), 1)
}

func TestAnAnswerIsAsRightAsItsCompletions(t *testing.T) {
	// The same answer was reached well twice and badly once.
	r := answers(map[string][]float64{`\boxed{1}`: {1, 1, .2}})
	require.InDeltaSlice(t, []float64{2. / 3}, monitor.MajorityAtK(r, 1, 3, monitor.FinalAnswer), 1e-12)
	require.Equal(t, []float64{1}, monitor.PassAtK(r, 1, 3))
}
