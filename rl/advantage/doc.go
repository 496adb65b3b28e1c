// Package advantage computes how good each completion of a group was, compared
// with the others.
//
// A group is the completions sampled from one prompt. An [Estimator] reads their
// outcome rewards and writes, for every completion, one advantage (Advantage) and
// its copy on each token (Adv). Step credit, in package sam, then decides which
// tokens deserve it.
//
// # Choosing an estimator
//
// Most estimators look at one group at a time and are written as a
// [Normalizer], which [PerGroup] lifts to an Estimator:
//
//	est := advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4})
//
// These are:
//
//   - [GRPO] centres the rewards and divides by their spread, so that prompts
//     with rare successes weigh more per success.
//   - [DrGRPO] only centres them.
//   - [RLOO] compares each completion with the mean of the others: unbiased.
//   - [MaxRL] divides by the mean, so that hard prompts weigh like 1/p.
//   - [PassAtK] credits a completion's contribution to the best of k.
//
// Others need the whole batch, token counts or separate rewards, and are
// not normalisers but estimators:
//
//   - [GRPOBatchStd] divides by the spread of the batch.
//   - [OPO] weighs the baseline by length.
//   - [GDPO] normalises several rewards one by one before it adds them.
//   - [ReinforcePP] and [ReinforcePPBaseline] whiten discounted token returns
//     over the batch.
//
// Each documents its paper, formula and edge cases. [Decode] reads
// them from JSON, [Encode] writes them.
//
// # Edge cases
//
//   - A reward that could not be judged is NaN, never zero. A completion
//     without a usable reward (see [Combine]) stays out of every statistic
//     and gets advantage 0.
//   - A dead group, one whose rewards are all equal up to rounding, gets exact
//     zeros, and so does a single reward that equals the mean: float noise
//     divided by a small ε is not a signal, and step credit must not take its
//     sign. The tolerance is an option. (Whitening moves zeros; see ReinforcePP
//     and GDPO.)
//   - A group with a single usable reward has nothing to compare with and gets 0,
//     unless [SingletonRaw] is set, as in some trainers.
//   - A reward beyond [MaxReward] is an error that names group and completion.
//
// Everything is computed in float64; nothing is allocated per token once Adv
// and Keep have their length.
//
// Examples are in example_test.go and kinds_test.go. A program that uses it:
// examples/bandit, whose update is a training step without package rl.
package advantage
