package jinja

import (
	"cmp"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// normal is an int as a value: int where it fits.
func normal(i *big.Int) value {
	if i.IsInt64() && int64(int(i.Int64())) == i.Int64() {
		return int(i.Int64())
	}
	return i
}

// number returns a bool as an int and other numbers as they are.
func number(v value) (value, bool) {
	switch v := v.(type) {
	case bool:
		return truthInt(v), true
	case int, *big.Int, float64:
		return v, true
	}
	return nil, false
}

// integer returns an int or a bool as a big int.
func integer(v value) (*big.Int, bool) {
	switch v := v.(type) {
	case bool:
		return big.NewInt(int64(truthInt(v))), true
	case int:
		return big.NewInt(int64(v)), true
	case *big.Int:
		return v, true
	}
	return nil, false
}

// small returns an int or a bool as an int, the nearest one if it is larger.
func small(v value) (int, bool) {
	switch v := v.(type) {
	case bool:
		return truthInt(v), true
	case int:
		return v, true
	case *big.Int:
		if v.Sign() < 0 {
			return math.MinInt, true
		}
		return math.MaxInt, true
	}
	return 0, false
}

// float is float(v) of a number.
func float(v value) float64 {
	switch v := v.(type) {
	case bool:
		return float64(truthInt(v))
	case int:
		return float64(v)
	case float64:
		return v
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		if math.IsInf(f, 0) {
			panic(raise("OverflowError", "int too large to convert to float"))
		}
		return f
	}
	panic(typeError("float() argument must be a string or a real number, not %s", quote(typeName(v))))
}

// arithmetic applies an operator to two numbers.
func arithmetic(op string, a, b value) value {
	_, fa := a.(float64)
	_, fb := b.(float64)
	if fa || fb {
		return floatArithmetic(op, float(a), float(b))
	}
	x, xok := a.(int)
	y, yok := b.(int)
	if xok && yok {
		switch op {
		case "+":
			if s := x + y; (x^s)&(y^s) >= 0 {
				return s
			}
		case "-":
			if s := x - y; (x^y)&(x^s) >= 0 {
				return s
			}
		case "*":
			if p := x * y; x == 0 || p/x == y && !(x == -1 && y == math.MinInt) {
				return p
			}
		}
	}
	i, _ := integer(a)
	j, _ := integer(b)
	return intArithmetic(op, i, j)
}

func intArithmetic(op string, a, b *big.Int) value {
	z := new(big.Int)
	switch op {
	case "+":
		z.Add(a, b)
	case "-":
		z.Sub(a, b)
	case "*":
		if a.BitLen()+b.BitLen() > maxBits {
			panic(limitError("an int of more than %d bits", maxBits))
		}
		z.Mul(a, b)
	case "/":
		if b.Sign() == 0 {
			panic(raise("ZeroDivisionError", "division by zero"))
		}
		f, _ := new(big.Rat).SetFrac(a, b).Float64()
		if a.Sign() == 0 && b.Sign() < 0 {
			f = math.Copysign(0, -1)
		}
		if math.IsInf(f, 0) {
			panic(raise("OverflowError", "integer division result too large for a float"))
		}
		return f
	case "//", "%":
		if b.Sign() == 0 {
			panic(raise("ZeroDivisionError", "integer division or modulo by zero"))
		}
		m := new(big.Int)
		z.QuoRem(a, b, m)
		if m.Sign() != 0 && m.Sign() != b.Sign() {
			z.Sub(z, big.NewInt(1))
			m.Add(m, b)
		}
		if op == "%" {
			z = m
		}
	case "**":
		if b.Sign() < 0 {
			return floatArithmetic(op, float(normal(a)), float(normal(b)))
		}
		if a.CmpAbs(big.NewInt(1)) > 0 && (!b.IsInt64() || b.Int64() > maxBits || int64(a.BitLen()-1)*b.Int64() > maxBits) {
			panic(limitError("an int of more than %d bits", maxBits))
		}
		if a.CmpAbs(big.NewInt(1)) <= 0 && b.Sign() > 0 { // whatever the size of b
			b = big.NewInt(2 - int64(b.Bit(0)))
		}
		z.Exp(a, b, nil)
	}
	if z.BitLen() > maxBits {
		panic(limitError("an int of more than %d bits", maxBits))
	}
	return normal(z)
}

func floatArithmetic(op string, x, y float64) value {
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "**":
		return power(x, y)
	}
	if y == 0 {
		panic(raise("ZeroDivisionError", "%s", map[string]string{"/": "float division by zero", "//": "float floor division by zero", "%": "float modulo"}[op]))
	}
	if op == "/" {
		return x / y
	}
	// As CPython: the remainder takes the divisor's sign, and the quotient is
	// made of it.
	m := math.Mod(x, y)
	q := (x - m) / y
	if m == 0 {
		m = math.Copysign(0, y)
	} else if (y < 0) != (m < 0) {
		m += y
		q--
	}
	if op == "%" {
		return m
	}
	if q == 0 {
		return math.Copysign(0, x/y)
	}
	f := math.Floor(q)
	if q-f > 0.5 {
		f++
	}
	return f
}

