package cpu

import (
	"github.com/stepwise-rl/stepwise/tensor"
	"github.com/stepwise-rl/stepwise/tensor/internal/shape"
)

// GELU computes y = x·Φ(x). Only encoders have it, so it is in plain Go for
// all instruction sets.
func (b *Backend) GELU(y, x tensor.Buffer) {
	shape.GELU(y, x)
	out, in := b.data(y), b.data(x)
	b.spans(len(out), chunk, expCost, func(_ *scratch, from, to int) {
		for i := from; i < to; i++ {
			out[i] = in[i] * normalCDF(in[i])
		}
	})
}

// GELUGrad computes dx = dy·(Φ(x) + x·φ(x)), φ the normal density.
func (b *Backend) GELUGrad(dx, dy, x tensor.Buffer) {
	shape.GELUGrad(dx, dy, x)
	g, d, in := b.data(dx), b.data(dy), b.data(x)
	b.spans(len(d), chunk, expCost, func(_ *scratch, from, to int) {
		for i := from; i < to; i++ {
			v, z := in[i], in[i]*invSqrt2
			e := exp(-z * z)
			var cdf float32
			if z > -1 && z < 1 {
				cdf = cdfCentre(z)
			} else {
				cdf = cdfTail(z, e)
			}
			g[i] = d[i] * (cdf + v*e*invSqrt2Pi)
		}
	})
}

const (
	invSqrt2   = 0.70710678118654752440
	invSqrt2Pi = 0.39894228040143267794
)

// normalCDF returns Φ(x) = (1 + erf(z))/2, z = x/√2, with an error below 2e-7.
func normalCDF(x float32) float32 {
	z := x * invSqrt2
	if z > -1 && z < 1 {
		return cdfCentre(z)
	}
	return cdfTail(z, exp(-z*z))
}

// cdfCentre is Φ for |z| < 1.
func cdfCentre(z float32) float32 { return 0.5 + 0.5*z*erfSmall(z*z) }

// cdfTail is Φ for |z| ≥ 1, given e = exp(−z²).
func cdfTail(z, e float32) float32 {
	if z < 0 {
		return -0.5 * e / z * erfcLarge(-z)
	}
	return 1 - 0.5*e/z*erfcLarge(z)
}

// erfSmall returns erf(z)/z for z² = s < 1, by the polynomial of Cephes' erff
// (Moshier).
func erfSmall(s float32) float32 {
	return (((((7.853861353153693e-5*s-8.010193625184903e-4)*s+5.188327685732524e-3)*s-
		2.685381193529856e-2)*s+1.128358514861418e-1)*s-3.761262582423300e-1)*s + 1.128379165726710
}

// erfcLarge returns erfc(a)·a·exp(a²) for a ≥ 1, by the polynomials of Cephes'
// erfcf in 1/a².
func erfcLarge(a float32) float32 {
	s := 1 / (a * a)
	if a < 2 {
		return (((((((2.326819970068386e-2*s-1.387039388740657e-1)*s+3.687424674597105e-1)*s-
			5.824733027278666e-1)*s+6.210004621745983e-1)*s-4.944515323274145e-1)*s+3.404879937665872e-1)*s-
			2.741127028184656e-1)*s + 5.638259427386472e-1
	}
	return ((((((-1.047766399936249e1*s+1.297719955372516e1)*s-7.495518717768503)*s+2.921019019210786)*s-
		1.015265279202700)*s+4.218463358204948e-1)*s-2.820767439740514e-1)*s + 5.641895067754075e-1
}
