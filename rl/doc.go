// Package rl trains policies by reinforcement learning with credit per
// reasoning step.
//
// # A training step
//
// [Trainer] repeats what the algorithm box of GRPO says, with one line more:
//
//  1. [Collect]: sample a group of completions for each [Problem] from a
//     rollout.Engine, and judge them (outcome rewards, a verdict per step).
//  2. [Rollouts.Assign]: an advantage.Estimator turns the rewards of each
//     group into one advantage per completion; a sam.Rule turns that into one
//     advantage per token, masked step by step.
//  3. [Rollouts.Batch] and [Batch.Weigh]: tokens become a training batch in
//     which an objective.Aggregation has fixed every token's weight.
//  4. [Update]: the [Policy] evaluates an objective.Objective, takes its
//     gradient with respect to each token's log-prob back to its weights, and
//     steps.
//
// All stages are exported: a loop of one's own is these calls in a row (see
// the package's example "stages", in example_stages_test.go).
//
// # A policy of one's own
//
// Every objective is a function of per-token log-probs (and entropies) and
// returns its gradient with respect to them. So a [Policy] needs log-probs,
// forward-backward, step, save and load, and nothing of any objective. One that
// lives on a server which knows only a linear loss on log-probs uses [TwoPass].
// Optional interfaces are found by type assertion: [Publisher] hands weights to
// an engine, [Supporter] refuses objectives that the policy cannot compute.
// Package rl/policytest checks that a policy keeps the contract; lm/local is the
// policy on this module's decoders.
//
// # What the numbers mean
//
// The loss says nothing of how well training goes: with group-relative
// advantages, fresh samples and no masking it is near 0 throughout, because
// advantages sum to 0 and the ratios are 1. Watch the reward, the accuracy of
// each step, and the share of right answers with a wrong step ([Trainer.Step]
// and [Summarize] list all metrics). "objective/engine_mismatch" says
// how far the engine's log-probs are from the policy's; where it is not tiny,
// wrap the objective in objective.Corrected.
//
// # Randomness and resuming
//
// A completion's random stream is made of the run's seed, the step, the prompt
// and the sample, so a run gives the same samples whatever they are batched
// with, as far as the engine keeps its promise. [Trainer.Save] returns the whole
// state; a trainer that restores it continues bit for bit, if policy and engine
// do.
package rl
