package reward

import (
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kinds of token besides the characters + - * / ( ), which stand for
// themselves.
const (
	number  = 'n'
	word    = 'w'
	newline = '\n'
	other   = '?'
)

type token struct {
	kind       rune
	text       string // as written, but a number without separators
	start, end int
}

// lex splits a text into tokens; blanks and currency signs vanish.
func lex(text string) []token {
	var tokens []token
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		start := i
		i += size
		t := token{kind: other, text: text[start:i]}
		switch {
		case r == '\n':
			t.kind = newline
		case unicode.IsSpace(r) || unicode.Is(unicode.Sc, r):
			continue
		case isDigit(r) || r == '.' && i < len(text) && isDigit(rune(text[i])):
			i = start + numberLen(text[start:])
			t.kind, t.text = number, strings.ReplaceAll(text[start:i], ",", "")
		case unicode.IsLetter(r):
			for i < len(text) {
				r, size := utf8.DecodeRuneInString(text[i:])
				if !unicode.IsLetter(r) {
					break
				}
				i += size
			}
			t.kind, t.text = word, text[start:i]
		case strings.HasPrefix(text[start:], "//"): // as in Python
			t.kind, i = '/', start+2
		case strings.ContainsRune("+-*/()", r):
			t.kind = r
		case r == '×':
			t.kind = '*'
		case r == '÷':
			t.kind = '/'
		case r == '−':
			t.kind = '-'
		}
		t.start, t.end = start, i
		tokens = append(tokens, t)
	}
	return tokens
}

func isDigit(r rune) bool { return '0' <= r && r <= '9' }

// numberLen returns the length of the number at the start of s: digits, in
// groups of three with commas between them if at all, and a fraction.
func numberLen(s string) int {
	i := digits(s)
	if i >= 1 && i <= 3 {
		for i+4 <= len(s) && s[i] == ',' && digits(s[i+1:]) == 3 {
			i += 4
		}
	}
	if i+1 < len(s) && s[i] == '.' {
		if n := digits(s[i+1:]); n > 0 {
			i += 1 + n
		}
	}
	return i
}

// digits returns how many digits s begins with.
func digits(s string) int {
	for i := range len(s) {
		if !isDigit(rune(s[i])) {
			return i
		}
	}
	return len(s)
}

// result is what an expression comes to.
type result struct {
	value    *big.Rat // nil after a division by zero
	operated bool     // there is an operator in it
	next     int      // the first token behind it
}

// evaluate reads the longest expression that the tokens begin with:
//
//	sum     = product { ("+" | "-") product }
//	product = operand { ("*" | "/") operand }
//	operand = [ "+" | "-" ] ( number | "(" sum ")" )
func evaluate(tokens []token) (result, bool) {
	e := evaluator{tokens: tokens}
	value, ok := e.sum()
	return result{value, e.operated, e.next}, ok
}

type evaluator struct {
	tokens   []token
	next     int
	operated bool
}

func (e *evaluator) sum() (*big.Rat, bool)     { return e.chain('+', '-', e.product) }
func (e *evaluator) product() (*big.Rat, bool) { return e.chain('*', '/', e.operand) }

// chain reads parts with one of two operators between them, from left to right.
// An operator without a part behind it is left unread.
func (e *evaluator) chain(op1, op2 rune, part func() (*big.Rat, bool)) (*big.Rat, bool) {
	value, ok := part()
	if !ok {
		return nil, false
	}
	for e.next < len(e.tokens) {
		op := e.tokens[e.next].kind
		if op != op1 && op != op2 {
			break
		}
		back := *e
		e.next++
		right, ok := part()
		if !ok {
			*e = back
			break
		}
		e.operated = true
		value = apply(op, value, right)
	}
	return value, true
}

func (e *evaluator) operand() (*big.Rat, bool) {
	if e.next >= len(e.tokens) {
		return nil, false
	}
	negative := false
	if isSign(e.tokens, e.next) {
		negative = e.tokens[e.next].kind == '-'
		e.next++ // a sign has an operand behind it
	}
	t := e.tokens[e.next]
	e.next++
	var value *big.Rat
	switch t.kind {
	case number:
		value, _ = new(big.Rat).SetString(t.text)
	case '(':
		var ok bool
		if value, ok = e.sum(); !ok || e.next >= len(e.tokens) || e.tokens[e.next].kind != ')' {
			return nil, false
		}
		e.next++
	default:
		return nil, false
	}
	if negative && value != nil {
		value.Neg(value)
	}
	return value, true
}

// apply returns a op b; nil, which stands for the outcome of a division by
// zero, stays nil.
func apply(op rune, a, b *big.Rat) *big.Rat {
	if a == nil || b == nil {
		return nil
	}
	switch op {
	case '+':
		return a.Add(a, b)
	case '-':
		return a.Sub(a, b)
	case '*':
		return a.Mul(a, b)
	}
	if b.Sign() == 0 {
		return nil
	}
	return a.Quo(a, b)
}
