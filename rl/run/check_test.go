package run_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	"github.com/stepwise-rl/stepwise/rl/run"
)

// edit changes a file of a run.
func edit(t *testing.T, change func([]byte) []byte, parts ...string) {
	t.Helper()
	path := filepath.Join(parts...)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, change(text), 0o666))
}

func flip(text []byte) []byte {
	text[len(text)/2] ^= 1
	return text
}

func check(t *testing.T, dir string) (found []string) {
	t.Helper()
	faults, err := run.Check(t.Context(), dir)
	require.NoError(t, err)
	for _, f := range faults {
		found = append(found, f.Path)
		require.True(t, strings.HasPrefix(f.String(), f.Path+": "))
	}
	return found
}

// TestEveryFileIsChecked: a flipped bit in any file that is read back is found, the
// file is named, and the run does not go on with it unless it can do without.
func TestEveryFileIsChecked(t *testing.T) {
	const store = "stages/train/checkpoints/000002-step-2"
	for file, without := range map[string]bool{
		"run.json":                    false,
		"artefacts.json":              false,
		"data/vocabulary":             false,
		"stages/train/result":         true, // nobody reads it to go on
		"stages/train/metrics.jsonl":  false,
		"stages/train/rollouts.jsonl": false,
		store + "/state":              false,
		store + ".manifest.json":      false,
	} {
		dir := whole(t, 2, 1)
		require.Empty(t, check(t, dir))
		edit(t, flip, dir, filepath.FromSlash(file))
		found := check(t, dir)
		require.Len(t, found, 1, file)
		require.True(t, strings.HasPrefix(file, found[0]), "%s: %s", file, found[0])
		err := program(t.Context(), config(dir, 2), 2, 1)
		if without {
			require.NoError(t, err, file)
			continue
		}
		require.ErrorIs(t, err, run.ErrDamaged, file)
		require.ErrorContains(t, err, filepath.Join(dir, filepath.FromSlash(found[0])), file)
	}
}

// meanwhile is a context in which something happens each time that it is asked for its end,
// as it is for each file that is read.
type meanwhile struct {
	context.Context
	during func()
}

func (m meanwhile) Err() error {
	m.during()
	return m.Context.Err()
}

// A run that goes on removes old checkpoints while they are being checked, and nothing of
// it is damaged.
func TestCheckOfARunThatGoesOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	c := config(dir, 6)
	c.Keep = checkpoint.Keep{Last: 1}
	w, err := run.Start(c)
	require.NoError(t, err)
	defer w.Close()
	stage, err := w.Stage("train")
	require.NoError(t, err)
	tr, err := trainer(stage, newTable(stage.Checkpoints().Dir), 6, 1, nil)
	require.NoError(t, err)
	_, err = stage.Resume(t.Context(), tr)
	require.NoError(t, err)
	step := func() { // trains, saves, and removes the checkpoint before
		_, err := tr.Step(t.Context())
		require.NoError(t, err)
	}
	step()
	for pause := range 4 { // the reads between two steps
		reads := 0
		faults, err := run.Check(meanwhile{t.Context(), func() {
			if reads++; reads == pause+1 {
				step()
			}
		}}, dir)
		require.NoError(t, err)
		require.Empty(t, faults)
	}
	require.EqualValues(t, 5, tr.Steps())
}

func TestRepair(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "run")
	c := config(dir, 6)
	c.Keep = checkpoint.Keep{Last: 3}
	require.NoError(t, program(ctx, c, 6, 2))
	want := mustRead(t, dir)
	f, err := run.Open(dir)
	require.NoError(t, err)
	metrics := filepath.Join(dir, "stages", "train", "metrics.jsonl")
	edit(t, func(text []byte) []byte { // the second line
		lines := bytes.SplitAfter(text, []byte("\n"))
		lines[1] = flip(lines[1])
		return bytes.Join(lines, nil)
	}, metrics)
	edit(t, flip, dir, "data", "vocabulary")
	last, err := f.Checkpoints("train").Latest(ctx)
	require.NoError(t, err)
	edit(t, flip, last.Ref, "state")

	faults, err := run.Repair(ctx, dir)
	require.NoError(t, err)
	require.Len(t, faults, 3)
	for _, fault := range faults {
		require.NotEmpty(t, fault.Remedy, fault.Path)
	}
	require.FileExists(t, metrics+".damaged")
	require.FileExists(t, filepath.Join(dir, "data", "vocabulary.damaged"))
	require.Equal(t, []string{"stages/train/metrics.jsonl"}, check(t, dir), "a line is missing, and that is not mended")

	require.NoError(t, program(ctx, c, 6, 2))
	got := mustRead(t, dir)
	require.Equal(t, want.Policy, got.Policy)
	require.Equal(t, want.Artefacts, got.Artefacts, "made again")
	require.Equal(t, want.Logs[run.Rollouts], got.Logs[run.Rollouts])
	require.Equal(t, 5, strings.Count(got.Logs[run.Metrics], "\n"))
}

// A torn line is what a crash leaves, and no fault of a run that is being written.
func TestCheckOfATornLine(t *testing.T) {
	dir := interrupted(t)
	path := filepath.Join(dir, "stages", "train", "metrics.jsonl")
	edit(t, func(text []byte) []byte { return append(text, `{"step":6,`...) }, path)
	require.Equal(t, []string{"stages/train/metrics.jsonl"}, check(t, dir))
	f, err := run.Open(dir)
	require.NoError(t, err)
	n := 0
	for _, err := range f.Lines("train", run.Metrics) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 5, n)
	faults, err := run.Repair(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, "cut them", faults[0].Remedy)
	require.Empty(t, check(t, dir))
}

func TestLostLinesAreFound(t *testing.T) {
	dir := whole(t, 2, 1)
	edit(t, func(text []byte) []byte { return text[:bytes.IndexByte(text, '\n')+1] }, dir, "stages", "train", "metrics.jsonl")
	require.NoError(t, os.Remove(filepath.Join(dir, "stages", "train", "rollouts.jsonl")))
	faults, err := run.Check(t.Context(), dir)
	require.NoError(t, err)
	require.Len(t, faults, 2)
	require.Equal(t, "stages/train/metrics.jsonl: it has 1 lines up to step 2, and had 2 when that was saved", faults[0].String())
	require.Equal(t, "stages/train/rollouts.jsonl: it is missing, and had 6 lines when step 2 was saved", faults[1].String())
	c := config(dir, 2)
	var log *bytes.Buffer
	c.Logger, log = logger()
	require.NoError(t, program(t.Context(), c, 2, 1))
	require.Equal(t, 2, strings.Count(log.String(), "a log has lost lines"))
}

func TestCompare(t *testing.T) {
	compare := func(a, b string) []string {
		x, err := run.Open(a)
		require.NoError(t, err)
		y, err := run.Open(b)
		require.NoError(t, err)
		lines, err := run.Compare(t.Context(), x, y)
		require.NoError(t, err)
		return lines
	}
	a, b := whole(t, 2, 1), whole(t, 2, 2)
	require.Empty(t, compare(a, b), "times and the number of checkpoints do not count")
	longer := whole(t, 4, 1)
	require.Equal(t, []string{
		"settings.steps: 2 and 4",
		"stage train: metrics end after 2 steps, and go on only in " + longer,
		"stage train: the last checkpoint is of step 2 in " + a + ", of step 4 in " + longer,
		"artefact stages/train/progress: differs",
		"artefact stages/train/result: differs",
	}, compare(a, longer))
	cut := interrupted(t)
	require.Contains(t, compare(a, cut), "artefact data/vocabulary: only in "+a)
}
