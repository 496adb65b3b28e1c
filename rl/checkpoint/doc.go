// Package checkpoint keeps the checkpoints of a training run in a directory,
// so that a run which was stopped anywhere, or whose machine was, goes on from
// the last one bit for bit.
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
// The manifest makes the checkpoint: it gets its name last, in one rename, after
// everything else is on the disk. Earlier checkpoints are removed only afterwards,
// each manifest first. So there is a complete checkpoint at any moment. What a
// crash leaves without a manifest is removed by the next Save.
//
// The last checkpoint is the last in the order of saving, not the one with the
// highest step: a run that went back to an earlier one continues from there.
//
// A run has more than checkpoints. Package rl/run keeps them in one folder with the
// configuration, logs and results, and takes the logs back to the checkpoint.
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
// One process at a time trains in a directory; rl/run makes sure of it. Here only
// Save takes a lock (the file .lock), so that no process removes what another is
// just writing. Files whose names do not begin like a checkpoint's are not touched.
//
// # Damage
//
// A manifest holds its own checksum. A file that is missing, torn or altered is found
// before anything of the trainer is changed, and named ([ErrDamaged]). Resume then
// takes the checkpoint before it, which is whole, and says so in the log: training
// from there gives the same bits again. A damaged checkpoint does not count as one of
// those that Keep selects, and is removed after all others.
//
// Examples are in example_loop_test.go and example_test.go.
package checkpoint
