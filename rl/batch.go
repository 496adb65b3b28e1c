package rl

import (
	"context"
	"errors"
	"fmt"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// Sample is one completion in a training batch.
type Sample struct {
	// Prompt is the index of its prompt in Batch.Prompts.
	Prompt int
	// Tokens are the completion's token ids.
	Tokens []int32
	// Excluded samples are not trained on and are in no denominator: Weigh gives
	// their tokens the weight 0.
	Excluded bool
	// Include is false for tokens that are not trained on and in no denominator; nil =
	// none. A sample of such tokens alone is not trained on either, but an aggregation
	// that counts sequences without tokens (CountEmpty, PerSequence) counts it.
	Include []bool
	// Sequence holds the numbers per token, one for each of Tokens.
	objective.Sequence
}

// Batch is the input of a policy. Samples share prompts, so that a policy can
// compute each prompt once.
type Batch struct {
	Prompts [][]int32
	Samples []Sample
	// Temperature divides the logits before log-probs are taken; 0 means 1.
	Temperature float64
}

// Tokens is the number of completion tokens in the batch.
func (b *Batch) Tokens() int {
	n := 0
	for i := range b.Samples {
		n += len(b.Samples[i].Tokens)
	}
	return n
}

// Prepare gives every sample LogP and Grad of the right length and clears the
// gradients; the same of Entropy and EntropyGrad, if needs has objective.InputEntropy,
// and of Cand, if there is one and needs has objective.InputCandidates.
// Policies call it at the start of ForwardBackward.
func (b *Batch) Prepare(needs objective.Inputs) {
	for i := range b.Samples {
		s := &b.Samples[i]
		n := len(s.Tokens)
		s.LogP = sized(s.LogP, n)
		s.Grad = sized(s.Grad, n)
		clear(s.Grad)
		if needs&objective.InputEntropy != 0 {
			s.Entropy = sized(s.Entropy, n)
			s.EntropyGrad = sized(s.EntropyGrad, n)
			clear(s.EntropyGrad)
		}
		if needs&objective.InputCandidates != 0 && s.Cand != nil {
			n := len(s.Tokens) * (s.Cand.K + 1)
			s.Cand.LogP = sized(s.Cand.LogP, n)
			s.Cand.Grad = sized(s.Cand.Grad, n)
			clear(s.Cand.Grad)
		}
	}
}

func sized(s []float64, n int) []float64 {
	if len(s) == n && s != nil {
		return s
	}
	return make([]float64, n)
}

// Split divides the batch into at most parts batches of about equal numbers of
// prompts, each prompt with all of its samples. Parts without samples are left
// out. The samples share their slices with b and keep their weights, so the
// parts' losses and gradients add up to the whole batch's. It panics if parts is
// less than 1, or if a sample has no prompt in the batch, as it would be in no part.
func (b *Batch) Split(parts int) []*Batch {
	out, _ := b.split(parts)
	return out
}

// split is Split with the places in b of each part's samples; nil if b is the only part.
func (b *Batch) split(parts int) (out []*Batch, places [][]int) {
	if parts < 1 {
		panic(fmt.Sprintf("rl: Split into %d parts", parts))
	}
	for i := range b.Samples {
		if p := b.Samples[i].Prompt; p < 0 || p >= len(b.Prompts) {
			panic(fmt.Sprintf("rl: Split: sample %d is of prompt %d, but there are %d", i, p, len(b.Prompts)))
		}
	}
	b.Prepare(0) // so that parts and whole share LogP and Grad
	parts = min(parts, max(len(b.Prompts), 1))
	if parts == 1 {
		return []*Batch{b}, nil
	}
	for p := range parts {
		lo, hi := p*len(b.Prompts)/parts, (p+1)*len(b.Prompts)/parts
		sub := &Batch{Prompts: b.Prompts[lo:hi], Temperature: b.Temperature}
		var own []int
		for i, s := range b.Samples {
			if lo <= s.Prompt && s.Prompt < hi {
				s.Prompt -= lo
				sub.Samples, own = append(sub.Samples, s), append(own, i)
			}
		}
		if len(sub.Samples) > 0 {
			out, places = append(out, sub), append(places, own)
		}
	}
	return out, places
}

// inParts calls f with every part of Split. A *SampleError of f is about samples of the
// part, and what inParts returns about those of b.
func (b *Batch) inParts(parts int, f func(part *Batch) error) error {
	all, places := b.split(parts)
	for i, part := range all {
		err := f(part)
		if e, ok := errors.AsType[*SampleError](err); ok && places != nil {
			err = &SampleError{places[i][e.From], places[i][e.To-1] + 1, e.Err}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Weigh fixes the weight of every token for one optimiser step on the whole
// batch: Weight in the loss, KLWeight in regularisers. Excluded samples and tokens
// (Include false) weigh 0, masked tokens (Keep false) what agg says. The error is
// objective.ErrNoTokens if nothing is left to train on.
func (b *Batch) Weigh(agg objective.Aggregation) error {
	if err := agg.Validate(); err != nil {
		return err
	}
	var l objective.Layout
	for i := range b.Samples {
		if s := &b.Samples[i]; !s.Excluded {
			l.Include, l.Keep, l.Prompt = append(l.Include, s.include()), append(l.Keep, s.Keep), append(l.Prompt, s.Prompt)
		}
	}
	loss, kl, err := agg.Weigh(l)
	if err != nil {
		return err
	}
	for i := range b.Samples {
		s := &b.Samples[i]
		if s.Excluded {
			s.Weight = make([]float64, len(s.Tokens))
			s.KLWeight = s.Weight
			continue
		}
		s.Weight, s.KLWeight = loss[0], kl[0]
		loss, kl = loss[1:], kl[1:]
	}
	return nil
}

// include returns Include, made if it is nil.
func (s *Sample) include() []bool {
	if s.Include != nil {
		return s.Include
	}
	include := make([]bool, len(s.Tokens))
	for t := range include {
		include[t] = true
	}
	return include
}

// Reject excludes what the rejections do not accept (objective.Layout.Reject) and returns
// how many tokens of how many that are. It reads Old, the log-probs of the policy before
// the update (FillOld), and Rollout. Weigh comes after it.
func (b *Batch) Reject(by ...objective.Rejection) (objective.Sum, error) {
	l := b.layout()
	include, rejected, err := l.Reject(b.rows(func(s *Sample) []float64 { return s.Old }), b.rows(func(s *Sample) []float64 { return s.Rollout }), by...)
	if err != nil {
		return objective.Sum{}, err
	}
	for i := range b.Samples {
		if s := &b.Samples[i]; !s.Excluded {
			s.Include = include[i]
		}
	}
	return rejected, nil
}

// MaskLowEntropy masks all tokens but the share of them with the highest entropy
// (objective.Layout.TopEntropy) and returns the threshold. It reads Entropy, that of the
// policy before the update (FillEntropy). Weigh comes after it.
func (b *Batch) MaskLowEntropy(share float64) (threshold float64, err error) {
	l := b.layout()
	keep, threshold, err := l.TopEntropy(b.rows(func(s *Sample) []float64 { return s.Entropy }), share)
	if err != nil {
		return 0, err
	}
	for i := range b.Samples {
		if s := &b.Samples[i]; !s.Excluded {
			s.Keep = keep[i]
		}
	}
	return threshold, nil
}

// layout returns the masks of all samples. Excluded ones have no tokens in it.
func (b *Batch) layout() objective.Layout {
	l := objective.Layout{Include: make([][]bool, len(b.Samples)), Keep: make([][]bool, len(b.Samples))}
	for i := range b.Samples {
		if s := &b.Samples[i]; !s.Excluded {
			l.Include[i], l.Keep[i] = s.include(), s.Keep
		}
	}
	return l
}

// rows returns the samples' numbers in the shape of layout.
func (b *Batch) rows(of func(*Sample) []float64) [][]float64 {
	rows := make([][]float64, len(b.Samples))
	for i := range b.Samples {
		if s := &b.Samples[i]; !s.Excluded {
			rows[i] = of(s)
		}
	}
	return rows
}

// Demonstration is a completion to imitate. Tokens ends with the end-of-text token if
// the policy is to learn to stop.
type Demonstration struct{ Prompt, Tokens []int32 }

// DemonstrationBatch makes a batch for supervised learning, in which every completion
// token counts. Equal prompts are not merged. A supervised loop is:
//
//	for step, demos := range slices.Collect(slices.Chunk(demonstrations, 32)) {
//		batch, err := rl.DemonstrationBatch(demos, objective.TokenMean{})
//		if err != nil { … }
//		opt := rl.OptimOptions{LR: schedule.At(int64(step)), MaxNorm: 1}
//		info, err := rl.Update(ctx, policy, batch, objective.CrossEntropy{}, 1, opt)
//		if err != nil { … }
//	}
func DemonstrationBatch(demos []Demonstration, agg objective.Aggregation) (*Batch, error) {
	if len(demos) == 0 {
		return nil, errors.New("rl: no demonstrations")
	}
	b := &Batch{}
	for i, d := range demos {
		if len(d.Prompt) == 0 || len(d.Tokens) == 0 {
			return nil, fmt.Errorf("rl: demonstration %d has %d prompt tokens and %d completion tokens, need some of both", i, len(d.Prompt), len(d.Tokens))
		}
		b.Prompts = append(b.Prompts, d.Prompt)
		b.Samples = append(b.Samples, Sample{Prompt: i, Tokens: d.Tokens})
	}
	if err := b.Weigh(agg); err != nil {
		return nil, err
	}
	return b, nil
}

// fillMissing sets Old to the log-probs under p and Ref to those under the
// reference, unless all samples have them. nil for either leaves it alone.
func (b *Batch) fillMissing(ctx context.Context, p, reference LogProber) error {
	old, ref := true, true // whether all samples have them
	for i := range b.Samples {
		s := &b.Samples[i]
		old = old && len(s.Old) == len(s.Tokens)
		ref = ref && len(s.Ref) == len(s.Tokens)
	}
	if p != nil && !old {
		if err := b.FillOld(ctx, p); err != nil {
			return fmt.Errorf("of the policy: %w", err)
		}
	}
	if reference != nil && !ref {
		if err := b.FillRef(ctx, reference); err != nil {
			return fmt.Errorf("of the reference: %w", err)
		}
	}
	return nil
}

// FillOld sets every sample's Old to its log-probs under p. A trainer calls it
// before the first of several updates on the same samples.
func (b *Batch) FillOld(ctx context.Context, p LogProber) error {
	return b.fill(ctx, p, func(s *Sample) *[]float64 { return &s.Old })
}

// FillRef sets every sample's Ref to its log-probs under the reference policy p.
func (b *Batch) FillRef(ctx context.Context, p LogProber) error {
	return b.fill(ctx, p, func(s *Sample) *[]float64 { return &s.Ref })
}

// FillCovRank sets every sample's CovRank (objective.Layout.CovRanks), of its Adv and its
// log-probs before the update: Old, or Rollout where Old is absent.
func (b *Batch) FillCovRank() error {
	logp := b.rows(func(s *Sample) []float64 {
		if s.Old == nil {
			return s.Rollout
		}
		return s.Old
	})
	ranks, err := b.layout().CovRanks(logp, b.rows(func(s *Sample) []float64 { return s.Adv }))
	if err != nil {
		return err
	}
	for i := range b.Samples {
		if s := &b.Samples[i]; s.Excluded {
			s.CovRank = make([]float64, len(s.Tokens)) // of tokens without a weight
		} else {
			s.CovRank = ranks[i]
		}
	}
	return nil
}

// FillEntropy sets every sample's Entropy to those of p, in accumulate (at least 1) passes
// of ForwardBackward with an objective that is 0 and has no gradient.
func (b *Batch) FillEntropy(ctx context.Context, p Policy, accumulate int) error {
	b.Prepare(objective.InputEntropy) // so that parts and whole share Entropy
	return b.inParts(accumulate, func(part *Batch) error {
		_, _, err := p.ForwardBackward(ctx, part, measureEntropy{})
		return err
	})
}

// measureEntropy is the objective that reads entropies and is 0.
type measureEntropy struct{}

func (measureEntropy) Needs() objective.Inputs { return objective.InputEntropy }

func (measureEntropy) Validate() error { return nil }

func (measureEntropy) Eval(*objective.Sequence, objective.Metrics) (float64, error) { return 0, nil }

// fill gives the samples new slices for the log-probs under p: the old ones may
// be shared, Old with the engine's log-probs for example.
func (b *Batch) fill(ctx context.Context, p LogProber, of func(*Sample) *[]float64) error {
	dst := make([][]float64, len(b.Samples))
	for i := range b.Samples {
		s := &b.Samples[i]
		dst[i] = make([]float64, len(s.Tokens))
		*of(s) = dst[i]
	}
	return p.LogProbs(ctx, b, dst)
}
