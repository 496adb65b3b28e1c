// Package optim updates the parameters of a model from their gradients:
// AdamW with global-norm clipping, on any tensor.Backend, and learning-rate
// schedules.
//
//	opt, err := optim.NewAdamW(backend, model.Params(), optim.DefaultConfig())
//	rate := optim.WarmupCosine(3e-4, 20, 1000, 3e-5)
//	for step := range int64(1000) {
//		// ... forward and backward passes add to the gradients ...
//		info, err := opt.Step(rate(step), 1)
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
package optim
