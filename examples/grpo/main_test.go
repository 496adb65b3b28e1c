package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// The program runs as it stands, and leaves a model that can be loaded and trained on.
func TestMainSavesAModel(t *testing.T) {
	data, err := os.ReadFile("data.jsonl")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	require.NoError(t, os.MkdirAll("examples/grpo", 0o777))
	require.NoError(t, os.WriteFile("examples/grpo/data.jsonl", data, 0o666))
	defer func(args []string) { os.Args = args }(os.Args)

	os.Args = []string{"grpo"}
	main()
	decoder, err := model.LoadDecoder(reference.New(), "runs/grpo")
	require.NoError(t, err)
	decoder.Free()

	before, err := os.ReadFile(filepath.Join("runs/grpo", model.WeightsFile))
	require.NoError(t, err)
	os.Args = []string{"grpo", "runs/grpo"}
	main()
	after, err := os.ReadFile(filepath.Join("runs/grpo", model.WeightsFile))
	require.NoError(t, err)
	require.NotEqual(t, before, after)
}
