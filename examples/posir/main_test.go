package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	dir := t.TempDir() + "/new"
	require.NoError(t, run(t.Context(), "", 90, dir))
	require.FileExists(t, dir+"/BM25.svg")
}

// See the command's first lines for how to get the model.
func TestRunMiniLM(t *testing.T) {
	model := os.Getenv("STEPWISE_MINILM")
	if model == "" {
		t.Skip("STEPWISE_MINILM does not name all-MiniLM-L6-v2's folder")
	}
	require.NoError(t, run(t.Context(), model, 40, ""))
}
