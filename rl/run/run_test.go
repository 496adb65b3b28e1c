package run_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/internal/durable/durabletest"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	"github.com/stepwise-rl/stepwise/rl/run"
)

// childDir is the environment variable that makes the test program write the run in
// the folder that it names, until it is killed.
const childDir = "STEPWISE_RUN_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		w, err := run.Resume(config(dir, 2))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("writing")
		_, _ = bufio.NewReader(os.Stdin).ReadByte() // until the test ends
		w.Close()
		return
	}
	goleak.VerifyTestMain(m)
}

// whole returns the folder of a run that has ended.
func whole(t *testing.T, steps, every int64) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	require.NoError(t, program(t.Context(), config(dir, steps), steps, every))
	return dir
}

func mustRead(t *testing.T, dir string) outcome {
	t.Helper()
	o, err := read(t.Context(), dir)
	require.NoError(t, err)
	return o
}

// interrupted returns the folder of a run of 6 training steps, saved every 2, that was
// stopped in the fifth.
func interrupted(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	w, err := run.Start(config(dir, 6))
	require.NoError(t, err)
	stage, err := w.Stage("train")
	require.NoError(t, err)
	require.Equal(t, "train", stage.Name())
	tr, err := trainer(stage, newTable(stage.Checkpoints().Dir), 6, 2, nil)
	require.NoError(t, err)
	found, err := stage.Resume(t.Context(), tr)
	require.NoError(t, err)
	require.False(t, found)
	for range 5 {
		_, err := tr.Step(t.Context())
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return dir
}

// logger returns a logger and what it wrote.
func logger() (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, nil)), &b
}

func TestResumeCutsTheLogsToTheCheckpoint(t *testing.T) {
	want := mustRead(t, whole(t, 6, 2))
	dir := interrupted(t)
	lines := strings.Count(mustRead(t, dir).Logs[run.Metrics], "\n")
	require.Equal(t, 5, lines)
	c := config(dir, 6)
	var log *bytes.Buffer
	c.Logger, log = logger()
	require.NoError(t, program(t.Context(), c, 6, 2))
	require.Contains(t, log.String(), "metrics.jsonl step=4 lines_cut=1 torn_lines_cut=0")
	require.Contains(t, log.String(), "rollouts.jsonl step=4 lines_cut=3 torn_lines_cut=0")
	require.Equal(t, want, mustRead(t, dir))
}

// A loop that a signal ends between two steps saves the last one, and none twice.
func TestAStepIsSavedOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	for _, process := range []struct {
		stop int64 // the step in which the signal comes; 0 = before the first
		want []string
	}{
		{4, []string{"000001-step-2", "000002-step-4"}},
		{0, []string{"000001-step-2", "000002-step-4"}},
		{5, []string{"000002-step-4", "000003-step-5"}},
		{9, []string{"000003-step-5", "000004-step-6"}},
		{9, []string{"000003-step-5", "000004-step-6"}},
	} {
		c := config(dir, 6)
		c.Keep.Last = 2
		w, err := run.Resume(c)
		if errors.Is(err, run.ErrNoRun) {
			w, err = run.Start(c)
		}
		require.NoError(t, err)
		stage, err := w.Stage("train")
		require.NoError(t, err)
		tr, err := trainer(stage, newTable(stage.Checkpoints().Dir), 6, 2, nil)
		require.NoError(t, err)
		_, err = stage.Resume(t.Context(), tr)
		require.NoError(t, err)

		ctx, cancel := context.WithCancel(t.Context())
		if process.stop == 0 {
			cancel()
		}
		for ctx.Err() == nil && tr.Steps() < 6 {
			_, err := tr.Step(context.WithoutCancel(ctx))
			require.NoError(t, err)
			if tr.Steps() == process.stop {
				cancel()
			}
		}
		cancel()
		require.NoError(t, stage.Save(context.WithoutCancel(ctx), tr))

		list, err := stage.Checkpoints().List()
		require.NoError(t, err)
		var names []string
		for _, c := range list {
			names = append(names, c.Name)
		}
		require.Equal(t, process.want, names)
		require.NoError(t, w.Close())
	}
	require.Equal(t, mustRead(t, whole(t, 6, 2)).Logs, mustRead(t, dir).Logs)
}

