package objective

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/internal/vecmath"
)

// ErrNoTokens is the error of an Aggregation if no token of the step counts, so
// that there is nothing to divide by.
var ErrNoTokens = errors.New("objective: no token to train on in the step")

// Layout holds the masks of all sequences of one optimiser step, so that
// splitting the step into micro-batches cannot change the loss.
type Layout struct {
	// Include is true for the tokens that are trained on at all, per
	// sequence. All others are excluded.
	Include [][]bool
	// Keep is false for tokens that step credit or TopEntropy masked; a nil slice,
	// or a nil entry, means that none is.
	Keep [][]bool
	// Prompt is the index of each sequence's prompt (its group). Only
	// PromptMean reads it.
	Prompt []int
}

// Masked is the treatment of an included token that is masked (Layout.Keep). Such a
// token never contributes to a policy loss; Masked decides where it is counted.
type Masked uint8

const (
	// MaskedStay: a masked token counts in the denominator and in KL and
	// entropy terms, as in trainers that only zero its advantage (default).
	// The more tokens are masked, the smaller the gradient.
	MaskedStay Masked = iota
	// MaskedExclude: it counts nowhere, in no denominator and no term.
	MaskedExclude
	// MaskedExcludeLoss: it does not count in the loss and its denominator, but
	// does in KL and entropy terms and theirs.
	MaskedExcludeLoss
)

var maskedNames = []string{MaskedStay: "stay", MaskedExclude: "exclude", MaskedExcludeLoss: "exclude_loss"}

// String returns "stay", "exclude" or "exclude_loss".
func (m Masked) String() string { return settings.EnumString(maskedNames, m) }

// MarshalText returns the same; an invalid value is an error.
func (m Masked) MarshalText() ([]byte, error) { return settings.EnumText(maskedNames, m) }

// UnmarshalText is the inverse of MarshalText.
func (m *Masked) UnmarshalText(text []byte) error { return settings.ParseEnum(maskedNames, text, m) }

// Aggregation turns the masks of an optimiser step into the weight of each
// token's loss.
type Aggregation interface {
	// Validate returns an error that names the first invalid setting. Whoever
	// accepts an aggregation calls it once; Weigh does not repeat it.
	Validate() error
	// Weigh returns d(loss)/d(token loss) for every token of the step and,
	// for regularisers, kl; both have the shape of l.Include, and 0 where
	// a token does not count. If no token counts all is 0, and the error is
	// ErrNoTokens; if some count in kl alone there is no error.
	Weigh(l Layout) (loss, kl [][]float64, err error)
}

// weigh does what all aggregations share. In each of them the tokens of one
// sequence that count weigh the same, so all that sets them apart is of: given
// the number of tokens that count in each sequence, at least one of them in
// all, it returns the weight of a token of sequence i.
func weigh(l Layout, m Masked, of func(n []int) func(i int) float64) (loss, kl [][]float64, err error) {
	if err := l.check(); err != nil {
		return nil, nil, err
	}
	loss, some := l.weights(m == MaskedStay, of)
	kl = loss
	if m == MaskedExcludeLoss {
		var someKL bool
		kl, someKL = l.weights(true, of)
		some = some || someKL
	}
	if !some {
		err = ErrNoTokens
	}
	return loss, kl, err
}

// weights returns the weights of all tokens, and whether any counts: all
// included ones do if masked is true, else those that are kept too.
func (l Layout) weights(masked bool, of func(n []int) func(i int) float64) (weights [][]float64, some bool) {
	n := make([]int, len(l.Include))
	weights = make([][]float64, len(n))
	for i, include := range l.Include {
		weights[i] = make([]float64, len(include))
		if keep := l.keep(i, masked); keep != nil {
			n[i] = vecmath.CountBoth(include, keep)
		} else {
			n[i] = vecmath.Count(include)
		}
		some = some || n[i] > 0
	}
	if !some {
		return weights, false
	}
	weight := of(n)
	for i, include := range l.Include {
		switch n[i] {
		case 0:
		case len(include):
			vecmath.Fill(weights[i], weight(i))
		default:
			w, keep := weight(i), l.keep(i, masked)
			for t, in := range include {
				if in && (keep == nil || keep[t]) {
					weights[i][t] = w
				}
			}
		}
	}
	return weights, true
}

// keep returns Keep of sequence i, or nil if masked tokens count too.
func (l Layout) keep(i int, masked bool) []bool {
	if masked || l.Keep == nil {
		return nil
	}
	return l.Keep[i]
}

