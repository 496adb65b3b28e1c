package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/run"
)

// What is wrong with the data is said with its line, before anything is trained.
func TestReadParcels(t *testing.T) {
	text, err := os.ReadFile("parcels.jsonl")
	require.NoError(t, err)
	lines := strings.SplitAfterN(string(text), "\n", 51)[:50]
	path := filepath.Join(t.TempDir(), "p.jsonl")
	for line, want := range map[string]string{
		`{"id": "x", "days": "2"}`:             path + ":5: json: cannot unmarshal string",
		`{"note": "lamp", "decision": "give"}`: path + `:5: the decision is "give", want one of ["nothing" "voucher" "money"]`,
		`{"note": "lamp", "verdict": "money"}`: path + `:5: the decision is "", want`,
		"":                                     path + ":5: unexpected end of JSON input",
	} {
		lines[4] = line + "\n"
		require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o666))
		_, err := readParcels(path)
		require.ErrorContains(t, err, want)
	}
	lines[4] = fmt.Sprintf(`{"note": %q, "decision": "money"}`+"\n", strings.Repeat("lamp ", 1e5))
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o666))
	all, err := readParcels(path)
	require.NoError(t, err, "a line may be long")
	require.Len(t, all, 50)
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines[:21], "")), 0o666))
	_, err = readParcels(path)
	require.ErrorContains(t, err, "has 21 parcels, want 22 or more")
}

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
