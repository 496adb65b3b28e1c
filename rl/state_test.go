package rl_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
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

func TestPolicyRefOfNoState(t *testing.T) {
	for _, bad := range []string{"", "[]", "{}", `{"policy": null}`, `{"policy": 3}`} {
		_, err := rl.PolicyRef([]byte(bad))
		require.ErrorContains(t, err, "rl: trainer state")
		_, err = rl.WithPolicyRef([]byte(bad), "x")
		require.ErrorContains(t, err, "rl: trainer state")
	}
}
