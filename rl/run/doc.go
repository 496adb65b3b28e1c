// Package run keeps a training run in one folder: what it was started with, its logs,
// results and checkpoints. A run can be stopped at any point, by a kill or a power
// failure too. It then continues with the same bits as if nothing had happened, and
// its logs hold every step once.
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
// Resume cannot see where the policy saves. If its directory is not given, or not the
// store's, the first checkpoint is an error; where that comes late, have it come at once:
//
//	if !found {
//		err = stage.Save(ctx, trainer) // of step 0
//	}
//
// # Ending on a signal
//
// A signal that ends the context of Trainer.Run costs the steps since the last checkpoint. A
// loop over Trainer.Step takes the step to its end and saves it:
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
//	defer stop()
//	defer trainer.Stop() // what Async samples ahead
//	for ctx.Err() == nil && trainer.Steps() < steps {
//		_, err := trainer.Step(context.WithoutCancel(ctx))
//		if err == io.EOF { // the source has ended
//			break
//		}
//		if err != nil {
//			return err
//		}
//	}
//	return stage.Save(context.WithoutCancel(ctx), trainer)
//
// Step calls Config.Checkpoint after every CheckpointEvery-th training step, but not after
// the last one, as Run does. If it has just saved this step, Save does nothing.
//
// # A warm-up before it
//
// A policy saves in one directory, so each stage has a policy of its own; one that is
// used in both fails at the first checkpoint of the second. The second stage's begins with
// the last checkpoint of the first:
//
//	warm, err := w.Stage("warm-up")
//	policy, err := newPolicy(warm.Checkpoints().Dir)
//	imitation := rl.Imitation{Policy: policy, Recorder: warm, ...}
//	loop := &checkpoint.Loop{Weights: policy, Step: imitation.Step, Total: imitation.Steps}
//	found, err := warm.Resume(ctx, loop)
//	err = loop.Run(ctx, 50, warm.Save) // the steps that are left; none, if it was done
//	last, err := warm.Checkpoints().Latest(ctx)
//	policy, err = newPolicy(stage.Checkpoints().Dir) // of stage "train"
//	err = policy.Load(ctx, last.Ref)
//	... the trainer, and stage.Resume, as above
//
// With lm/local, Load brings AdamW's moments and the version of the weights along, so
// training goes on as with one policy. To begin with fresh moments, make the second policy
// of model.LoadDecoder(backend, last.Ref) instead.
//
// # Going on
//
// To continue a run, call [Resume] instead of [Start]. For whichever applies:
//
//	w, err := run.Resume(config)
//	if errors.Is(err, run.ErrNoRun) {
//		w, err = run.Start(config)
//	}
//
// To read a run, also while it is being written, call [Open].
//
// # What is in the folder
//
//	run.json                  what the run is: settings, digests of the data, seed
//	lock                      which process is writing
//	artefacts.json            the checksums of the artefacts
//	NAME                      an artefact: a tokenizer, a result, a report
//	stages/NAME/LOG.jsonl     a log of a stage: metrics.jsonl, rollouts.jsonl, …
//	stages/NAME/checkpoints/  its checkpoints (package rl/checkpoint)
//
// A run has one stage or several, such as a warm-up (a checkpoint.Loop) and the
// reinforcement learning after it. All paths in the folder are relative, so it can be
// moved, or copied to continue the run twice. Only this package writes there, and the
// policy in its directory of checkpoints.
//
// # One writer, many readers
//
// The writer holds a lock, which the system releases when its process ends. A second
// writer gets [ErrInUse], and the error names the process that holds the lock. Readers
// need no lock. On a file system without locks, as Lustre and NFS may be mounted, nobody
// is kept out, and Config.Logger is told.
//
// # Other recorders
//
// A [Stage] is the rl.Recorder of its metrics; package record's JSONLines is not
// needed beside it, and reads another format. TensorBoard's files get a folder of
// their own, not one in the run's:
//
//	board, err := record.OpenTensorBoard("tensorboard/a")
//	... Recorder: record.Tee(stage, board, progress.New(os.Stderr, steps)),
//	... Checkpoint: board.Sync() first, then stage.Save
//
// # Logs and checkpoints agree
//
// A line of a log names its training step and ends with a checksum:
//
//	{"step":7,"data":{"loss":0.25},"crc":"0a1b2c3d"}
//
// [Stage.Save] syncs the logs before it completes the checkpoint, and [Stage.Resume]
// cuts the logs back to the checkpoint's step. A line that a crash has torn is always
// later than that step, so it is cut off too. Thus a log has every step once, and a
// stage that was stopped before its first checkpoint starts with empty logs.
//
// # What must not change
//
// Settings, data and seed determine the result. Resume compares them (the data by
// digest) with run.json and returns a [DifferenceError] that names each difference.
// Checkpoints carry a digest of all three as well. A model that is only adapted is not
// in its checkpoints: give its folder in [Config].Data too ([DigestPath]), or other
// weights of the same shape go unnoticed. [Config].Info, for paths, command
// lines or versions, is recorded but not compared.
//
// Leave the number of training steps out of the settings, and a run that is resumed with
// a larger rl.Config.Steps trains longer. Where others follow from it, such as the Total of
// rl.WarmupCosine, a longer run is another run: begin it in another folder, whose policy
// loads the Ref of the last checkpoint, as after a warm-up. It counts its steps, and its
// schedule's, from 0.
//
// As long as no stage has logged, saved or left an artefact, the run has not begun:
// there is nothing yet that other settings could spoil. Start and Resume then write the
// folder anew, so a mistake in the first command does not get in the way of the second.
//
// # Damage
//
// Everything that is read back has a checksum, and an error names the damaged file.
// Resume skips a damaged checkpoint and says so to Config.Logger. [Check] reads
// everything and lists what is wrong; [Repair] moves damaged files aside. On the
// command line both are "stepwise run check".
//
// Examples are in example_test.go. A program that uses it: examples/owntask, where
// main starts or resumes a run, and learn has two stages in it.
package run
