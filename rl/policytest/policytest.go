package policytest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// Options describe the policy under test.
type Options struct {
	// Open returns a new policy; all of them must have the same weights. It may
	// register cleanups with t. At most three are in use at once.
	Open func(t *testing.T) rl.Policy
	// Vocab is the number of tokens, at least 2; ids are 0 to Vocab-1. It
	// should be at most a few hundred, because the suite sums over it.
	Vocab int
	// LR is a learning rate at which one optimiser step on a small batch lowers
	// its loss; 0 means 0.01.
	LR float64
	// Tolerance is the absolute difference allowed between two computations of
	// the same log-prob; 0 means 1e-4.
	Tolerance float64
	// Lacks is what the policy declares that it cannot do, as an
	// rl.Supporter. Each must be refused by name (rl.ErrUnsupported), by the
	// policy itself and by rl.NewTrainer before anything is sampled. All else
	// must work.
	Lacks rl.Capabilities
}

// Validate returns an error that names the first invalid option. Run calls it.
func (o Options) Validate() error {
	switch {
	case o.Open == nil:
		return errors.New("policytest: Options.Open is missing")
	case o.Vocab < 2:
		return fmt.Errorf("policytest: Options.Vocab is %d, want at least 2", o.Vocab)
	case o.Lacks&^rl.CapAll != 0:
		return fmt.Errorf("policytest: Options.Lacks is %#x, want a set of rl.Capabilities", uint8(o.Lacks))
	case !(o.LR >= 0) || !(o.Tolerance >= 0):
		return fmt.Errorf("policytest: Options.LR is %v and Options.Tolerance %v, want numbers of at least 0", o.LR, o.Tolerance)
	}
	return nil
}

type suite struct {
	Options
	rng *rand.Rand
}

// Run checks the contract of rl.Policy, each part in a subtest.
func Run(t *testing.T, o Options) {
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		test func(*suite, *testing.T)
	}{
		{"LogProbsAreADistribution", (*suite).distribution},
		{"Declaration", (*suite).declaration},
		{"TrainerRefuses", (*suite).trainerRefuses},
		{"TemperatureDividesLogitsOrIsRefused", (*suite).temperature},
		{"ForwardFillsLogP", (*suite).forwardFills},
		{"SharedPromptsEqualSeparateOnes", (*suite).sharedPrompts},
		{"OptimStepLowersTheLoss", (*suite).lowers},
		{"EveryTokenIsTrained", (*suite).everyToken},
		{"AccumulationEqualsTheBigBatch", (*suite).accumulates},
		{"GradientIsThatOfLogP", (*suite).gradient},
		{"SaveAndLoadContinueBitForBit", (*suite).saveLoad},
		{"LoadClearsTheGradient", (*suite).loadClears},
		{"ObjectiveErrorClearsTheGradient", (*suite).errorClears},
		{"MaxNormClipsOrIsRefused", (*suite).clips},
		{"NonFiniteGradientIsSkippedOrRefused", (*suite).skips},
		{"EntropyIsTrainedOrRefused", (*suite).entropy},
		{"CandidatesAreTrainedOrRefused", (*suite).candidates},
		{"TopLogProbs", (*suite).topLogProber},
		{"CancelledContext", (*suite).cancelled},
		{"LoadOfNothing", (*suite).loadNothing},
		{"VersionsCountOptimSteps", (*suite).versions},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.test(newSuite(o), t)
		})
	}
}

func newSuite(o Options) *suite {
	o.LR = cmp.Or(o.LR, 0.01)
	o.Tolerance = cmp.Or(o.Tolerance, 1e-4)
	return &suite{o, rand.New(rand.NewPCG(1, 2))}
}

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

func logProbs(t *testing.T, p rl.LogProber, b *rl.Batch) [][]float64 {
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

func (s *suite) optimStep(t *testing.T, p rl.Policy) rl.OptimInfo {
	t.Helper()
	info, err := p.OptimStep(t.Context(), rl.OptimOptions{LR: s.LR})
	if err != nil {
		t.Fatalf("OptimStep: %v", err)
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
