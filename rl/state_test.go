package rl_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
)

func TestAStateFollowsAPolicyThatMoved(t *testing.T) {
	c, p := setup()
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.Nil(t, tr.Metrics())
	m, err := tr.Step(t.Context())
	require.NoError(t, err)
	require.Equal(t, m, tr.Metrics())
	saved, err := tr.Save(t.Context(), "here")
	require.NoError(t, err)
	ref, err := rl.PolicyRef(saved)
	require.NoError(t, err)
	require.Equal(t, "here", ref)

	moved, err := rl.WithPolicyRef(saved, "there")
	require.NoError(t, err)
	require.ErrorContains(t, tr.Restore(t.Context(), moved), `no state was saved as "there"`)
	at := logits(p)
	_, err = p.Save(t.Context(), "there")
	require.NoError(t, err)
	_, err = tr.Step(t.Context())
	require.NoError(t, err)
	require.NoError(t, tr.Restore(t.Context(), moved))
	require.Equal(t, at, logits(p))
	require.EqualValues(t, 1, tr.Steps())
	require.Nil(t, tr.Metrics())

	back, err := rl.WithPolicyRef(moved, "here")
	require.NoError(t, err)
	require.JSONEq(t, string(saved), string(back))
}

// TestAStateOfAnotherRunIsRefused before anything is changed.
func TestAStateOfAnotherRunIsRefused(t *testing.T) {
	c, p := setup()
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	_, err = tr.Step(t.Context())
	require.NoError(t, err)
	plain, err := tr.Save(t.Context(), "plain")
	require.NoError(t, err)
	before := logits(p)

	refuse := func(c rl.Config, saved []byte, want string) {
		t.Helper()
		tr, err := rl.NewTrainer(c)
		require.NoError(t, err)
		require.ErrorContains(t, tr.Restore(t.Context(), saved), want)
		require.Zero(t, tr.Steps())
		require.Equal(t, before, logits(p))
	}
	seeded := c
	seeded.Seed = 12
	refuse(seeded, plain, "it is of a run with seed 11, Config.Seed is 12")
	shuffled := c
	shuffled.Source = &rl.SliceSource{Problems: problems(8), Seed: 2}
	refuse(shuffled, plain, "is for seed 1, SliceSource.Seed is 2")

	adaptive := c
	adaptive.Reference, adaptive.RewardKL = policytest.NewTablePolicy(vocab, nil, -1), &objective.RewardKL{Estimator: objective.K3}
	adaptive.AdaptiveKL = &objective.AdaptiveKL{Beta: 0.1, Target: 1, Horizon: 100}
	refuse(adaptive, plain, "it has no adaptive_kl_beta, but Config.AdaptiveKL is set")
	tr, err = rl.NewTrainer(adaptive)
	require.NoError(t, err)
	saved, err := tr.Save(t.Context(), "adaptive")
	require.NoError(t, err)
	refuse(c, saved, "it has adaptive_kl_beta 0.1, but Config.AdaptiveKL is not set")
	refuse(adaptive, bytes.Replace(saved, []byte("0.1"), []byte("0"), 1), "adaptive_kl_beta is 0, want a positive number")
}

func TestPolicyRefOfNoState(t *testing.T) {
	for _, bad := range []string{"", "[]", "{}", `{"policy": null}`, `{"policy": 3}`} {
		_, err := rl.PolicyRef([]byte(bad))
		require.ErrorContains(t, err, "rl: trainer state")
		_, err = rl.WithPolicyRef([]byte(bad), "x")
		require.ErrorContains(t, err, "rl: trainer state")
	}
}
