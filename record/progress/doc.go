// Package progress shows people how a run is going: a [Bar] with the time left, and
// [Samples] of what the policy writes.
//
//	bar := progress.New(os.Stderr, 500, "reward/label", "eval/reward/label")
//	defer bar.Close()
//	samples := progress.Samples{Every: 50, Count: 3}
//	trainer, err := rl.NewTrainer(rl.Config{
//		Steps:    500,
//		Recorder: record.Tee(lines, bar),
//		Logger:   slog.New(slog.NewTextHandler(bar, nil)), // appears above the bar
//		OnRollouts: func(step int64, r *rl.Rollouts) error {
//			_, err := io.WriteString(bar, samples.Text(step, r))
//			return err
//		},
//		// ...
//	})
//
// On a terminal the bar is one line, redrawn after each training step:
//
//	step 120/500  [####................]  24%  reward/label 0.412  3.2s/step  20m 16s left
//
// In a file or a pipe it is a new line every 10 seconds:
//
//	step 120/500  24%  reward/label 0.412  3.2s/step  20m 16s left
//
// The time left is estimated from the mean duration of the last 64 steps, with
// outliers limited. Steps from before a run was resumed do not count.
//
// The metrics themselves are kept by the recorders of package record.
//
// Examples are in example_test.go.
package progress
