package reward

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kinds of token besides the characters + - * / ( ) =, which stand for
// themselves.
const (
	number  = 'n'
	word    = 'w'
	floor   = 'f' // //, as in Python
	newline = '\n'
	other   = '?'
)

type token struct {
	kind       rune
	text       string // a number in Go's form, a word in lower case, else as written
	start, end int
	currency   rune // of a number, if it has a currency sign
	decimals   int  // of a number
	doubtful   bool // may mean something else, such as the dash in 3–5
}

// reading is one way to read the ambiguous marks of a text. A comma or dot
// between digits that is in neither list stands between two numbers.
type reading struct {
	thousands, decimals string
	joined              bool // an expression goes on in the next line
	exact               bool // // is a plain division
	grouped             bool // 1/2*3 is 1/(2*3)
	clock               bool // 9.30 is half past nine, in minutes
}

var (
	usual = reading{thousands: ",", decimals: "."}
	list  = reading{decimals: "."}
)

// unusual are the readings under which an equation that is wrong as usual may
// turn out to be right: the numbers of other countries, lists without blanks
// ("2+3=5,300+1=301"), sums that are broken over lines, // as a plain division,
// a divisor without its parentheses ("25 / 1/3 = 75"), times ("9.30+0.45=10.15").
var unusual = []reading{
	{thousands: ".", decimals: ","},
	{decimals: ",."},
	{thousands: ",."},
	list,
	{thousands: ",", decimals: ".", joined: true},
	{thousands: ",", decimals: ".", exact: true},
	{thousands: ",", decimals: ".", grouped: true},
	{thousands: ",", decimals: ".", clock: true},
}

// fold replaces characters by the ASCII ones that mean the same in an equation:
// full-width forms, and the signs of multiplication and division. Punctuation of
// Chinese and Japanese never stands in a number, so it becomes a semicolon.
func fold(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune("，、。；", r):
			return ';'
		case r == '￥':
			return '¥'
		case 0xFF01 <= r && r <= 0xFF5E:
			return r - 0xFEE0
		case strings.ContainsRune("×✕✖⋅∗", r):
			return '*'
		case strings.ContainsRune("÷∕⁄", r):
			return '/'
		case r == '−':
			return '-'
		case strings.ContainsRune("\u0085\u2028\u2029\v\f", r):
			return '\n'
		}
		return r
	}, text)
}

// lex splits a folded text into tokens. Blanks and mark-up for emphasis vanish,
// and a currency sign becomes a part of its number.
func (r reading) lex(text string) []token {
	var tokens []token
	for i := 0; i < len(text); {
		c, size := utf8.DecodeRuneInString(text[i:])
		t := token{kind: other, start: i, end: i + size}
		rest := text[i:]
		switch {
		case c == '\n':
			t.kind = newline
		case unicode.IsSpace(c) || c == '`':
			i += size
			continue
		case strings.HasPrefix(rest, `\$`):
			i++
			continue
		case strings.HasPrefix(rest, `\boxed{`):
			t.end = i + len(`\boxed{`)
		case unicode.Is(unicode.Sc, c):
			blank := len(rest) - size - len(strings.TrimLeft(rest[size:], " "))
			if n := r.number(rest[size+blank:]); n.end > 0 {
				t, t.currency = n, c
				t.start, t.end = i, i+size+blank+n.end
				break
			}
			if last := len(tokens) - 1; last >= 0 && tokens[last].kind == number {
				tokens[last].doubtful = tokens[last].doubtful || tokens[last].currency != 0 && tokens[last].currency != c
				tokens[last].currency, tokens[last].end = c, t.end
			}
			i += size
			continue
		case isDigit(c) || c == '.':
			if n := r.number(rest); n.end > 0 {
				t = n
				t.start, t.end = i, i+n.end
			}
		case unicode.IsLetter(c):
			t.kind, t.end = word, i+wordLen(rest)
		case strings.HasPrefix(rest, "//"):
			t.kind, t.end = floor, i+2
			if r.exact {
				t.kind = '/'
			}
		case strings.ContainsRune("+-*/()=", c):
			t.kind = c
		case c == '–':
			t.kind, t.doubtful = '-', true
		}
		if t.kind != number {
			t.text = strings.ToLower(text[t.start:t.end])
		}
		i = t.end
		if t.kind != newline || !r.joined {
			tokens = append(tokens, t)
		}
	}
	return withoutEmphasis(tokens)
}

