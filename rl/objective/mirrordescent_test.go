package objective_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// descend takes inner steps on the logits of a policy over three actions, with
// the exact expectation over samples of old, from old on, and returns the policy
// and the expected loss.
func descend(t *testing.T, o objective.Objective, old, adv []float64, eta float64) (policy []float64, loss float64) {
	logits := append([]float64(nil), old...)
	for range 6000 {
		logp := logSoftmax(logits...)
		loss = 0
		grad := make([]float64, len(old))
		for y := range old {
			s := newSequence([]float64{logp[y]}, []float64{old[y]}, []float64{old[y]}, []float64{adv[y]})
			l, _ := eval(t, o, s)
			loss += math.Exp(old[y]) * l
			for z := range grad {
				score := -math.Exp(logp[z])
				if z == y {
					score++
				}
				grad[z] += math.Exp(old[y]) * s.Grad[0] * score
			}
		}
		for z := range logits {
			logits[z] -= .5 * eta * grad[z]
		}
	}
	for _, l := range logSoftmax(logits...) {
		policy = append(policy, math.Exp(l))
	}
	return policy, loss
}

// tilted returns π_old·exp(ηA)/Z and Z.
func tilted(old, adv []float64, eta float64) (policy []float64, z float64) {
	for y := range old {
		policy = append(policy, math.Exp(old[y]+eta*adv[y]))
		z += policy[y]
	}
	for y := range policy {
		policy[y] /= z
	}
	return policy, z
}

func mirrorDescent(k objective.KLEstimator, eta float64) objective.Objective {
	return objective.Terms{objective.ImportanceSampling{}, objective.KL{Estimator: k, Beta: 1 / eta, Importance: true}}
}

// Inner steps of importance sampling with the importance-weighted KL to the old
// policy end at π_old·exp(ηA)/Z, where the loss is -log(Z)/η.
func TestPolicyMirrorDescent(t *testing.T) {
	old, adv := logSoftmax(.3, -.8, .5), []float64{1, -.4, .2}
	for _, eta := range []float64{.1, 1, 2} {
		want, z := tilted(old, adv, eta)
		for _, k := range []objective.KLEstimator{objective.K1, objective.K3} {
			policy, loss := descend(t, mirrorDescent(k, eta), old, adv, eta)
			assert.InDeltaSlice(t, want, policy, 1e-10, "%v, η = %v", k, eta)
			assert.InDelta(t, -math.Log(z)/eta, loss, 1e-12, "%v, η = %v", k, eta)
		}
	}
}

// With K1 a token's loss is -A·r + r·log r/η to the letter, and its derivative
// r·(-A + (1 + log r)/η).
func TestPolicyMirrorDescentByHand(t *testing.T) {
	const eta, a = .5, .7
	logp, old := -.6, -1.0
	r := math.Exp(logp - old)
	s := newSequence([]float64{logp}, []float64{old}, []float64{old}, []float64{a})
	loss, _ := eval(t, mirrorDescent(objective.K1, eta), s)
	assert.InDelta(t, -a*r+r*math.Log(r)/eta, loss, 1e-15)
	assert.InDelta(t, r*(-a+(1+math.Log(r))/eta), s.Grad[0], 1e-15)

	s = newSequence([]float64{logp}, []float64{old}, []float64{old}, []float64{a})
	loss, _ = eval(t, mirrorDescent(objective.K3, eta), s)
	assert.InDelta(t, -a*r+(r*math.Log(r)+1-r)/eta, loss, 1e-15)
	assert.InDelta(t, r*(-a+math.Log(r)/eta), s.Grad[0], 1e-15)
}

// A constant added to the advantages moves DRO's minimum, but not that of policy
// mirror descent; they are the same where E_old[exp(ηA)] = 1.
func TestDROIsNotPolicyMirrorDescent(t *testing.T) {
	const eta = 1
	old := logSoftmax(.3, -.8, .5)
	want, z := tilted(old, []float64{1, -.4, .2}, eta)
	dro := objective.DRO{Beta: 1 / eta}
	for _, c := range []struct {
		shift float64
		same  bool
	}{{-math.Log(z) / eta, true}, {0, false}, {1, false}} {
		adv := []float64{1 + c.shift, -.4 + c.shift, .2 + c.shift}
		policy, _ := descend(t, mirrorDescent(objective.K3, eta), old, adv, eta)
		assert.InDeltaSlice(t, want, policy, 1e-10)
		policy, _ = descend(t, dro, old, adv, eta)
		if c.same {
			assert.InDeltaSlice(t, want, policy, 1e-10)
		} else {
			assert.Greater(t, math.Abs(policy[0]-want[0]), 1e-3, "shift %v", c.shift)
		}
	}
}

// A step of policy mirror descent as a composition: the term that importance
// sampling adds, and the divergence from the policy that sampled.
func Example_policyMirrorDescent() {
	const eta = 0.5
	loss := objective.Terms{
		objective.ImportanceSampling{},
		objective.KL{Estimator: objective.K3, Beta: 1 / eta, Importance: true},
	}
	old := []float64{-1, -1}
	s := objective.Sequence{
		LogP: []float64{-0.75, -1.25}, Old: old, Ref: old,
		Adv: []float64{0.5, 0.5}, Weight: []float64{1, 1}, KLWeight: []float64{1, 1}, Grad: make([]float64, 2),
	}
	if _, err := loss.Eval(&s, objective.Metrics{}); err != nil {
		panic(err)
	}
	// The first token is at r = exp(ηA), as far as one state's Z = 1 goes.
	fmt.Printf("%.4f\n", s.Grad)
	// Output:
	// [0.0000 -0.7788]
}
