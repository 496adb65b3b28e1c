package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/run"
)

// A run that is resumed ends as one that was never stopped, with every step in its log
// once.
func TestLearn(t *testing.T) {
	if testing.Short() {
		t.Skip("trains two small models")
	}
	const data = "parcels.jsonl"
	begun, whole := t.TempDir(), t.TempDir()
	var first, second, both strings.Builder
	require.NoError(t, learn(t.Context(), &first, data, begun, run.Start, 20))
	require.NoError(t, learn(t.Context(), &second, data, begun, run.Resume, 40))
	require.NoError(t, learn(t.Context(), &both, data, whole, run.Start, 40))
	lines := strings.Split(strings.TrimSpace(both.String()), "\n")
	require.Len(t, lines, 2)
	require.True(t, strings.HasPrefix(first.String(), lines[0]), "the same warm-up")
	require.Equal(t, lines[1], strings.TrimSpace(second.String()), "the same end")

	for _, dir := range []string{begun, whole} {
		f, err := run.Open(dir)
		require.NoError(t, err)
		n := int64(0)
		for line, err := range f.Lines("train", run.Metrics) {
			require.NoError(t, err)
			n++
			require.Equal(t, n, line.Step, "every step once")
		}
		require.EqualValues(t, 40, n)
		n = 0
		for line, err := range f.Lines("warm-up", run.Metrics) {
			require.NoError(t, err)
			n++
			require.Equal(t, n, line.Step, "the warm-up is not taken again")
		}
		require.EqualValues(t, 300, n)
	}
}
