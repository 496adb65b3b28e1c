package preset_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// loss is an objective and what its tokens weigh.
type loss struct {
	objective.Objective
	objective.Aggregation
}

// ofPreset is a preset's whole loss, after a change.
func ofPreset(name string, change func(p *Preset)) loss {
	p := get(name)
	if change != nil {
		change(&p)
	}
	return loss{p.Objective(), p.Aggregation}
}

// tokenMean is what most releases default to.
func tokenMean(o objective.Objective) loss { return loss{o, objective.TokenMean{}} }

// losses says for every case of the golden files what the same is here.
var losses = map[string]map[string]loss{
	"trl-1.16.0":      trlLosses,
	"verl-0.9.1":      verlLosses,
	"skyrl-0.4.0":     skyRLLosses,
	"openrlhf-0.11.2": openRLHFLosses,
	"tinker":          tinkerLosses,
}

func TestLosses(t *testing.T) {
	in := read[inputs](t, "inputs.json")
	for file, own := range losses {
		seen := map[string]bool{}
		for _, c := range readGolden(t, file).Losses {
			seen[c.Name] = true
			t.Run(file+"/"+c.Name+"/"+c.Batch, func(t *testing.T) {
				l, ok := own[c.Name]
				require.True(t, ok, "a case without a counterpart")
				requireLoss(t, c, l, in.Losses[c.Batch], file == "tinker")
			})
		}
		for name := range own {
			assert.True(t, seen[name], "%s has no case %q", file, name)
		}
	}
}

// requireLoss compares value and gradients. With oldIsRollout the old log-probs
// of the batch are the sampler's, the only ones that Tinker knows.
func requireLoss(t *testing.T, c lossCase, l loss, s step, oldIsRollout bool) {
	t.Helper()
	seqs := s.sequences(c.Adv == "row_adv")
	s.weigh(t, l.Aggregation, seqs)
	var total float64
	var grad, entropyGrad [][]float64
	for _, q := range seqs {
		if oldIsRollout {
			q.Rollout = q.Old
		}
		v, err := l.Eval(q, objective.Metrics{})
		require.NoError(t, err)
		total += v
		grad, entropyGrad = append(grad, q.Grad), append(entropyGrad, q.EntropyGrad)
	}
	require.InDelta(t, c.Loss, total, tolerance(c.DType)*math.Abs(c.Loss))
	requireClose(t, c.Grad, grad, c.DType)
	if c.EntropyGrad != nil {
		requireClose(t, c.EntropyGrad, entropyGrad, c.DType)
	}
}