func power(x, y float64) value {
	if x == 0 && y < 0 {
		panic(raise("ZeroDivisionError", "0.0 cannot be raised to a negative power"))
	}
	if x < 0 && y != math.Trunc(y) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
		panic(limitError("complex numbers are not supported"))
	}
	z := math.Pow(x, y)
	if n := math.Abs(2 * y); n <= 64 && n == math.Trunc(n) && x > 0 && z > 0 && !math.IsInf(z, 0) {
		z = halfPower(x, int(n), y < 0)
	}
	if math.IsInf(z, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
		panic(raise("OverflowError", "(34, 'Numerical result out of range')"))
	}
	return z
}

// halfPower is x ** (n / 2), or its inverse, rounded once, as C libraries do for
// such powers and package math does not.
func halfPower(x float64, n int, inverse bool) float64 {
	z := new(big.Float).SetPrec(300).SetInt64(1)
	root := new(big.Float).SetPrec(300).SetFloat64(x)
	if n%2 == 1 {
		z.Sqrt(root)
	}
	for range n / 2 {
		z.Mul(z, root)
	}
	if inverse {
		z.Quo(big.NewFloat(1), z)
	}
	f, _ := z.Float64()
	return f
}

// compareNumbers is -1, 0 or 1, exactly; ok is false if one is not a number.
func compareNumbers(a, b value) (c int, ok bool) {
	if x, xok := a.(int); xok {
		if y, yok := b.(int); yok {
			return cmp.Compare(x, y), true
		}
	}
	x, xinf := exact(a)
	y, yinf := exact(b)
	if x == nil || y == nil {
		if math.IsNaN(xinf) || math.IsNaN(yinf) {
			return 0, false
		}
		return cmp.Compare(xinf, yinf), true
	}
	return x.Cmp(y), true
}

// exact returns a finite number as a fraction, or else ±Inf or NaN; a finite
// one is 0 beside those.
func exact(v value) (*big.Rat, float64) {
	if f, ok := v.(float64); ok {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, f
		}
		return new(big.Rat).SetFloat64(f), 0
	}
	i, _ := integer(v)
	return new(big.Rat).SetInt(i), 0
}

// parseFloat is float(s).
func parseFloat(s string) (float64, bool) {
	s = strip(s, "", true, true)
	t := strings.ToLower(strings.TrimLeft(s, "+-"))
	for i := range len(t) {
		c := t[i]
		digit := func(j int) bool { return j >= 0 && j < len(t) && decimal(t[j]) }
		if c == '_' && !(digit(i-1) && digit(i+1)) {
			return 0, false
		}
	}
	if strings.ContainsAny(t, "xp") {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	return f, err == nil || math.IsInf(f, 0)
}

// parseInt is int(s, base).
func parseInt(s string, base int) value {
	bad := valueError("invalid literal for int() with base %d: %s", base, shortRepr(s))
	if base != 0 && (base < 2 || base > 36) {
		panic(valueError("int() base must be >= 2 and <= 36, or 0"))
	}
	t := strip(s, "", true, true)
	sign := ""
	if t != "" && (t[0] == '-' || t[0] == '+') {
		sign, t = t[:1], t[1:]
	}
	if len(t) > 1 && t[0] == '0' {
		if b := map[byte]int{'x': 16, 'o': 8, 'b': 2}[t[1]|0x20]; b > 0 && (base == 0 || base == b) {
			base = b
			t = strings.TrimPrefix(t[2:], "_")
		} else if base == 0 && strings.Trim(t, "0_") != "" {
			panic(bad)
		}
	}
	base = cmp.Or(base, 10)
	if t == "" || t[0] == '_' || t[0] == '+' || t[0] == '-' || strings.HasSuffix(t, "_") || strings.Contains(t, "__") {
		panic(bad)
	}
	if digits := strings.ReplaceAll(t, "_", ""); len(digits) > maxDigits && base&(base-1) != 0 {
		panic(valueError("Exceeds the limit (%d digits) for integer string conversion: value has %d digits", maxDigits, len(digits)))
	} else if len(digits) > maxBits/5 {
		panic(limitError("an int of more than %d digits", maxBits/5))
	} else if i, ok := new(big.Int).SetString(sign+digits, base); ok {
		return normal(i)
	}
	panic(bad)
}

// round is round(v, digits): the nearest decimal number, to even from halfway,
// as the binary number is, not as it is written.
func round(v value, digits int) value {
	if f, ok := v.(float64); ok {
		if math.IsNaN(f) || math.IsInf(f, 0) || digits > 330 {
			return f
		}
		if digits >= 0 {
			f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'f', digits, 64), 64)
			return f
		}
		if digits < -330 {
			return math.Copysign(0, f)
		}
		return math.Copysign(float(roundRat(new(big.Rat).SetFloat64(f), -digits)), f)
	}
	i, ok := integer(v)
	if !ok {
		panic(typeError("type %s doesn't define __round__ method", typeName(v)))
	}
	if digits >= 0 {
		return normal(i)
	}
	if -digits > len(i.Text(10)) {
		return 0
	}
	return roundRat(new(big.Rat).SetInt(i), -digits)
}

// roundRat rounds to a multiple of 10^zeros, to even from halfway.
func roundRat(x *big.Rat, zeros int) value {
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(zeros)), nil)
	d := new(big.Int).Mul(x.Denom(), unit)
	q, m := new(big.Int).DivMod(x.Num(), d, new(big.Int))
	if c := m.Lsh(m, 1).Cmp(d); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	return normal(q.Mul(q, unit))
}
