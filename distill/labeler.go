package distill

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Rationale is the reasoning that a teacher sampled before it stated a label; see
// Cut.
type Rationale struct {
	// Prompt holds the prompt's tokens, and Tokens those of the completion up
	// to the final answer, including its opening mark.
	Prompt, Tokens []int32
}

// Cut returns the tokens of a judged completion before its final answer, for
// Rationale.Tokens. It returns false if nothing was parsed, if the final step is
// broken, or if no token begins where its answer does (one token holds the
// opening mark and the first byte of the answer, for example): after a cut there,
// the teacher would not write the answer in the tokens of Labels.
func Cut(c *rollout.Completion) (tokens []int32, ok bool) {
	if c.Trace == nil {
		return nil, false
	}
	if _, ok := c.Trace.FinalAnswer(); !ok {
		return nil, false
	}
	last := &c.Trace.Steps[c.Trace.Final]
	first := last.AnswerTokens.Start
	if last.AnswerTokens.Empty() || first == 0 || c.Ends[first-1] != last.AnswerBytes.Start {
		return nil, false
	}
	return c.Tokens[:first], true
}

// Labeler computes a teacher's belief about the label after its own reasoning.
type Labeler struct {
	// Teacher gives the log-probs of the labels, at temperature 1.
	Teacher rl.LogProber
	// Labels holds the tokens of each label as the teacher would write it,
	// including the closing mark after it, so that no label is a prefix of
	// another.
	Labels [][]int32
}

// Belief is a teacher's distribution over the labels.
type Belief struct {
	// P holds a probability per label; they sum to 1. It is nil if there was no
	// rationale: the belief is then unknown, not uniform.
	P []float64
	// Coverage is the probability that the teacher writes one of the labels at
	// all, before P was normalised, averaged over the rationales.
	Coverage float64
	// Rationales is the number of rationales that P is the mean over.
	Rationales int
}

// Validate returns an error that names the first invalid field.
func (l *Labeler) Validate() error {
	if l.Teacher == nil {
		return errors.New("distill: Labeler.Teacher is missing")
	}
	if len(l.Labels) < 2 {
		return fmt.Errorf("distill: Labeler.Labels has %d labels, need at least 2", len(l.Labels))
	}
	for i, a := range l.Labels {
		if len(a) == 0 {
			return fmt.Errorf("distill: Labeler.Labels[%d] has no tokens", i)
		}
		for j, b := range l.Labels {
			if i != j && len(a) <= len(b) && slices.Equal(a, b[:len(a)]) {
				return fmt.Errorf("distill: Labeler.Labels[%d] is the beginning of Labels[%d]", i, j)
			}
		}
	}
	return nil
}

// Beliefs returns one belief per example: the mean over its rationales of
// P(label | prompt, rationale), each normalised over the labels. Prompt and
// rationale are computed once for all labels.
func (l *Labeler) Beliefs(ctx context.Context, examples [][]Rationale) ([]Belief, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	b := &rl.Batch{}
	for _, rationales := range examples {
		for _, r := range rationales {
			for _, tokens := range l.Labels {
				b.Samples = append(b.Samples, rl.Sample{Prompt: len(b.Prompts), Tokens: tokens})
			}
			b.Prompts = append(b.Prompts, slices.Concat(r.Prompt, r.Tokens))
		}
	}
	dst := make([][]float64, len(b.Samples))
	for i := range dst {
		dst[i] = make([]float64, len(b.Samples[i].Tokens))
	}
	if len(dst) > 0 {
		if err := l.Teacher.LogProbs(ctx, b, dst); err != nil {
			return nil, fmt.Errorf("distill: the teacher's log-probs: %w", err)
		}
	}
	beliefs := make([]Belief, len(examples))
	for e, rationales := range examples {
		for range rationales {
			if err := beliefs[e].add(dst[:len(l.Labels)]); err != nil {
				return nil, fmt.Errorf("distill: example %d: %w", e, err)
			}
			dst = dst[len(l.Labels):]
		}
		beliefs[e].average()
	}
	return beliefs, nil
}

// add adds the distribution after one rationale.
func (b *Belief) add(logp [][]float64) error {
	total := make([]float64, len(logp))
	for c := range logp {
		for _, lp := range logp[c] {
			total[c] += lp
		}
		if math.IsNaN(total[c]) {
			return fmt.Errorf("the log-prob of label %d is not a number", c)
		}
	}
	logZ := logSumExp(total, 1)
	if math.IsInf(logZ, -1) {
		return errors.New("the teacher gives no label any probability")
	}
	if b.P == nil {
		b.P = make([]float64, len(logp))
	}
	for c := range total {
		b.P[c] += math.Exp(total[c] - logZ)
	}
	b.Coverage += math.Exp(logZ)
	b.Rationales++
	return nil
}

func (b *Belief) average() {
	if b.Rationales == 0 {
		return
	}
	for c := range b.P {
		b.P[c] /= float64(b.Rationales)
	}
	b.Coverage /= float64(b.Rationales)
}
