package reward

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// beside is the kind of text beside an expression.
type beside uint8

const (
	spoilt beside = iota // what makes it another expression, or may do so
	odd                  // what could explain that it seems wrong
	worded               // an unknown word, which hardly changes it
	plain                // nothing that changes it
)

// before returns the kind of text before the expression that begins at token i.
func before(tokens []token, i int) beside {
	if i == 0 {
		return plain
	}
	t := tokens[i-1]
	blank := t.end < tokens[i].start
	lineStart := i == 1 || tokens[i-2].kind == newline
	sign := isSign(tokens, i)
	switch t.kind {
	case newline:
		if i > 1 && isOperator(tokens[i-2]) {
			return odd // a sum over two lines
		}
		return plain
	case '=':
		return plain
	case '(':
		switch {
		case i > 1 && isOperator(tokens[i-2]) && !lineStart:
			return spoilt // 2*(3+4=7
		case i > 1 && tokens[i-2].end == t.start && (tokens[i-2].kind == word || endsOperand(tokens[i-2])):
			return odd // f(1+2=3)
		}
		return plain
	case '-', '+', '*':
		if lineStart && blank {
			return plain // the bullet of a list
		}
	case ')':
		return enumerator(tokens[:i-1], blank)
	case word:
		return beforeWord(tokens, i, blank, sign)
	case other:
		if t.text == "—" && i > 1 && tokens[i-2].kind == word {
			return odd
		}
		if isHeading(tokens[:i]) && blank {
			return plain
		}
		if lineStart && strings.Contains(">•◦▪‣●○■□—→⇒∴✓✔☑►▶👉", t.text) {
			return plain
		}
		return beforeMark(tokens, i, blank, sign)
	}
	return spoilt
}

// isHeading reports whether the last line of the tokens is the mark of a heading.
func isHeading(tokens []token) bool {
	i := len(tokens)
	for i > 0 && tokens[i-1].text == "#" {
		i--
	}
	return i < len(tokens) && (i == 0 || tokens[i-1].kind == newline)
}

// enumerator classifies the tokens before a closing parenthesis: the number
// of a list's item, as in 1) and a), or not.
func enumerator(tokens []token, blank bool) beside {
	i := len(tokens) - 1
	if i < 0 || !blank || len(tokens[i].text) > 2 || tokens[i].kind != number && tokens[i].kind != word {
		return spoilt
	}
	switch {
	case i == 0 || tokens[i-1].kind == newline:
		return plain
	case tokens[i-1].kind == '(' && (i == 1 || tokens[i-2].kind == newline):
		return odd // or a product: (2) 3+4=14
	}
	return spoilt
}

func beforeWord(tokens []token, i int, blank, sign bool) beside {
	t := tokens[i-1]
	unspaced := isUnspaced(t.text)
	switch {
	case changesBefore(t.text), isMixed(tokens, i-1):
		return spoilt
	case !blank && !unspaced:
		return spoilt // x2+3=5
	case isLetter(t) && t.text != "a" && t.text != "i":
		return spoilt // a variable
	case isLetter(t):
		return odd
	case sign && !harmlessWords[t.text]:
		return spoilt // 3 apples -2+1=2
	case i > 1 && tokens[i-2].kind == number && !followsEquals(tokens[:i-1]):
		return odd // 1 hour 20+40=2 hours
	case harmlessWords[t.text]:
		return plain
	}
	return worded
}

// beforeMark judges the other marks.
func beforeMark(tokens []token, i int, blank, sign bool) beside {
	t := tokens[i-1]
	var last token // before the mark
	if i > 1 {
		last = tokens[i-2]
	}
	tight := i > 1 && last.end == t.start // no blank before the mark
	switch t.text {
	case ",":
		switch {
		case last.kind == number && !blank:
			return spoilt // 1,5+2
		case last.kind == number && !followsEquals(tokens[:i-1]):
			return odd
		}
		return plain
	case ":":
		switch {
		case last.kind == number && (!tight || !blank):
			return spoilt // a ratio or a time
		case last.kind == number && (i == 2 || tokens[i-3].kind != word):
			return odd
		}
		return plain
	case ";":
		return plain
	case ".":
		switch {
		case isOperator(last):
			return spoilt // .8 + . 84
		case last.kind == word && changesBefore(last.text):
			return spoilt
		case tight && (last.text == "." || last.kind == word && len(last.text) <= 4):
			return odd // an ellipsis or abbreviation
		case last.kind == word && doubtfulWords[last.text]:
			return odd
		}
		return plain
	case "!", "?":
		if tight && endsOperand(last) {
			return spoilt // a factorial
		}
		return odd
	case "[", "{", `\boxed{`:
		if tight && (last.kind == word || last.text == "]" || last.text == "}") {
			return odd // \frac{1}{2+3=5}
		} else if tight && strings.Contains("^_", last.text) && last.text != "" {
			return spoilt
		}
		return plain
	case "<":
		if tight && last.text == "<" && !blank {
			return odd // perhaps GSM8K's annotation
		}
	case ">":
		if tight && (last.kind == '=' || last.kind == '-' || last.text == `"` || i > 2 && last.kind == word && strings.Contains("</", tokens[i-3].text)) {
			return plain // an arrow or a tag
		}
		return odd
	case "|":
		switch {
		case endsOperand(last):
			return spoilt
		case blank:
			return plain // a table
		}
		return odd
	case `\`:
		if tight && last.text == `\` {
			return plain // a line break of LaTeX
		}
	case `"`, "'", "“", "‘", "«", "„":
		return odd // perhaps cited as false
	}
	return spoilt
}

