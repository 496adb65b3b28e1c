package main

const lossAbout = `Reads optimiser steps, one a line, and answers each with a line before it reads
the next: the loss and its gradient with respect to every log-prob (and
entropy).`

// lossSchema holds the options of parity loss.
var lossSchema = &schema{
	root: "objective aggregation denominator kl-aggregation kl entropy-coef correction from-rollout",
	options: []option{
		{name: "objective", kind: wordKind, help: "the policy loss; r = exp(logp - old)", choices: []choice{
			{"ppo", "max(-A·r, -A·clip(r, 1 - clip-low, 1 + clip-high))", "clip-low=0.2 clip-high=0.2 delta log-ratio-clamp"},
			{"dual-clip", "ppo, at most -A·dual-clip for A < 0", "clip-low=0.2 clip-high=0.2 dual-clip=3 log-ratio-clamp"},
			{"gspo", "ppo with one ratio for the sequence; all its advantages must be equal", "clip-low=3e-4 clip-high=4e-4 log-ratio-max"},
			{"gspo-token", "its token form, which leaves step credit in place", "clip-low=3e-4 clip-high=4e-4 log-ratio-max"},
			{"cispo", "-sg(clip(r))·A·logp", "bounds clip-drop log-ratio-clamp"},
			{"sapo", "a smooth gate in place of the clip", "tau-pos=1 tau-neg=1.05 log-ratio-clamp"},
			{"dro", "-A·logp + dro-beta/2·(logp - old)²", "dro-beta=0.05"},
			{"importance-sampling", "-A·r", "log-ratio-clamp"},
			{"dppo", "-A·r while the probability has not moved too far", "clip-low=0.2 clip-high=0.2 divergence max-weight quadratic log-ratio-clamp"},
			{"cross-entropy", "-logp", ""},
		}},
		{name: "aggregation", kind: wordKind, help: "what a token weighs", choices: aggregationChoices("")},
		{name: "denominator", kind: wordKind, help: "whether a token with keep false is counted; in the policy loss it never is", choices: []choice{
			{"stay", "in denominators, and in KL and entropy terms", ""},
			{"leave", "nowhere", ""},
			{"leave-loss", "in KL and entropy terms and their denominators only", ""},
		}},

		{name: "clip-low", help: "distance of the lower bound from ratio 1; with -bounds absolute the bound itself; for dppo the\nlargest move of a probability whose A < 0"},
		{name: "clip-high", help: "distance of the upper bound from ratio 1, inf = none; with -bounds absolute the bound itself;\nfor dppo the largest move of a probability whose A > 0"},
		{name: "delta", help: "TRL's two-sided clip: the ratio in the unclipped branch is at most this, above 1; 0 = off"},
		{name: "dual-clip", help: "bound of the ratio where A < 0, above 1"},
		{name: "log-ratio-clamp", help: "limit logp - old to ± this, in nats, with no gradient beyond; 0 = none (verl: 20)"},
		{name: "log-ratio-max", help: "limit the sequence's mean log-ratio from above, in nats; 0 = none (verl: 10)"},
		{name: "bounds", kind: wordKind, help: "what -clip-low and -clip-high of cispo are", choices: []choice{
			{"relative", "distances from 1 (verl, SkyRL)", "clip-low=0.2 clip-high=0.2"},
			{"absolute", "bounds of the ratio (TRL, Tinker)", "clip-low=0 clip-high=5"},
		}},
		{name: "clip-drop", kind: onOffKind, help: "make cispo's ratio 0 outside its bounds, not the bound (SkyRL's rollout_is)"},
		{name: "tau-pos", help: "temperature of sapo's gate where A > 0"},
		{name: "tau-neg", help: "temperature of sapo's gate elsewhere"},
		{name: "dro-beta", help: "weight of dro's tie to the old policy"},
		{name: "divergence", kind: wordKind, help: "how dppo measures the move of a probability", choices: []choice{
			{"tv", "its difference (total variation)", ""},
			{"kl", "KL between {token, any other} then and now, in nats", ""},
		}},
		{name: "max-weight", help: "truncate dppo's ratio at this, above 1, and make it a constant to the gradient (verl: 3); 0 = do not"},
		{name: "quadratic", help: "coefficient of dppo's squared log-ratio (prime-rl: 1e-3)"},

		optionCountEmpty, optionLengthEpsilon, optionMaxTokens, optionPerSequence,
		{name: "kl-aggregation", kind: wordKind, help: "what a token weighs in KL and entropy terms", choices: append(
			[]choice{{"same", "what it does in the policy loss", ""}}, aggregationChoices("kl-")...)},
		optionCountEmpty.prefixed("kl-"), optionLengthEpsilon.prefixed("kl-"), optionMaxTokens.prefixed("kl-"), optionPerSequence.prefixed("kl-"),

		{name: "kl", kind: wordKind, help: "KL penalty in the loss, from logp and ref", choices: klChoices("beta=0.04 kl-straight-through kl-importance kl-log-ratio-clamp kl-value-clamp")},
		optionBeta,
		{name: "kl-straight-through", kind: onOffKind, help: "take the gradient of k2, whatever the value (verl's k1+, k3+)"},
		{name: "kl-importance", kind: onOffKind, help: "multiply the estimate by the ratio, value and gradient (TRL's use_bias_correction_kl); with\n-kl-straight-through the gradient alone", on: "kl-importance-max"},
		{name: "kl-importance-max", help: "truncate that ratio at this; 0 = do not; needs -kl-straight-through (OpenRLHF: 10)"},
		optionKLRatioClamp, optionKLValueClamp,
		{name: "entropy-coef", help: "coefficient of the entropy bonus; 0 = none, negative = a penalty"},

		{name: "correction", kind: wordKind, help: "importance weight exp(old - rollout) for the gap between sampling engine and trainer", choices: []choice{
			{"none", "no weight", ""},
			{"token", "each token's own", correctionOptions},
			{"sequence", "the product over the sequence", correctionOptions},
			{"geometric", "its geometric mean over the sequence", correctionOptions},
		}},
		{name: "correction-outside", kind: wordKind, help: "what becomes of a weight outside its bounds", choices: []choice{
			{"truncate", "it is moved to the bound", ""},
			{"drop", "it becomes 0", ""},
			{"gate", "it becomes 0, and those inside 1", ""},
		}},
		{name: "correction-min", help: "lower bound of the weight"},
		{name: "correction-max", help: "upper bound of the weight; inf = none"},
		{name: "correction-clamp", help: "limit the logarithm of the weight to ± this, in nats; 0 = none (verl: 20)"},
		{name: "from-rollout", kind: onOffKind, help: "take rollout for old in the policy loss (Tinker, prime-rl)"},
	},
}

