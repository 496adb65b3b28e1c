package policytest

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

func (s *suite) distribution(t *testing.T) {
	p, prompt := s.Open(t), s.tokens(3)
	b := &rl.Batch{Prompts: [][]int32{prompt}}
	for v := range s.Vocab {
		b.Samples = append(b.Samples, rl.Sample{Tokens: []int32{int32(v)}})
	}
	sum := 0.0
	for _, lp := range logProbs(t, p, b) {
		sum += math.Exp(lp[0])
	}
	if math.Abs(sum-1) > s.Tolerance {
		t.Fatalf("the probabilities of all %d next tokens sum to %v", s.Vocab, sum)
	}
}

func (s *suite) temperature(t *testing.T) {
	p, prompt := s.Open(t), s.tokens(3)
	b := &rl.Batch{Prompts: [][]int32{prompt}}
	for v := range s.Vocab {
		b.Samples = append(b.Samples, rl.Sample{Tokens: []int32{int32(v)}})
	}
	unit := logProbs(t, p, b)
	b.Temperature = 0.5
	if s.Lacks&rl.CapTemperature != 0 {
		_, _, err := p.ForwardBackward(t.Context(), b, linear{-1})
		refused(t, "ForwardBackward at temperature 0.5", err)
		refused(t, "LogProbs at temperature 0.5", p.LogProbs(t.Context(), b, unit))
		return
	}
	z := 0.0
	for i := range unit {
		z += math.Exp(unit[i][0] / 0.5)
	}
	for i := range unit {
		unit[i][0] = unit[i][0]/0.5 - math.Log(z)
	}
	same(t, "log-probs at temperature 0.5", logProbs(t, p, b), unit, 4*s.Tolerance)
}

func (s *suite) forwardFills(t *testing.T) {
	p, b := s.Open(t), s.batch(3, 2)
	want := logProbs(t, p, b)
	loss, m, err := p.ForwardBackward(t.Context(), b, linear{-1})
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i := range b.Samples {
		same(t, "LogP after ForwardBackward", [][]float64{b.Samples[i].LogP}, want[i:i+1], s.Tolerance)
		for k, w := range b.Samples[i].Weight {
			sum -= w * want[i][k]
			if g := b.Samples[i].Grad[k]; g != -w {
				t.Fatalf("sample %d token %d: Grad %v after ForwardBackward, want %v", i, k, g, -w)
			}
		}
	}
	if math.Abs(loss-sum) > s.Tolerance*(1+math.Abs(sum)) {
		t.Fatalf("loss %v, want %v", loss, sum)
	}
	if m["tokens"] != (objective.Sum{Sum: float64(b.Tokens()), Count: float64(len(b.Samples))}) {
		t.Fatalf("metrics %v do not sum over the samples", m)
	}
}

func (s *suite) sharedPrompts(t *testing.T) {
	shared := s.batch(2, 3)
	separate := &rl.Batch{}
	for i, sm := range shared.Samples {
		separate.Prompts = append(separate.Prompts, shared.Prompts[sm.Prompt])
		sm.Prompt = i
		separate.Samples = append(separate.Samples, sm)
	}
	p, q := s.Open(t), s.Open(t)
	same(t, "log-probs with shared prompts", logProbs(t, p, shared), logProbs(t, q, separate), s.Tolerance)
	forward(t, p, shared, linear{-1})
	forward(t, q, separate, linear{-1})
	np, nq := s.optimStep(t, p).GradNorm, s.optimStep(t, q).GradNorm
	if math.Abs(np-nq) > s.Tolerance*(1+nq) {
		t.Fatalf("gradient norm %v with shared prompts, %v with separate ones", np, nq)
	}
	same(t, "log-probs after an optimiser step with shared prompts", logProbs(t, p, shared), logProbs(t, q, shared), 10*s.Tolerance)
}