// A stage that was stopped before its first checkpoint has no lines to keep.
func TestWithoutACheckpointTheLogsAreEmptied(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	for range 2 {
		w, err := run.Resume(config(dir, 2))
		if errors.Is(err, run.ErrNoRun) {
			w, err = run.Start(config(dir, 2))
		}
		require.NoError(t, err)
		stage, err := w.Stage("train")
		require.NoError(t, err)
		_, err = stage.Resume(t.Context(), nil)
		require.NoError(t, err)
		for step := range int64(3) {
			require.NoError(t, stage.Record(step+1, map[string]float64{"loss": math.Inf(1), "x": 0.5}))
		}
		require.NoError(t, w.Close())
	}
	f, err := run.Open(dir)
	require.NoError(t, err)
	var steps []int64
	for l, err := range f.Lines("train", run.Metrics) {
		require.NoError(t, err)
		steps = append(steps, l.Step)
		require.Equal(t, `{"loss":null,"x":0.5}`, string(l.Data))
		m, err := run.ParseMetrics(l)
		require.NoError(t, err)
		require.True(t, math.IsNaN(m["loss"]))
		require.Equal(t, 0.5, m["x"])
	}
	require.Equal(t, []int64{1, 2, 3}, steps)
}

func TestATornTailIsCut(t *testing.T) {
	want := mustRead(t, whole(t, 6, 2))
	for _, tail := range []string{`{"step":6,"data`, "\x00\x00\x00\x00", "\x00\x00\n{\"step\":5", "\n"} {
		dir := interrupted(t)
		path := filepath.Join(dir, "stages", "train", "metrics.jsonl")
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, append(text, tail...), 0o666))
		c := config(dir, 6)
		var log *bytes.Buffer
		c.Logger, log = logger()
		require.NoError(t, program(t.Context(), c, 6, 2))
		require.Contains(t, log.String(), "cutting a log")
		require.Equal(t, want, mustRead(t, dir))
	}
}

func TestAFolderCanBeCopied(t *testing.T) {
	want := mustRead(t, whole(t, 6, 2))
	dir := interrupted(t)
	to := filepath.Join(t.TempDir(), "elsewhere", "copy")
	require.NoError(t, os.CopyFS(to, os.DirFS(dir)))
	require.NoError(t, os.RemoveAll(dir))
	text, err := os.ReadFile(filepath.Join(to, "stages", "train", "checkpoints", "000002-step-4.manifest.json"))
	require.NoError(t, err)
	require.NotContains(t, string(text), dir)
	require.NoError(t, program(t.Context(), config(to, 6), 6, 2))
	require.Equal(t, want, mustRead(t, to))
}

func TestOtherSettingsAreAnErrorThatNamesThem(t *testing.T) {
	dir := interrupted(t)
	before := mustRead(t, dir)
	c := config(dir, 6)
	c.Seed, c.Settings, c.Data = 4, settings{LR: 0.5, Steps: 6}, map[string]string{"problems": "d2", "test": "d3"}
	c.Info = map[string]string{"command": "another"} // may differ
	_, err := run.Resume(c)
	var different *run.DifferenceError
	require.ErrorAs(t, err, &different)
	require.EqualError(t, err, "run: "+dir+` was started with something else:
  data.problems is now "d2", the run has "d1"
  data.test is now "d3", the run has none
  seed is now 4, the run has 3
  settings.lr is now 0.5, the run has 1`)
	c = config(dir, 6)
	c.Data = nil
	_, err = run.Resume(c)
	require.EqualError(t, err, "run: "+dir+" was started with something else:\n  data.problems is now missing, the run has \"d1\"")
	require.Equal(t, before, mustRead(t, dir))
	_, err = run.Start(config(dir, 6))
	require.ErrorIs(t, err, run.ErrBegun)
	_, err = run.Resume(config(t.TempDir(), 6))
	require.ErrorIs(t, err, run.ErrNoRun)
}

// A checkpoint that somebody copied from another run is not gone on from.
func TestACheckpointOfAnotherRunIsRefused(t *testing.T) {
	dir, other := interrupted(t), whole(t, 2, 1)
	store := filepath.Join(dir, "stages", "train", "checkpoints")
	require.NoError(t, os.RemoveAll(store))
	require.NoError(t, os.CopyFS(store, os.DirFS(filepath.Join(other, "stages", "train", "checkpoints"))))
	require.ErrorContains(t, program(t.Context(), config(dir, 6), 6, 2), "the checkpoint is of another run")
}