const correctionOptions = "correction-outside correction-min correction-max=2 correction-clamp"

// aggregationChoices are the aggregations, whose options have names with the
// given prefix.
func aggregationChoices(prefix string) []choice {
	return []choice{
		{"token-mean", "1/N, N tokens in the step", ""},
		{"seq-mean-token-mean", "1/(B·n), n tokens in its sequence, B sequences", prefix + "count-empty " + prefix + "length-epsilon"},
		{"seq-mean-token-sum", "1/B", prefix + "count-empty"},
		{"constant", "1/max-tokens", prefix + "max-tokens " + prefix + "per-sequence"},
		{"sum", "1", ""},
		{"prompt-mean", "1/(P·n), n tokens of its prompt, P prompts; needs prompt", ""},
	}
}

// The options of aggregations.
var (
	optionCountEmpty    = option{name: "count-empty", kind: onOffKind, help: "count sequences without a token that counts in B (TRL)"}
	optionLengthEpsilon = option{name: "length-epsilon", help: "added to n, in tokens (verl: 1e-8)"}
	optionMaxTokens     = option{name: "max-tokens", help: "the constant, in tokens; 0 = the longest row of the line, the padded length"}
	optionPerSequence   = option{name: "per-sequence", kind: onOffKind, help: "divide by B as well (Dr. GRPO, TRL, verl, SkyRL)"}
)

// prefixed is the option with a longer name.
func (o option) prefixed(prefix string) option {
	o.name = prefix + o.name
	return o
}
