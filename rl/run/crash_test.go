package run_test

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
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
	require.Len(t, want.Artefacts, 3)
	require.NotEmpty(t, want.Logs[run.Metrics])
	return want, j
}

// promised is what a program has been told is done: the training step of the last
// checkpoint that was saved, and the artefacts that were written.
type promised struct {
	step      int64
	artefacts map[string]bool
}

var manifestName = regexp.MustCompile(`-step-([0-9]+)\.manifest\.json$`)

// promises returns what was done after the first n calls. A file is when it has got its
// name and, in the next call, its directory was synced.
func promises(j *durabletest.Journal, n int) promised {
	p := promised{artefacts: map[string]bool{}}
	for i := range n {
		c := j.Call(i)
		name, ok := strings.CutPrefix(c.To, "runs/a/")
		m := manifestName.FindStringSubmatch(name)
		switch {
		case c.Op == durable.OpRemove:
			delete(p.artefacts, strings.TrimPrefix(c.Path, "runs/a/")) // a run that had not begun
		case c.Op != durable.OpRename || !ok || i+1 == n || j.Call(i+1).Op != durable.OpSync || j.Call(i+1).Path != path.Dir(c.To):
		case m != nil:
			p.step, _ = strconv.ParseInt(m[1], 10, 64)
		case name == "data/vocabulary" || name == "stages/train/progress" || name == "stages/train/result":
			p.artefacts[name] = true
		}
	}
	return p
}

// afterCrash writes a state into a new folder, and checks that what was promised is
// there. Then the program goes on; what comes out is that of a run that nothing
// interrupted, and nothing is wrong with the folder.
func afterCrash(t *testing.T, s durabletest.State, p promised, want outcome, what string) {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "runs", "a")
	require.NoError(t, s.Write(root))
	if f, err := run.Open(dir); p.step > 0 || len(p.artefacts) > 0 {
		require.NoError(t, err, what)
		for name := range p.artefacts {
			_, err := f.Artefact(name)
			require.NoError(t, err, what)
		}
		if p.step > 0 {
			last, err := f.Checkpoints("train").Latest(t.Context())
			require.NoError(t, err, what)
			require.GreaterOrEqual(t, last.Step, p.step, what)
			steps := int64(0)
			for l, err := range f.Lines("train", run.Metrics) {
				require.NoError(t, err, what)
				if steps = l.Step; steps == p.step {
					break
				}
			}
			require.Equal(t, p.step, steps, "%s: the log is as long as the checkpoint wants it", what)
		}
	}
	goesOn(t, dir, want, what)
}

// goesOn runs the program in a folder as a crash left it.
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
// power failure. What was reported as done is never lost, and what comes out in the
// end is the same, bit for bit.
func TestEveryCrash(t *testing.T) {
	want, j := recorded(t)
	require.Equal(t, promised{2, map[string]bool{"data/vocabulary": true, "stages/train/progress": true, "stages/train/result": true}}, promises(j, j.Len()))
	defer durabletest.SkipSyncs()()
	crashes := 0
	for n := range j.Len() + 1 {
		for _, s := range j.States(n) {
			afterCrash(t, s, promises(j, n), want, fmt.Sprint(n, " calls, then ", s.Name))
			crashes++
		}
	}
	t.Logf("%d crashes in %d calls", crashes, j.Len())
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
		cause := []error{syscall.ENOSPC, syscall.EROFS, syscall.EIO}[n%3]
		fail(n, cause, false)
		fail(n, cause, true)
	}
}

// TestTwoCrashes: a process that goes on after a kill does not take for safe what the
// killed one had not synced yet.
func TestTwoCrashes(t *testing.T) {
	want, first := recorded(t)
	crashes := 0
	after := func(n int) {
		root := t.TempDir()
		require.NoError(t, first.States(n)[0].Write(root))
		j, stop := first.Continue(n, root)
		err := program(t.Context(), config(filepath.Join(root, "runs", "a"), 2), 2, 1)
		stop()
		require.NoError(t, err)
		defer durabletest.SkipSyncs()()
		for m := j.Len(); m > n; m -= 17 {
			for _, s := range j.States(m) {
				afterCrash(t, s, promises(j, m), want, fmt.Sprint(n, " calls, then ", m, ", then ", s.Name))
				crashes++
			}
		}
	}
	for n := range first.Len() {
		if op := first.Call(n).Op; op == durable.OpMkdir || op != durable.OpSync && n%4 == 0 {
			after(n + 1) // the call is made, and not what follows
		}
	}
	t.Logf("%d second crashes", crashes)
}
