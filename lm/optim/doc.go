// Package optim updates the parameters of a model from their gradients:
// AdamW with global-norm clipping, on any tensor.Backend.
//
//	opt, err := optim.NewAdamW(backend, model.Params(), optim.DefaultConfig())
//	for step := range int64(1000) {
//		// ... forward and backward passes add to the gradients ...
//		info, err := opt.Step(schedule.At(step), 1) // an rl.Schedule, say
//		opt.ZeroGrad()
//	}
//
// An optimiser step whose gradient is not finite changes nothing and sets
// [Info.Skipped]. [AdamW.Export] and [AdamW.Import] carry the optimiser's state
// through a checkpoint bit for bit.
//
// The model decides which parameters decay: it sets tensor.Param.NoDecay on norms
// and biases. A caller may set it on others, such as embeddings, before the first
// optimiser step.
//
// Examples are in example_test.go.
package optim
