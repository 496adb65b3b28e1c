// Package rl trains policies by reinforcement learning with credit per
// reasoning step.
//
// # A training step
//
// [Trainer] does what the algorithm box of GRPO says, with one line more:
//
//  1. [Collect] samples a group of completions for each [Problem] from a
//     rollout.Engine, and judges them: outcome rewards, and a verdict per step.
//  2. [Rollouts.Assign] gives every token its advantage: an advantage.Estimator
//     compares the outcome rewards of each group and gives each completion one
//     advantage; a sam.Credit then decides which of its tokens deserve it.
//  3. [Rollouts.Batch] and [Batch.Weigh] make the training batch, in which an
//     objective.Aggregation has fixed every token's weight.
//  4. [Update]: the [Policy] evaluates an objective.Objective, takes its gradient
//     with respect to each token's log-prob back to its weights, and takes an
//     optimiser step.
//
// One rollout.Completion passes through all of it, and each stage writes its own
// fields. All stages are exported: your own loop is these calls in a row (see the
// example "Stages").
//
// # Your own policy
//
// Every objective is a function of per-token log-probs (and sometimes entropies)
// and returns its gradient with respect to them. So a [Policy] has log-probs,
// forward-backward, optimiser step, save and load, and knows no objective. One
// that runs on a server which can only compute a linear loss on log-probs uses
// [TwoPass]. Package rl/policytest checks that a policy keeps the contract;
// lm/local is the policy over this module's decoders.
//
// # Optional interfaces
//
// What you pass to the trainer may implement more than is required. The trainer
// finds it by type assertion:
//
//   - A [Policy] that hands its weights to a separate engine is a [Publisher],
//     and the engine a rollout.Refresher. If only one of them is, nothing is
//     handed over.
//   - A [Policy] that cannot compute every objective is a [Supporter].
//   - An engine that cannot sample every request is a rollout.Checker.
//   - A [Problem] whose rewards have names for the metrics is [Named].
//   - A [Source] that knows its problems beforehand is a [Lister], so that their
//     requests are checked before the first training step.
//   - A [Source] that learns from the results is an [Observer].
//   - A [Source] with settings has a method Validate() error, which NewTrainer
//     calls.
//   - An estimator that includes shaping rewards in its own statistics is an
//     advantage.ShapingFolder.
//
// # What the numbers mean
//
// The loss does not say how well training goes: with group-relative advantages,
// fresh samples and no masking it is near 0 throughout, because advantages sum to
// 0 and the ratios are 1. Watch the reward, the accuracy of each step, and the
// share of right answers with a wrong step ([Trainer.Step] and [Summarize] list
// all metrics). "objective/engine_mismatch" says how far the engine's log-probs
// are from the policy's; where it is not tiny, wrap the objective in
// objective.Corrected.
//
// A reward that could not be judged is NaN, never 0. A completion without a usable
// reward is unscorable: it is in no baseline, and its tokens are excluded, so it
// is in no denominator either, unless step credit or shaping gives it an
// advantage.
//
// # Randomness and resuming
//
// The random stream of a completion is made of the run's seed, the training step,
// the prompt and the sample, so a run gives the same samples whatever they are
// batched with, as far as the engine keeps its promise. [Trainer.Save] returns the
// whole state; a trainer that restores it continues bit for bit, if policy and
// engine do. A state of another seed or of other problems is an error. Package
// rl/checkpoint keeps states in files, rl/run a whole run in a folder.
//
// # What goes wrong in your code
//
// A problem that panics, is nil, or gives a reward that cannot be computed with, and
// an engine whose log-probs are not log-probs, end the step with an error that names
// the problem and the sample.
package rl
