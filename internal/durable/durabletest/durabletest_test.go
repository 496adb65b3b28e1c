package durabletest_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/internal/durable/durabletest"
)

// TestReplaceIsAtomic: whatever happens while a file is replaced, it has the old
// content or the new one, and the new one once ReplaceFile has returned.
func TestReplaceIsAtomic(t *testing.T) {
	root := t.TempDir()
	j, stop := durabletest.Record(root)
	require.NoError(t, durable.ReplaceFile(filepath.Join(root, "f"), []byte("old")))
	first := j.Len()
	require.NoError(t, durable.ReplaceFile(filepath.Join(root, "f"), []byte("new text")))
	stop()
	require.Equal(t, 5, first, "create, write, sync, rename, sync the directory")
	for n := range j.Len() + 1 {
		for _, s := range j.States(n) {
			dir := t.TempDir()
			require.NoError(t, s.Write(dir))
			got, err := os.ReadFile(filepath.Join(dir, "f"))
			switch {
			case n < first && err != nil:
				require.ErrorIs(t, err, os.ErrNotExist)
			case n < j.Len() && string(got) == "old":
			case n < first:
				require.Equal(t, "old", string(got), "%d calls, %s", n, s.Name)
			default:
				require.Equal(t, "new text", string(got), "%d calls, %s", n, s.Name)
			}
		}
	}
}

// TestWhatWasNotSyncedIsLost: the states are those that they are named after.
func TestWhatWasNotSyncedIsLost(t *testing.T) {
	root := t.TempDir()
	j, stop := durabletest.Record(root)
	dir := filepath.Join(root, "a", "b")
	require.NoError(t, durable.MkdirAll(dir))
	f, err := durable.Append(filepath.Join(dir, "log"))
	require.NoError(t, err)
	for _, text := range []string{"one ", "two "} {
		_, err = f.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, errors.Join(f.Sync(), durable.Sync(dir)))
	_, err = f.Write([]byte("three "))
	require.NoError(t, errors.Join(err, f.Close()))
	stop()
	end, left := j.Len(), map[string]string{}
	for _, n := range []int{end - 1, end} {
		for _, s := range j.States(n) {
			into := t.TempDir()
			require.NoError(t, s.Write(into))
			got, err := os.ReadFile(filepath.Join(into, "a", "b", "log"))
			require.NoError(t, err, s.Name)
			left[s.Name] = string(got)
		}
	}
	delete(left, "power failed, some is there")
	require.Equal(t, map[string]string{
		"killed":                "one two three ",
		"killed within a write": "one two thr",
		"power failed, only what was synced is there":   "one two ",
		"power failed, names are there, content is not": "one two ",
	}, left)
}

func TestFail(t *testing.T) {
	root := t.TempDir()
	for n := range 5 {
		stop := durabletest.Fail(n, syscall.ENOSPC, n%2 == 0)
		err := durable.ReplaceFile(filepath.Join(root, "f"), []byte("text"))
		stop()
		require.ErrorIs(t, err, syscall.ENOSPC, "call %d", n)
		require.ErrorContains(t, err, root)
	}
}
