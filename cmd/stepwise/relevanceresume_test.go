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
	err = &run.DifferenceError{Dir: dir, Differences: []run.Difference{{Path: "data.pairs.csv", A: "d", B: "e"}, {Path: "data.task file", A: "d1", B: "d2"}}}
	assert.ErrorContains(t, anotherTask(err, dir, "shops/b.yaml"), "another task: the run in "+dir+" is of shops/a.yaml, not of shops/b.yaml; ")
	assert.ErrorContains(t, anotherTask(err, dir, "a.yaml"), "the task file a.yaml has changed since the run in "+dir+" began; ")
	assert.ErrorIs(t, anotherTask(err, dir, "a.yaml"), err)
	err = &run.DifferenceError{Dir: dir, Differences: []run.Difference{{Path: "seed", A: "1", B: "2"}}}
	assert.Equal(t, err, anotherTask(err, dir, "shops/b.yaml"), "the task is the same")
	assert.NoError(t, anotherTask(nil, dir, ""))
}
