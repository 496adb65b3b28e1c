package reward

import (
	"math"
	"math/big"
	"strings"
)

// explained reports whether a word beside an equation, in whatever language, may
// explain why its sides differ: a unit ("30+30=1 hour"), a rounding ("17/5=3
// boxes"), a clock ("10+5=3 in the afternoon"), a function ("half of 8+2=6", "=2
// squared"), a label ("week 1=3+4").
func (s *sides) explained() bool {
	a, b := s.a.value, s.b.value
	if a == nil || b == nil {
		return false
	}
	left, right := s.left[s.start:], s.right[:s.b.next]
	if len(left) == 1 || len(left) == 3 && left[0].end == left[1].start && left[1].end == left[2].start && left[1].kind == '-' {
		return true // the number or range of something
	}
	if related(a, b) || isConversion(a, b) || isClock(a, b) || rounds(left, a, b, true) || rounds(right, a, b, true) {
		return true
	}
	if x, y, ok := needed(left, 0, b); ok && related(x, y) {
		return true
	}
	x, y, ok := needed(right, len(right)-1, a)
	return ok && related(x, y)
}

// needed returns the number at token i and what it would have to be for the
// expression to have this value. It is false if there is no such number, or the
// expression is not linear in it.
func needed(tokens []token, i int, value *big.Rat) (x, y *big.Rat, ok bool) {
	if i == 0 && isSign(tokens, 0) {
		i++
	}
	if tokens[i].kind != number {
		return nil, nil, false
	}
	x, _ = new(big.Rat).SetString(tokens[i].text)
	changed := append([]token(nil), tokens...)
	at := func(text string) *big.Rat {
		changed[i].text = text
		r, _ := evaluate(changed, false)
		return r.value
	}
	zero, one, two := at("0"), at("1"), at("2")
	if zero == nil || one == nil || two == nil {
		return nil, nil, false
	}
	slope := new(big.Rat).Sub(one, zero)
	if slope.Sign() == 0 || new(big.Rat).Sub(two, one).Cmp(slope) != 0 {
		return nil, nil, false
	}
	y = new(big.Rat).Sub(value, zero)
	return x, y.Quo(y, slope), true
}

// related reports whether one number is a multiple, the opposite, a power, the
// logarithm or the factorial of the other.
func related(x, y *big.Rat) bool {
	if new(big.Rat).Neg(x).Cmp(y) == 0 || x.Sign() == 0 && y.Cmp(big.NewRat(1, 1)) == 0 {
		return true
	}
	for _, p := range [][2]*big.Rat{{x, y}, {y, x}} {
		big1, small := p[0], p[1]
		if small.Sign() != 0 && new(big.Rat).Quo(big1, small).IsInt() && big1.Sign() != 0 {
			return true
		}
		square := new(big.Rat).Mul(small, small)
		if square.Cmp(big1) == 0 || square.Mul(square, small).Cmp(big1) == 0 {
			return true
		}
		if !small.IsInt() || small.Sign() < 0 || small.Num().Cmp(big.NewInt(60)) > 0 {
			continue
		}
		n := small.Num()
		for _, base := range []int64{2, 10} {
			if big1.Cmp(new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(base), n, nil))) == 0 {
				return true
			}
		}
		if big1.Cmp(new(big.Rat).SetInt(new(big.Int).MulRange(1, n.Int64()))) == 0 {
			return true
		}
	}
	return false
}

// isConversion reports whether one number is about the other in another common
// unit of length, weight, volume or temperature.
func isConversion(a, b *big.Rat) bool {
	x, _ := a.Float64()
	y, _ := b.Float64()
	for _, unit := range []float64{1.609344, 2.54, 3.28084, 1.09361, 2.20462, 28.3495, 453.592, 3.78541, 1.8} {
		for _, ratio := range []float64{x / y, y / x} {
			if math.Abs(ratio/unit-1) < .01 {
				return true
			}
		}
	}
	return math.Abs(x*1.8+32-y) < .5 || math.Abs(y*1.8+32-x) < .5
}

// isClock reports whether two numbers name the same hour, weekday, minute or
// angle.
func isClock(a, b *big.Rat) bool {
	off := new(big.Rat).Sub(a, b)
	for _, turn := range []int64{7, 12, 24, 60, 360} {
		if off.Abs(off).Cmp(big.NewRat(turn, 1)) == 0 {
			return true
		}
	}
	return false
}

// rounds reports whether an expression that is a single number may be the other
// side's value rounded, up or down, to the digits that it has. Zeros at its end
// count as digits unless it is rough.
func rounds(tokens []token, a, b *big.Rat, rough bool) bool {
	if len(tokens) != 1 {
		return false
	}
	ten, unit := big.NewRat(10, 1), big.NewRat(1, 1)
	text := tokens[0].text
	if tokens[0].decimals > 0 {
		rough = false
	}
	for range tokens[0].decimals {
		unit.Quo(unit, ten)
	}
	for rough && len(text) > 1 && strings.HasSuffix(text, "0") {
		text = text[:len(text)-1]
		unit.Mul(unit, ten)
	}
	off := new(big.Rat).Sub(a, b)
	return off.Abs(off).Cmp(unit) < 0
}
