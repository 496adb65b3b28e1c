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
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// childDir is the environment variable that makes the test program train, with
// its checkpoints in the directory that it names.
const childDir = "STEPWISE_CHECKPOINT_CHILD"

const vocab = 5

// successor is a problem: after token p write p+1, then p+2, modulo the
// vocabulary. Each token is a step; the reward is the last's.
type successor int32

func (s successor) Request() (rollout.Request, error) {
	return rollout.Request{Prompt: []int32{int32(s)}, N: 4, Params: rollout.Params{Temperature: 1, MaxTokens: 2}}, nil
}

func (s successor) Judge(_ context.Context, c *rollout.Completion) error {
	for k, name := range []string{"first", "second"} {
		st := rollout.Step{Name: name, Start: k, End: k + 1, Verdict: rollout.VerdictIncorrect, Final: k == 1}
		if c.Tokens[k] == (int32(s)+int32(k)+1)%vocab {
			st.Verdict, st.Reward = rollout.VerdictCorrect, 1
		}
		c.Steps = append(c.Steps, st)
	}
	c.Rewards = []float64{c.Steps[1].Reward}
	return nil
}

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
	var err error
	source := &rl.SliceSource{Seed: 2}
	for p := range int32(vocab) {
		source.Problems = append(source.Problems, successor(p))
	}
	r.Trainer, err = rl.NewTrainer(rl.Config{
		Policy: r.policy, Engine: r.policy, Source: source,
		Estimator:       advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4}),
		Credit:          sam.Mask{},
		Objective:       objective.PPO{ClipLow: 0.2, ClipHigh: 0.28},
		Aggregation:     objective.TokenMean{},
		Batching:        rl.Batching{Prompts: 3, GroupSize: 4},
		LR:              rl.ScheduleFunc(func(step int64) float64 { return 3 / float64(1+step) }),
		Seed:            3,
		CheckpointEvery: 1,
		Checkpoint: func(ctx context.Context, t *rl.Trainer) error {
			if dir == "" {
				return nil
			}
			err := r.store.Save(ctx, t)
			afterSave(t.Steps())
			return err
		},
	})
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
