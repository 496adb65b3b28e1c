package main

const advantagesAbout = `Reads groups of judged completions, one a line, all lines being one batch, and
writes a line for each with the advantage of every token: rewards are
normalised, then credit is given to steps, then a KL penalty is added.`

// ruleChoices are the rules of step credit that need no other rule.
var ruleChoices = []choice{
	{"outcome", "no step credit: every token gets its completion's advantage", ""},
	{"mask", "a good outcome reinforces right steps only, a bad one punishes wrong steps only", maskOptions},
	{"prefix", "mask, with every step from the first wrong one on as wrong", maskOptions},
	{"return-to-go", "the normalised rewards of a token's own and all later steps", "step-norm broken-reward"},
	{"step-group", "each step's reward against the same step of the other completions", "step-norm broken-reward"},
	{"step-loo", "step-group less the mean of the others", "broken-reward"},
}

const maskOptions = "mask-sign leak-positive leak-negative broken mask-final mask-outside rescale fill"

// advantagesSchema holds the options of parity advantages.
var advantagesSchema = &schema{
	root: "estimator credit denominator kl weights skip-unscorable",
	options: []option{
		{name: "estimator", kind: wordKind, help: "what the rewards are compared with", choices: []choice{
			{"grpo", "(r - mean) / (std + epsilon) of the group", "epsilon=1e-4 std min-std singleton tolerance=1e-9"},
			{"grpo-batch-std", "the same with the std of the batch", "epsilon=1e-4 std tolerance=1e-9"},
			{"dr-grpo", "r - mean of the group", "singleton tolerance=1e-9"},
			{"rloo", "r - mean of the others", "singleton tolerance=1e-9"},
			{"reinforce++", "token returns, whitened over the batch", "gamma=1 epsilon=1e-8 std min-var tolerance=1e-9"},
			{"reinforce++-baseline", "the same of r - mean of the group", "gamma=1 epsilon=1e-8 std min-var singleton tolerance=1e-9"},
			{"opo", "r - mean of the group weighted by tokens", "singleton tolerance=1e-9"},
			{"maxrl", "(r - mean) / (mean + epsilon)", "epsilon singleton negative-mean tolerance=1e-9"},
			{"gdpo", "each named reward as grpo, their sum over the batch", "epsilon=1e-4 std min-std singleton tolerance=1e-9 batch-over batch-std batch-tolerance=1e-9"},
			{"pass-at-k", "what a completion adds to the best of k", "k divide-by-std tolerance=1e-9"},
		}},
		{name: "credit", kind: wordKind, help: "which tokens deserve the advantage", choices: append(ruleChoices[:len(ruleChoices):len(ruleChoices)],
			choice{"blend", "lambda times one rule plus 1 - lambda times another", "blend-a blend-b=step-group lambda=0.5"})},
		{name: "denominator", kind: wordKind, help: "whether masked tokens count in stats.denominator", choices: []choice{
			{"stay", "they do", ""},
			{"leave", "they do not", ""},
		}},

		{name: "weights", kind: weightsKind, help: "factors of the rewards in their sum, by name; a reward given as a number is named reward;\nthose not listed have 1"},
		{name: "skip-unscorable", kind: onOffKind, help: "leave a null out of the sum of a completion's rewards; otherwise one null makes the\ncompletion unscorable"},
		{name: "epsilon", help: "added to the divisor, in its units: the std, the mean (maxrl), or under the root to the\nvariance (reinforce++)"},
		{name: "std", kind: wordKind, help: "kind of standard deviation", choices: []choice{
			{"sample", "divide by n - 1 (torch.std)", ""},
			{"population", "divide by n (numpy.std)", ""},
		}},
		{name: "min-std", help: "floor under the standard deviation, in units of reward"},
		{name: "min-var", help: "floor under the variance, in units of reward squared"},
		{name: "singleton", kind: wordKind, help: "what a single usable reward of a group gets", choices: []choice{
			{"zero", "advantage 0", ""},
			{"raw", "a baseline of 0 and a std of 1", ""},
		}},
		{name: "tolerance", help: "how far apart the rewards of a dead group may lie, relative to the larger of 1 and the\nlargest; 0 = they must be equal"},
		{name: "negative-mean", kind: onOffKind, help: "divide by means below zero too, which flips signs (SkyRL)"},
		{name: "gamma", help: "discount of later rewards per token, above 0 and at most 1"},
		{name: "batch-over", kind: wordKind, help: "what gdpo's statistics of the batch are taken over", choices: []choice{
			{"completions", "all completions of live groups, which dead groups do not move with", "batch-epsilon=1e-4"},
			{"tokens", "all tokens (verl)", "batch-epsilon=1e-8 min-var"},
		}},
		{name: "batch-epsilon", help: "added to the standard deviation over the batch, or under the root to the variance over tokens;\nit has no unit"},
		{name: "batch-std", kind: wordKind, help: "kind of standard deviation over the batch", choices: []choice{
			{"sample", "divide by n - 1", ""},
			{"population", "divide by n", ""},
		}},
		{name: "batch-tolerance", help: "tolerance over the batch"},
		{name: "k", kind: countKind, help: "completions in a set, at least 2; 0 = the whole group"},
		{name: "divide-by-std", kind: onOffKind, help: "divide by the group's standard deviation (verl)", on: "epsilon=1e-6 std"},

		{name: "mask-sign", kind: wordKind, help: "which outcomes are masked", choices: []choice{
			{"both", "wrong steps of good outcomes and right steps of bad ones", ""},
			{"positive", "wrong steps of good outcomes only", ""},
		}},
		{name: "leak-positive", help: "factor of wrong steps of good outcomes, in place of masking them"},
		{name: "leak-negative", help: "factor of right steps of bad outcomes, in place of masking them"},
		{name: "broken", kind: wordKind, help: "what becomes of a step that the policy broke", choices: []choice{
			{"incorrect", "it counts as incorrect", ""},
			{"keep", "it keeps the outcome's advantage", ""},
			{"mask", "it is masked", ""},
		}},
		{name: "mask-final", kind: onOffKind, help: "mask in the final step too"},
		{name: "mask-outside", kind: onOffKind, help: "mask the tokens outside every step"},
		{name: "rescale", help: "keep each completion's sum of |advantage| by a factor of at most this; 0 = do not, else at\nleast 1"},
		{name: "fill", kind: onOffKind, help: "give groups without outcome advantage the credit of step-group", on: "step-norm"},
		{name: "step-norm", kind: wordKind, help: "how step rewards are compared", choices: []choice{
			{"grpo", "(r - mean) / (std + step-epsilon)", "step-epsilon=1e-4 step-std"},
			{"dr-grpo", "r - mean", ""},
			{"rloo", "r - mean of the others", ""},
		}},
		{name: "step-epsilon", help: "added to the standard deviation of step rewards, in their units"},
		{name: "step-std", kind: wordKind, help: "kind of standard deviation of step rewards", choices: []choice{
			{"sample", "divide by n - 1", ""},
			{"population", "divide by n", ""},
		}},
		{name: "broken-reward", help: "reward of a step that the policy broke, or its own if that is worse"},
		{name: "blend-a", kind: wordKind, help: "the rule that lambda weighs", choices: ruleChoices},
		{name: "blend-b", kind: wordKind, help: "the other rule", choices: ruleChoices},
		{name: "lambda", help: "weight of the first rule of blend, 0 to 1"},

		{name: "kl", kind: wordKind, help: "KL penalty in the reward, from logp and ref", choices: klChoices("beta=0.04 kl-log-ratio-clamp kl-value-clamp kl-center kl-discount kl-fold")},
		optionBeta, optionKLRatioClamp, optionKLValueClamp,
		{name: "kl-center", kind: onOffKind, help: "take the batch's mean from every token's penalty (tinker-cookbook)"},
		{name: "kl-discount", help: "discount per token of later penalties that a token answers for; 0 = its own alone, at most 1"},
		{name: "kl-fold", kind: onOffKind, help: "add the penalties to the reward before completions are compared, so that they help to\ndecide signs (verl, TRL's RLOO)"},
	},
}

// klChoices are the estimators of the divergence, with the options that apply
// to each.
func klChoices(options string) []choice {
	return []choice{
		{"none", "no penalty", ""},
		{"k1", "d = logp - ref", options},
		{"k2", "d²/2", options},
		{"k3", "exp(-d) - 1 + d", options},
		{"abs", "|d|", options},
	}
}

// Options that both programs have.
var (
	optionBeta         = option{name: "beta", help: "coefficient of the KL penalty, at least 0"}
	optionKLRatioClamp = option{name: "kl-log-ratio-clamp", help: "limit d to ± this, in nats; 0 = none (verl, SkyRL: 20)"}
	optionKLValueClamp = option{name: "kl-value-clamp", help: "limit the estimate to ± this, in nats; 0 = none (verl, SkyRL, OpenRLHF: 10)"}
)
