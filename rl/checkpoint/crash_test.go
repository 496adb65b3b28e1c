package checkpoint_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	"github.com/stepwise-rl/stepwise/rl/internal/toy"
)

// childDir is the environment variable that makes the test program train, with
// its checkpoints in the directory that it names.
const childDir = "STEPWISE_CHECKPOINT_CHILD"

// run is a training of a table policy, with all that a checkpoint must hold:
// weights, version, a schedule, random streams, and a shuffled source.
type run struct {
	*rl.Trainer
	store  *checkpoint.Store
	policy *table
}

func newRun(dir string, afterSave func(step int64)) (*run, error) {
	r := &run{
		store:  &checkpoint.Store{Dir: dir, Keep: checkpoint.Keep{Last: 2, Every: 16, Best: 1, Metric: "reward/0"}},
		policy: newTable(dir),
	}
	c := toy.Config(r.policy)
	c.LR = rl.ScheduleFunc(func(step int64) float64 { return 3 / float64(1+step) })
	c.CheckpointEvery = 1
	c.Checkpoint = func(ctx context.Context, t *rl.Trainer) error {
		if dir == "" {
			return nil
		}
		err := r.store.Save(ctx, t)
		afterSave(t.Steps())
		return err
	}
	var err error
	r.Trainer, err = rl.NewTrainer(c)
	return r, err
}

// child trains until it is killed, from the last checkpoint on, and prints a
// line after every save.
func child(dir string) {
	ctx := context.Background()
	r, err := newRun(dir, func(step int64) { fmt.Println("saved", step) })
	if err == nil {
		_, err = r.store.Resume(ctx, r)
	}
	if err == nil {
		err = r.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestAKilledRunGoesOnBitForBit kills a training run at random points, over and
// over. Each time the last checkpoint must be whole, and hold what a run that
// nothing interrupts has after the same step.
func TestAKilledRunGoesOnBitForBit(t *testing.T) {
	whole, err := newRun("", nil)
	require.NoError(t, err)
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(4, 5))
	last, leftovers, kills := int64(0), 0, 0
	for ; kills < 20 || leftovers == 0; kills++ {
		require.Less(t, kills, 1000, "no kill ever hit a save")
		kill(t, dir, rng)
		r, err := newRun(dir, nil)
		require.NoError(t, err)
		found, err := r.store.Resume(t.Context(), r)
		require.NoError(t, err, "after kill %d", kills)
		require.True(t, found, "the last checkpoint is lost")
		require.Greater(t, r.Steps(), last, "after kill %d", kills)
		last = r.Steps()
		for whole.Steps() < last {
			_, err := whole.Step(t.Context())
			require.NoError(t, err)
		}
		require.Equal(t, whole.policy.state(), r.policy.state(), "after kill %d, at step %d", kills, last)
		leftovers += unfinished(t, dir, r.store)
	}
	require.NotEqual(t, newTable("").Logits(0), whole.policy.Logits(0), "it learns")
	t.Logf("%d kills in %d steps, %d of which left something unfinished", kills, last, leftovers)
}

// kill runs the child until it has saved once or a few times, and kills it a
// moment later.
func kill(t *testing.T, dir string, rng *rand.Rand) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) // ends with the test, whatever happens
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for range 1 + rng.IntN(3) {
		require.True(t, lines.Scan(), "the child ended by itself")
	}
	time.Sleep(time.Duration(rng.IntN(4000)) * time.Microsecond)
	require.NoError(t, cmd.Process.Kill())
	_, err = io.Copy(io.Discard, out)
	require.NoError(t, err)
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
}

// unfinished is 1 if the directory holds anything but whole checkpoints.
func unfinished(t *testing.T, dir string, s *checkpoint.Store) int {
	list, err := s.List()
	require.NoError(t, err)
	if len(names(t, dir)) != 2*len(list) {
		return 1
	}
	return 0
}
