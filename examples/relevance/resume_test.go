package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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
}

func readRun(t *testing.T, dir string) outcomeOfRun {
	t.Helper()
	f, out := folder{dir}, outcomeOfRun{stages: map[string]*stageResult{}}
	for _, name := range []string{"baseline", "warmup", "rl-outcome", "rl-mask", "distill"} {
		r := &stageResult{}
		found, err := f.readJSON(r, "stages", name+".json")
		require.NoError(t, err)
		require.True(t, found, name)
		r.Seconds, r.Checkpoint = 0, ""
		for _, s := range r.Tests {
			s.TokensPerSecond = 0
		}
		out.stages[name] = r
	}
	require.NoError(t, readLines(f, "metrics.jsonl", func(l metricsLine) {
		delete(l.Metrics, "time/collect_s")
		delete(l.Metrics, "time/update_s")
		out.metrics = append(out.metrics, l)
	}))
	require.NoError(t, readLines(f, "rollouts.jsonl", func(rolloutLine) { out.answers++ }))
	return out
}

func TestAnInterruptedRunEndsAsAWholeOne(t *testing.T) {
	if testing.Short() {
		t.Skip("two smoke runs")
	}
	o := options{Quick: true, Seed: 3, Credit: "mask", Backend: "cpu"}

	whole := o
	whole.Out = filepath.Join(t.TempDir(), "whole")
	require.NoError(t, run(t.Context(), whole, io.Discard))

	parts := o
	parts.Out = filepath.Join(t.TempDir(), "parts")
	for _, text := range []string{" 100/160", "outcome-only credit", "step credit: mask", "beliefs", " 4/16"} {
		ctx, cancel := context.WithCancel(t.Context())
		err := run(ctx, parts, &cancelOn{text: text, cancel: cancel})
		cancel()
		var interrupted *interruptedError
		require.True(t, errors.As(err, &interrupted), "%q: %v", text, err)
		parts.Resume = true
	}
	require.NoError(t, run(t.Context(), parts, io.Discard))
	require.Equal(t, readRun(t, whole.Out), readRun(t, parts.Out))
}

func TestRunFolderIsNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, folder{dir}.writeJSON(options{}, "run.json"))
	err := run(t.Context(), options{Out: dir, Credit: "mask", Backend: "cpu"}, io.Discard)
	require.ErrorContains(t, err, "-resume")
	err = run(t.Context(), options{Out: t.TempDir(), Resume: true, Credit: "mask", Backend: "cpu"}, io.Discard)
	require.ErrorContains(t, err, "run.json is missing")
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
