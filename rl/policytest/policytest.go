package policytest

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// Options describe the policy under test.
type Options struct {
	// Open returns a fresh policy; all calls must return policies with the
	// same weights.
	Open func(t *testing.T) rl.Policy
	// Vocab is the number of tokens; ids are 0 to Vocab-1. At most a few
	// hundred, because the suite sums over it.
	Vocab int
	// LR is a learning rate at which one step on a small batch lowers its
	// loss; 0 means 0.01.
	LR float64
	// Tolerance is the absolute difference allowed between log-probs that
	// are the same number computed in two ways; 0 means 1e-4.
	Tolerance float64
}

type suite struct {
	Options
	rng *rand.Rand
}

// Run checks the contract of rl.Policy, each part as a subtest.
func Run(t *testing.T, o Options) {
	if o.LR == 0 {
		o.LR = 0.01
	}
	if o.Tolerance == 0 {
		o.Tolerance = 1e-4
	}
	for _, c := range []struct {
		name string
		test func(*suite, *testing.T)
	}{
		{"LogProbsAreADistribution", (*suite).distribution},
		{"TemperatureDividesLogits", (*suite).temperature},
		{"ForwardFillsLogP", (*suite).forwardFills},
		{"SharedPromptsEqualSeparateOnes", (*suite).sharedPrompts},
		{"StepLowersTheLoss", (*suite).lowers},
		{"AccumulationEqualsTheBigBatch", (*suite).accumulates},
		{"GradientIsThatOfLogP", (*suite).gradient},
		{"SaveAndLoadContinueBitForBit", (*suite).saveLoad},
		{"LoadClearsTheGradient", (*suite).loadClears},
		{"ObjectiveErrorClearsTheGradient", (*suite).errorClears},
		{"NonFiniteGradientIsSkipped", (*suite).skips},
		{"EntropyIsTrainedOrRefused", (*suite).entropy},
		{"CandidatesAreRefusedUnlessSupported", (*suite).candidates},
		{"CancelledContext", (*suite).cancelled},
		{"LoadOfNothing", (*suite).loadNothing},
		{"VersionsCountSteps", (*suite).versions},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.test(&suite{o, rand.New(rand.NewPCG(1, 2))}, t)
		})
	}
}

// linear is the loss Σ c·w·logp with the constant c: what every policy knows.
type linear struct{ c float64 }

func (linear) Needs() objective.Inputs { return 0 }
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
func (f failing) Eval(s *objective.Sequence, _ objective.Metrics) (float64, error) {
	for t := range s.Grad {
		s.Grad[t] = 1
	}
	return 0, f.err
}

type exploding struct{}

func (exploding) Needs() objective.Inputs { return 0 }
func (exploding) Eval(s *objective.Sequence, _ objective.Metrics) (float64, error) {
	for t := range s.Grad {
		s.Grad[t] = math.Inf(1)
	}
	return 0, nil
}

type entropyBonus struct{}

func (entropyBonus) Needs() objective.Inputs { return objective.Entropy }
func (entropyBonus) Eval(s *objective.Sequence, _ objective.Metrics) (float64, error) {
	loss := 0.0
	for t, w := range s.Weight {
		loss -= w * s.Entropy[t]
		s.EntropyGrad[t] -= w
	}
	return loss, nil
}

type wantsCandidates struct{ linear }

func (wantsCandidates) Needs() objective.Inputs { return objective.Candidates }

// batch makes prompts of a few lengths with samples of a few lengths.
func (s *suite) batch(prompts, samples int) *rl.Batch {
	b := &rl.Batch{}
	for p := range prompts {
		b.Prompts = append(b.Prompts, s.tokens(2+p%3))
		for i := range samples {
			sm := rl.Sample{Prompt: p, Tokens: s.tokens(1 + (p+2*i)%4)}
			for range sm.Tokens {
				sm.Weight = append(sm.Weight, 1/float64(prompts*samples))
			}
			b.Samples = append(b.Samples, sm)
		}
	}
	return b
}

func (s *suite) tokens(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = s.rng.Int32N(int32(s.Vocab))
	}
	return out
}

func logProbs(t *testing.T, p rl.Scorer, b *rl.Batch) [][]float64 {
	t.Helper()
	dst := make([][]float64, len(b.Samples))
	for i := range dst {
		dst[i] = make([]float64, len(b.Samples[i].Tokens))
	}
	if err := p.LogProbs(t.Context(), b, dst); err != nil {
		t.Fatalf("LogProbs: %v", err)
	}
	return dst
}

func forward(t *testing.T, p rl.Policy, b *rl.Batch, o objective.Objective) float64 {
	t.Helper()
	loss, _, err := p.ForwardBackward(t.Context(), b, o)
	if err != nil {
		t.Fatalf("ForwardBackward: %v", err)
	}
	return loss
}

func (s *suite) step(t *testing.T, p rl.Policy) rl.StepInfo {
	t.Helper()
	info, err := p.Step(t.Context(), rl.StepOptions{LR: s.LR})
	if err != nil {
		t.Fatalf("Step: %v", err)
	}
	return info
}

