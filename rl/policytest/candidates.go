package policytest

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// RunTopLogProber checks the contract of rl.TopLogProber, which p must be, and those of
// rl.TopLogProbChecker and rl.CandidateProber if p is one. Ids are 0 to vocab-1. tolerance is the absolute
// difference allowed between two computations of a log-prob. Run calls it for a policy
// that is a TopLogProber.
func RunTopLogProber(t *testing.T, p rl.LogProber, vocab int, tolerance float64) {
	t.Helper()
	top, ok := p.(rl.TopLogProber)
	if !ok {
		t.Fatalf("%T is no rl.TopLogProber", p)
	}
	check := func(int) error { return nil }
	c, checks := p.(rl.TopLogProbChecker)
	if checks {
		check = c.CheckTopLogProbs
	}
	s := newSuite(Options{Vocab: vocab, Tolerance: tolerance})
	b := s.batch(2, 2)
	b.Samples = append(b.Samples, rl.Sample{Prompt: 1}) // nothing to compute
	for _, k := range []int{1, min(3, vocab), vocab} {
		dst := rl.NewTops(b, k)
		if err := top.TopLogProbs(t.Context(), b, k, dst); err != nil {
			t.Fatalf("TopLogProbs of %d tokens: %v", k, err)
		}
		if err := check(k); err != nil {
			t.Fatalf("CheckTopLogProbs refuses %d tokens, which TopLogProbs gives: %v", k, err)
		}
		for i := range b.Samples[:2] {
			for at := range b.Samples[i].Tokens {
				ids, row := dst[i].IDs[at*k:][:k], s.row(t, p, b, i, at)
				s.checkOutcomes(t, ids, dst[i].LogP[at*(k+1):][:k+1], row)
				for j := range ids {
					if j > 0 && row[ids[j]] > row[ids[j-1]]+2*tolerance {
						t.Fatalf("tokens %v of sample %d token %d are not in falling order", ids, i, at)
					}
				}
				for v, lp := range row {
					if !slices.Contains(ids, int32(v)) && lp > row[ids[k-1]]+2*tolerance {
						t.Fatalf("sample %d token %d: %d tokens without %d, which is more likely than %d", i, at, k, v, ids[k-1])
					}
				}
			}
		}
	}
	for _, k := range []int{0, vocab + 1} {
		if err := top.TopLogProbs(t.Context(), b, k, rl.NewTops(b, k)); err == nil {
			t.Fatalf("TopLogProbs of %d tokens, of %d, gave no error", k, vocab)
		}
		if checks && check(k) == nil {
			t.Fatalf("CheckTopLogProbs allows %d tokens, of %d", k, vocab)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := top.TopLogProbs(ctx, b, 1, rl.NewTops(b, 1)); !errors.Is(err, context.Canceled) {
		t.Fatalf("TopLogProbs returned %v, want context.Canceled", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Fatal("TopLogProbs does not panic if dst does not fit")
			}
		}()
		_ = top.TopLogProbs(t.Context(), b, 1, nil)
	}()
	if c, ok := p.(rl.CandidateProber); ok {
		k := min(3, vocab)
		dst := rl.NewTops(b, k)
		for i := range dst {
			s.choose(dst[i].IDs, k)
		}
		want := slices.Clone(dst[0].IDs)
		if err := c.CandidateLogProbs(t.Context(), b, k, dst); err != nil {
			t.Fatalf("CandidateLogProbs: %v", err)
		}
		if !slices.Equal(want, dst[0].IDs) {
			t.Fatal("CandidateLogProbs changed the ids")
		}
		for at := range b.Samples[0].Tokens {
			s.checkOutcomes(t, want[at*k:][:k], dst[0].LogP[at*(k+1):][:k+1], s.row(t, p, b, 0, at))
		}
	}
}

// choose writes different random tokens for every position into ids.
func (s *suite) choose(ids []int32, k int) {
	for at := 0; at < len(ids); at += k {
		for j, id := range s.rng.Perm(s.Vocab)[:k] {
			ids[at+j] = int32(id)
		}
	}
}

// next returns a batch with every token in place of token at of sample i of b, which
// is then the last.
func (s *suite) next(b *rl.Batch, i, at int) *rl.Batch {
	all := &rl.Batch{Prompts: [][]int32{b.Prompts[b.Samples[i].Prompt]}, Temperature: b.Temperature}
	for v := range s.Vocab {
		sm := rl.Sample{Tokens: append(slices.Clone(b.Samples[i].Tokens[:at]), int32(v))}
		sm.Weight = make([]float64, at+1)
		all.Samples = append(all.Samples, sm)
	}
	return all
}

// row returns the log-probs of all tokens in the place of token at of sample i.
func (s *suite) row(t *testing.T, p rl.LogProber, b *rl.Batch, i, at int) []float64 {
	t.Helper()
	row := make([]float64, s.Vocab)
	for v, lp := range logProbs(t, p, s.next(b, i, at)) {
		row[v] = lp[at]
	}
	return row
}

// checkOutcomes compares the log-probs of different tokens and of the rest with those
// of all tokens.
func (s *suite) checkOutcomes(t *testing.T, ids []int32, got, row []float64) {
	t.Helper()
	rest := 1.0
	for j, id := range ids {
		if id < 0 || int(id) >= s.Vocab || slices.Contains(ids[:j], id) {
			t.Fatalf("tokens %v, want different ids below %d", ids, s.Vocab)
		}
		if d := math.Abs(got[j] - row[id]); !(d <= s.Tolerance) {
			t.Fatalf("log-prob %v of token %d, want %v within %g", got[j], id, row[id], s.Tolerance)
		}
		rest -= math.Exp(row[id])
	}
	if len(ids) == s.Vocab {
		if !math.IsInf(got[len(ids)], -1) {
			t.Fatalf("the rest of all %d tokens has log-prob %v, want -Inf", s.Vocab, got[len(ids)])
		}
	} else if d := math.Abs(math.Exp(got[len(ids)]) - rest); !(d <= s.Tolerance) {
		t.Fatalf("the rest has probability %v, want %v within %g", math.Exp(got[len(ids)]), rest, s.Tolerance)
	}
}

// topLogProber runs RunTopLogProber if the policy is one.
func (s *suite) topLogProber(t *testing.T) {
	p := s.Open(t)
	if _, ok := p.(rl.TopLogProber); ok {
		RunTopLogProber(t, p, s.Vocab, s.Tolerance)
	}
}

// candidates checks the log-probs of given candidates, and the gradient through one
// position's: that of candidates and rest is that of a linear loss on the log-probs of
// all tokens, where token v of the rest has the share p_v/p_rest of its coefficient.
func (s *suite) candidates(t *testing.T) {
	if s.Lacks&rl.CapCandidates != 0 {
		_, _, err := s.Open(t).ForwardBackward(t.Context(), s.batch(1, 1), candidateSum{})
		refused(t, "an objective of candidates", err)
		return
	}
	for _, k := range []int{1, min(3, s.Vocab-1), s.Vocab} {
		p, q, b := s.Open(t), s.Open(t), s.batch(2, 2)
		if s.Lacks&rl.CapTemperature == 0 {
			b.Temperature = 0.7
		}
		for i := range b.Samples {
			c := &objective.Candidates{K: k, IDs: make([]int32, k*len(b.Samples[i].Tokens))}
			s.choose(c.IDs, k)
			b.Samples[i].Cand = c
			clear(b.Samples[i].Weight)
		}
		o := candidateSum{c: make([]float64, k+1)}
		for j := range o.c {
			o.c[j] = s.rng.NormFloat64()
		}
		if k == s.Vocab {
			o.c[k] = 0
		}
		i := 0
		for len(b.Samples[i].Tokens) < 3 {
			i++
		}
		const at = 1
		sm := &b.Samples[i]
		sm.Weight[at] = 1
		ids, row, linearLoss := sm.Cand.IDs[at*k:][:k], s.row(t, q, b, i, at), s.next(b, i, at)
		loss := forward(t, p, b, o)
		got, want, rest := sm.Cand.LogP[at*(k+1):][:k+1], 0.0, math.Exp(sm.Cand.LogP[at*(k+1)+k])
		s.checkOutcomes(t, ids, got, row)
		for v := range linearLoss.Samples {
			if j := slices.Index(ids, int32(v)); j >= 0 {
				linearLoss.Samples[v].Weight[at] = o.c[j]
			} else {
				linearLoss.Samples[v].Weight[at] = o.c[k] * math.Exp(row[v]) / rest
			}
		}
		for j, c := range o.c {
			if c != 0 {
				want += c * got[j]
			}
		}
		if math.Abs(loss-want) > s.Tolerance*(1+math.Abs(want)) {
			t.Fatalf("loss %v on %d candidates, want %v", loss, k, want)
		}
		forward(t, q, linearLoss, linear{1})
		np, nq := s.optimStep(t, p).GradNorm, s.optimStep(t, q).GradNorm
		if math.Abs(np-nq) > 10*s.Tolerance*(1+nq) {
			t.Fatalf("gradient norm %v with %d candidates, %v of the same loss on all tokens", np, k, nq)
		}
		same(t, "log-probs after an optimiser step on candidates", logProbs(t, p, b), logProbs(t, q, b), 10*s.Tolerance)
	}
	p, b := s.Open(t), s.batch(1, 1)
	if _, _, err := p.ForwardBackward(t.Context(), b, candidateSum{}); err == nil {
		t.Fatal("ForwardBackward without candidates gave no error")
	}
	b.Samples[0].Cand = &objective.Candidates{K: 1, IDs: make([]int32, len(b.Samples[0].Tokens))}
	b.Samples[0].Cand.IDs[0] = int32(s.Vocab)
	if _, _, err := p.ForwardBackward(t.Context(), b, candidateSum{c: make([]float64, 2)}); err == nil {
		t.Fatal("ForwardBackward with a candidate outside of the vocabulary gave no error")
	}
}

// candidateSum is the loss Σ w·c[k]·(log-prob of candidate k), with the rest as the
// last.
type candidateSum struct{ c []float64 }

func (candidateSum) Needs() objective.Inputs { return objective.InputCandidates }
func (candidateSum) Validate() error         { return nil }
func (o candidateSum) Eval(s *objective.Sequence, _ objective.Metrics) (loss float64, err error) {
	if s.Cand == nil {
		return 0, errors.New("policytest: Cand is missing")
	}
	for t, w := range s.Weight {
		for k, c := range o.c {
			if w != 0 && c != 0 {
				loss += w * c * s.Cand.LogP[t*len(o.c)+k]
				s.Cand.Grad[t*len(o.c)+k] += w * c
			}
		}
	}
	return loss, nil
}

// noTeacher has no log-probs to give.
type noTeacher struct{ rl.LogProber }

func (noTeacher) TopLogProbs(context.Context, *rl.Batch, int, []rl.Top) error {
	return errors.New("policytest: nothing should be asked")
}
