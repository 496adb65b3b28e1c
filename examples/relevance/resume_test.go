package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/run"
)

// cancelOn cancels when a text is written.
type cancelOn struct {
	text   string
	cancel func()
	seen   strings.Builder
}

func (c *cancelOn) Write(p []byte) (int, error) {
	if c.seen.Write(p); strings.Contains(c.seen.String(), c.text) {
		c.cancel()
	}
	return len(p), nil
}

// outcomeOfRun is what must not depend on interruptions.
type outcomeOfRun struct {
	stages  map[string]*stageResult
	metrics []metricsLine
	answers int
	rules   map[string]ruleTally // in the report
}

var allStages = []string{"baseline", "warmup", "rl-outcome", "rl-mask", "distill"}

func readRun(t *testing.T, dir string) outcomeOfRun {
	t.Helper()
	f, err := run.Open(dir)
	require.NoError(t, err)
	out := outcomeOfRun{stages: map[string]*stageResult{}}
	for _, name := range allStages {
		r := &stageResult{}
		found, err := readJSON(f, resultFile(name), r)
		require.NoError(t, err)
		require.True(t, found, name)
		r.Seconds = 0
		for _, s := range r.Tests {
			s.TokensPerSecond = 0
		}
		out.stages[name] = r
	}
	out.metrics, err = readMetrics(f, allStages)
	require.NoError(t, err)
	for _, l := range out.metrics {
		delete(l.Metrics, "time/collect_s")
		delete(l.Metrics, "time/update_s")
	}
	answers, err := readRollouts(f, allStages)
	require.NoError(t, err)
	out.answers = len(answers)
	var r report
	_, err = readJSON(f, "report.json", &r)
	require.NoError(t, err)
	out.rules = r.Rules
	faults, err := run.Check(t.Context(), dir)
	require.NoError(t, err)
	require.Empty(t, faults)
	return out
}

// TestAnInterruptedRunEndsAsAWholeOne: it is stopped while it loads, trains, evaluates
// and distils, and its folder is copied meanwhile. Weights, metrics and counts are those
// of a run that nothing interrupted.
func TestAnInterruptedRunEndsAsAWholeOne(t *testing.T) {
	if testing.Short() {
		t.Skip("two smoke runs")
	}
	o := options{Quick: true, Seed: 3, Credit: "mask", Backend: "cpu"}

	whole := o
	whole.Out = filepath.Join(t.TempDir(), "whole")
	require.NoError(t, execute(t.Context(), whole, io.Discard))

	parts := o
	parts.Out = filepath.Join(t.TempDir(), "parts")
	for _, text := range []string{
		"run folder", " 100/160", "sampled at temperature 1", "outcome-only credit", " 6/6", "step credit: mask", "beliefs", " 4/16",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		err := execute(ctx, parts, &cancelOn{text: text, cancel: cancel})
		cancel()
		var interrupted *interruptedError
		require.True(t, errors.As(err, &interrupted), "%q: %v", text, err)
		require.Equal(t, "resume with: go run ./examples/relevance -resume -out "+parts.Out, wayOn(parts))
		copied := filepath.Join(t.TempDir(), "copy")
		require.NoError(t, os.CopyFS(copied, os.DirFS(parts.Out)))
		require.NoError(t, os.RemoveAll(parts.Out))
		parts = options{Out: copied, Resume: true} // all else is in the folder
	}
	require.NoError(t, execute(t.Context(), parts, io.Discard))
	require.Equal(t, readRun(t, whole.Out), readRun(t, parts.Out))

	a, err := run.Open(whole.Out)
	require.NoError(t, err)
	b, err := run.Open(parts.Out)
	require.NoError(t, err)
	lines, err := run.Compare(t.Context(), a, b)
	require.NoError(t, err)
	for _, line := range lines {
		require.Contains(t, line, "artefact ", "results have times")
	}

	parts.Seed, parts.Credit, parts.given = 4, "outcome", map[string]bool{"seed": true, "credit": true}
	err = execute(t.Context(), parts, io.Discard)
	require.ErrorContains(t, err, "seed is now 4, the run has 3")
	require.ErrorContains(t, err, `settings.credit is now "outcome", the run has "mask"`)
	require.NotContains(t, err.Error(), "settings.quick")
}

func TestRunFolderIsNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	w, err := run.Start(run.Config{Dir: dir})
	require.NoError(t, err)
	require.NoError(t, w.WriteArtefact(resultFile("baseline"), []byte("{}")))
	o := options{Out: dir, Credit: "mask", Backend: "cpu", Quick: true}
	require.ErrorIs(t, execute(t.Context(), o, io.Discard), run.ErrInUse)
	require.NoError(t, w.Close())
	require.ErrorIs(t, execute(t.Context(), o, io.Discard), run.ErrBegun)
	o.Out, o.Resume = t.TempDir(), true
	require.ErrorIs(t, execute(t.Context(), o, io.Discard), run.ErrNoRun)
}

// TestStoppedWhileLoading: nothing is there that a second command could stumble over.
func TestStoppedWhileLoading(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := options{Out: filepath.Join(t.TempDir(), "run"), Credit: "mask", Backend: "cpu", Quick: true}
	_, ok := errors.AsType[*interruptedError](execute(ctx, o, io.Discard))
	require.True(t, ok)
	require.NoDirExists(t, o.Out)
	require.Equal(t, "it had not begun: the same command starts it again", wayOn(o))
}

func TestOptions(t *testing.T) {
	for args, want := range map[string]string{
		"-credit nonsense": `-credit is "nonsense", want one of mask, mask-fill, step-group, outcome`,
		"-steps -1":        "-steps is -1",
		"-resume":          "needs -out",
		"surplus":          `unexpected argument "surplus"`,
	} {
		_, err := parseOptions(strings.Fields(args), io.Discard)
		require.ErrorContains(t, err, want)
	}
	o, err := parseOptions(nil, io.Discard)
	require.NoError(t, err)
	require.Equal(t, "mask", o.Credit)
	require.Contains(t, o.Out, "runs/relevance-")
}