func (s *suite) lowers(t *testing.T) {
	p, b := s.Open(t), s.batch(2, 2)
	before := forward(t, p, b, linear{-1})
	s.optimStep(t, p)
	if after := forward(t, p, b, linear{-1}); !(after < before) {
		t.Fatalf("the loss went from %v to %v in a step on it", before, after)
	}
}

// everyToken trains on one token of a sample at a time: its log-prob must rise,
// wherever it stands in the sample. The optimiser step is small, because it could
// overshoot for a token that is already likely. Each policy is freed before the next,
// if Open registers that with its t: a server has room for a few.
func (s *suite) everyToken(t *testing.T) {
	b := &rl.Batch{Prompts: [][]int32{s.tokens(3)}, Samples: []rl.Sample{{Tokens: s.tokens(4)}}}
	sm := &b.Samples[0]
	for k := range sm.Tokens {
		t.Run(strconv.Itoa(k), func(t *testing.T) {
			p := s.Open(t)
			sm.Weight = make([]float64, len(sm.Tokens))
			sm.Weight[k] = 1
			before := logProbs(t, p, b)[0][k]
			forward(t, p, b, linear{-1})
			if _, err := p.OptimStep(t.Context(), rl.OptimOptions{LR: s.LR / 100}); err != nil {
				t.Fatalf("OptimStep: %v", err)
			}
			if after := logProbs(t, p, b)[0][k]; !(after > before) {
				t.Fatalf("a step on token %d alone took its log-prob from %v to %v", k, before, after)
			}
		})
	}
}

func (s *suite) accumulates(t *testing.T) {
	p, q, b := s.Open(t), s.Open(t), s.batch(4, 2)
	whole := forward(t, p, b, linear{-1})
	parts := 0.0
	for _, part := range b.Split(3) {
		parts += forward(t, q, part, linear{-1})
	}
	if math.Abs(whole-parts) > s.Tolerance*(1+math.Abs(whole)) {
		t.Fatalf("the parts' losses sum to %v, the whole's is %v", parts, whole)
	}
	np, nq := s.optimStep(t, p).GradNorm, s.optimStep(t, q).GradNorm
	if math.Abs(np-nq) > s.Tolerance*(1+np) {
		t.Fatalf("gradient norm %v of the whole, %v accumulated", np, nq)
	}
	same(t, "log-probs after an accumulated step", logProbs(t, q, b), logProbs(t, p, b), 10*s.Tolerance)
}

