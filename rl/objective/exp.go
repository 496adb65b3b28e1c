package objective

import "math"

// expTable holds 2^(i/expSteps).
const expSteps = 128

var expTable = func() (t [expSteps]float64) {
	for i := range t {
		t[i] = math.Exp2(float64(i) / expSteps)
	}
	return t
}()

// exp is math.Exp to within two units in the last place, and faster by enough
// to take a third off the time of a PPO loss, of which exponentials are the
// greater part. With k = round(x·128/ln 2) it is 2^(k/128), from the table and
// the exponent bits, times exp of a remainder below ln(2)/256 in size, for
// which five terms of the series are exact.
func exp(x float64) float64 {
	if !(math.Abs(x) < 700) { // and NaN
		return math.Exp(x)
	}
	const (
		round = 3 << 51 // in this binade float64 holds integers only
		ln2Hi = 0x1.62e42fefa0000p-1 / expSteps
		ln2Lo = 0x1.cf79abc9e3b3ap-40 / expSteps
	)
	shifted := x*(expSteps*math.Log2E) + round
	k := math.Float64bits(shifted) // its low bits are that integer's
	n := shifted - round
	r := x - n*ln2Hi - n*ln2Lo
	series := r + r*r*(1./2+r*(1./6)+r*r*(1./24+r*(1./120)))
	scale := math.Float64frombits(math.Float64bits(expTable[k&(expSteps-1)]) + (k>>7)<<52)
	return scale + scale*series
}

// expsGo writes exp of the first n numbers of x to dst.
func expsGo(dst, x *[blockSize]float64, n int) {
	for i, x := range x[:n] {
		dst[i] = exp(x)
	}
}
