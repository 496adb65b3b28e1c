package reward

import (
	"context"
	"math/big"
	"strings"

	"github.com/stepwise-rl/stepwise/prompt"
)

// Arithmetic scores the share of a step's equations that are exactly right, 1 if
// all are. For the whole completion it judges all of the text. A text without
// an equation that it can judge is unscorable, "no equation".
//
// An equation is two expressions with = or == between them. An expression has
// decimal numbers (optionally with a comma between thousands), + - * / (or
// × ÷ −), // for Python's floor division, signs and parentheses. Full-width
// characters count as the usual ones, and mark-up for emphasis does not count.
// At least one side must have an operator, unless the equation is marked as
// GSM8K annotates its solutions, <<12*3=36>> (arXiv:2110.14168). In a=b=c both
// are equations. Numbers are exact rationals: 10/3=3.33 is wrong, and so is a
// division by zero.
//
// # What is not judged
//
// What stands beside an equation can change its sense: "half of 8+2=6",
// "30+30=1 hour", "7+5=2 mod 10", "1.500+500=2.000". To call such an equation
// wrong would be worse than to miss a mistake, so the rule asks for more before
// it calls an equation wrong than before it calls it right:
//
//   - An equation beside something that does change its sense, such as another
//     operator, a unit of scale, a function or a variable, is not judged.
//   - An equation that is right counts, whatever else stands beside it:
//     "Tom has 5+3=8 apples".
//   - An equation that is not right counts as wrong only if nothing beside it
//     could explain the difference: it stands on its own, between punctuation,
//     or in a sentence of harmless words ("so the total is 5+3=9"), and no
//     other reading of its numbers, dashes and line ends makes it right.
//
// Neither is an equation judged that has a side longer than 256 bytes.
//
// So a wrong equation can hide behind a word, and a right one can be useless: a
// step that says 1=1+0 scores 1. Combine Arithmetic with a rule for the step's
// answer.
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

// checkEquations counts the equations in a text that can be judged, and those
// that are right.
func checkEquations(text string) (right, all int) {
	text = fold(text)
	for from := 0; ; {
		i := strings.IndexByte(text[from:], '=')
		if i < 0 {
			return right, all
		}
		at := from + i
		from = at + 1
		if strings.HasPrefix(text[from:], "=") {
			from++
		}
		if ok, judged := checkEquation(text, at, from); judged {
			all++
			if ok {
				right++
			}
		}
	}
}

// checkEquation judges the equation around text[from:to], an equals sign.
func checkEquation(text string, from, to int) (right, judged bool) {
	e := equation{left: text[max(0, from-maxSide):from], right: text[to:min(len(text), to+maxSide)]}
	e.cutLeft, e.cutRight = from > maxSide, len(text)-to > maxSide
	s, ok := e.read(usual)
	if !ok {
		return false, false
	}
	around := min(before(s.left, s.start), after(s.right, s.b.next))
	// A side that reaches the cut may go on beyond it.
	if around == spoilt || e.cutLeft && s.start == 0 || e.cutRight && s.b.next == len(s.right) {
		return false, false
	}
	ahead, behind := s.left[:s.start], s.right[s.b.next:]
	annotated := endsIn(ahead, "<<") && beginsWith(behind, ">>")
	switch {
	case !s.a.operated && !s.b.operated && !annotated, s.mixesCurrencies():
		return false, false
	case s.equal():
		return true, true
	case annotated:
		return false, !e.mayBeRight(s)
	}
	around = min(around, sentence(ahead, behind))
	return false, around >= worded && !e.mayBeRight(s) && (around == plain || !s.explained())
}

// equation is the text on both sides of an equals sign.
type equation struct {
	left, right       string
	cutLeft, cutRight bool // there is more text
}

// sides are the two expressions of an equation, under some reading.
type sides struct {
	left, right []token // of all the text
	start       int     // the first token of the expression on the left
	a, b        result
}

func (e *equation) read(r reading) (s sides, ok bool) {
	s.left, s.right = r.lex(e.left), r.lex(e.right)
	if s.start = lastExpression(s.left); s.start < 0 {
		return s, false
	}
	if s.a, ok = evaluate(s.left[s.start:], r.grouped); !ok || s.a.next != len(s.left)-s.start {
		return s, false
	}
	s.b, ok = evaluate(s.right, r.grouped)
	return s, ok
}

// equal reports whether both sides have the same value. A division by zero has
// none.
func (s *sides) equal() bool {
	return s.a.value != nil && s.b.value != nil && s.a.value.Cmp(s.b.value) == 0
}

// expressions returns the tokens of both expressions.
func (s *sides) expressions() [2][]token {
	return [2][]token{s.left[s.start:], s.right[:s.b.next]}
}

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
	if isDate(s.expressions()) || s.roundsMoney() || s.oppositeSign() || s.numbered() {
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
// its number right before it: 1.5+3=8.
func (s *sides) numbered() bool {
	first := s.left[s.start]
	whole, fraction, ok := strings.Cut(first.text, ".")
	if first.kind != number || !ok || whole == "" || s.start > 0 && s.left[s.start-1].kind != newline {
		return false
	}
	first.text = fraction
	a, ok := evaluate(append([]token{first}, s.left[s.start+1:]...), false)
	t := sides{a: a, b: s.b}
	return ok && t.equal()
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
