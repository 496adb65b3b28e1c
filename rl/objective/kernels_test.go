package objective

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
)

// Losses, gradients and metrics have the same bits on every instruction set,
// for sequences of any length and any pattern of dead and masked tokens, and
// dead tokens bring NaN and infinities along.
func TestSameBitsOnEveryInstructionSet(t *testing.T) {
	defer func(best vecmath.ISA) { isa = best }(isa)
	ppo := PPO{ClipLow: .2, ClipHigh: .28, DualClip: 1.5}
	objectives := []Objective{
		ppo,
		PPO{ClipLow: 2, ClipHigh: math.Inf(1), LogRatioClamp: .3},
		CISPO{Low: .8, High: 1.3, Drop: true},
		SAPO{TauPos: 1, TauNeg: 1.05},
		DPPO{Low: .1, High: .2, Quadratic: .3, LogRatioClamp: .5},
		KL{Kind: K3, Beta: .3},
		KL{Kind: K3, Beta: .3, LogRatioClamp: .4, ValueClamp: .1},
		KL{Kind: K2, Beta: .3, Importance: true},
		KL{Kind: KAbs, Beta: .3},
		Corrected{Objective: ppo, Max: 1.2, LogRatioClamp: 2},
	}
	rng := rand.New(rand.NewPCG(81, 82))
	for n := range 2*blockSize + 20 {
		s := patchySequence(rng, n)
		for i, o := range objectives {
			var want []float64
			for isa = vecmath.Go; isa <= vecmath.Best(); isa++ {
				clear(s.Grad)
				m := Metrics{}
				loss, err := o.Eval(s, m)
				require.NoError(t, err)
				got := append([]float64{loss, m["ratio"].Sum, m["old_kl"].Sum, m["kl"].Sum, m["clip_low"].Sum, m["clip_high"].Sum, m["clip_dual"].Sum}, s.Grad...)
				if isa == vecmath.Go {
					want = got
				}
				require.Equal(t, want, got, "objective %d, %d tokens, %v", i, n, isa)
			}
		}
	}
}

// patchySequence has runs of live, dead and masked tokens.
func patchySequence(rng *rand.Rand, n int) *Sequence {
	s := &Sequence{Keep: make([]bool, n)}
	for _, x := range []*[]float64{&s.LogP, &s.Old, &s.Ref, &s.Rollout, &s.Adv, &s.Weight, &s.KLWeight, &s.Grad} {
		*x = make([]float64, n)
	}
	live, kept := true, true
	for t := range n {
		if rng.IntN(20) == 0 {
			live, kept = rng.IntN(4) > 0, rng.IntN(4) > 0
		}
		s.LogP[t] = -3 * rng.Float64()
		s.Old[t], s.Ref[t], s.Rollout[t] = s.LogP[t]+.5*rng.NormFloat64(), s.LogP[t]+.5*rng.NormFloat64(), s.LogP[t]
		s.Adv[t], s.Keep[t] = float64(rng.IntN(3)-1)*rng.Float64(), kept
		if !kept {
			s.Adv[t] = math.Inf(1) // the KL term does not read it
		}
		s.Weight[t], s.KLWeight[t] = rng.Float64(), rng.Float64()
		if !live {
			s.Weight[t], s.KLWeight[t] = 0, 0
			s.LogP[t], s.Old[t], s.Ref[t], s.Adv[t] = math.NaN(), math.Inf(1), math.Inf(-1), math.NaN()
		}
	}
	return s
}

// A number that is not finite is found wherever it is, on every instruction set.
func TestBlamesTheToken(t *testing.T) {
	defer func(best vecmath.ISA) { isa = best }(isa)
	rng := rand.New(rand.NewPCG(83, 84))
	for isa = vecmath.Go; isa <= vecmath.Best(); isa++ {
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			for at := range blockSize + 20 {
				s := patchySequence(rng, blockSize+20)
				s.Weight[at], s.KLWeight[at], s.Keep[at] = 1, 1, true
				s.LogP[at], s.Old[at], s.Ref[at], s.Adv[at] = -1, -1, -1, 1
				for name, x := range map[string][]float64{"LogP": s.LogP, "Old": s.Old, "Adv": s.Adv, "Ref": s.Ref} {
					good := x[at]
					x[at] = bad
					var o Objective = PPO{ClipLow: .2, ClipHigh: .2, LogRatioClamp: 5}
					if name == "Ref" {
						o = KL{Kind: K3, Beta: 1, LogRatioClamp: 5, ValueClamp: 5}
					}
					_, err := o.Eval(s, Metrics{})
					require.ErrorContains(t, err, fmt.Sprintf("objective: %s at position %d is %v", name, at, bad), isa.String())
					x[at] = good
				}
			}
		}
	}
}
