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
// A checkpoint is named by its place in the order of saving and its step. It is
// what the policy saved, and a manifest:
//
//	000007-step-140/               of lm/local: config.json, model.safetensors, …
//	000007-step-140.manifest.json  the trainer's state (step, random streams,
//	                               position in the data), the step's metrics, and
//	                               size and SHA-256 of every file of the policy
//
// The manifest is what makes a checkpoint: it gets its name last, in one rename,
// after all else is on the disk. Until then the earlier checkpoints are there,
// and Save removes earlier ones only afterwards, the manifest first. So there
// is a whole last checkpoint at any moment. What a crash leaves without a
// manifest is removed by the next Save.
//
// The order of saving, not the step, says which checkpoint is the last: a run
// that went back to an earlier one goes on from where it is now.
//
// # Whose directory it is
//
// The policy writes its own files, and the store has no part in how. A policy
// whose references are paths, as lm/local's, must be given the store's
// directory as its own: what it saves there under a checkpoint's name is the
// store's from then on, to check and to remove. A run's directory can be moved
// or copied as a whole. References that are no path, as those of a policy on a
// server, are kept as they are, and removed by [Store.Remove].
//
// One process uses a directory at a time. Names that do not begin as a
// checkpoint's are not touched, so other files may be there too.
//
// # Damage
//
// A file that is missing, torn or altered is an error that names it: in the
// manifest when it is listed, in the policy's files before anything of the
// trainer is changed. Nothing is passed over in silence; [Store.Restore] takes
// an earlier checkpoint by name.
package checkpoint
