package jinja

import (
	"html"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// percent is format % v.
func (r *run) percent(format value, text string, v value) value {
	vals := []value{v}
	if t, ok := v.(*tuple); ok {
		vals = t.items
	}
	mapping, _ := v.(*dict)
	used := 0
	arg := func() value {
		if used == len(vals) {
			panic(typeError("not enough arguments for format string"))
		}
		used++
		return vals[used-1]
	}
	_, safe := format.(markup)
	w := &writer{r: r}
	for {
		at := strings.IndexByte(text, '%')
		if at < 0 {
			break
		}
		w.put(text[:at])
		text = text[at+1:]
		p := percentSpec{text: text, arg: arg, mapping: mapping}
		p.undefined, _ = v.(*undefined)
		p.parse()
		text = p.text
		s := "%"
		if p.kind == '%' && p.flagged {
			panic(valueError("unsupported format character '%%'"))
		}
		if p.kind != '%' {
			v := p.arg()
			s = r.percentValue(&p, v)
			if _, plain := v.(markup); safe && !plain {
				s = html.EscapeString(s)
			}
		}
		w.put(s)
	}
	w.put(text)
	_, isList := v.(*list)
	_, isUndefined := v.(*undefined)
	_, isSpan := v.(*span)
	if used < len(vals) && mapping == nil && !isList && !isUndefined && !isSpan {
		panic(typeError("not all arguments converted during string formatting"))
	}
	return like(format, w.String())
}

// percentSpec is one conversion of %.
type percentSpec struct {
	spec
	left, zero bool
	flagged    bool // has more than its kind
	text       string
	arg        func() value
	mapping    *dict
	undefined  *undefined
}

// parse reads what follows a percent sign.
func (p *percentSpec) parse() {
	begin := len(p.text)
	p.precision = -1
	if strings.HasPrefix(p.text, "(") {
		if p.undefined != nil {
			panic(p.undefined.err())
		}
		if p.mapping == nil {
			panic(typeError("format requires a mapping"))
		}
		depth, end := 1, 1
		for ; end < len(p.text) && depth > 0; end++ {
			switch p.text[end] {
			case '(':
				depth++
			case ')':
				depth--
			}
		}
		if depth > 0 {
			panic(valueError("incomplete format key"))
		}
		key := p.text[1 : end-1]
		p.text = p.text[end:]
		v, ok := p.mapping.get(key)
		if !ok {
			panic(raise("KeyError", "%s", quote(key)))
		}
		p.arg = func() value { return v }
	}
	for p.text != "" && strings.IndexByte("#0- +", p.text[0]) >= 0 {
		switch p.text[0] {
		case '#':
			p.alt = true
		case '0':
			p.zero = true
		case '-':
			p.left = true
		case ' ':
			if p.sign == 0 {
				p.sign = ' '
			}
		case '+':
			p.sign = '+'
		}
		p.text = p.text[1:]
	}
	p.width = p.number()
	if p.width < 0 {
		p.left, p.width = true, -p.width
	}
	if strings.HasPrefix(p.text, ".") {
		p.text = p.text[1:]
		p.precision = p.number()
		p.precision = max(p.precision, 0)
	}
	if p.text != "" && strings.IndexByte("hlL", p.text[0]) >= 0 {
		p.text = p.text[1:]
	}
	if p.text == "" {
		panic(valueError("incomplete format"))
	}
	c, n := utf8.DecodeRuneInString(p.text)
	p.flagged = len(p.text) < begin
	p.text = p.text[n:]
	if n > 1 || strings.IndexByte("%sracdiuxXofFeEgG", byte(c)) < 0 {
		panic(valueError("unsupported format character '%c' (0x%x)", c, c))
	}
	p.kind = byte(c)
}

// number reads a width or a precision, which may be a star.
func (p *percentSpec) number() int {
	if strings.HasPrefix(p.text, "*") {
		p.text = p.text[1:]
		v := p.arg()
		i, ok := small(v)
		if !ok {
			panic(typeError("* wants int"))
		}
		if i > maxString || i < -maxString {
			panic(limitError("a width of more than %d", maxString))
		}
		return i
	}
	n := 0
	n, p.text = width(p.text)
	return n
}

// width reads the digits of a width or a precision; none are 0.
func width(text string) (n int, rest string) {
	rest = strings.TrimLeft(text, "0123456789")
	if len(rest) == len(text) {
		return 0, text
	}
	n, err := strconv.Atoi(text[:len(text)-len(rest)])
	if err != nil || n > maxString {
		panic(limitError("a width of more than %d", maxString))
	}
	return n, rest
}

// percentValue writes a value as a conversion of % says.
func (r *run) percentValue(p *percentSpec, v value) string {
	sp := spec{width: p.width, precision: -1, align: ">", kind: p.kind, sign: p.sign, alt: p.alt}
	if p.left {
		sp.align = "<"
	}
	switch p.kind {
	case 's', 'r', 'a':
		s := r.text(v)
		if p.kind != 's' {
			s = r.repr(v)
		}
		if p.kind == 'a' {
			s = asciiRepr(s)
		}
		if p.precision >= 0 {
			s = r.cut(s, p.precision)
		}
		return r.pad(sp, "", s, ">")
	case 'c':
		s, ok := str(v)
		if i, isInt := small(v); isInt && !ok {
			if i < 0 || i > utf8.MaxRune {
				panic(raise("OverflowError", "%%c arg not in range(0x110000)"))
			}
			s, ok = string(rune(i)), true
		}
		if !ok || runeCount(s) != 1 {
			panic(typeError("%%c requires int or char"))
		}
		return r.pad(sp, "", s, ">")
	}
	n, ok := number(v)
	whole := strings.IndexByte("diuxXo", p.kind) >= 0
	if f, isFloat := n.(float64); isFloat && whole && strings.IndexByte("diu", p.kind) >= 0 {
		n = truncate(f)
	} else if isFloat && whole {
		panic(typeError("%%%c format: an integer is required, not float", p.kind))
	}
	if !ok {
		if u, ok := v.(*undefined); ok && p.kind != 'x' && p.kind != 'X' && p.kind != 'o' {
			panic(u.err())
		}
		if whole {
			panic(typeError("%%%c format: a real number is required, not %s", p.kind, typeName(v)))
		}
		panic(typeError("must be real number, not %s", typeName(v)))
	}
	if p.zero && !p.left {
		sp.align, sp.fill = "=", "0"
	}
	if whole {
		if p.kind == 'i' || p.kind == 'u' {
			sp.kind = 'd'
		}
		if p.precision >= 0 {
			i, _ := integer(n)
			digits := r.formatValue(normal(new(big.Int).Abs(i)), string(sp.kind))
			if more := p.precision - len(digits); more > 0 {
				digits = strings.Repeat("0", more) + digits
			}
			return r.pad(sp, signOf(i.Sign() < 0, sp.sign), digits, ">")
		}
	} else {
		sp.precision = p.precision
		n = float(n)
	}
	return r.formatNumber(n, sp)
}

// asciiRepr escapes what is not ASCII in a repr.
func asciiRepr(s string) string {
	var b strings.Builder
	for _, c := range s {
		if c < utf8.RuneSelf {
			b.WriteRune(c)
		} else {
			b.WriteString(asciiEscape(c))
		}
	}
	return b.String()
}

// truncate is int(f).
func truncate(f float64) value {
	if math.IsNaN(f) {
		panic(valueError("cannot convert float NaN to integer"))
	}
	if math.IsInf(f, 0) {
		panic(raise("OverflowError", "cannot convert float infinity to integer"))
	}
	i, _ := new(big.Float).SetFloat64(f).Int(nil)
	return normal(i)
}
