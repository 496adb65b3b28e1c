package advantage

import (
	"errors"
	"math"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Whitening gives the tokens of a whole batch mean 0 and variance 1:
//
//	x ← (x − mean) / sqrt(max(var, MinVar) + Epsilon)
//
// It moves the zeros of dead groups, as the estimators that use it are defined;
// unscorable completions stay out. A batch whose values are all equal gets exact
// zeros.
type Whitening struct {
	// Std is the kind of variance: verl and SkyRL take the sample's,
	// OpenRLHF the population's.
	Std Std `json:"std"`
	// Epsilon is added to the variance (verl, SkyRL: 1e-8).
	Epsilon float64 `json:"epsilon"`
	// MinVar is a floor under the variance (OpenRLHF: 1e-8).
	MinVar float64 `json:"min_var"`
	// Tolerance is how far apart the values of a batch may lie that counts as equal:
	// 0 means DefaultTolerance, negative none.
	Tolerance float64 `json:"tolerance"`
}

// Validate returns an error that names the invalid settings.
func (w Whitening) Validate() error {
	return errors.Join(settings.CheckEnum("advantage: Whitening.Std", stdNames, w.Std), checkNonNegative("Whitening.Epsilon", w.Epsilon),
		checkNonNegative("Whitening.MinVar", w.MinVar), checkTolerance("Whitening", w.Tolerance))
}

// batch whitens the Adv of all completions whose reward is not NaN, and maps
// their rewards in the same way to Advantage; the others get zeros. Rewards stand
// end to end.
func (w Whitening) batch(batch []rollout.Group, rewards []float64) {
	m := moments{min: math.Inf(1), max: math.Inf(-1)}
	each := func(f func(c *rollout.Completion)) {
		next := 0
		for _, g := range batch {
			for i := range g {
				if !math.IsNaN(rewards[next]) {
					f(&g[i])
				}
				next++
			}
		}
	}
	each(func(c *rollout.Completion) {
		for _, x := range c.Adv {
			m.n++
			m.mean += x
			m.min, m.max = min(m.min, x), max(m.max, x)
		}
	})
	if m.n > 0 {
		m.mean /= float64(m.n)
	}
	each(func(c *rollout.Completion) {
		for _, x := range c.Adv {
			m.m2 += (x - m.mean) * (x - m.mean)
		}
	})
	s := m.std(w.Std)
	scale, noise := inverse(math.Sqrt(max(s*s, w.MinVar)+w.Epsilon)), m.rounding(w.Tolerance)
	if m.n < 2 || m.constant(w.Tolerance) {
		scale = 0
	}
	next := 0
	for _, g := range batch {
		for i := range g {
			c := &g[i]
			r := rewards[next : next+1]
			next++
			if math.IsNaN(r[0]) {
				Broadcast(c, 0)
				continue
			}
			affine(c.Adv, c.Adv, m.mean, scale, noise)
			affine(r, r, m.mean, scale, noise)
			c.Advantage = r[0]
		}
	}
}

// returns writes the token returns of every scorable completion into Adv:
//
//	R_t = s_t + γ·R_{t+1}
//
// with the shaping rewards s (if fold is set) and the outcome reward added to
// the last token's.
func returns(batch []rollout.Group, rewards []float64, gamma float64, fold bool) error {
	next := 0
	for gi, g := range batch {
		for i := range g {
			c := &g[i]
			allocate(c)
			if err := checkShaping(c); err != nil {
				return at(gi, i, err)
			}
			sum := rewards[next]
			next++
			for t := len(c.Tokens) - 1; t >= 0; t-- {
				if fold && c.Shaping != nil {
					sum += c.Shaping[t]
				}
				c.Adv[t] = sum
				sum *= gamma
			}
		}
	}
	return nil
}
