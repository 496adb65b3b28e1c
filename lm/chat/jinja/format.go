package jinja

import (
	"cmp"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// spec says how a value is written: Python's format specification.
type spec struct {
	fill, align  string
	sign         byte
	alt, zeroNeg bool
	width        int
	group        string
	precision    int // -1 if there is none
	kind         byte
}

// parseSpec reads a specification such as *>+10,.2f.
func parseSpec(s string) (sp spec) {
	sp.precision = -1
	c, n := utf8.DecodeRuneInString(s)
	if n > 0 && len(s) > n && strings.IndexByte("<>=^", s[n]) >= 0 {
		sp.fill, sp.align, s = string(c), s[n:n+1], s[n+1:]
	} else if s != "" && strings.IndexByte("<>=^", s[0]) >= 0 {
		sp.align, s = s[:1], s[1:]
	}
	if s != "" && strings.IndexByte("+- ", s[0]) >= 0 {
		sp.sign, s = s[0], s[1:]
	}
	s, sp.zeroNeg = strings.CutPrefix(s, "z")
	s, sp.alt = strings.CutPrefix(s, "#")
	if strings.HasPrefix(s, "0") {
		sp.fill = cmp.Or(sp.fill, "0")
		sp.align = cmp.Or(sp.align, "=")
		s = s[1:]
	}
	sp.width, s = width(s)
	if s != "" && (s[0] == ',' || s[0] == '_') {
		sp.group, s = s[:1], s[1:]
	}
	if strings.HasPrefix(s, ".") {
		if s = s[1:]; s == "" || !decimal(s[0]) {
			panic(valueError("Format specifier missing precision"))
		}
		sp.precision, s = width(s)
	}
	if len(s) > 1 {
		panic(valueError("Invalid format specifier"))
	}
	if s != "" {
		sp.kind = s[0]
	}
	return sp
}

// formatValue is format(v, text).
func (r *run) formatValue(v value, text string) string {
	if text == "" {
		return r.text(v)
	}
	if u, ok := v.(*undefined); ok {
		panic(typeError("unsupported format string passed to %s.__format__", typeName(u)))
	}
	sp := parseSpec(text)
	unknown := valueError("Unknown format code '%c' for object of type %s", sp.kind, quote(typeName(v)))
	if s, ok := str(v); ok {
		switch {
		case sp.kind != 0 && sp.kind != 's':
			panic(unknown)
		case sp.sign != 0:
			panic(valueError("Sign not allowed in string format specifier"))
		case sp.group != "":
			panic(valueError("Cannot specify '%s' with 's'.", sp.group))
		case sp.align == "=":
			if sp.fill != "0" {
				panic(valueError("'=' alignment not allowed in string format specifier"))
			}
			sp.align = "<"
		}
		if sp.precision >= 0 {
			s = r.cut(s, sp.precision)
		}
		return r.pad(sp, "", s, "<")
	}
	n, ok := number(v)
	if !ok {
		panic(typeError("unsupported format string passed to %s.__format__", typeName(v)))
	}
	return r.formatNumber(n, sp)
}

// formatNumber writes a number.
func (r *run) formatNumber(n value, sp spec) string {
	unknown := valueError("Unknown format code '%c' for object of type %s", sp.kind, quote(typeName(n)))
	f, isFloat := n.(float64)
	if !isFloat && strings.IndexByte("eEfFgG%", sp.kind) >= 0 && sp.kind != 0 {
		f = float(n)
		isFloat = true
	}
	if isFloat {
		digits := floatDigits(f, sp)
		return r.pad(sp, signOf(math.Signbit(f) && !math.IsNaN(f) && !(sp.zeroNeg && strings.Trim(digits, "0.") == ""), sp.sign), digits, ">")
	}
	i, _ := integer(n)
	if sp.precision >= 0 {
		panic(valueError("Precision not allowed in integer format specifier"))
	}
	if sp.kind == 'c' {
		if sp.sign != 0 {
			panic(valueError("Sign not allowed with integer format specifier 'c'"))
		}
		if !i.IsInt64() || i.Sign() < 0 || i.Int64() > utf8.MaxRune {
			panic(raise("OverflowError", "%%c arg not in range(0x110000)"))
		}
		return r.pad(sp, "", string(rune(i.Int64())), ">")
	}
	base := map[byte]int{0: 10, 'd': 10, 'n': 10, 'x': 16, 'X': 16, 'o': 8, 'b': 2}[sp.kind]
	if base == 0 {
		panic(unknown)
	}
	digits := new(big.Int).Abs(i).Text(base)
	if base == 10 && len(digits) > maxDigits {
		intText(i)
		return ""
	}
	prefix := ""
	if sp.alt && base != 10 {
		prefix = "0" + strings.ToLower(string(sp.kind))
	}
	if sp.kind == 'X' {
		digits, prefix = strings.ToUpper(digits), strings.ToUpper(prefix)
	}
	every := 3
	if base != 10 {
		every = 4
	}
	return r.pad(sp, signOf(i.Sign() < 0, sp.sign)+prefix, grouped(digits, sp.group, every), ">")
}

func signOf(negative bool, sign byte) string {
	switch {
	case negative:
		return "-"
	case sign == '+' || sign == ' ':
		return string(sign)
	}
	return ""
}

// grouped puts a separator after every few digits of the whole part.
func grouped(digits, sep string, every int) string {
	whole := len(digits)
	if i := strings.IndexAny(digits, ".eE%"); i >= 0 && every == 3 {
		whole = i
	}
	if sep == "" || whole == 0 || digits[0] > '9' && every == 3 {
		return digits
	}
	var b strings.Builder
	for i := range whole {
		if i > 0 && (whole-i)%every == 0 {
			b.WriteString(sep)
		}
		b.WriteByte(digits[i])
	}
	return b.String() + digits[whole:]
}

// floatDigits writes the digits of |f|.
func floatDigits(f float64, sp spec) string {
	a := math.Abs(f)
	p, kind := min(sp.precision, 5000), sp.kind
	if math.IsNaN(f) || math.IsInf(f, 0) {
		s := strings.TrimPrefix(floatRepr(a), "+")
		if kind == 'F' || kind == 'E' || kind == 'G' {
			s = strings.ToUpper(s)
		}
		if kind == '%' {
			s += "%"
		}
		return s
	}
	if p < 0 && kind != 0 {
		p = 6
	}
	var s string
	switch kind {
	case 'f', 'F':
		s = strconv.FormatFloat(a, 'f', p, 64)
	case '%':
		s = strconv.FormatFloat(a*100, 'f', p, 64)
	case 'e', 'E':
		s = strconv.FormatFloat(a, 'e', p, 64)
	case 'g', 'G', 'n':
		s = general(a, max(p, 1), sp.alt)
	case 0:
		if p < 0 {
			s = floatRepr(a)
		} else {
			s = general(a, max(p, 1), sp.alt)
			if strings.IndexByte(s, 'e') < 0 && !strings.Contains(s, ".") {
				if len(s) < max(p, 1) {
					s += ".0"
				} else {
					s = strconv.FormatFloat(a, 'e', max(len(strings.TrimRight(s, "0"))-1, 0), 64)
				}
			}
		}
	default:
		panic(valueError("Unknown format code '%c' for object of type 'float'", kind))
	}
	if sp.alt && p == 0 && !strings.Contains(s, ".") {
		if i := strings.IndexByte(s, 'e'); i >= 0 {
			s = s[:i] + "." + s[i:]
		} else {
			s += "."
		}
	}
	if kind == 'E' || kind == 'G' {
		s = strings.ToUpper(s)
	}
	s = grouped(s, sp.group, 3)
	if kind == '%' {
		s += "%"
	}
	return s
}

// general writes p digits, as %g does in C.
func general(a float64, p int, keep bool) string {
	s := strconv.FormatFloat(a, 'e', p-1, 64)
	mantissa, exp, _ := strings.Cut(s, "e")
	x, _ := strconv.Atoi(exp)
	if x >= -4 && x < p {
		mantissa, exp = strconv.FormatFloat(a, 'f', p-1-x, 64), ""
	} else {
		exp = "e" + exp
	}
	if !keep && strings.Contains(mantissa, ".") {
		mantissa = strings.TrimRight(strings.TrimRight(mantissa, "0"), ".")
	}
	return mantissa + exp
}

// cut returns the first n characters of a text.
func (r *run) cut(s string, n int) string {
	for i := range s {
		if n == 0 {
			r.work(i)
			return s[:i]
		}
		n--
	}
	return s
}

// pad fills a text up to the width; the filling stands after the sign if so
// aligned.
func (r *run) pad(sp spec, sign, s, align string) string {
	if sp.align != "" {
		align = sp.align
	}
	fill := cmp.Or(sp.fill, " ")
	pad := sp.width - runeCount(sign) - runeCount(s)
	r.grow(len(s) + max(pad, 0)*len(fill))
	if pad <= 0 {
		return sign + s
	}
	fits(pad, len(fill))
	switch align {
	case "<":
		return sign + s + strings.Repeat(fill, pad)
	case "^":
		return strings.Repeat(fill, pad/2) + sign + s + strings.Repeat(fill, pad-pad/2)
	case "=":
		if fill == "0" && sp.group != "" {
			return sign + zeroGrouped(s, sp, sp.width-runeCount(sign))
		}
		return sign + strings.Repeat(fill, pad) + s
	}
	return strings.Repeat(fill, pad) + sign + s
}

// zeroGrouped fills grouped digits with zeros that are grouped too.
func zeroGrouped(s string, sp spec, width int) string {
	every := 3
	if strings.IndexByte("xXob", sp.kind) >= 0 && sp.kind != 0 {
		every = 4
	}
	plain := strings.ReplaceAll(s, sp.group, "")
	whole := len(plain)
	if i := strings.IndexAny(plain, ".eE%"); i >= 0 && every == 3 {
		whole = i
	}
	zeros := 0
	for n := whole; len(plain)-whole+n+(n-1)/every < width; n++ {
		zeros++
	}
	return grouped(strings.Repeat("0", zeros)+plain, sp.group, every)
}
