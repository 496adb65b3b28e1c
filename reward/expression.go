package reward

import (
	"math/big"
	"strings"
)

// result is the value of an expression.
type result struct {
	value    *big.Rat // nil after a division by zero
	operated bool     // there is an operator in it
	next     int      // the first token behind it
}

// evaluate reads the longest expression that the tokens begin with:
//
//	sum     = product { ("+" | "-") product }
//	product = operand { ("*" | "/" | "//") operand }
//	operand = [ "+" | "-" ] ( number | "(" sum ")" )
//
// If grouped, everything behind a division is its divisor, as in 6/ 1/2 = 12.
func evaluate(tokens []token, grouped bool) (result, bool) {
	e := evaluator{tokens: tokens, grouped: grouped}
	value, ok := e.sum()
	return result{value, e.operated, e.next}, ok
}

type evaluator struct {
	tokens   []token
	grouped  bool
	next     int
	operated bool
}

func (e *evaluator) sum() (*big.Rat, bool)     { return e.chain("+-", e.product) }
func (e *evaluator) product() (*big.Rat, bool) { return e.chain("*/f", e.operand) }

// chain reads parts with one of these operators between them, from left to
// right. An operator without a part behind it is left unread.
func (e *evaluator) chain(operators string, part func() (*big.Rat, bool)) (*big.Rat, bool) {
	value, ok := part()
	if !ok {
		return nil, false
	}
	for e.next < len(e.tokens) {
		op := e.tokens[e.next].kind
		if !strings.ContainsRune(operators, op) {
			break
		}
		back := *e
		e.next++
		divisor := part
		if e.grouped && op == '/' {
			divisor = e.product
		}
		right, ok := divisor()
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
	a.Quo(a, b)
	if op == floor {
		a.SetInt(new(big.Int).Div(a.Num(), a.Denom())) // a denominator is positive
	}
	return a
}

// lastExpression returns the index at which the longest expression begins that
// ends where the tokens end; -1 if there is none.
func lastExpression(tokens []token) int {
	i := len(tokens)
	for {
		// An operand ends before token i.
		switch {
		case i > 0 && tokens[i-1].kind == number:
			i--
		case i > 0 && tokens[i-1].kind == ')':
			depth := 0
			for i > 0 {
				i--
				if tokens[i].kind == ')' {
					depth++
				} else if tokens[i].kind == '(' {
					if depth--; depth == 0 {
						break
					}
				}
			}
			if depth > 0 {
				return -1
			}
		default:
			return -1
		}
		// Before it may stand a sign, and before that an operator.
		if i > 0 && isSign(tokens, i-1) {
			i--
		}
		if i < 2 || !isOperator(tokens[i-1]) || !endsOperand(tokens[i-2]) {
			return i
		}
		i--
	}
}

// isSign reports whether token i is a plus or minus that belongs to the operand
// right of it alone.
func isSign(tokens []token, i int) bool {
	return (tokens[i].kind == '+' || tokens[i].kind == '-') && i+1 < len(tokens) && tokens[i].end == tokens[i+1].start &&
		(i == 0 || !endsOperand(tokens[i-1]))
}

func isOperator(t token) bool { return strings.ContainsRune("+-*/f", t.kind) }

func endsOperand(t token) bool { return t.kind == number || t.kind == ')' }