// check returns an error unless Keep has the shape of Include.
func (l Layout) check() error {
	if l.Keep != nil && len(l.Keep) != len(l.Include) {
		return fmt.Errorf("objective: Layout.Keep has %d rows, want %d as in Include", len(l.Keep), len(l.Include))
	}
	for i, include := range l.Include {
		if l.Keep != nil && l.Keep[i] != nil && len(l.Keep[i]) != len(include) {
			return fmt.Errorf("objective: sequence %d: Layout.Keep has %d entries, want %d as in Include", i, len(l.Keep[i]), len(include))
		}
	}
	return nil
}

// same is the weight of aggregations in which all tokens weigh w.
func same(w float64) func(int) float64 { return func(int) float64 { return w } }

// TokenMean weighs every token that counts alike: 1/N, with N the number of
// tokens that count in the whole optimiser step. Long completions weigh more.
// It is the loss of DAPO (arXiv:2503.14476), TRL's "dapo" and "cispo", verl's
// and SkyRL's "token-mean". (TRL's "bnpo" is the same over a micro-batch
// alone, which makes the loss depend on the split; it is not offered.)
type TokenMean struct {
	Masked Masked `json:"masked"`
}

// Validate returns an error if Masked is invalid.
func (a TokenMean) Validate() error {
	return settings.CheckEnum("objective: TokenMean.Masked", maskedNames, a.Masked)
}

// Weigh implements Aggregation.
func (a TokenMean) Weigh(l Layout) (loss, kl [][]float64, err error) {
	return weigh(l, a.Masked, func(n []int) func(int) float64 {
		total := 0
		for _, k := range n {
			total += k
		}
		return same(1 / float64(total))
	})
}

// TokenSum weighs every token that counts 1: no denominator at all, as the
// losses of the Tinker protocol. The learning rate must fit the batch.
type TokenSum struct {
	Masked Masked `json:"masked"`
}

// Validate returns an error if Masked is invalid.
func (a TokenSum) Validate() error {
	return settings.CheckEnum("objective: TokenSum.Masked", maskedNames, a.Masked)
}

// Weigh implements Aggregation.
func (a TokenSum) Weigh(l Layout) (loss, kl [][]float64, err error) {
	return weigh(l, a.Masked, func([]int) func(int) float64 { return same(1) })
}

// SeqMeanTokenMean is the mean over sequences of each sequence's mean over
// tokens: a token of sequence i weighs 1/(B·n_i), with n_i the number of its
// tokens that count and B the number of sequences. Every completion weighs the
// same, so tokens of long ones weigh less. It is the loss of GRPO
// (DeepSeekMath, arXiv:2402.03300), TRL's "grpo" and "sapo", verl's
// "seq-mean-token-mean", SkyRL's "sequence_mean".
type SeqMeanTokenMean struct {
	Masked Masked `json:"masked"`
	// CountEmpty includes sequences without a counted token in B, as TRL and
	// SkyRL do, and verl and OpenRLHF when they train. Without it they are left
	// out, as in those two where no global batch size is given.
	CountEmpty bool `json:"count_empty"`
	// Epsilon is added to n_i: 1e-8 in verl.
	Epsilon float64 `json:"epsilon"`
}

// Validate returns an error that names the first invalid setting.
func (a SeqMeanTokenMean) Validate() error {
	return cmp.Or(
		settings.CheckEnum("objective: SeqMeanTokenMean.Masked", maskedNames, a.Masked),
		checkNonNegative("SeqMeanTokenMean.Epsilon", a.Epsilon),
	)
}

// Weigh implements Aggregation.
func (a SeqMeanTokenMean) Weigh(l Layout) (loss, kl [][]float64, err error) {
	return weigh(l, a.Masked, func(n []int) func(int) float64 {
		b := sequences(n, a.CountEmpty)
		return func(i int) float64 { return 1 / (b * (float64(n[i]) + a.Epsilon)) }
	})
}

// SeqMeanTokenSum is the mean over sequences of each sequence's sum over
// tokens: every token that counts weighs 1/B. It is verl's
// "seq-mean-token-sum" and, on a shared sequence ratio, TRL's "luspo".
type SeqMeanTokenSum struct {
	Masked Masked `json:"masked"`
	// CountEmpty includes sequences without a counted token in B.
	CountEmpty bool `json:"count_empty"`
}

// Validate returns an error if Masked is invalid.
func (a SeqMeanTokenSum) Validate() error {
	return settings.CheckEnum("objective: SeqMeanTokenSum.Masked", maskedNames, a.Masked)
}

// Weigh implements Aggregation.
func (a SeqMeanTokenSum) Weigh(l Layout) (loss, kl [][]float64, err error) {
	return weigh(l, a.Masked, func(n []int) func(int) float64 {
		return same(1 / sequences(n, a.CountEmpty))
	})
}

// sequences is the number of sequences with a token that counts, or of all.
func sequences(n []int, all bool) float64 {
	b := 0
	for _, k := range n {
		if all || k > 0 {
			b++
		}
	}
	return float64(b)
}

