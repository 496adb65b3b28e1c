package reward

import (
	"math"
	"math/big"
	"strings"
)

// mayBeRight reports whether there is a reading under which the equation, which
// is not right as usual, could be.
func (e *equation) mayBeRight(s sides) bool {
	for _, side := range s.expressions() {
		for _, t := range side {
			if t.doubtful {
				return true
			}
		}
	}
	if isDate(s.expressions()) || s.roundsMoney() || s.oppositeSign() || s.numbered() || s.isRange() {
		return true
	}
	for _, r := range unusual {
		if t, ok := e.read(r); ok && t.equal() && (r == list || !t.splits()) {
			return true
		}
	}
	return false
}

// splits reports whether the reading leaves half of a number out of an
// expression.
func (s *sides) splits() bool {
	half := func(tokens []token, i int) bool { // token i is the mark
		return i > 0 && i+1 < len(tokens) && (tokens[i].text == "." || tokens[i].text == ",") &&
			tokens[i-1].kind == number && tokens[i+1].kind == number &&
			tokens[i-1].end == tokens[i].start && tokens[i].end == tokens[i+1].start
	}
	return half(s.left, s.start-1) || half(s.right, s.b.next)
}

// oppositeSign reports whether the equation is right if its first sign, which may
// be the bullet of a list, is read the other way.
func (s *sides) oppositeSign() bool {
	left := s.left[s.start:]
	switch {
	case isSign(left, 0):
		left = left[1:]
	case s.start > 0 && s.left[s.start-1].kind == '-':
		left = append([]token{{kind: '-', end: left[0].start}}, left...)
	default:
		return false
	}
	a, ok := evaluate(left, false)
	t := sides{a: a, b: s.b}
	return ok && t.equal()
}

// numbered reports whether the equation is right if it is an item of a list, with
// its number right before it: 1.5+3=8 or 1 - 5+3=8.
func (s *sides) numbered() bool {
	left := s.left[s.start:]
	if s.start > 0 && s.left[s.start-1].kind != newline || left[0].kind != number {
		return false
	}
	if _, fraction, ok := strings.Cut(left[0].text, "."); ok {
		left = append([]token{{kind: number, text: fraction, end: left[0].end}}, left[1:]...)
	} else if len(left) > 2 && left[1].kind == '-' && left[1].end < left[2].start {
		left = left[2:]
	} else {
		return false
	}
	a, ok := evaluate(left, false)
	t := sides{a: a, b: s.b}
	return ok && t.equal()
}

// isRange reports whether the right side is a range that holds the left, as in
// 5+3=8-9.
func (s *sides) isRange() bool {
	right := s.right[:s.b.next]
	if s.a.value == nil || len(right) != 3 || right[1].kind != '-' {
		return false
	}
	from, _ := new(big.Rat).SetString(right[0].text)
	to, _ := new(big.Rat).SetString(right[2].text)
	return from != nil && to != nil && from.Cmp(s.a.value) <= 0 && s.a.value.Cmp(to) <= 0
}

// currencies returns the currency signs in the equation, each once.
func (s *sides) currencies() string {
	var signs string
	for _, side := range s.expressions() {
		for _, t := range side {
			if t.currency != 0 && !strings.ContainsRune(signs, t.currency) {
				signs += string(t.currency)
			}
		}
	}
	return signs
}

func (s *sides) mixesCurrencies() bool { return len([]rune(s.currencies())) > 1 }

// roundsMoney reports whether the equation could be one of money that is rounded
// ("$10/3=$3.33") or written in another unit ("50+50=$1").
func (s *sides) roundsMoney() bool {
	if s.currencies() == "" || s.a.value == nil || s.b.value == nil {
		return false
	}
	e := s.expressions()
	if rounds(e[0], s.a.value, s.b.value, false) || rounds(e[1], s.a.value, s.b.value, false) {
		return true
	}
	for _, units := range []int64{10, 100, 1000} {
		for _, x := range [][2]*big.Rat{{s.a.value, s.b.value}, {s.b.value, s.a.value}} {
			if x[0].Cmp(new(big.Rat).Mul(x[1], big.NewRat(units, 1))) == 0 {
				return true
			}
		}
	}
	return false
}

// isDate reports whether a side begins with a date such as 2026-11-29 or
// 11/29/26, or both sides are like 11/28 + 1 = 11/29.
func isDate(expressions [2][]token) bool {
	short, shifted := 0, false
	for _, e := range expressions {
		n := glued(e)
		if n >= 5 && e[1].kind == e[3].kind && (e[1].kind == '-' || e[1].kind == '/') {
			first, last := len(e[0].text), len(e[4].text)
			if first == 4 || last == 4 || e[1].kind == '/' && last == 2 {
				return true
			}
		}
		if n >= 3 && e[1].kind == '/' && len(e[0].text) <= 2 && len(e[2].text) <= 2 {
			switch {
			case len(e) == 3:
				short++
			case len(e) == 5 && (e[3].kind == '+' || e[3].kind == '-') && e[4].kind == number:
				short++
				shifted = true
			}
		}
	}
	return short == 2 && shifted
}

// glued returns how many tokens at the start are whole numbers and the operators
// between them, without blanks.
func glued(tokens []token) int {
	n := 0
	for n < len(tokens) && (n == 0 || tokens[n].start == tokens[n-1].end) {
		if n%2 == 0 && (tokens[n].kind != number || tokens[n].decimals > 0) || n%2 == 1 && !isOperator(tokens[n]) {
			break
		}
		n++
	}
	return n
}

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
	for rough && strings.HasSuffix(text, "0") {
		text = text[:len(text)-1]
		unit.Mul(unit, ten)
	}
	off := new(big.Rat).Sub(a, b)
	return off.Abs(off).Cmp(unit) < 0
}
