// Package preset holds the settings of known trainers: a release's defaults for
// group-relative training, as values of packages advantage and objective.
//
//	p, err := preset.Get("trl-1.16")
//	if err != nil { … }
//	estimator, err := p.Weighted([]string{"label", "format"}) // the task's outcomes
//	if err != nil { … }
//	definition.Params.Temperature = p.Temperature // of the task
//	cfg := rl.Config{
//		Estimator:        estimator,
//		Credit:           sam.Mask{}, // none of them has step credit
//		Objective:        p.Objective(),
//		Aggregation:      p.Aggregation,
//		RewardKL:         p.RewardKL,
//		ExcludeTruncated: p.ExcludeTruncated,
//		Reject:           p.Reject,
//		TopEntropy:       p.TopEntropy,
//		…
//	}
//
// The presets: "trl-1.16" (TRL's GRPOTrainer), "verl-0.9.1", "skyrl-0.4.0",
// "openrlhf-0.11.2", and "tinker" (tinker-cookbook 0.6.1 and an open server of
// its protocol). Comments in presets.go give the place in the release that every
// value comes from.
//
// # How far the numbers agree
//
// The tests compare every preset, and most other settings that these releases
// offer, with what the releases' own functions return, values and gradients:
// to 1e-6 where they compute in float64 and to 1e-5 where in float32. The table
// in docs/parity.md lists each setting with its value here, what differs, and
// what a preset cannot express.
//
// In one respect the presets differ from all five on purpose. A group whose
// rewards are equal up to rounding has no signal; it gets exact zeros here,
// while there its rounding errors are divided by ε and passed on.
//
// # Changing a preset
//
// A [Preset] is a plain value; change any of it before you use it, in Go or with
// JSON:
//
//	p.KL.Beta = 0.04                                // TRL's beta
//	p.Policy = objective.TwoSidedPPO(0.2, 0.2, 3)   // TRL's delta
//	p, err = preset.Decode([]byte(`{"credit":{"kind":"mask"}}`), p)
//
// The command "stepwise parity" computes with a preset that is changed in this
// way, for programs in other languages.
//
// Examples are in example_test.go.
package preset
