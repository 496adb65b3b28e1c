package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval/posir"
	"github.com/stepwise-rl/stepwise/relevance/posirdata"
	"github.com/stepwise-rl/stepwise/rl/run"
)

func TestRunHelp(t *testing.T) {
	checkHelp(t, "run", "check")
	checkHelp(t, "run", "diff")
	checkHelp(t, "run", "show")
}

// runFolder makes a run with metrics of so many training steps.
func runFolder(t *testing.T, seed uint64, steps int64) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	w, err := run.Start(run.Config{
		Dir: dir, Settings: map[string]any{"lr": 0.5}, Seed: seed,
		Data: map[string]string{"train": "0123456789abcdef"}, Info: map[string]string{"command": "train -x"},
	})
	require.NoError(t, err)
	stage, err := w.Stage("train")
	require.NoError(t, err)
	_, err = stage.Resume(t.Context(), nil)
	require.NoError(t, err)
	for step := range steps {
		require.NoError(t, stage.Record(step+1, map[string]float64{"loss": 1 / float64(step+1), "time/update_s": float64(seed), "engine/busy": float64(seed)}))
	}
	require.NoError(t, w.WriteArtefact("report.html", []byte("<p>done")))
	require.NoError(t, w.Close())
	return dir
}

func TestRunShow(t *testing.T) {
	dir := runFolder(t, 7, 2000)
	status, out, errs := stepwise("", "run", "show", dir)
	require.Zero(t, status, errs)
	for name, want := range map[string]string{
		"writing": "nobody", "seed": "7", "data": "train 0123456789ab…", "command": "train -x",
		"metrics": "2,000 lines, the last of step 2,000", "loss": "0.0005", "report.html": "7 bytes",
	} {
		require.Equal(t, want, field(t, out, name), name)
	}
	require.Contains(t, out, "\"lr\": 0.5")
	status, _, errs = stepwise("", "run", "show", t.TempDir())
	require.Equal(t, exitInput, status)
	require.Contains(t, errs, "it holds no run: run.json is missing")
}

func TestRunDiff(t *testing.T) {
	a, b := runFolder(t, 1, 3), runFolder(t, 1, 3)
	status, out, errs := stepwise("", "run", "diff", a, b)
	require.Zero(t, status, errs)
	require.Contains(t, out, "the runs are equal in settings, data and seed, in the metrics")
	b = runFolder(t, 2, 2)
	status, out, errs = stepwise("", "run", "diff", a, b)
	require.Equal(t, exitInput, status)
	require.Equal(t, "seed: 1 and 2\nstage train: metrics end after 2 steps, and go on only in "+a+"\n", out)
	require.Equal(t, "stepwise run diff: the runs differ\n", errs)
}

func TestRunCheck(t *testing.T) {
	dir := runFolder(t, 1, 3)
	status, out, errs := stepwise("", "run", "check", dir)
	require.Zero(t, status, errs)
	require.Equal(t, "all is as it was written\n", out)

	report := filepath.Join(dir, "report.html")
	require.NoError(t, os.WriteFile(report, []byte("<p>gone"), 0o666))
	status, out, errs = stepwise("", "run", "check", dir)
	require.Equal(t, exitInput, status)
	require.True(t, strings.HasPrefix(out, "report.html: run: "+report+" is damaged: its SHA-256 is not the one in artefacts.json\n"), out)
	require.Contains(t, out, "  -repair would set it aside")
	require.Equal(t, "stepwise run check: not all is as it was written\n", errs)
	require.FileExists(t, report)

	status, out, errs = stepwise("", "run", "check", dir, "-repair") // flags may come last
	require.Zero(t, status, errs)
	require.Contains(t, out, "  done: set it aside")
	require.NoFileExists(t, report)
	status, out, errs = stepwise("", "run", "check", "-repair", dir)
	require.Zero(t, status, errs)
	require.Equal(t, "all is as it was written\n", out)
}

func TestRunUsage(t *testing.T) {
	for _, args := range [][]string{{"run"}, {"run", "nonsense"}, {"run", "check"}, {"run", "diff", "a"}, {"run", "show", "a", "b"}, {"run", "check", "-nonsense", "a"}} {
		status, _, errs := stepwise("", args...)
		require.Equal(t, exitUsage, status, args)
		require.NotEmpty(t, errs)
	}
}

// A full disk is an error also for those who print what they found.
func TestOutputThatCannotBeWritten(t *testing.T) {
	a, b := runFolder(t, 1, 3), runFolder(t, 1, 3)
	documents := filepath.Join(t.TempDir(), "documents")
	plain := &posir.Built{Documents: posir.Generate(8, 1)}
	require.NoError(t, posirdata.Write(documents, &plain.Benchmark, plain.Corpus()))
	for _, args := range [][]string{
		{"run", "check", a}, {"run", "diff", a, b}, {"run", "show", a},
		{"posir", "build", filepath.Join(documents, "corpus.jsonl"), filepath.Join(documents, "built")},
	} {
		var errs strings.Builder
		require.Equal(t, exitInput, dispatch("stepwise", commands, args, nil, full{}, &errs), args)
		require.Equal(t, "stepwise "+args[0]+" "+args[1]+": no space left\n", errs.String())
	}
}
