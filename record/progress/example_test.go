package progress_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/stepwise-rl/stepwise/record/progress"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// A bar, with the log and samples above it.
func Example() {
	bar := progress.New(os.Stderr, 500, "reward/label", "eval/reward/label")
	defer bar.Close()
	samples := progress.Samples{Every: 50, Count: 3}
	trainer, err := rl.NewTrainer(rl.Config{
		Steps:    500,
		Recorder: bar, // or record.Tee(lines, bar)
		Logger:   slog.New(slog.NewTextHandler(bar, nil)),
		OnRollouts: func(step int64, r *rl.Rollouts) error {
			_, err := io.WriteString(bar, samples.Text(step, r))
			return err
		},
		// Policy, Engine, Source and the rest.
	})
	if err != nil {
		fmt.Println(err) // they are missing here
		return
	}
	if err := trainer.Run(context.Background()); err != nil {
		panic(err)
	}
}

// Right answers with a wrong step are the samples worth reading.
func ExampleSamples() {
	rightWithWrongStep := func(c *rollout.Completion) bool {
		if len(c.Rewards) == 0 || c.Rewards[0] < 1 {
			return false
		}
		for _, s := range c.Steps {
			if s.Verdict.Wrong() {
				return true
			}
		}
		return false
	}
	samples := progress.Samples{Every: 20, Count: 1, Where: rightWithWrongStep}
	r := &rl.Rollouts{
		Requests: []rollout.Request{{ID: "query 17"}},
		Groups: []rollout.Group{{
			{Text: "(no answer)", Rewards: []float64{0}, Advantage: -0.5},
			{
				Text:    "Topic: other.\nLabel: relevant.",
				Rewards: []float64{1}, Advantage: 0.5,
				Steps: []rollout.Step{
					{Name: "topic", Start: 0, End: 4, Verdict: rollout.VerdictIncorrect},
					{Name: "label", Start: 4, End: 8, Verdict: rollout.VerdictCorrect, Final: true},
				},
				Keep: []bool{false, false, false, false, true, true, true, true},
			},
		}},
	}
	fmt.Print(samples.Text(40, r))
	// Output:
	// training step 40, problem "query 17", completion 2 of 2, reward/0 1, advantage 0.5
	//   topic  incorrect, 4 of 4 tokens masked
	//   label  correct
	//   | Topic: other.
	//   | Label: relevant.
}
