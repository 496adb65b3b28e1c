// Package objective holds training losses as functions of per-token log-probs,
// and the aggregations that weigh each token in them.
//
// # How a loss is computed
//
// An [Objective] sees one whole completion, a [Sequence], and returns its share
// of the loss. It adds the derivative with respect to every token's log-prob to
// Sequence.Grad (and for entropies and distillation to EntropyGrad and
// Candidates.Grad). A policy needs no more: it multiplies Grad by the gradient
// of its own log-probs. No tensor, no automatic differentiation.
//
// The weight of a token is fixed before: an [Aggregation] looks at the masks of
// the whole optimiser step and returns d(loss)/d(token loss), which goes into
// Sequence.Weight and Sequence.KLWeight. The loss of an optimiser step is the
// plain sum of Eval over its sequences, so it cannot depend on how they are split
// into micro-batches.
//
// Objectives and aggregations are settings: plain structs with JSON names, whose
// Validate finds invalid values before training starts.
//
// # Objectives
//
// Policy losses: [PPO] (with separate bounds, and dual clip), [GSPO],
// [GSPOToken], [CISPO], [SAPO], [VESPO], [DRO], [DPPO], [ImportanceSampling], and
// [KLCov], a term beside one of them.
// Supervised: [CrossEntropy]. Distillation over [Candidates]: [ForwardKL],
// [ReverseKL], [JSD]. Regularisers: [KL], [EntropyBonus].
//
// [Terms] adds them up, [Scaled] gives one a coefficient, and four wrappers
// change the inputs of a policy loss: [Corrected] reweights for the mismatch
// between sampling engine and trainer, [FromRollout] puts the engine's log-probs
// in place of the old ones, [Distilled] adds a teacher's advantage, [Gated] leaves
// out mistakes that the policy has moved away from.
//
// [RewardKL] is the KL penalty in the reward instead of the loss, and
// [AdaptiveKL] adapts its coefficient or that of KL. [AdaptiveEntropy] adapts that of
// EntropyBonus.
//
// Aggregations: [TokenMean], [TokenSum], [SeqMeanTokenMean], [SeqMeanTokenSum],
// [PromptMean], [Constant], and [Split], which has one for policy losses and one
// for regularisers.
//
// Two more settings choose tokens by numbers of the whole step, before it is weighed: a
// [Rejection] excludes what engine and trainer see too differently ([Layout.Reject]),
// and [Layout.TopEntropy] masks all but the tokens of the highest entropy.
//
// # Policy mirror descent
//
// A step of mirror descent with the entropy as its kernel, from π_old with the
// advantage as the direction, is the policy that maximises
// E_π[A] − KL(π‖π_old)/η: π_old·exp(ηA)/Z, with a Z for every state (MDPO, Tomar
// et al., arXiv:2005.09814). It needs no objective of its own. Reweighted to
// samples of π_old, with r = π/π_old, its loss L = -A·r + r·log r/η is
//
//	objective.Terms{
//		objective.ImportanceSampling{},
//		objective.KL{Estimator: objective.K3, Beta: 1 / eta, Importance: true},
//	}
//
// if the reference is π_old: make the policy itself the trainer's Reference,
// whose log-probs are taken before the first update, and give the KL term the
// weights of the loss (MaskedStay). K1 is the formula to the letter. K3 adds
// (1-r)/η, which is 0 in expectation with its gradient, and spares a loss that
// starts at r = 1 the noise: there K3's gradient is 0, K1's is 1/η.
//
// [DRO] is another method. Its quadratic tie does not weigh samples by r: it
// fits η⁻¹·log r to A by least squares under whatever policy sampled, without a
// Z. Where E_old[exp(ηA)] = 1 both have the same minimum; elsewhere a constant
// added to all advantages of a state moves DRO's and not this one's.
//
// # Excluded, masked, zero
//
// Three things that are often confused are kept apart here:
//
//   - excluded: a token that is not trained on at all (padding, a tool's output,
//     a completion without a reward). Its weights are 0 and its numbers are never
//     read, so NaN or infinity may stand there.
//   - masked: Keep is false, because step credit took the token out, or its
//     entropy is low (TopEntropy). It contributes nothing to any policy loss,
//     whatever its advantage. Masked in the aggregation decides whether it still
//     counts in denominators, and in KL and entropy terms.
//   - advantage 0: the token is trained on like any other. Terms that do not
//     multiply the advantage (DRO, DPPO, KL, entropy) still move it.
//
// # Metrics
//
// Metrics are sums with counts, so that parts merge by addition. A kept token is
// one that counts and is not masked:
//
//	ratio            importance ratio, per kept token
//	old_kl           k3 estimate of KL(π_old‖π), per kept token (token ratios only)
//	clip_low         share of kept tokens clipped at the lower bound
//	clip_high        ... at the upper bound
//	clip_dual        ... at PPO.DualClip
//	kl               KL's estimate, per token with a KLWeight
//	entropy          per token with a KLWeight
//	vespo_weight     VESPO's weight φ, per kept token
//	kl_cov           |logπ - logπ_old| per token that KLCov has chosen
//	nll              CrossEntropy's negative log-likelihood, per kept token
//	forward_kl, reverse_kl, jsd
//	                 divergence per kept token, over the candidates and the rest:
//	                 at most the true one
//	candidate_mass_policy, candidate_mass_teacher
//	                 of these: probability of all candidates together under the
//	                 policy and under the teacher, per kept token. Where either
//	                 is low, the divergence sees little of the true one
//	teacher_kl       Distilled: k1 estimate of KL(π_old‖teacher), per kept token
//	drift            Gated: logπ_rollout - logπ, per token
//	gated            Gated: share of tokens that it left out
//	rollout_gap      Corrected: |logπ_old - logπ_rollout|, per token
//	rollout_kl       Corrected: k2 estimate of KL(π_rollout‖π_old), per token
//	rollout_weight   Corrected: importance weight before it is bounded, per
//	                 token or sequence; one weight counts at most 1e6
//	rollout_weight_sq
//	                 its square: the effective share of the samples is
//	                 mean(rollout_weight)² / mean(rollout_weight_sq)
//	rollout_low, rollout_high
//	                 share of weights outside their bounds
//
// # A loss that is zero is no bug
//
// On fresh samples every ratio is 1, so a policy loss is minus the weighted
// mean of the advantages, which is about 0 for group-relative ones. Its
// gradient is not. Watch rewards, ratios and KL; the loss says little.
//
// # A custom objective
//
// Implement three methods. Skip tokens of weight 0, leave masked ones out of what
// multiplies the advantage, and add to Grad instead of setting it:
//
//	func (o Mine) Eval(s *objective.Sequence, m objective.Metrics) (loss float64, err error) {
//		for t, w := range s.Weight {
//			if w == 0 || s.Keep != nil && !s.Keep[t] {
//				continue
//			}
//			loss -= w * s.Adv[t] * s.LogP[t]
//			s.Grad[t] -= w * s.Adv[t]
//		}
//		return loss, nil
//	}
//
//	func (Mine) Needs() objective.Inputs { return 0 } // besides LogP and Adv
//
//	func (Mine) Validate() error { return nil } // there is nothing to set
//
// Metrics are never nil.
//
// Examples are in example_test.go, kinds_test.go and mirrordescent_test.go.
package objective
