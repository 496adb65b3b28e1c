package objective

import "github.com/stepwise-rl/stepwise/internal/settings"

// Kinds is a map[string]any from the name of a kind to its prototype: a struct,
// or a pointer to one, whose fields are the defaults. Pass your own objectives
// and aggregations in this form to Decode and Encode:
//
//	mine := objective.Kinds{"tanh": Tanh{K: 2}}
//
// Every exported field of a prototype needs a json tag.
type Kinds = settings.Kinds

// BuiltInKinds returns the kinds of this package. Pass them to another package's
// Decode if a kind of yours there has a field that is an Objective or an
// Aggregation.
func BuiltInKinds() Kinds {
	return Kinds{
		"ppo": PPO{}, "gspo": GSPO{}, "gspo_token": GSPOToken{}, "cispo": CISPO{}, "sapo": SAPO{}, "dro": DRO{},
		"dppo": DPPO{}, "vespo": VESPO{}, "kl_cov": KLCov{}, "importance_sampling": ImportanceSampling{}, "cross_entropy": CrossEntropy{},
		"kl": KL{}, "entropy_bonus": EntropyBonus{},
		"forward_kl": ForwardKL{}, "reverse_kl": ReverseKL{}, "jsd": JSD{},
		"corrected": Corrected{}, "from_rollout": FromRollout{}, "distilled": Distilled{}, "gated": Gated{}, "scaled": Scaled{},
		"terms": Terms(nil), // written as an array, without the name

		"token_mean": TokenMean{}, "token_sum": TokenSum{}, "seq_mean_token_mean": SeqMeanTokenMean{},
		"seq_mean_token_sum": SeqMeanTokenSum{}, "constant": Constant{}, "prompt_mean": PromptMean{}, "split": Split{},
	}
}

func with(own []Kinds) []Kinds { return append([]Kinds{BuiltInKinds()}, own...) }

// Decode reads an Objective from JSON. Terms are an array:
//
//	[{"kind":"ppo","clip_low":0.2,"clip_high":0.28}, {"kind":"kl","estimator":"k3","beta":0.04}]
//	{"kind":"corrected","max":2,"objective":{"kind":"cispo","high":5}}
//
// The kinds are "ppo", "gspo", "gspo_token", "cispo", "sapo", "dro", "dppo", "vespo",
// "kl_cov", "importance_sampling", "cross_entropy", "kl", "entropy_bonus",
// "forward_kl", "reverse_kl", "jsd", "corrected", "from_rollout", "distilled", "gated",
// "scaled" and those of own. What the JSON leaves out is zero; infinity is "inf". Unknown
// kinds and fields, and invalid values, are errors that give the path.
func Decode(b []byte, own ...Kinds) (Objective, error) {
	return settings.Decode[Objective](b, nil, with(own)...)
}

// Encode returns o as JSON that Decode reads: all fields, zeros too.
func Encode(o Objective, own ...Kinds) ([]byte, error) { return settings.Encode(o, with(own)...) }

// DecodeAggregation is Decode for an Aggregation:
//
//	{"kind":"seq_mean_token_mean","masked":"exclude","count_empty":true}
//	{"kind":"split","loss":{"kind":"token_mean"},"regularizer":{"kind":"token_sum"}}
//
// The kinds are "token_mean", "token_sum", "seq_mean_token_mean",
// "seq_mean_token_sum", "constant", "prompt_mean", "split" and those of own.
func DecodeAggregation(b []byte, own ...Kinds) (Aggregation, error) {
	return settings.Decode[Aggregation](b, nil, with(own)...)
}

// EncodeAggregation returns a as JSON that DecodeAggregation reads.
func EncodeAggregation(a Aggregation, own ...Kinds) ([]byte, error) {
	return settings.Encode(a, with(own)...)
}
