package advantage

import (
	"cmp"
	"math"

	"github.com/stepwise-rl/stepwise/internal/settings"
)

// DefaultTolerance is how far apart, relative to the larger of 1 and the
// largest absolute reward, the rewards of a dead group may lie.
const DefaultTolerance = 1e-9

// Singleton is the advantage given in a group with a single usable reward.
type Singleton uint8

const (
	// SingletonZero: advantage 0, as there is nothing to compare with.
	SingletonZero Singleton = iota
	// SingletonRaw: a baseline of 0 (and a spread of 1), so that the raw
	// reward becomes the advantage (verl and SkyRL GRPO, rLLM).
	SingletonRaw
)

var singletonNames = []string{SingletonZero: "zero", SingletonRaw: "raw"}

// String returns "zero" or "raw".
func (s Singleton) String() string { return settings.EnumString(singletonNames, s) }

// MarshalText returns the same; an invalid value is an error.
func (s Singleton) MarshalText() ([]byte, error) { return settings.EnumText(singletonNames, s) }

// UnmarshalText is the inverse of MarshalText.
func (s *Singleton) UnmarshalText(text []byte) error {
	return settings.ParseEnum(singletonNames, text, s)
}

// Std is the estimator of a standard deviation.
type Std uint8

const (
	// StdSample divides the sum of squares by n-1 (torch.std).
	StdSample Std = iota
	// StdPopulation divides it by n (numpy.std).
	StdPopulation
)

var stdNames = []string{StdSample: "sample", StdPopulation: "population"}

// String returns "sample" or "population".
func (s Std) String() string { return settings.EnumString(stdNames, s) }

// MarshalText returns the same; an invalid value is an error.
func (s Std) MarshalText() ([]byte, error) { return settings.EnumText(stdNames, s) }

// UnmarshalText is the inverse of MarshalText.
func (s *Std) UnmarshalText(text []byte) error { return settings.ParseEnum(stdNames, text, s) }

// moments are the statistics of a list of numbers, NaNs left out.
type moments struct {
	n        int
	mean, m2 float64 // m2 is the sum of squared deviations
	min, max float64
}

func momentsOf(xs []float64) moments {
	m := moments{min: math.Inf(1), max: math.Inf(-1)}
	for _, x := range xs {
		if math.IsNaN(x) {
			continue
		}
		m.n++
		m.mean += x
		m.min, m.max = min(m.min, x), max(m.max, x)
	}
	if m.n == 0 {
		return m
	}
	m.mean /= float64(m.n)
	for _, x := range xs {
		if !math.IsNaN(x) {
			m.m2 += (x - m.mean) * (x - m.mean)
		}
	}
	return m
}

// noise is the difference up to which two of the numbers count as equal, for
// a tolerance as the estimators' options state it: 0 means DefaultTolerance, a
// negative one that only equal numbers are equal.
func (m moments) noise(tolerance float64) float64 {
	if tolerance < 0 {
		return 0
	}
	tolerance = cmp.Or(tolerance, DefaultTolerance)
	return tolerance * max(1, math.Abs(m.min), math.Abs(m.max))
}

// std is the standard deviation, 0 for fewer than two numbers.
func (m moments) std(kind Std) float64 {
	if m.n < 2 {
		return 0
	}
	if kind == StdPopulation {
		return math.Sqrt(m.m2 / float64(m.n))
	}
	return math.Sqrt(m.m2 / float64(m.n-1))
}

// constant reports whether all numbers are equal up to the tolerance: the group
// is dead. The tolerance is about the range of the numbers, not about how far
// each is from their mean.
func (m moments) constant(tolerance float64) bool { return m.max-m.min <= m.noise(tolerance) }

// rounding is how far a number may be from the mean of a live group or batch and
// still be the mean: a mere rounding error must not become an advantage. The number
// that is farthest from the mean is always farther than that.
func (m moments) rounding(tolerance float64) float64 {
	return m.noise(min(tolerance, DefaultTolerance)) / 2
}

// centred is the common part of the group-relative normalisers. It writes
// (x-mean)*scale(m) with an exact zero where x is the mean, zeros for a dead
// group, and zeros for NaN. A singleton gets zero or x*raw.
func centred(dst, xs []float64, s Singleton, tolerance, raw float64, scale func(moments) float64) {
	m := momentsOf(xs)
	switch {
	case m.n == 1 && s == SingletonRaw:
		affine(dst, xs, 0, raw, 0)
	case m.n > 1 && !m.constant(tolerance):
		affine(dst, xs, m.mean, scale(m), m.rounding(tolerance))
	default:
		clear(dst[:len(xs)])
	}
}

// affine writes (x-shift)*scale, and an exact zero, never -0, where the difference is
// no more than noise, scale is 0, or x is NaN.
func affine(dst, xs []float64, shift, scale, noise float64) {
	for i, x := range xs {
		if d := x - shift; math.Abs(d) > noise && scale != 0 {
			dst[i] = d * scale
		} else {
			dst[i] = 0
		}
	}
}
