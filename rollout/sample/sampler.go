package sample

import (
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
)

// Vocab gives the bytes of tokens; a *tokenizer.Tokenizer is one. It must be safe
// for concurrent use if samplers share it.
type Vocab interface {
	// Bytes returns the bytes of a token, which the caller does not change; none
	// for a special token.
	Bytes(id int32) []byte
}

// Sampler draws tokens. It keeps scratch memory between calls, so each goroutine
// needs its own.
type Sampler struct {
	// Version is the version of the weights that computed the logits.
	Version int64

	vocab   Vocab
	eos     []int32
	weights []float64 // exp((logit - max)/temperature) of each token
	ids     []int32   // tokens that truncation may keep,
	kept    []float64 // and the weights of those that it keeps
}

// NewSampler returns a sampler. A sequence ends with any of the end-of-text tokens
// eos.
func NewSampler(v Vocab, eos ...int32) *Sampler {
	return &Sampler{vocab: v, eos: slices.Clone(eos)}
}

// Next draws the next token of a sequence, given the logits of all tokens at
// temperature 1. A token whose logit is -Inf is never drawn. NaN or +Inf among the
// logits, or none above -Inf, is an error, and nothing is drawn. It panics if the
// sequence is done.
func (s *Sampler) Next(q *Sequence, logits []float32) error {
	if q.done {
		panic("sample: Next of a sequence that is done")
	}
	top := float64(vecmath.Max(logits))
	total := s.weigh(logits, top, 1)
	if math.IsNaN(total) {
		return fmt.Errorf("sample: token %d: %w", len(q.c.Tokens), notFinite(logits))
	}
	t := q.params.Temperature
	unitTotal := total
	if t != 0 && t != 1 {
		total = s.weigh(logits, top, min(1/t, math.MaxFloat64))
	}
	var token int32
	if t == 0 {
		token = int32(slices.Index(logits, float32(top))) // the lowest of several
	} else {
		token = s.draw(q, total)
	}
	unit := float64(logits[token]) - top - math.Log(unitTotal)
	logp := unit
	if t != 0 && t != 1 {
		logp = (float64(logits[token])-top)/t - math.Log(total)
	}
	s.Accept(q, token, logp, unit)
	return nil
}

// Accept is Next with a token that was drawn elsewhere, by the sequence's parameters
// and [Sequence.Uniform]. logp is its log-prob at the temperature, before top-k and
// top-p, and unit that at temperature 1. It panics if the sequence is done.
func (s *Sampler) Accept(q *Sequence, token int32, logp, unit float64) {
	if q.done {
		panic("sample: Accept for a sequence that is done")
	}
	if len(q.c.Tokens) == 0 {
		q.c.FirstVersion = s.Version
	}
	q.c.LastVersion = s.Version
	q.add(token, s.vocab.Bytes(token), logp, unit, slices.Contains(s.eos, token))
}

// notFinite returns the error of logits whose weights have no finite sum.
func notFinite(logits []float32) error {
	for i, l := range logits {
		if l != l || l > math.MaxFloat32 {
			return fmt.Errorf("the logit of id %d is %v", i, l)
		}
	}
	return fmt.Errorf("none of %d logits is above -Inf", len(logits))
}

// weigh sets the weights of all tokens, with an inverse temperature, and
// returns their sum. It is NaN if a logit is NaN or +Inf, or all are -Inf.
func (s *Sampler) weigh(logits []float32, top, scale float64) float64 {
	s.weights = slices.Grow(s.weights[:0], len(logits))[:len(logits)]
	return vecmath.ExpSum(s.weights, logits, top, scale)
}

// draw draws a token by the weights, whose sum is total, after truncation.
func (s *Sampler) draw(q *Sequence, total float64) int32 {
	u := q.Uniform()
	ids, ok := s.truncate(q.params.TopK, q.params.TopP, total)
	if !ok {
		return int32(pick(s.weights, u*total))
	}
	s.kept, total = s.kept[:0], 0
	for _, id := range ids {
		s.kept = append(s.kept, s.weights[id])
		total += s.weights[id]
	}
	return ids[pick(s.kept, u*total)]
}

// pick returns the first index at which the cumulative weight exceeds u, by blocks
// and then one by one. The weight at that index is never 0.
func pick(weights []float64, u float64) int {
	const block = 64
	for from := 0; from < len(weights); from += block {
		part := weights[from:min(from+block, len(weights))]
		sum := sumOf(part)
		if u >= sum {
			u -= sum
			continue
		}
		for i, w := range part {
			if u -= w; u < 0 && w > 0 {
				return from + i
			}
		}
		weights = weights[:from+len(part)]
		break
	}
	// Rounding: the weights, or those of the block, are a hair less than their
	// sum.
	i := len(weights) - 1
	for weights[i] == 0 {
		i--
	}
	return i
}

// sumOf adds four numbers at a time.
func sumOf(x []float64) float64 {
	var a, b, c, d float64
	for ; len(x) >= 4; x = x[4:] {
		a += x[0]
		b += x[1]
		c += x[2]
		d += x[3]
	}
	for _, v := range x {
		a += v
	}
	return (a + b) + (c + d)
}
