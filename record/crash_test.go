package record_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/internal/durable/durabletest"
	"github.com/stepwise-rl/stepwise/record"
)

// TestJSONLinesSurviveCrashes: after a crash at any point the run is resumed from the
// step that was synced, and the file has every step once.
func TestJSONLinesSurviveCrashes(t *testing.T) {
	const name = "metrics.jsonl"
	write := func(path string, from, to int64) {
		t.Helper()
		j, err := record.OpenJSONLines(path, nil)
		require.NoError(t, err)
		for step := from; step <= to; step++ {
			require.NoError(t, j.Record(step, map[string]float64{"loss": float64(step)}))
		}
		require.NoError(t, j.Close())
	}
	root := t.TempDir()
	journal, stop := durabletest.Record(root)
	write(filepath.Join(root, name), 1, 2) // Close syncs: from here on step 2 is safe
	synced := journal.Len()
	write(filepath.Join(root, name), 3, 4)
	write(filepath.Join(root, name), 3, 5) // resumed from a checkpoint of step 2
	stop()
	defer durabletest.SkipSyncs()()
	for n := range journal.Len() + 1 {
		for _, s := range journal.States(n) {
			dir := t.TempDir()
			require.NoError(t, s.Write(dir))
			from := int64(1)
			if n >= synced {
				from = 3
			}
			path := filepath.Join(dir, name)
			write(path, from, 6)
			f, err := os.Open(path)
			require.NoError(t, err)
			want := int64(1)
			for l, err := range record.Lines(f) {
				require.NoError(t, err, "%d calls, %s", n, s.Name)
				require.Equal(t, want, l.Step, "%d calls, %s", n, s.Name)
				want++
			}
			require.NoError(t, f.Close())
			require.EqualValues(t, 7, want, "%d calls, %s", n, s.Name)
		}
	}
}
