// Package rl trains policies by reinforcement learning with credit per
// reasoning step.
//
// # A training step
//
// A [Trainer] follows GRPO's algorithm, with one extra stage, step credit:
//
//  1. [Collect] samples a group of completions for each [Problem] from a
//     rollout.Engine, and judges them: outcome rewards, and a verdict per step.
//  2. [Rollouts.Assign] gives every token its advantage: an advantage.Estimator
//     compares the outcome rewards of each group and gives each completion one
//     advantage; a sam.Credit then decides which of its tokens deserve it.
//  3. [Rollouts.Batch] and [Batch.Weigh] make the training batch, in which an
//     objective.Aggregation has fixed every token's weight.
//  4. [Update]: the [Policy] evaluates an objective.Objective, backpropagates its
//     gradient with respect to each token's log-prob, and takes an optimiser step.
//
// One rollout.Completion passes through all of it, and each stage writes its own
// fields. All stages are exported, so a loop of your own is these calls in a row:
//
//	r, err := rl.Collect(ctx, engine, problems, [2]uint64{seed, step})
//	stats, err := r.Assign(estimator, credit)
//	batch := r.Batch() // then, if wanted, batch.Reject and batch.MaskLowEntropy
//	err = batch.Weigh(aggregation)
//	info, err := rl.Update(ctx, policy, batch, loss, 1, rl.OptimOptions{LR: 1e-6})
//
// A whole program of this kind is in example_stages_test.go.
//
// A policy must first write the task's format, at least sometimes: [Imitation]
// teaches it from completions that are given (a warm-up, or SFT).
//
// # Distillation
//
// Config.Teacher is a model that the policy learns from on its own samples:
//
//	Objective: objective.ReverseKL{},
//	Teacher: &rl.Teacher{
//		LogProber: teacher, K: 64, Candidates: rl.CandidatesPolicy, Vocab: tokenizer, PolicyVocab: own,
//	},
//
// [Teacher] says what it needs, docs/distillation.md which objective is which method.
// [MixedEngine] mixes in completions that are not the policy's, [Imitation] takes a
// teacher for given ones, and [Rollouts.Best] makes demonstrations of a teacher's
// texts. In a loop of your own, [Teacher.Fill] comes before the first update.
//
// # Your own policy
//
// Every objective is a function of per-token log-probs (and sometimes entropies)
// and returns its gradient with respect to them. So a [Policy] has log-probs,
// forward-backward, optimiser step, save and load, and does not depend on any
// objective. A policy on a server that can only compute a linear loss on
// log-probs uses [TwoPass]. Package rl/policytest checks that a policy keeps the
// contract; lm/local is the policy over this module's decoders.
//
// # Optional interfaces
//
// The parts of a [Config] may implement optional interfaces, which the trainer
// finds by type assertion:
//
//   - A [Policy] that hands its weights to a separate engine is a [Publisher],
//     and the engine a rollout.Refresher. A Publisher with another engine is an
//     error; with a policy that is no Publisher, the engine gets no weights.
//   - A [Policy] that cannot do everything is a [Supporter], so that NewTrainer
//     can refuse an objective, a temperature or clipping before the run.
//   - A reference policy or teacher that may have no log-probs to give is a
//     [LogProbChecker].
//   - A teacher that gives its most likely tokens is a [TopLogProber], a
//     [TopLogProbChecker] if it may not, and a [TokenBounder] if its head may be
//     padded; one that gives log-probs of the policy's is a [CandidateProber]. A
//     policy that chooses candidates is a [TopLogProber].
//   - An engine that cannot sample every request is a rollout.Checker.
//   - A [Problem] whose rewards have names for the metrics is [Named], and one
//     that compares the completions of a group is a [GroupJudge].
//   - A [Source] that knows its problems beforehand is a [Lister], so that their
//     requests and rewards are checked before the first training step.
//   - A [Source] that learns from the results is an [Observer].
//   - A [Source] with settings has a method Validate() error, which NewTrainer
//     calls.
//   - An estimator that includes shaping rewards in its own statistics is an
//     advantage.ShapingFolder.
//   - An engine that can sample while the policy is trained, for [Async], is a
//     rollout.Concurrent.
//
// # Sampling ahead of the training
//
// By default sampling and training alternate. With an engine on other machines or
// another device, [Async] lets them overlap, within a bound on how old the samples may be:
//
//	Objective: objective.Corrected{Objective: loss, Max: 2},
//	Async:     rl.Async{Staleness: 1, Partial: true},
//
// # What the numbers mean
//
// The loss does not show how well training goes: with group-relative advantages,
// fresh samples and no masking it is near 0 throughout, because advantages sum to
// 0 and the ratios are 1. Watch the reward, the accuracy of each step, and the
// share of right answers with a wrong step ([Trainer.Step] and [Summarize] list
// all metrics). "objective/engine_mismatch" is the distance between the engine's
// log-probs and the policy's; where it is not tiny, wrap the objective in
// objective.Corrected, or set Config.Reject.
//
// A reward that could not be judged is NaN, never 0. A completion without a usable
// reward is unscorable: it is in no baseline, and its tokens are excluded, so it
// is in no denominator either, unless step credit or shaping gives it an
// advantage, or there is a teacher.
//
// # Randomness and resuming
//
// The random stream of a completion is made of the run's seed, the training step,
// the prompt and the sample, so a run gives the same samples whatever they are
// batched with, as far as the engine can promise that. [Trainer.Save] returns the
// whole state; a trainer that restores it continues bit for bit, if policy and
// engine do. A state of another seed or of other problems is an error. Package
// rl/checkpoint keeps states in files, rl/run a whole run in a folder.
//
// # What goes wrong in your code
//
// A problem that panics, is nil, or gives a reward that cannot be computed with, and
// an engine whose log-probs are not log-probs, end the step with an error that names
// the problem and the sample.
//
// Examples are in example_distillation_test.go, example_parts_test.go,
// example_stages_test.go, example_test.go, imitation_test.go and schedule_test.go.
// Programs that use it: examples/grpo, the shortest training; examples/owntask, whose learn
// has a warm-up by Imitation and checkpoints; and examples/custompolicy, where the methods
// of table are a Policy.
package rl
