package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	rlrun "github.com/stepwise-rl/stepwise/rl/run"
)

// imitation teaches a policy two completions in turn, in 6 training steps.
func imitation(policy rl.Policy, r rl.Recorder) *rl.Imitation {
	return &rl.Imitation{
		Policy: policy, Batch: 1, Steps: 6, LR: rl.Constant{LR: 1}, Recorder: r,
		Demonstrations: func(i int) (rl.Demonstration, error) {
			return rl.Demonstration{Prompt: []int32{1}, Tokens: []int32{2, int32(3 + i%2)}}, nil
		},
	}
}

// A warm-up is saved as a trainer is. Here the two best checkpoints are kept beside the
// last.
func ExampleLoop() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	store := checkpoint.Store{Dir: dir, Keep: checkpoint.Keep{Best: 2, Metric: "loss", Lower: true}}
	policy := newTable(dir) // it saves in the same directory
	warmup := imitation(policy, nil)
	loop := &checkpoint.Loop{Weights: policy, Step: warmup.Step, Total: warmup.Steps}
	if _, err := store.Resume(ctx, loop); err != nil {
		panic(err)
	}
	if err := loop.Run(ctx, 1, store.Save); err != nil {
		panic(err)
	}
	all, err := store.List()
	if err != nil {
		panic(err)
	}
	for _, c := range all {
		fmt.Println(c.Name)
	}
	// Output:
	// 000003-step-3
	// 000005-step-5
	// 000006-step-6
}

// A warm-up that is killed after its fifth step goes on after the fourth, where it was
// saved last, and ends with the weights and the metrics of one that was not.
func TestLoopGoesOn(t *testing.T) {
	config := func() rlrun.Config { return rlrun.Config{Dir: filepath.Join(t.TempDir(), "run"), Seed: 1} }
	killed := errors.New("killed")
	// process trains until a step, in a folder that begin has opened.
	process := func(w *rlrun.Writer, err error, until int) (*table, *checkpoint.Loop, error) {
		require.NoError(t, err)
		defer w.Close()
		stage, err := w.Stage("warm-up")
		require.NoError(t, err)
		p := newTable(stage.Checkpoints().Dir)
		warmup := imitation(p, stage)
		loop := &checkpoint.Loop{Weights: p, Total: warmup.Steps, Step: func(ctx context.Context, i int) (map[string]float64, error) {
			if i == until {
				return nil, killed
			}
			return warmup.Step(ctx, i)
		}}
		_, err = stage.Resume(t.Context(), loop)
		require.NoError(t, err)
		return p, loop, loop.Run(t.Context(), 2, stage.Save)
	}
	metrics := func(dir string) (lines []string) {
		f, err := rlrun.Open(dir)
		require.NoError(t, err)
		for line, err := range f.Lines("warm-up", rlrun.Metrics) {
			require.NoError(t, err)
			lines = append(lines, fmt.Sprintf("%d %s", line.Step, line.Data))
		}
		return lines
	}
	whole, parts := config(), config()
	w, err := rlrun.Start(whole)
	want, _, err := process(w, err, -1)
	require.NoError(t, err)

	w, err = rlrun.Start(parts)
	_, loop, err := process(w, err, 5)
	require.ErrorIs(t, err, killed)
	require.EqualValues(t, 5, loop.Steps())
	_, err = loop.Save(t.Context(), "x")
	require.ErrorContains(t, err, "ended midway")
	w, err = rlrun.Resume(parts)
	got, loop, err := process(w, err, 3)
	require.NoError(t, err, "steps that were saved are not taken again")
	require.EqualValues(t, 6, loop.Steps())
	require.Equal(t, want.state(), got.state())
	require.Equal(t, metrics(whole.Dir), metrics(parts.Dir))
	require.Len(t, metrics(parts.Dir), 6)

	w, err = rlrun.Resume(parts)
	got, _, err = process(w, err, 0)
	require.NoError(t, err, "nothing is left")
	require.Equal(t, want.state(), got.state())
}

func TestLoopStates(t *testing.T) {
	p := newTable(t.TempDir())
	m := imitation(p, nil)
	loop := &checkpoint.Loop{Weights: p, Step: m.Step, Total: m.Steps}
	saved, err := loop.Save(t.Context(), "start")
	require.NoError(t, err)
	require.JSONEq(t, fmt.Sprintf(`{"policy":%q,"done":0}`, filepath.Join(p.dir, "start")), string(saved), "there are run folders with it")
	for saved, want := range map[string]string{
		`{"policy":"x"`:              "unexpected end",
		`{"policy":"x","step":3}`:    "no field done: another training saved it",
		`{"policy":"x","done":7}`:    "it has taken 7 steps, want 0 to Loop.Total, 6",
		`{"policy":"none","done":3}`: "loading the weights: ",
	} {
		require.ErrorContains(t, loop.Restore(t.Context(), []byte(saved)), want)
	}
	_, err = loop.Save(t.Context(), "x")
	require.ErrorContains(t, err, "ended midway", "the weights may be half loaded")
	require.ErrorContains(t, loop.Run(t.Context(), 1, nil), "ended midway")
	require.NoError(t, loop.Restore(t.Context(), saved))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, loop.Run(ended, 1, nil), context.Canceled)
	require.Zero(t, loop.Steps())
}

// A loop that is stopped says how far it came, and from where it will go on.
func TestLoopSaysWhereItStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := newTable(t.TempDir())
	loop := &checkpoint.Loop{Weights: p, Total: 6, Step: func(_ context.Context, i int) (map[string]float64, error) {
		if i == 5 {
			cancel()
		}
		return nil, ctx.Err()
	}}
	var saved []byte
	err := loop.Run(ctx, 2, func(ctx context.Context, c checkpoint.Training) (err error) {
		saved, err = c.Save(ctx, "x")
		return err
	})
	require.ErrorIs(t, err, context.Canceled)
	require.EqualError(t, err, "checkpoint: stopped after step 5 of 6; resumed, the loop goes on after step 4: context canceled")
	loop = &checkpoint.Loop{Weights: p, Total: 6}
	require.NoError(t, loop.Restore(t.Context(), saved))
	require.EqualError(t, loop.Run(ctx, 2, nil), "checkpoint: stopped after step 4 of 6; resumed, the loop goes on after step 4: context canceled")
}

// A save that failed, the last one too, is made up for by the next Run.
func TestLoopSavesAgain(t *testing.T) {
	step := func(context.Context, int) (map[string]float64, error) { return nil, nil }
	loop := &checkpoint.Loop{Weights: newTable(t.TempDir()), Step: step, Total: 6}
	full := errors.New("no space left")
	var saved []int64
	save := func(err error) func(context.Context, checkpoint.Training) error {
		return func(_ context.Context, c checkpoint.Training) error {
			saved = append(saved, c.Steps())
			return err
		}
	}
	require.ErrorIs(t, loop.Run(t.Context(), 4, save(full)), full)
	require.ErrorIs(t, loop.Run(t.Context(), 5, save(full)), full, "step 4 is no longer due")
	require.NoError(t, loop.Run(t.Context(), 5, save(nil)))
	require.NoError(t, loop.Run(t.Context(), 5, save(nil)), "nothing is left")
	require.Equal(t, []int64{4, 5, 5, 6}, saved)
	loop.Total = 7
	require.ErrorIs(t, loop.Run(t.Context(), 0, save(full)), full)
	require.NoError(t, loop.Run(t.Context(), 0, save(nil)))
	require.Equal(t, []int64{4, 5, 5, 6, 7, 7}, saved)
}
