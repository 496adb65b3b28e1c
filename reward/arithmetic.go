package reward

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/stepwise-rl/stepwise/prompt"
)

// Arithmetic scores the share of a step's equations that are exactly right, 1 if
// all are. For the whole completion it judges all of the text. A text without
// an equation is unscorable, "no equation".
//
// An equation is two expressions with a = between them. An expression has
// decimal numbers (optionally with a comma between thousands), + - * / (or
// × ÷ − //), signs and parentheses; currency signs are skipped. At least one
// side must have an operator, unless the equation is marked as GSM8K annotates
// its solutions, <<12*3=36>> (arXiv:2110.14168). In a=b=c both are equations.
// Numbers are exact rationals: 10/3=3.33 is wrong, and so is a division by zero.
//
// The text around an equation can change its sense ("10% of 50+5=10",
// "x-5+3=2"). An equation beside a sign or word that may do so is not judged,
// nor is one with a side longer than 256 bytes.
//
// An equation can be right and useless: a step that says 1=1+0 scores 1.
// Combine Arithmetic with a rule for the step's answer.
func Arithmetic[E any]() Rule[E] {
	return RuleFunc[E](func(_ context.Context, _ E, trace *prompt.Trace, step int) (Score, error) {
		text := trace.Text
		if step != WholeCompletion {
			s := asked(trace, step)
			if s.Status != prompt.StatusOK {
				return broken(s), nil
			}
			text = text[s.Bytes.Start:s.Bytes.End]
		}
		right, all := checkEquations(text)
		if all == 0 {
			return Unscorable("no equation"), nil
		}
		return Score{Value: float64(right) / float64(all)}, nil
	})
}

// maxSide bounds the bytes of one side of an equation, and so the work that a
// hostile completion can cause.
const maxSide = 256

// checkEquations counts the equations in a text, and those that are right.
func checkEquations(text string) (right, all int) {
	from := 0 // behind the last =
	for {
		i := strings.IndexByte(text[from:], '=')
		if i < 0 {
			return right, all
		}
		at := from + i
		to := len(text) // before the next =
		if j := strings.IndexByte(text[at+1:], '='); j >= 0 {
			to = at + 1 + j
		}
		if ok, judged := checkEquation(text, from, at, to); judged {
			all++
			if ok {
				right++
			}
		}
		from = at + 1
	}
}

// checkEquation judges the equation around the = at byte at, whose sides lie in
// text[from:at] and text[at+1:to].
func checkEquation(text string, from, at, to int) (right, judged bool) {
	cutLeft, cutRight := at-from > maxSide, to-(at+1) > maxSide
	if cutLeft {
		from = at - maxSide
	}
	if cutRight {
		to = at + 1 + maxSide
	}
	left, rest := lex(text[from:at]), lex(text[at+1:to])
	start := lastExpression(left)
	// A side that reaches the cut may go on beyond it.
	if start < 0 || cutLeft && start == 0 || !standsFree(left, start) {
		return false, false
	}
	a, ok := evaluate(left[start:])
	if !ok || a.next != len(left)-start {
		return false, false
	}
	b, ok := evaluate(rest)
	if !ok || changesSense(rest, b.next, cutRight) {
		return false, false
	}
	annotated := endsIn(left[:start], "<<") && beginsWith(rest[b.next:], ">>")
	if !a.operated && !b.operated && !annotated {
		return false, false
	}
	return a.value != nil && b.value != nil && a.value.Cmp(b.value) == 0, true
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

func isOperator(t token) bool {
	return t.kind == '+' || t.kind == '-' || t.kind == '*' || t.kind == '/'
}

func endsOperand(t token) bool { return t.kind == number || t.kind == ')' }

// operatorWords beside an expression make it a part of a larger one.
var operatorWords = map[string]bool{
	"of": true, "times": true, "plus": true, "minus": true, "by": true, "over": true, "cdot": true, "div": true,
}

func isLetter(t token) bool { return t.kind == word && utf8.RuneCountInString(t.text) == 1 }

// isMixed reports whether the word at token i stands in a mixed number such as
// 1 and 1/3.
func isMixed(tokens []token, i int) bool {
	return tokens[i].text == "and" && i > 0 && tokens[i-1].kind == number && i+3 < len(tokens) &&
		tokens[i+1].kind == number && tokens[i+2].kind == '/' && tokens[i+3].kind == number &&
		(i+4 == len(tokens) || !isOperator(tokens[i+4]))
}

// standsFree reports whether what stands before token i leaves the expression
// that begins there as it is.
func standsFree(tokens []token, i int) bool {
	stars := i // two or more * before an expression are mark-up: **2+3=5**
	for stars > 0 && tokens[stars-1].kind == '*' {
		stars--
	}
	if i-stars >= 2 {
		i = stars
	}
	if i == 0 {
		return true
	}
	before := tokens[i-1]
	switch before.kind {
	case word:
		variable := isLetter(before) && !strings.Contains("aAI", before.text)
		return before.end < tokens[i].start && !operatorWords[before.text] && !variable && !isMixed(tokens, i-1)
	case '(', newline:
		return true
	case other:
		return strings.Contains(",;:.!?[{<>|`\"'", before.text)
	}
	return false
}

// changesSense reports whether what stands behind an expression, from token
// i > 0 on, makes it another, or may do so where the text is cut.
func changesSense(tokens []token, i int, cut bool) bool {
	glued := func(i int) bool { return tokens[i].start == tokens[i-1].end }
	operators := 0 // of operands that could not be read
	for i < len(tokens) && isOperator(tokens[i]) {
		operators++
		i++
	}
	if i == len(tokens) {
		return cut
	}
	next := tokens[i]
	switch next.kind {
	case number:
		return true
	case '(':
		return operators > 0 || glued(i)
	case word:
		return operatorWords[next.text] || isLetter(next) && (operators > 0 || glued(i)) || isMixed(tokens, i)
	}
	return operators == 0 && next.kind == other && strings.Contains("%^", next.text)
}

// endsIn and beginsWith compare single characters at an end of a token list.
func endsIn(tokens []token, marks string) bool {
	return len(tokens) >= len(marks) && beginsWith(tokens[len(tokens)-len(marks):], marks)
}

func beginsWith(tokens []token, marks string) bool {
	if len(tokens) < len(marks) {
		return false
	}
	for i := range len(marks) {
		if tokens[i].text != marks[i:i+1] {
			return false
		}
	}
	return true
}
