package distill

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/rl"
)

// Rationale is one sampled completion of the teacher, cut off where its final
// answer begins; see Cut.
type Rationale struct {
	// Prompt holds the prompt's tokens, Tokens the completion's up to the
	// final answer, its opening mark included.
	Prompt, Tokens []int32
}

// Labeler reads a teacher's belief about the label off its traces.
type Labeler struct {
	// Teacher scores tokens, at temperature 1.
	Teacher rl.LogProber
	// Labels holds the tokens of each label as the teacher would write it
	// with what follows it (the closing mark), so that no label is the
	// beginning of another.
	Labels [][]int32
}

// Belief is a teacher's distribution over the labels.
type Belief struct {
	// P holds a probability per label; they sum to 1. nil if there was no
	// trace to read it from: that is unknown, not uniform.
	P []float64
	// Coverage is the probability that the teacher writes any of the labels
	// at all, before P was normalised, averaged over the traces.
	Coverage float64
	// Rationales is how many traces P is the mean of.
	Rationales int
}

// Validate returns an error that names what is wrong with the labeler.
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

// Beliefs returns one belief per example from its traces: the mean over them
// of P(label | prompt, reasoning), each normalised over the labels. A trace's
// prompt and reasoning are computed once for all labels.
func (l *Labeler) Beliefs(ctx context.Context, examples [][]Rationale) ([]Belief, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	b := &rl.Batch{}
	for _, traces := range examples {
		for _, t := range traces {
			for _, tokens := range l.Labels {
				b.Samples = append(b.Samples, rl.Sample{Prompt: len(b.Prompts), Tokens: tokens})
			}
			b.Prompts = append(b.Prompts, slices.Concat(t.Prompt, t.Tokens))
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
	for e, traces := range examples {
		for range traces {
			if err := beliefs[e].add(dst[:len(l.Labels)]); err != nil {
				return nil, fmt.Errorf("distill: example %d: %w", e, err)
			}
			dst = dst[len(l.Labels):]
		}
		beliefs[e].average()
	}
	return beliefs, nil
}

// add adds one trace's distribution.
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
