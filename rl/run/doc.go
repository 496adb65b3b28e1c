// Package run keeps everything of a training run in one folder: what it was started
// with, its logs, results and checkpoints. A run that was stopped anywhere, or whose
// machine was, goes on bit for bit, and nothing is written twice.
//
//	w, err := run.Start(run.Config{Dir: "runs/a", Settings: settings, Data: data, Seed: 1})
//	defer w.Close()
//	stage, err := w.Stage("train")
//	policy, err := local.NewPolicy(local.PolicyConfig{Decoder: decoder, Dir: stage.Checkpoints().Dir})
//	trainer, err := rl.NewTrainer(rl.Config{
//		Policy:          policy,
//		Recorder:        stage,
//		CheckpointEvery: 20,
//		Checkpoint: func(ctx context.Context, t *rl.Trainer) error {
//			return stage.Save(ctx, t)
//		},
//		// ...
//	})
//	found, err := stage.Resume(ctx, trainer) // always, also in a new run
//	err = trainer.Run(ctx)
//
// To go on with a run, call [Resume] in place of [Start]. To read one, at any time,
// call [Open].
//
// # What is in the folder
//
//	run.json                  what the run is: settings, digests of data, seed
//	lock                      which process writes
//	artefacts.json            sizes and checksums of the artefacts
//	NAME                      an artefact: a tokenizer, a result, a report
//	stages/NAME/LOG.jsonl     a log of a stage: metrics.jsonl, rollouts.jsonl, …
//	stages/NAME/checkpoints/  its checkpoints (package rl/checkpoint)
//
// A run has one stage or several, such as a warm-up and what follows it. Paths are
// relative, so a folder can be moved or copied, and both copies go on. Nobody but
// this package, and the policy in its directory of checkpoints, writes there.
//
// # One writer, many readers
//
// The writer holds a lock, which ends with its process. A second writer gets
// [ErrInUse] and learns which process is first. Readers need no lock.
//
// # Logs and checkpoints agree
//
// A line of a log has the training step that it is about, and a checksum:
//
//	{"step":7,"data":{"loss":0.25},"crc":"0a1b2c3d"}
//
// [Stage.Save] syncs the logs before the checkpoint gets its name; [Stage.Resume]
// cuts them to the checkpoint's step. What a crash has torn lies behind that and goes
// with it. So every step is in a log once, and a stage that was stopped before its
// first checkpoint begins with empty logs.
//
// # What must not change
//
// Settings, digests of data and seed decide what comes out. Resume compares them with
// run.json and returns a [DifferenceError] that names each difference. Checkpoints
// carry their digest too. [Config].Info is recorded and not compared: paths, command
// lines, versions.
//
// A run that has not begun, which means that no stage has logged, saved or left an
// artefact, holds nothing that could be mixed. Start and Resume then write it anew,
// so that a mistake in the first command does not block the second.
//
// # Damage
//
// All that is read back has a checksum; an error names the file. A damaged checkpoint
// is skipped and named in the log. [Check] reads everything and lists what is wrong,
// [Repair] moves it out of the way. The tool is "stepwise run".
//
// Examples are in example_test.go. A program that uses it: examples/owntask.
package run
