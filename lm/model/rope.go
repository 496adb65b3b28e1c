package model

import (
	"fmt"
	"math"
)

// RopeType is a way to stretch rotary frequencies: the rope_type of a Hugging
// Face configuration.
type RopeType string

const (
	// RopeDefault leaves the frequencies alone.
	RopeDefault RopeType = ""
	// RopeLinear divides every frequency by Factor (Chen et al.,
	// arXiv:2306.15595).
	RopeLinear RopeType = "linear"
	// RopeDynamic raises the base with the length of a sequence beyond MaxSeq
	// ("dynamic NTK"). No position reaches MaxSeq here, so it changes nothing;
	// it is kept for other programs that read the checkpoint.
	RopeDynamic RopeType = "dynamic"
	// RopeLlama3 divides low frequencies by Factor, leaves high ones alone,
	// and interpolates between (Llama 3.1, arXiv:2407.21783).
	RopeLlama3 RopeType = "llama3"
)

// RopeScaling describes how rotary frequencies are stretched for contexts longer
// than those of pretraining. The zero value does nothing.
type RopeScaling struct {
	Type RopeType
	// Factor is at least 1 (factor); for all types but RopeDefault.
	Factor float64
	// A frequency is low if its wavelength, in tokens, is above
	// OriginalMaxSeq/LowFreqFactor, and high if it is below
	// OriginalMaxSeq/HighFreqFactor (low_freq_factor, high_freq_factor,
	// original_max_position_embeddings); for RopeLlama3.
	LowFreqFactor, HighFreqFactor float64
	OriginalMaxSeq                int
}

// validate returns an error that names the first invalid field of Config.
func (s RopeScaling) validate() error {
	fail := func(field string, got any, want string) error {
		return fmt.Errorf("model: Config.RopeScaling.%s is %v, want %s", field, got, want)
	}
	switch s.Type {
	case RopeDefault:
		if s != (RopeScaling{}) {
			return fail("Type", `""`, "a type for the other fields")
		}
		return nil
	case RopeLinear, RopeDynamic, RopeLlama3:
	default:
		return fail("Type", fmt.Sprintf("%q", s.Type), fmt.Sprintf("%q, %q or %q", RopeLinear, RopeDynamic, RopeLlama3))
	}
	if !(s.Factor >= 1) || math.IsInf(s.Factor, 0) {
		return fail("Factor", s.Factor, "at least 1")
	}
	if s.Type != RopeLlama3 {
		if s.LowFreqFactor != 0 || s.HighFreqFactor != 0 || s.OriginalMaxSeq != 0 {
			return fail("Type", fmt.Sprintf("%q", s.Type), "llama3 for LowFreqFactor, HighFreqFactor and OriginalMaxSeq")
		}
		return nil
	}
	switch {
	case !(s.LowFreqFactor > 0):
		return fail("LowFreqFactor", s.LowFreqFactor, "more than 0")
	case !(s.HighFreqFactor > s.LowFreqFactor) || math.IsInf(s.HighFreqFactor, 0):
		return fail("HighFreqFactor", s.HighFreqFactor, fmt.Sprintf("more than LowFreqFactor (%v)", s.LowFreqFactor))
	case s.OriginalMaxSeq < 1 || s.OriginalMaxSeq > math.MaxInt32:
		return fail("OriginalMaxSeq", s.OriginalMaxSeq, "at least 1")
	}
	return nil
}

// divisor returns what a frequency, in radians per token, is divided by.
func (s RopeScaling) divisor(freq float64) float64 {
	switch s.Type {
	case RopeLinear:
		return s.Factor
	case RopeLlama3:
		turns := float64(s.OriginalMaxSeq) * freq / (2 * math.Pi) // within the original context
		smooth := (turns - s.LowFreqFactor) / (s.HighFreqFactor - s.LowFreqFactor)
		smooth = min(max(smooth, 0), 1)
		return 1 / ((1-smooth)/s.Factor + smooth)
	}
	return 1
}

// ropeFrequencies returns the rotary frequencies [HeadDim/2] of a
// configuration with defaults filled in: RopeTheta^(-2i/HeadDim) (Su et al.,
// arXiv:2104.09864), stretched as RopeScaling says.
func (c Config) ropeFrequencies() []float32 {
	f := make([]float32, c.HeadDim/2)
	for i, d := range c.RopeDivisors() {
		f[i] = float32(math.Pow(c.RopeTheta, -2*float64(i)/float64(c.HeadDim)) / d)
	}
	return f
}

// RopeDivisors returns what RopeScaling divides each of the rotary
// frequencies [HeadDim/2] by, of a configuration with defaults filled in.
func (c Config) RopeDivisors() []float64 {
	d := make([]float64, c.HeadDim/2)
	for i := range d {
		d[i] = c.RopeScaling.divisor(math.Pow(c.RopeTheta, -2*float64(i)/float64(c.HeadDim)))
	}
	return d
}
