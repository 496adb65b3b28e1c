// Package sam gives each token of a completion the advantage that its
// reasoning step deserves.
//
// An estimator of package advantage gives all tokens of a completion the same
// advantage: a right answer praises its wrong steps, a wrong answer blames its
// right ones. A [Credit] rewrites these advantages with the verdicts on the
// steps:
//
//	if err := estimator.Estimate(batch); err != nil { … }
//	stats, err := sam.Mask{}.Assign(batch)
//	if err != nil { … }
//	err = advantage.AddShaping(estimator, batch) // a KL penalty never decides a sign
//
// # The kinds of credit
//
//   - Outcome: no step credit (outcome credit in the literature), the control. It
//     is not to be confused with task.Outcome, a reward.
//   - [Mask]: a good outcome reinforces only the steps that were right, a bad
//     one punishes only those that were wrong.
//   - Prefix: the same, but every step from the first wrong one on counts as wrong.
//   - [StepGroup]: each step's reward, compared with the same step of the other
//     completions; with advantage.RLOO as its normaliser it is unbiased.
//   - [ReturnToGo]: each token gets the rewards of its step and all later ones.
//   - [Blend]: a weighted mean of two others.
//   - OutcomePlusVerdict: the verdicts' mean added to the reward, without
//     placement; the second control.
//   - [Permuted] and [RandomMask]: more controls, with the verdicts in wrong places (of
//     other completions, or of the completion's other steps) and without any.
//
// [Measure] helps to write your own, with the same checks and statistics. [Decode]
// reads a Credit from JSON, [Encode] writes it.
//
// Only [Outcome], and [Mask] and [Prefix] with non-negative leaks, guarantee that
// no advantage changes its sign. Mask and Prefix leave a group without outcome
// advantage alone, unless Fill is set:
//
//	credit := sam.Mask{Fill: advantage.RLOO{}} // with advantage.PerGroup(advantage.RLOO{})
//
// Take the outcomes' normaliser, so that both have one scale. The advantage.Estimator that
// PerGroup returns does not fit.
//
// The idea of Mask, Stepwise Advantage Masking, is that of "Optimizing
// Generative Ranking Relevance via Reinforcement Learning in Xiaohongshu
// Search" (arXiv:2512.00968). Its public text gives no formula; the mask here
// is SAM as reconstructed by this package, and no result of the paper's is
// claimed for it.
//
// # Masked is not zero
//
// A masked token has Keep == false. Objectives with terms that do not multiply
// the advantage (KL, entropy), and all denominators, may treat it differently
// from a token whose advantage is zero; see package objective.
//
// # Unknown and broken steps
//
// A step that no rule can judge (rollout.VerdictUnknown, or a NaN reward) keeps
// the outcome advantage. A step that the policy broke (rollout.VerdictBroken:
// missing, duplicate, out of order, truncated, with an invalid answer) counts as
// wrong unless an option says otherwise, because training finds every loophole. A
// step that is missing has no token: its blame goes to the token where it should
// have begun, or to the last token if the text ended there
// (rollout.Completion.Blamed).
//
// Text outside every step keeps the outcome advantage. That is a loophole too if
// such text leads to a step that should not exist, so let a duplicate or surplus
// step begin where the one before it ends, as package task does. Otherwise right
// answers that continue after their end teach the policy to continue.
//
// Examples are in example_test.go and kinds_test.go. Programs that use it:
// examples/custompolicy, whose main compares three credits by what they teach, and
// examples/bandit, which compares eleven (credits) with the exact gradient.
package sam
