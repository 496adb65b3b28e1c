package sample

import (
	"fmt"
	"math"
	"slices"
)

// Vocab gives the bytes that a token stands for: none for a special token.
// *tokenizer.Tokenizer implements it. The bytes are not changed.
type Vocab interface {
	Bytes(id int32) []byte
}

// Sampler draws tokens. It keeps scratch memory between calls, so a goroutine
// needs one of its own.
type Sampler struct {
	// Version is that of the weights which the logits come from.
	Version int64

	vocab   Vocab
	eos     []int32
	weights []float64 // exp((logit - max)/temperature) of each token
	ranking ranking
}

// NewSampler returns a sampler. A sequence ends with the first of the
// end-of-text tokens eos.
func NewSampler(v Vocab, eos ...int32) *Sampler {
	return &Sampler{vocab: v, eos: slices.Clone(eos)}
}

// Next draws the next token of a sequence that is not done, given the logits
// of every token, at temperature 1. A logit may be -Inf: that token is never
// drawn. With NaN or +Inf among the logits, or with none above -Inf, there is
// an error and nothing is drawn.
func (s *Sampler) Next(q *Sequence, logits []float32) error {
	if q.done {
		panic("sample: Next of a sequence that is done")
	}
	best, err := argmax(logits)
	if err != nil {
		return fmt.Errorf("sample: token %d: %w", len(q.c.Tokens), err)
	}
	top := float64(logits[best])
	t := q.params.Temperature
	token := best
	var logp, unit float64
	switch t {
	case 0:
		unit = -math.Log(s.weigh(logits, top, 1))
		logp = unit
	case 1:
		total := s.weigh(logits, top, 1)
		token = s.draw(q, total)
		unit = float64(logits[token]) - top - math.Log(total)
		logp = unit
	default:
		unitTotal := s.weigh(logits, top, 1)
		total := s.weigh(logits, top, t)
		token = s.draw(q, total)
		unit = float64(logits[token]) - top - math.Log(unitTotal)
		logp = (float64(logits[token])-top)/t - math.Log(total)
	}
	if len(q.c.Tokens) == 0 {
		q.c.FirstVersion = s.Version
	}
	q.c.LastVersion = s.Version
	q.add(token, s.vocab.Bytes(token), logp, unit, slices.Contains(s.eos, token))
	return nil
}

// argmax returns the most likely token, the lowest of several.
func argmax(logits []float32) (best int32, err error) {
	top := float32(math.Inf(-1))
	for i, l := range logits {
		if l != l || l > math.MaxFloat32 {
			return 0, fmt.Errorf("the logit of id %d is %v", i, l)
		}
		if l > top {
			top, best = l, int32(i)
		}
	}
	if math.IsInf(float64(top), -1) {
		return 0, fmt.Errorf("none of %d logits is above -Inf", len(logits))
	}
	return best, nil
}

// weigh sets the weights of all tokens at temperature t and returns their sum.
func (s *Sampler) weigh(logits []float32, top, t float64) float64 {
	s.weights = slices.Grow(s.weights[:0], len(logits))[:len(logits)]
	var total float64
	for i, l := range logits {
		w := math.Exp((float64(l) - top) / t)
		s.weights[i] = w
		total += w
	}
	return total
}

// draw draws a token by the weights, whose sum is total, after truncation.
func (s *Sampler) draw(q *Sequence, total float64) int32 {
	ids, total := s.truncate(q.params.TopK, q.params.TopP, total)
	u := q.uniform() * total
	last := ids[0]
	for _, id := range ids {
		if w := s.weights[id]; w > 0 {
			if u -= w; u < 0 {
				return id
			}
			last = id
		}
	}
	return last // rounding: the weights are a hair less than their sum
}
