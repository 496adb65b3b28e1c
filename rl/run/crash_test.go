package run_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/internal/durable/durabletest"
	"github.com/stepwise-rl/stepwise/rl/run"
)

// recorded returns what a run of two training steps leaves, and the record of its
// changes to the disk. The folder's parents are new too.
func recorded(t *testing.T) (want outcome, j *durabletest.Journal) {
	t.Helper()
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		t.Setenv("TMPDIR", "/dev/shm") // thousands of small files: a disk would take most of the time
	}
	root := t.TempDir()
	j, stop := durabletest.Record(root)
	err := program(t.Context(), config(filepath.Join(root, "runs", "a"), 2), 2, 1)
	stop()
	require.NoError(t, err)
	want, err = read(t.Context(), filepath.Join(root, "runs", "a"))
	require.NoError(t, err)
	require.Len(t, want.Artefacts, 2)
	require.NotEmpty(t, want.Logs[run.Metrics])
	return want, j
}

// goesOn runs the program in a folder as a crash left it, and compares what comes out
// with a run that nothing interrupted. Nothing may be wrong with the folder then.
func goesOn(t *testing.T, dir string, want outcome, what string) {
	t.Helper()
	require.NoError(t, program(t.Context(), config(dir, 2), 2, 1), what)
	got, err := read(t.Context(), dir)
	require.NoError(t, err, what)
	require.Equal(t, want, got, what)
	faults, err := run.Check(t.Context(), dir)
	require.NoError(t, err, what)
	require.Empty(t, faults, what)
}

// TestEveryCrash ends a run after each of its changes of the disk, by a kill or a
// power failure, and goes on: the same bits come out. What was reported as done, the
// last checkpoint, is never lost.
func TestEveryCrash(t *testing.T) {
	want, j := recorded(t)
	defer durabletest.SkipSyncs()()
	crashes := 0
	for n := range j.Len() + 1 {
		for _, s := range j.States(n) {
			root := t.TempDir()
			require.NoError(t, s.Write(root))
			goesOn(t, filepath.Join(root, "runs", "a"), want, strconv.Itoa(n)+" calls, then "+s.Name)
			crashes++
		}
	}
	t.Logf("%d crashes in %d calls", crashes, j.Len())
}

// TestNothingSavedIsLost: once Save has returned, the checkpoint survives every crash.
func TestNothingSavedIsLost(t *testing.T) {
	_, j := recorded(t)
	saved := false
	for n := range j.Len() {
		if c := j.Call(n); c.Op == durable.OpRename && filepath.Base(c.To) == "000001-step-1.manifest.json" {
			saved = true
			n += 2 // the rename and the sync of its directory
			for _, s := range j.States(n) {
				root := t.TempDir()
				require.NoError(t, s.Write(root))
				f, err := run.Open(filepath.Join(root, "runs", "a"))
				require.NoError(t, err, s.Name)
				last, err := f.Checkpoints("train").Latest(t.Context())
				require.NoError(t, err, s.Name)
				require.EqualValues(t, 1, last.Step)
				lines := 0
				for l, err := range f.Lines("train", run.Metrics) {
					require.NoError(t, err)
					require.EqualValues(t, 1, l.Step)
					lines++
				}
				require.Equal(t, 1, lines, s.Name)
			}
		}
	}
	require.True(t, saved)
}

// TestEveryDiskError lets each change of the disk fail, alone or with all after it: the
// run ends with an error that names the path, or does not need the change; and then it
// goes on.
func TestEveryDiskError(t *testing.T) {
	want, j := recorded(t)
	fail := func(n int, cause error, forever bool) {
		root := t.TempDir()
		dir := filepath.Join(root, "runs", "a")
		stop := durabletest.Fail(n, cause, forever)
		err := program(t.Context(), config(dir, 2), 2, 1)
		stop()
		if err != nil {
			require.ErrorIs(t, err, cause)
			require.ErrorContains(t, err, filepath.Dir(root))
		}
		defer durabletest.SkipSyncs()()
		goesOn(t, dir, want, strconv.Itoa(n)+" calls, then "+cause.Error())
	}
	for n := range j.Len() {
		for _, cause := range []error{syscall.ENOSPC, syscall.EROFS, syscall.EIO} {
			fail(n, cause, cause != syscall.EIO)
		}
		fail(n, syscall.ENOSPC, false)
	}
}

// TestTwoCrashes: a process that goes on after a kill does not take for safe what the
// killed one had not synced yet.
func TestTwoCrashes(t *testing.T) {
	want, first := recorded(t)
	crashes := 0
	for n := 0; n <= first.Len(); n += 9 {
		root := t.TempDir()
		require.NoError(t, first.States(n)[0].Write(root))
		j, stop := first.Continue(n, root)
		err := program(t.Context(), config(filepath.Join(root, "runs", "a"), 2), 2, 1)
		stop()
		require.NoError(t, err)
		stop = durabletest.SkipSyncs()
		for m := n; m <= j.Len(); m += 7 {
			for _, s := range j.States(m) {
				root := t.TempDir()
				require.NoError(t, s.Write(root))
				goesOn(t, filepath.Join(root, "runs", "a"), want, fmt.Sprint(n, " calls, then ", m, ", then ", s.Name))
				crashes++
			}
		}
		stop()
	}
	t.Logf("%d second crashes", crashes)
}
