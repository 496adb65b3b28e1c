// Package checkpoint keeps the checkpoints of a training run in a directory. A run can
// be stopped at any point, by a kill or a power failure too, and continues from its
// last checkpoint with the same bits.
//
//	policy, err := local.NewPolicy(local.PolicyConfig{Decoder: decoder, Dir: "run/checkpoints"})
//	store := checkpoint.Store{Dir: "run/checkpoints", Keep: checkpoint.Keep{Last: 2}}
//	trainer, err := rl.NewTrainer(rl.Config{
//		Policy:          policy,
//		CheckpointEvery: 20,
//		Checkpoint: func(ctx context.Context, t *rl.Trainer) error {
//			return store.Save(ctx, t)
//		},
//		// ...
//	})
//	found, err := store.Resume(ctx, trainer) // the last checkpoint, if there is one
//	err = trainer.Run(ctx)
//
// A warm-up or the training of a student is saved as a [Loop].
//
// # What is in the directory
//
// A checkpoint is named by its place in the order of saving and its training step.
// It consists of what the policy saved, and a manifest:
//
//	000007-step-140/               of lm/local: config.json, model.safetensors, …
//	000007-step-140.manifest.json  the trainer's state (training step, position in
//	                               the data), the step's metrics, and size and
//	                               SHA-256 of every file of the policy
//
// A checkpoint exists once its manifest does, and the manifest gets its name last, in
// one rename, after everything else is on the disk. Earlier checkpoints are removed
// only after that, each manifest first. So from the first Save on there is a complete
// checkpoint at any moment. Files that a crash leaves without a manifest are removed
// by the next Save.
//
// The last checkpoint is the last in the order of saving, not the one with the
// highest step: a run that went back to an earlier one continues from there.
//
// A run is more than its checkpoints. Package rl/run keeps them in one folder with the
// configuration, the logs and the results, and cuts the logs back to the checkpoint.
//
// # Who owns the directory
//
// The policy writes its own files, in its own format. A policy whose references
// are paths, such as lm/local's, must save in the store's directory: what it saves
// there under a checkpoint's name then belongs to the store, which checks and
// removes it. A run's directory can be moved or copied as a whole. References that
// are not paths, such as those of a policy on a server, are kept as they are and
// removed by [Store.Remove].
//
// One process at a time trains in a directory; rl/run makes sure of it. This
// package only locks during Save (the file .lock), so that no process removes what
// another is writing. Files whose names do not begin like a checkpoint's are not touched.
//
// # Damage
//
// Before anything in the trainer changes, all files of a checkpoint are checked against
// the manifest, which has a checksum of its own. An error ([ErrDamaged]) names the file
// that is missing, torn or altered. Resume then falls back to the last checkpoint that
// is whole, and says so to Store.Logger; training from there gives the same bits again.
// Damaged checkpoints do not count towards those that Keep selects, and are removed
// last.
//
// Examples are in loop_test.go and example_test.go.
package checkpoint