// TestAMistakeInTheFirstCommandBlocksNothing: until a stage has left something there
// is nothing to protect.
func TestAMistakeInTheFirstCommandBlocksNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	c := config(dir, 2)
	c.Keep = checkpoint.Keep{Last: -1}
	_, err := run.Start(c)
	require.ErrorContains(t, err, "run: Config.Keep")
	require.NoDirExists(t, dir)

	for _, begin := range []func(run.Config) (*run.Writer, error){run.Start, run.Start, run.Resume} {
		c := config(dir, 99)
		c.Seed = 98
		w, err := begin(c)
		require.NoError(t, err)
		require.NoError(t, w.WriteArtefact("data/vocabulary", []byte("of a mistake")))
		stage, err := w.Stage("train")
		require.NoError(t, err)
		_, err = stage.Resume(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, w.Close()) // the program fails before its first step
	}
	w, err := run.Start(config(dir, 2))
	require.NoError(t, err)
	_, err = w.Artefact("data/vocabulary")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, w.Close())
	require.NoError(t, program(t.Context(), config(dir, 2), 2, 1))
	require.Equal(t, mustRead(t, whole(t, 2, 1)), mustRead(t, dir))
}

// TestStagesWithoutAManifest: a run whose run.json was lost is not taken for a new folder
// and emptied.
func TestStagesWithoutAManifest(t *testing.T) {
	dir := interrupted(t)
	path := filepath.Join(dir, "run.json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	_, err = run.Start(config(dir, 6))
	require.EqualError(t, err, "run: "+dir+" has stages but no run.json: put that back, or choose another folder")
	require.NoError(t, os.WriteFile(path, text, 0o666))
	require.NoError(t, program(t.Context(), config(dir, 6), 6, 2))
	require.Equal(t, mustRead(t, whole(t, 6, 2)), mustRead(t, dir))
}

// TestAStepIsRecordedOnce: also one that an earlier process has recorded.
func TestAStepIsRecordedOnce(t *testing.T) {
	dir := interrupted(t)
	w, err := run.Resume(config(dir, 6))
	require.NoError(t, err)
	defer w.Close()
	stage, err := w.Stage("train")
	require.NoError(t, err)
	tr, err := trainer(stage, newTable(stage.Checkpoints().Dir), 6, 2, nil)
	require.NoError(t, err)
	found, err := stage.Resume(t.Context(), tr)
	require.NoError(t, err)
	require.True(t, found)
	require.ErrorContains(t, stage.Record(4, nil), "metrics of step 4 after those of step 4")
	require.NoError(t, stage.Record(5, nil))
}

// TestASecondWriter learns who the first is and changes nothing; readers are let in.
func TestASecondWriter(t *testing.T) {
	dir := interrupted(t)
	want := mustRead(t, dir)
	w, err := run.Resume(config(dir, 6))
	require.NoError(t, err)
	_, err = run.Resume(config(dir, 6))
	require.ErrorIs(t, err, run.ErrInUse)
	require.ErrorContains(t, err, fmt.Sprintf("lock is held by process %d on ", os.Getpid()))
	_, err = run.Start(config(dir, 6))
	require.ErrorIs(t, err, run.ErrInUse)
	_, err = run.Repair(t.Context(), dir)
	require.ErrorIs(t, err, run.ErrInUse)
	require.Equal(t, want, mustRead(t, dir))
	f, err := run.Open(dir)
	require.NoError(t, err)
	who, err := f.Writer()
	require.NoError(t, err)
	require.Contains(t, who, fmt.Sprint("process ", os.Getpid()))
	require.NoError(t, w.Close())
	who, err = f.Writer()
	require.NoError(t, err)
	require.Empty(t, who)
}

// TestTwoProcesses: the lock is another process's until that is killed.
func TestTwoProcesses(t *testing.T) {
	dir := whole(t, 2, 1)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer in.Close()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "writing\n", line)
	_, err = run.Resume(config(dir, 2))
	require.ErrorIs(t, err, run.ErrInUse)
	require.ErrorContains(t, err, fmt.Sprintf("held by process %d on ", cmd.Process.Pid))
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	w, err := run.Resume(config(dir, 2))
	require.NoError(t, err)
	require.NoError(t, w.Close())
}

func TestArtefacts(t *testing.T) {
	w, err := run.Start(config(t.TempDir(), 2))
	require.NoError(t, err)
	defer w.Close()
	_, err = w.Artefact("report.html")
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, text := range []string{"one", "", "three"} {
		require.NoError(t, w.WriteArtefact("report.html", []byte(text)))
		got, err := w.Artefact("report.html")
		require.NoError(t, err)
		require.Equal(t, text, string(got))
	}
	for _, name := range []string{"", ".", "../x", "/x", "a//b", ".hidden", "run.json", "lock", "artefacts.json", "stages", "stages/a",
		"stages/train/checkpoints", "stages/train/metrics.jsonl", "stages/train/checkpoints/x", `a\b`, "a:b", "a\x00"} {
		require.ErrorContains(t, w.WriteArtefact(name, nil), "is no name for an artefact", name)
		if name != "stages" {
			_, err = w.Stage(name)
			if strings.ContainsAny(name, `/\:.`) && name != "run.json" && name != "artefacts.json" || name == "" {
				require.ErrorContains(t, err, "is no name for a stage", name)
			}
		}
	}
	path := filepath.Join(w.Dir(), "report.html")
	require.NoError(t, os.WriteFile(path, []byte("four"), 0o666))
	_, err = w.Artefact("report.html")
	require.ErrorIs(t, err, run.ErrDamaged)
	require.ErrorContains(t, err, path)
	require.NoError(t, os.Remove(path))
	_, err = w.Artefact("report.html")
	require.ErrorIs(t, err, run.ErrDamaged, "it was there")
}

