package rl_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
)

func TestCapabilities(t *testing.T) {
	require.Equal(t, "nothing", rl.Capabilities(0).String())
	require.Equal(t, "clipping of the gradient by its norm, entropies", (rl.CapMaxNorm | rl.CapEntropy).String())
	require.NoError(t, rl.CapAll.Check(rl.CapAll))
	require.NoError(t, rl.Capabilities(0).Check(0))
	err := (rl.CapAll &^ rl.CapSkip).Check(rl.CapAll)
	require.ErrorIs(t, err, rl.ErrUnsupported)
	require.EqualError(t, err, "the policy does not support skipping of gradients that are not finite")
	require.Equal(t, rl.CapEntropy|rl.CapCandidates, rl.Required(objective.InputOld|objective.InputEntropy|objective.InputCandidates))
}

// plain is a table that supports nothing that it need not.
type plain struct{ *policytest.TablePolicy }

func (plain) Supports() rl.Capabilities { return 0 }

// The problems of a source that streams are only seen when they are drawn, and that is
// still before anything is sampled. A reference policy can be what lacks something.
func TestTemperatureIsRefusedBeforeSampling(t *testing.T) {
	c, p := setup()
	var list []rl.Problem
	for _, q := range problems(8) {
		list = append(list, tempered{q.(successor), 0.5})
	}
	c.Source = struct{ rl.Source }{&rl.SliceSource{Problems: list}}
	c.Reference = plain{p}
	c.Engine = unused{t}
	trainer, err := rl.NewTrainer(c)
	require.NoError(t, err)
	_, err = trainer.Step(t.Context())
	require.ErrorIs(t, err, rl.ErrUnsupported)
	require.ErrorContains(t, err, "it asks for temperature 0.5: the policy does not support log-probs at temperatures other than 1")
}

// mute is a table that has no log-probs to give.
type mute struct{ *policytest.TablePolicy }

func (mute) CheckLogProbs() error { return errors.New("there are none") }

// A reference that gives no log-probs is refused before anything is sampled, whether it
// is the reward or the objective that needs them.
func TestReferenceWithoutLogProbsIsRefused(t *testing.T) {
	c, p := setup()
	c.Reference, c.Engine = mute{p}, unused{t}
	_, err := rl.NewTrainer(c)
	require.NoError(t, err, "nothing needs it")
	for name, need := range map[string]func(*rl.Config){
		"reward":    func(c *rl.Config) { c.RewardKL = &objective.RewardKL{Estimator: objective.K1, Beta: 0.1} },
		"objective": func(c *rl.Config) { c.Objective = objective.KL{Estimator: objective.K1, Beta: 0.1} },
	} {
		c := c
		need(&c)
		_, err = rl.NewTrainer(c)
		require.EqualError(t, err, "rl: Config.Reference: there are none", name)
	}
}

type unused struct{ t *testing.T }

func (u unused) Generate(context.Context, []rollout.Request, func(rollout.Completion) error) error {
	u.t.Error("something is sampled")
	return nil
}

func TestImitationRefuses(t *testing.T) {
	_, p := setup()
	m := rl.Imitation{
		Policy: plain{p}, Demonstrations: rl.Shuffled([]rl.Demonstration{{Prompt: []int32{1}, Tokens: []int32{2}}}, 1),
		Batch: 1, Steps: 1, LR: rl.Constant{LR: 1}, MaxNorm: 1,
	}
	require.ErrorIs(t, m.Validate(), rl.ErrUnsupported)
	require.ErrorContains(t, m.Validate(), "rl: Imitation.MaxNorm is 1: the policy does not support clipping")
	m.MaxNorm = 0
	require.NoError(t, m.Run(t.Context()))
}