func isDigit(r rune) bool { return '0' <= r && r <= '9' }

// number reads the number at the start of s; its end is 0 if there is none.
func (r reading) number(s string) token {
	i := digits(s)
	text := s[:i]
	if i >= 1 && i <= 3 {
		for i+4 <= len(s) && strings.IndexByte(r.thousands, s[i]) >= 0 && digits(s[i+1:]) == 3 {
			text += s[i+1 : i+4]
			i += 4
		}
	}
	t := token{kind: number, doubtful: len(text) > 1 && text[0] == '0'}
	if i < len(s) && strings.IndexByte(r.decimals, s[i]) >= 0 {
		if n := digits(s[i+1:]); n > 0 {
			text += "." + s[i+1:i+1+n]
			i += 1 + n
			t.decimals = n
		}
	}
	if hour, err := strconv.Atoi(strings.TrimSuffix(text[:len(text)-t.decimals], ".")); r.clock && err == nil && t.decimals == 2 {
		if minute, _ := strconv.Atoi(text[len(text)-2:]); hour <= 24 && minute < 60 {
			text = strconv.Itoa(60*hour + minute)
		}
	}
	t.text, t.end = text, i
	return t
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

// wordLen returns the length of the word at the start of s: letters and their
// marks, with single apostrophes between them.
func wordLen(s string) int {
	i := 0
	for i < len(s) {
		c, size := utf8.DecodeRuneInString(s[i:])
		if c == '\'' || c == '’' {
			next, _ := utf8.DecodeRuneInString(s[i+size:])
			if !unicode.IsLetter(next) {
				break
			}
		} else if !unicode.IsLetter(c) && !unicode.IsMark(c) {
			break
		}
		i += size
	}
	return i
}

// withoutEmphasis removes the stars and underscores of Markdown, and a box around
// all of a side. Two stars that are no mark-up are Python's power.
func withoutEmphasis(tokens []token) []token {
	out := tokens[:0]
	for i := 0; i < len(tokens); {
		t := tokens[i]
		if t.text == `\boxed{` && (len(out) == 0 || out[len(out)-1].kind == '=') {
			i++
			continue
		}
		if t.kind != '*' && t.text != "_" {
			out = append(out, t)
			i++
			continue
		}
		end := i + 1 // of the run of stars or underscores
		for end < len(tokens) && tokens[end].text == t.text && tokens[end].start == tokens[end-1].end {
			end++
		}
		run := tokens[i:end:end]
		i = end
		var before, after bool // an operand
		var gluedBefore, gluedAfter bool
		if len(out) > 0 {
			last := out[len(out)-1]
			before = endsOperand(last) || last.kind == word
			gluedBefore = last.end == run[0].start && last.kind != newline
		}
		if end < len(tokens) {
			next := tokens[end]
			gluedAfter = run[len(run)-1].end == next.start && next.kind != newline
			after = next.kind == number || next.kind == word || next.kind == '(' ||
				gluedAfter && (next.kind == '-' || next.kind == '+') && (len(run) == 1 || next.kind == '-')
		}
		switch {
		case t.text == "_":
			if gluedBefore && gluedAfter && before && after {
				out = append(out, run...)
			}
		case len(run) == 1:
			if before && after || !gluedBefore && !gluedAfter {
				out = append(out, t)
			}
		case before && after && gluedBefore == gluedAfter:
			out = append(out, token{kind: other, text: "**", start: t.start, end: run[len(run)-1].end})
		}
	}
	return slices.Clip(out)
}