func same(t *testing.T, what string, got, want [][]float64, tol float64) {
	t.Helper()
	for i := range want {
		for k := range want[i] {
			if d := math.Abs(got[i][k] - want[i][k]); !(d <= tol) {
				t.Fatalf("%s: sample %d token %d: %v, want %v within %g", what, i, k, got[i][k], want[i][k], tol)
			}
		}
	}
}

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
	np, nq := s.step(t, p).GradNorm, s.step(t, q).GradNorm
	if math.Abs(np-nq) > s.Tolerance*(1+nq) {
		t.Fatalf("gradient norm %v with shared prompts, %v with separate ones", np, nq)
	}
	same(t, "log-probs after a step with shared prompts", logProbs(t, p, shared), logProbs(t, q, shared), 10*s.Tolerance)
}

func (s *suite) lowers(t *testing.T) {
	p, b := s.Open(t), s.batch(2, 2)
	before := forward(t, p, b, linear{-1})
	s.step(t, p)
	if after := forward(t, p, b, linear{-1}); !(after < before) {
		t.Fatalf("the loss went from %v to %v in a step on it", before, after)
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
	np, nq := s.step(t, p).GradNorm, s.step(t, q).GradNorm
	if math.Abs(np-nq) > s.Tolerance*(1+np) {
		t.Fatalf("gradient norm %v of the whole, %v accumulated", np, nq)
	}
	same(t, "log-probs after an accumulated step", logProbs(t, q, b), logProbs(t, p, b), 10*s.Tolerance)
}

// gradient checks, without a look at the weights, that ForwardBackward adds
// the gradient of the weighted log-probs: the squared norm of a gradient is
// additive in what it should be. |g(a)+g(b)|² + |g(a)-g(b)|² = 2|g(a)|² + 2|g(b)|².
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
		n := s.step(t, p).GradNorm
		return n * n
	}
	left, right := norm2(1, 1)+norm2(1, -1), 2*norm2(1, 0)+2*norm2(0, 1)
	if right == 0 || math.Abs(left-right) > 10*s.Tolerance*right {
		t.Fatalf("|g(a)+g(b)|²+|g(a)-g(b)|² = %v, but 2|g(a)|²+2|g(b)|² = %v", left, right)
	}
	// To first order, a small step changes the loss by -(LR of the step)
	// times something positive; twice the weights doubles the gradient.
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
			s.step(t, p)
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
	if n := s.step(t, p).GradNorm; n != 0 {
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
	if n := s.step(t, p).GradNorm; n != 0 {
		t.Fatalf("gradient norm %v after an error, want 0", n)
	}
}

func (s *suite) skips(t *testing.T) {
	p, b := s.Open(t), s.batch(2, 2)
	at := logProbs(t, p, b)
	if _, _, err := p.ForwardBackward(t.Context(), b, exploding{}); err != nil {
		return // refusing at once is as good
	}
	if info := s.step(t, p); !info.Skipped {
		t.Fatalf("a step with an infinite gradient was taken: %+v", info)
	}
	same(t, "log-probs after a skipped step", logProbs(t, p, b), at, 0)
	forward(t, p, b, linear{-1})
	if n := s.step(t, p).GradNorm; math.IsInf(n, 0) || math.IsNaN(n) {
		t.Fatal("the non-finite gradient is still there after the skipped step")
	}
}

func (s *suite) entropy(t *testing.T) {
	p, b := s.Open(t), s.batch(2, 2)
	sup, ok := p.(rl.Supporter)
	if ok && sup.Supports(objective.Entropy) != nil {
		if _, _, err := p.ForwardBackward(t.Context(), b, entropyBonus{}); err == nil {
			t.Fatal("Supports refuses entropy, ForwardBackward accepts it")
		}
		return
	}
	for range 3 {
		forward(t, p, b, linear{-1})
		s.step(t, p)
	}
	before := -forward(t, p, b, entropyBonus{})
	after := before
	for range 10 { // enough to overcome an optimiser's momentum
		s.step(t, p)
		after = -forward(t, p, b, entropyBonus{})
	}
	if !(after > before) {
		t.Fatalf("ten steps on the entropy bonus took the entropy from %v to %v", before, after)
	}
	if before < 0 || before > math.Log(float64(s.Vocab))*float64(b.Tokens()) {
		t.Fatalf("the entropy %v is not one of distributions over %d tokens", before, s.Vocab)
	}
}

func (s *suite) candidates(t *testing.T) {
	p := s.Open(t)
	if sup, ok := p.(rl.Supporter); !ok || sup.Supports(objective.Candidates) == nil {
		return
	}
	if _, _, err := p.ForwardBackward(t.Context(), s.batch(1, 1), wantsCandidates{}); err == nil {
		t.Fatal("Supports refuses candidates, ForwardBackward accepts them")
	}
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
	if n := s.step(t, p).GradNorm; n != 0 {
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
	first := s.step(t, p).Version
	forward(t, p, b, linear{-1})
	if second := s.step(t, p).Version; second != first+1 {
		t.Fatalf("versions %d and %d of consecutive steps", first, second)
	}
}
