package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/rl/run"
)

func TestAnotherTask(t *testing.T) {
	dir := t.TempDir()
	c := run.Config{Dir: dir, Seed: 1, Settings: relevance.Default(), Data: map[string]string{taskDigest: "d1"}, Info: map[string]string{"task": "shops/a.yaml"}}
	f, err := run.Start(c)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	c.Data = map[string]string{taskDigest: "d2"}
	_, err = run.Resume(c)
	assert.ErrorContains(t, anotherTask(err, dir, "shops/b.yaml"), "another task: the run in "+dir+" is of shops/a.yaml, not of shops/b.yaml; ")
	assert.ErrorContains(t, anotherTask(err, dir, "a.yaml"), "the task file a.yaml has changed since the run in "+dir+" began; ")
	assert.ErrorIs(t, anotherTask(err, dir, "a.yaml"), err)
	c.Data, c.Seed = map[string]string{taskDigest: "d1"}, 2
	_, err = run.Resume(c)
	require.Error(t, err)
	assert.Equal(t, err, anotherTask(err, dir, "shops/b.yaml"), "only the seed is another")
	assert.NoError(t, anotherTask(nil, dir, ""))
}