// gradient checks, without looking at the weights, that gradients add up as those
// of a sum of losses do, by the parallelogram law:
// |g(a)+g(b)|² + |g(a)−g(b)|² = 2|g(a)|² + 2|g(b)|².
func (s *suite) gradient(t *testing.T) {
	p := s.Open(t)
	ref, err := p.Save(t.Context(), "parallelogram")
	if err != nil {
		t.Fatal(err)
	}
	a, b := s.batch(1, 2), s.batch(2, 1)
	norm2 := func(ca, cb float64) float64 {
		if err := p.Load(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		forward(t, p, a, linear{ca})
		forward(t, p, b, linear{cb})
		n := s.optimStep(t, p).GradNorm
		return n * n
	}
	left, right := norm2(1, 1)+norm2(1, -1), 2*norm2(1, 0)+2*norm2(0, 1)
	if right == 0 || math.Abs(left-right) > 10*s.Tolerance*right {
		t.Fatalf("|g(a)+g(b)|²+|g(a)-g(b)|² = %v, but 2|g(a)|²+2|g(b)|² = %v", left, right)
	}
	// Twice the loss has twice the gradient.
	one, two := norm2(1, 0), norm2(2, 0)
	if math.Abs(two-4*one) > 10*s.Tolerance*two {
		t.Fatalf("doubling the loss takes the squared norm from %v to %v, want four times", one, two)
	}
}

func (s *suite) saveLoad(t *testing.T) {
	p, b := s.Open(t), s.batch(3, 2)
	run := func() [][]float64 {
		for range 2 {
			forward(t, p, b, linear{-1})
			s.optimStep(t, p)
		}
		return logProbs(t, p, b)
	}
	run()
	ref, err := p.Save(t.Context(), "state")
	if err != nil {
		t.Fatal(err)
	}
	at := logProbs(t, p, b)
	first := run()
	if err := p.Load(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	same(t, "log-probs after Load", logProbs(t, p, b), at, 0)
	same(t, "log-probs two steps after Load", run(), first, 0)
}

func (s *suite) loadClears(t *testing.T) {
	p, b := s.Open(t), s.batch(2, 2)
	ref, err := p.Save(t.Context(), "start")
	if err != nil {
		t.Fatal(err)
	}
	forward(t, p, b, linear{-1})
	if err := p.Load(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if n := s.optimStep(t, p).GradNorm; n != 0 {
		t.Fatalf("gradient norm %v after Load, want 0", n)
	}
}

func (s *suite) errorClears(t *testing.T) {
	p, b := s.Open(t), s.batch(2, 2)
	want := errors.New("no such thing")
	forward(t, p, b, linear{-1})
	if _, _, err := p.ForwardBackward(t.Context(), b, failing{want}); !errors.Is(err, want) {
		t.Fatalf("ForwardBackward returned %v, want the objective's error", err)
	}
	if n := s.optimStep(t, p).GradNorm; n != 0 {
		t.Fatalf("gradient norm %v after an error, want 0", n)
	}
}

func (s *suite) skips(t *testing.T) {
	p, b := s.Open(t), s.batch(2, 2)
	at := logProbs(t, p, b)
	_, _, err := p.ForwardBackward(t.Context(), b, exploding{})
	if s.Lacks&rl.CapSkip != 0 {
		if err == nil {
			_, err = p.OptimStep(t.Context(), rl.OptimOptions{LR: s.LR})
		}
		refused(t, "an infinite gradient", err)
		same(t, "log-probs after the refusal", logProbs(t, p, b), at, 0)
		return
	}
	if err != nil {
		t.Fatalf("ForwardBackward: %v", err)
	}
	if info := s.optimStep(t, p); !info.Skipped {
		t.Fatalf("a step with an infinite gradient was taken: %+v", info)
	}
	same(t, "log-probs after a skipped step", logProbs(t, p, b), at, 0)
	forward(t, p, b, linear{-1})
	if n := s.optimStep(t, p).GradNorm; math.IsInf(n, 0) || math.IsNaN(n) {
		t.Fatal("the non-finite gradient is still there after the skipped step")
	}
}

func (s *suite) entropy(t *testing.T) {
	p, b := s.Open(t), s.batch(2, 2)
	_, _, err := p.ForwardBackward(t.Context(), b, entropyBonus{})
	if s.Lacks&rl.CapEntropy != 0 {
		refused(t, "an objective of entropies", err)
		return
	}
	if err != nil {
		t.Fatalf("ForwardBackward: %v", err)
	}
	s.optimStep(t, p)
	for range 3 {
		forward(t, p, b, linear{-1})
		s.optimStep(t, p)
	}
	before := -forward(t, p, b, entropyBonus{})
	after := before
	for range 10 { // enough to overcome an optimiser's momentum
		s.optimStep(t, p)
		after = -forward(t, p, b, entropyBonus{})
	}
	if !(after > before) {
		t.Fatalf("ten steps on the entropy bonus took the entropy from %v to %v", before, after)
	}
	if before < 0 || before > math.Log(float64(s.Vocab))*float64(b.Tokens()) {
		t.Fatalf("the entropy %v is not one of distributions over %d tokens", before, s.Vocab)
	}
}

// clips takes a step on a thousand times a loss, clipped to the norm of its gradient,
// which must equal a step on the loss, whatever the optimiser does with gradients.
func (s *suite) clips(t *testing.T) {
	p, q, b := s.Open(t), s.Open(t), s.batch(3, 2)
	if s.Lacks&rl.CapMaxNorm != 0 {
		at := logProbs(t, p, b)
		forward(t, p, b, linear{-1})
		_, err := p.OptimStep(t.Context(), rl.OptimOptions{LR: s.LR, MaxNorm: 1})
		refused(t, "OptimStep with a MaxNorm", err)
		same(t, "log-probs after the refusal", logProbs(t, p, b), at, 0)
		return
	}
	for _, pol := range []rl.Policy{p, q} { // so that the optimiser's state is not zero
		forward(t, pol, b, linear{-1})
		s.optimStep(t, pol)
	}
	forward(t, p, b, linear{-1})
	n := s.optimStep(t, p).GradNorm
	forward(t, q, b, linear{-1000})
	info, err := q.OptimStep(t.Context(), rl.OptimOptions{LR: s.LR, MaxNorm: n})
	if err != nil {
		t.Fatalf("OptimStep: %v", err)
	}
	if math.Abs(info.GradNorm-1000*n) > 10*s.Tolerance*1000*n {
		t.Fatalf("gradient norm %v, want that before clipping, %v", info.GradNorm, 1000*n)
	}
	same(t, "log-probs after a clipped step", logProbs(t, q, b), logProbs(t, p, b), 10*s.Tolerance)
}

// declaration checks that the policy declares what Options say.
func (s *suite) declaration(t *testing.T) {
	sup, ok := s.Open(t).(rl.Supporter)
	switch {
	case ok && sup.Supports() != rl.CapAll&^s.Lacks:
		t.Fatalf("Supports returns %v; Options.Lacks is %v", sup.Supports(), s.Lacks)
	case !ok && s.Lacks != 0:
		t.Fatalf("Options.Lacks is %v, but the policy is no rl.Supporter, so no trainer knows", s.Lacks)
	}
}

// trainerRefuses checks that NewTrainer refuses each setting that needs what the
// policy cannot do. No setting needs rl.CapSkip.
func (s *suite) trainerRefuses(t *testing.T) {
	policy := s.Open(t) // one for all: servers have room for a few
	for c, change := range map[rl.Capabilities]func(*rl.Config, *problem){
		rl.CapTemperature: func(_ *rl.Config, p *problem) { p.Params.Temperature = 0.5 },
		rl.CapMaxNorm:     func(c *rl.Config, _ *problem) { c.MaxNorm = 1 },
		rl.CapEntropy:     func(c *rl.Config, _ *problem) { c.Objective = entropyBonus{} },
		rl.CapCandidates: func(c *rl.Config, _ *problem) {
			c.Objective, c.Teacher = candidateSum{}, &rl.Teacher{LogProber: noTeacher{}, K: 1}
		},
	} {
		p := &problem{Prompt: s.tokens(2), N: 2, Params: rollout.Params{Temperature: 1, MaxTokens: 2}}
		config := rl.Config{
			Policy: policy, Engine: noEngine{}, Source: &rl.SliceSource{Problems: []rl.Problem{p}},
			Objective: linear{-1}, Batching: rl.Batching{Prompts: 1}, LR: rl.Constant{LR: s.LR},
		}
		if _, err := rl.NewTrainer(config); err != nil {
			t.Fatalf("NewTrainer: %v", err)
		}
		change(&config, p)
		_, err := rl.NewTrainer(config)
		if s.Lacks&c != 0 {
			refused(t, "NewTrainer", err)
			if !strings.Contains(err.Error(), c.String()) {
				t.Fatalf("NewTrainer's error %q does not name %q", err, c)
			}
		} else if err != nil {
			t.Fatalf("NewTrainer with %v, which Options.Lacks does not list: %v", c, err)
		}
	}
}

// refused fails the test unless err says that the policy does not support something.
func refused(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, rl.ErrUnsupported) {
		t.Fatalf("%s: the error is %v, want rl.ErrUnsupported", what, err)
	}
}

// problem asks for what it is, and noEngine samples nothing.
type problem rollout.Request

func (p *problem) Request() (rollout.Request, error) { return rollout.Request(*p), nil }
func (p *problem) Judge(context.Context, *rollout.Completion) error {
	return errors.New("policytest: there is nothing to judge")
}

type noEngine struct{}

func (noEngine) Generate(context.Context, []rollout.Request, func(rollout.Completion) error) error {
	return errors.New("policytest: nothing should be sampled")
}

// Refresh implements rollout.Refresher, which the engine of a policy that publishes is.
func (noEngine) Refresh(context.Context, rollout.Weights) error {
	return errors.New("policytest: nothing should be published")
}

func (s *suite) cancelled(t *testing.T) {
	p, b := s.Open(t), s.batch(2, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := p.ForwardBackward(ctx, b, linear{-1}); !errors.Is(err, context.Canceled) {
		t.Fatalf("ForwardBackward returned %v, want context.Canceled", err)
	}
	dst := make([][]float64, len(b.Samples))
	for i := range dst {
		dst[i] = make([]float64, len(b.Samples[i].Tokens))
	}
	if err := p.LogProbs(ctx, b, dst); !errors.Is(err, context.Canceled) {
		t.Fatalf("LogProbs returned %v, want context.Canceled", err)
	}
	if n := s.optimStep(t, p).GradNorm; n != 0 {
		t.Fatalf("gradient norm %v after a cancelled call, want 0", n)
	}
}

func (s *suite) loadNothing(t *testing.T) {
	if err := s.Open(t).Load(t.Context(), "nothing-was-saved-here"); err == nil {
		t.Fatal("loading a reference that Save never returned gave no error")
	}
}

func (s *suite) versions(t *testing.T) {
	p, b := s.Open(t), s.batch(1, 1)
	forward(t, p, b, linear{-1})
	first := s.optimStep(t, p).Version
	forward(t, p, b, linear{-1})
	if second := s.optimStep(t, p).Version; second != first+1 {
		t.Fatalf("versions %d and %d of consecutive optimiser steps", first, second)
	}
}

// linear is the loss Σ c·w·logp with the constant c: what every policy knows.
type linear struct{ c float64 }

func (linear) Needs() objective.Inputs { return 0 }
func (linear) Validate() error         { return nil }
func (l linear) Eval(s *objective.Sequence, m objective.Metrics) (float64, error) {
	loss := 0.0
	for t, w := range s.Weight {
		if w != 0 {
			loss += l.c * w * s.LogP[t]
			s.Grad[t] += l.c * w
		}
	}
	m.Add("tokens", float64(len(s.Weight)), 1)
	return loss, nil
}

type failing struct{ err error }

func (failing) Needs() objective.Inputs { return 0 }
func (failing) Validate() error         { return nil }
func (f failing) Eval(s *objective.Sequence, _ objective.Metrics) (float64, error) {
	for t := range s.Grad {
		s.Grad[t] = 1
	}
	return 0, f.err
}

type exploding struct{}

func (exploding) Needs() objective.Inputs { return 0 }
func (exploding) Validate() error         { return nil }
func (exploding) Eval(s *objective.Sequence, _ objective.Metrics) (float64, error) {
	for t := range s.Grad {
		s.Grad[t] = math.Inf(1)
	}
	return 0, nil
}

type entropyBonus struct{}

func (entropyBonus) Needs() objective.Inputs { return objective.InputEntropy }
func (entropyBonus) Validate() error         { return nil }
func (entropyBonus) Eval(s *objective.Sequence, _ objective.Metrics) (float64, error) {
	loss := 0.0
	for t, w := range s.Weight {
		loss -= w * s.Entropy[t]
		s.EntropyGrad[t] -= w
	}
	return loss, nil
}