func TestMisuse(t *testing.T) {
	w, err := run.Start(config(t.TempDir(), 2))
	require.NoError(t, err)
	stage, err := w.Stage("train")
	require.NoError(t, err)
	require.ErrorContains(t, stage.Record(1, nil), "Resume comes first")
	require.ErrorContains(t, stage.Save(t.Context(), nil), "Resume comes first")
	_, err = stage.Resume(t.Context(), nil)
	require.NoError(t, err)
	require.ErrorContains(t, stage.Record(0, nil), "steps count from 1")
	require.NoError(t, stage.Record(7, nil))
	require.ErrorContains(t, stage.Record(7, nil), "metrics of step 7 after those of step 7")
	require.ErrorContains(t, stage.Append(run.Metrics, 6, nil), "do not go back")
	require.ErrorContains(t, stage.Append("x", 7, func() {}), "unsupported type")
	require.ErrorContains(t, stage.Append("../x", 7, 1), "is no name for a log")
	require.NoError(t, w.Close())
	require.ErrorContains(t, stage.Record(8, nil), "Resume comes first")

	_, err = run.Start(run.Config{})
	require.ErrorContains(t, err, "run: Config.Dir is empty")
	_, err = run.Start(run.Config{Dir: t.TempDir(), Settings: math.NaN()})
	require.ErrorContains(t, err, "run: Config.Settings: json")
}

// TestAfterAFailedWriteTheLogIsWhole: half a line gets no other behind it.
func TestAfterAFailedWriteTheLogIsWhole(t *testing.T) {
	w, err := run.Start(config(t.TempDir(), 2))
	require.NoError(t, err)
	defer w.Close()
	stage, err := w.Stage("train")
	require.NoError(t, err)
	_, err = stage.Resume(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, stage.Record(1, map[string]float64{"loss": 1}))
	stop := durabletest.Fail(0, syscall.ENOSPC, false)
	err = stage.Record(2, map[string]float64{"loss": 2})
	stop()
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, stage.Record(2, map[string]float64{"loss": 3}))
	var got []string
	for l, err := range w.Lines("train", run.Metrics) {
		require.NoError(t, err)
		got = append(got, string(l.Data))
	}
	require.Equal(t, []string{`{"loss":1}`, `{"loss":3}`}, got)

	stop = durabletest.Fail(0, syscall.EIO, true) // it cannot be cut either
	err = stage.Record(3, nil)
	stop()
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorIs(t, stage.Record(3, nil), syscall.EIO)
}

func TestDigestPath(t *testing.T) {
	digest := func(path string) string {
		d, err := run.DigestPath(t.Context(), path)
		require.NoError(t, err)
		return d
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	require.NoError(t, os.WriteFile(file, []byte("abc"), 0o666)) // FIPS 180-2's example
	require.Equal(t, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", digest(file))
	one := digest(dir)
	require.NoError(t, os.Rename(file, filepath.Join(dir, "g")))
	require.NotEqual(t, one, digest(dir), "another name")
	require.NoError(t, os.Rename(filepath.Join(dir, "g"), file))
	require.Equal(t, one, digest(dir))
	require.NoError(t, os.WriteFile(file, []byte("abd"), 0o666))
	require.NotEqual(t, one, digest(dir), "another content")
	links := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(links, "of files"), 0o777))
	require.NoError(t, os.Symlink(file, filepath.Join(links, "of files", "f")))
	require.NoError(t, os.Symlink(dir, filepath.Join(links, "of the folder")))
	require.Equal(t, digest(dir), digest(filepath.Join(links, "of files")))
	require.Equal(t, digest(dir), digest(filepath.Join(links, "of the folder")))
	_, err := run.DigestPath(t.Context(), file+"2")
	require.ErrorIs(t, err, fs.ErrNotExist)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = run.DigestPath(ctx, dir)
	require.ErrorIs(t, err, context.Canceled)
}
