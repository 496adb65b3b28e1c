package reward

import (
	"context"
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
// The text beside an equation can change its meaning: "half of 8+2=6", "30+30=1
// hour", "7+5=2 mod 10", "1.500+500=2.000". Calling such an equation wrong would
// be worse than missing a mistake, so the rule is stricter about calling an
// equation wrong than about calling it right:
//
//   - An equation beside something that does change its meaning, such as another
//     operator, a unit of scale, a function or a variable, is not judged.
//   - Otherwise an equation that is right counts, whatever stands beside it:
//     "Tom has 5+3=8 apples".
//   - An equation that is not right counts as wrong only if nothing beside it
//     could explain the difference: it stands on its own, between punctuation,
//     or in a sentence of harmless words ("so the total is 5+3=9"), and no
//     other reading of its numbers, dashes and line ends makes it right.
//
// An equation with a side longer than 256 bytes is not judged either.
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

// maxSide bounds the bytes on either side of an equals sign that are looked at,
// and nearSigns the equals signs among them: together they bound the work that a
// hostile completion can cause.
const (
	maxSide   = 256
	nearSigns = 4
)

// checkEquations counts the equations in a text that can be judged, and those
// that are right.
func checkEquations(text string) (right, all int) {
	text = fold(text)
	var signs []prompt.Range // = and ==
	for from := 0; ; {
		i := strings.IndexByte(text[from:], '=')
		if i < 0 {
			break
		}
		sign := prompt.Range{Start: from + i, End: from + i + 1}
		if strings.HasPrefix(text[sign.End:], "=") {
			sign.End++
		}
		signs = append(signs, sign)
		from = sign.End
	}
	for i, sign := range signs {
		from, to := max(0, sign.Start-maxSide), min(len(text), sign.End+maxSide)
		if i >= nearSigns {
			from = max(from, signs[i-nearSigns].Start)
		}
		if i+nearSigns < len(signs) {
			to = min(to, signs[i+nearSigns].End)
		}
		e := equation{left: text[from:sign.Start], right: text[sign.End:to], cutLeft: from > 0, cutRight: to < len(text)}
		if ok, judged := e.judge(); judged {
			all++
			if ok {
				right++
			}
		}
	}
	return right, all
}

// judge says whether the equation is right, if that can be said.
func (e *equation) judge() (right, judged bool) {
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