// PromptMean is the mean over prompts of each prompt's mean over the tokens of
// all its completions: a token of prompt p weighs 1/(P·n_p), with n_p the
// number of tokens of p that count and P the number of prompts that have any.
// Every prompt weighs the same, however long its completions (SkyRL's
// "prompt_mean").
type PromptMean struct {
	Masked Masked `json:"masked"`
	// CountEmpty includes prompts without a counted token in P, as in SkyRL.
	CountEmpty bool `json:"count_empty"`
}

// Validate returns an error if Masked is invalid.
func (a PromptMean) Validate() error {
	return settings.CheckEnum("objective: PromptMean.Masked", maskedNames, a.Masked)
}

// Weigh implements Aggregation. Layout.Prompt must have an entry for every
// sequence.
func (a PromptMean) Weigh(l Layout) (loss, kl [][]float64, err error) {
	if len(l.Prompt) != len(l.Include) {
		return nil, nil, fmt.Errorf("objective: PromptMean has prompts for %d sequences, want %d", len(l.Prompt), len(l.Include))
	}
	return weigh(l, a.Masked, func(n []int) func(int) float64 {
		tokens := map[int]int{}
		for i, k := range n {
			if k > 0 || a.CountEmpty {
				tokens[l.Prompt[i]] += k
			}
		}
		return func(i int) float64 { return 1 / (float64(len(tokens)) * float64(tokens[l.Prompt[i]])) }
	})
}

// Constant divides the sum over all tokens that count by a number that does not
// depend on how long the completions turned out, so that a token's weight does
// not depend on length: Dr. GRPO, "Understanding R1-Zero-Like Training"
// (arXiv:2503.20783).
type Constant struct {
	Masked Masked `json:"masked"`
	// Tokens is the constant, usually the longest completion that sampling
	// allows; positive.
	Tokens float64 `json:"tokens"`
	// PerSequence divides by B·Tokens, B being the number of all sequences of
	// the step, also those without a token that counts: Dr. GRPO, TRL's
	// "dr_grpo", SkyRL's "seq_mean_token_sum_norm", and verl's
	// "seq-mean-token-sum-norm", whose loss_scale_factor is the padded length
	// if not set. Without it the divisor is Tokens alone.
	PerSequence bool `json:"per_sequence"`
}

// Validate returns an error that names the first invalid setting.
func (a Constant) Validate() error {
	if !(a.Tokens > 0) || !finite(a.Tokens) {
		return fmt.Errorf("objective: Constant.Tokens is %v, want a positive number of tokens", a.Tokens)
	}
	return settings.CheckEnum("objective: Constant.Masked", maskedNames, a.Masked)
}

// Weigh implements Aggregation.
func (a Constant) Weigh(l Layout) (loss, kl [][]float64, err error) {
	d := a.Tokens
	if a.PerSequence {
		d *= float64(len(l.Include))
	}
	return weigh(l, a.Masked, func([]int) func(int) float64 { return same(1 / d) })
}

// Split weighs policy losses by one aggregation and regularisers (KL, entropy) by
// another, as do trainers whose KL is a separate mean: SkyRL's is a mean over
// sequences whatever the reduction of the loss, and TRL's entropy bonus a mean
// over tokens.
//
// Each part has its own setting for masked tokens. Only the weights
// of policy losses are taken from Loss, and only the others from Regularizer.
type Split struct {
	Loss        Aggregation `json:"loss"`
	Regularizer Aggregation `json:"regularizer"`
}

// Validate returns an error if a part is missing or invalid.
func (a Split) Validate() error {
	if a.Loss == nil || a.Regularizer == nil {
		return fmt.Errorf("objective: Split has Loss %v and Regularizer %v, want two aggregations", a.Loss, a.Regularizer)
	}
	return cmp.Or(a.Loss.Validate(), a.Regularizer.Validate())
}

// Weigh implements Aggregation.
func (a Split) Weigh(l Layout) (loss, kl [][]float64, err error) {
	loss, _, lossErr := a.Loss.Weigh(l)
	if lossErr != nil && !errors.Is(lossErr, ErrNoTokens) {
		return nil, nil, lossErr
	}
	_, kl, klErr := a.Regularizer.Weigh(l)
	if klErr != nil && !errors.Is(klErr, ErrNoTokens) {
		return nil, nil, klErr
	}
	if !anyWeight(loss) && !anyWeight(kl) {
		err = ErrNoTokens
	}
	return loss, kl, err
}

// anyWeight reports whether a token has a weight.
func anyWeight(weights [][]float64) bool {
	return slices.ContainsFunc(weights, func(of []float64) bool {
		return slices.ContainsFunc(of, func(w float64) bool { return w != 0 })
	})
}
