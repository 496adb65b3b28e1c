// Package float16 rounds float32 values to the 16-bit types in which
// checkpoints are stored, to nearest with ties to even, and widens IEEE 754
// binary16 again. Package bfloat16 of github.com/d4l3k/go-bfloat16 has the type
// of a bfloat16 and widens it; its FromFloat32 truncates, so rounding is here.
package float16

import (
	"math"

	"github.com/d4l3k/go-bfloat16"
)

// ToBF16 returns the bfloat16 nearest to v. Values from 2^128·(1 − 2⁻⁹) on
// become an infinity. A NaN stays a NaN: it keeps its sign and the upper bits
// of its payload, and is made quiet.
func ToBF16(v float32) bfloat16.BF16 {
	bits := math.Float32bits(v)
	if v != v {
		return bfloat16.BF16(bits>>16) | 0x0040 // without it, a payload in the lower bits alone would give an infinity
	}
	return bfloat16.BF16((bits + 0x7fff + bits>>16&1) >> 16)
}

// ToF16 returns the bits of the binary16 nearest to v: an infinity from 65520
// on. A NaN stays a NaN.
func ToF16(v float32) uint16 {
	bits := math.Float32bits(v)
	sign, abs := uint16(bits>>16)&0x8000, bits&0x7fffffff
	switch {
	case v != v:
		return sign | 0x7e00
	case abs >= 0x477ff000: // 65520, halfway between the largest number and 2^16
		return sign | 0x7c00
	case abs < 0x38800000: // below 2^-14: a multiple of 2^-24
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(abs))*(1<<24)))
	}
	abs -= (127 - 15) << 23
	return sign | uint16((abs+0xfff+abs>>13&1)>>13)
}

// FromF16 is the exact value of a binary16.
func FromF16(bits uint16) float32 {
	sign, exponent, fraction := uint32(bits&0x8000)<<16, uint32(bits>>10&0x1f), uint32(bits&0x3ff)
	switch exponent {
	case 0:
		v := float32(fraction) / (1 << 24)
		return math.Float32frombits(sign | math.Float32bits(v))
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}