// followsEquals reports whether the tokens end in the right side of an equation.
func followsEquals(tokens []token) bool {
	i := lastExpression(tokens)
	return i > 0 && tokens[i-1].kind == '='
}

// after returns the kind of text behind an expression, from token i > 0 on.
func after(tokens []token, i int) beside {
	if i == len(tokens) {
		return plain
	}
	t := tokens[i]
	tight := t.start == tokens[i-1].end
	var next token
	if i+1 < len(tokens) {
		next = tokens[i+1]
	}
	blank := t.end < next.start || next.kind == newline || next == token{}
	switch t.kind {
	case newline:
		return plain
	case '=':
		return afterEquals(tokens[i:])
	case '(':
		if tight || next.kind == word && changesAfter(next.text) {
			return spoilt
		}
		return odd
	case ')':
		return max(odd, after(tokens, i+1))
	case '-':
		if next.kind == word && !isLetter(next) && !changesAfter(next.text) || next.kind == newline || next == (token{}) {
			return odd // a dash, or 8-hour
		}
	case '/', floor:
		if next.kind == word && !isLetter(next) {
			return worded // 36/hour
		}
	case word:
		switch {
		case changesAfter(t.text), isMixed(tokens, i), isLetter(t) && (tight || next.kind == number || next.kind == '('):
			return spoilt
		case (next.kind == number || next.kind == '(') && !beginsEquation(tokens[i+1:]):
			return odd // 3 remainder 1
		case harmlessWords[t.text]:
			return plain
		}
		return worded
	case other:
		return afterMark(tokens, i, tight, blank)
	}
	return spoilt
}

// beginsEquation reports whether the tokens begin with the left side of an
// equation.
func beginsEquation(tokens []token) bool {
	a, ok := evaluate(tokens, false)
	return ok && a.next < len(tokens) && tokens[a.next].kind == '='
}

// afterEquals returns the kind of text behind an expression that the tokens
// follow, the first of which is =.
func afterEquals(tokens []token) beside {
	for len(tokens) > 0 && tokens[0].kind == '=' {
		tokens = tokens[1:]
	}
	b, ok := evaluate(tokens, false)
	if !ok {
		return odd
	}
	return max(odd, after(tokens, b.next))
}

func afterMark(tokens []token, i int, tight, blank bool) beside {
	t := tokens[i]
	var next token
	if i+1 < len(tokens) {
		next = tokens[i+1]
	}
	switch t.text {
	case ".":
		if next.text == "." || next.kind == number && !blank {
			return odd
		}
		return plain
	case ",", ";":
		if next.kind == number && !blank && tight {
			if t.text == "," {
				return spoilt // 3,5
			}
			return odd
		}
		return plain
	case ":":
		switch {
		case next.kind != number:
			return plain
		case !tight || !blank:
			return spoilt // a ratio or a time
		}
		return odd
	case "!", "?":
		if tight && t.text == "!" && next.kind != newline && !blank {
			return spoilt
		}
		return odd
	case "]", "}", "|":
		if !tight || t.text != "|" {
			return max(odd, after(tokens, i+1))
		}
		return odd
	case `\boxed{`:
		return plain
	case "<":
		if next.kind == '/' && !blank {
			return plain // a closing tag
		}
		return odd
	case ">":
		if tight && next.text == ">" {
			return plain
		}
		return odd
	case `"`, "'", "”", "’", "»", "“", "…":
		return odd
	case "#", "—", "→", "⇒", "✓", "✔", "✅":
		return odd
	case `\`:
		if next.kind == ')' || next.text == "]" || next.text == `\` {
			return plain
		}
	}
	return spoilt
}

// isLetter reports whether a token is a single letter, and so may be a variable
// or a unit.
func isLetter(t token) bool {
	return t.kind == word && utf8.RuneCountInString(t.text) == 1 && !isUnspaced(t.text)
}

// isUnspaced reports whether a word is of a script that writes no blanks between
// words, or none between words and numbers.
func isUnspaced(text string) bool {
	r, _ := utf8.DecodeLastRuneInString(text)
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// isMixed reports whether the word at token i stands in a mixed number such as
// 1 and 1/3.
func isMixed(tokens []token, i int) bool {
	return tokens[i].text == "and" && i > 0 && tokens[i-1].kind == number && i+3 < len(tokens) &&
		tokens[i+1].kind == number && tokens[i+2].kind == '/' && tokens[i+3].kind == number &&
		(i+4 == len(tokens) || !isOperator(tokens[i+4]))
}

// changesBefore and changesAfter report whether a word changes the sense of the
// expression behind or before it. Words of unspaced scripts run together, so
// only the end that touches the expression counts.
func changesBefore(text string) bool {
	return changingWords[text] || isUnspaced(text) && slices.ContainsFunc(changingRuns, func(s string) bool { return strings.HasSuffix(text, s) })
}

func changesAfter(text string) bool {
	return changingWords[text] || isUnspaced(text) && slices.ContainsFunc(changingRuns, func(s string) bool { return strings.HasPrefix(text, s) })
}

// sentence classifies the words of the sentence around an equation,
// between the tokens on its left and on its right: odd if one of them casts
// doubt, plain if all are harmless.
func sentence(left, right []token) beside {
	around := plain
	ended := func(t token) bool {
		if t.kind == word {
			switch {
			case doubtfulWords[t.text]:
				around = odd
			case !harmlessWords[t.text]:
				around = min(around, worded)
			}
		}
		return t.kind == newline || t.kind == other && strings.Contains(`.;!?<>\boxed{`, t.text)
	}
	for _, t := range slices.Backward(left) {
		if ended(t) {
			break
		}
	}
	for _, t := range right {
		if ended(t) {
			break
		}
	}
	return around
}
