package jinja

import (
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A token's kind is one of those below, or an operator's text.
const (
	kindData        = "template data / text"
	kindName        = "name"
	kindString      = "string"
	kindInteger     = "integer"
	kindFloat       = "float"
	kindBlockBegin  = "begin of statement block"
	kindBlockEnd    = "end of statement block"
	kindOutputBegin = "begin of print statement"
	kindOutputEnd   = "end of print statement"
	kindEOF         = "end of template"
	kindError       = "error"
)

// token is a piece of a template.
type token struct {
	kind string
	line int
	text string // of a name, a string or data
	val  value  // of a number
	err  *Error // of an error: the rest cannot be read
}

// String is what messages call a token.
func (t token) String() string {
	if t.kind == kindName {
		return t.text
	}
	return t.kind
}

// lexer cuts a template into tokens, with trim_blocks and lstrip_blocks set.
type lexer struct {
	src  string
	pos  int
	line int
	// fresh says that what was read last ended with a line.
	fresh  bool
	open   []byte // closing brackets that are due
	tokens []token
}

// tokenize cuts a template into tokens. Lines may end in \n, \r\n or \r, and
// the last line end of the template counts for nothing. An error is the last
// token, for the parser meets what is wrong before it first.
func tokenize(source string) []token {
	source = strings.TrimSuffix(lineEnds.Replace(source), "\n")
	l := &lexer{src: source, line: 1, fresh: true}
	if err := catch("", l.template); err != nil {
		err.Class, err.Line = ClassSyntax, l.line
		l.tokens = append(l.tokens, token{kind: kindError, line: l.line, err: err})
	}
	last := 1
	if n := len(l.tokens); n > 0 {
		last = l.tokens[n-1].line
	}
	return append(l.tokens, token{kind: kindEOF, line: last})
}

var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

func (l *lexer) add(kind, text string) {
	l.tokens = append(l.tokens, token{kind: kind, line: l.line, text: text})
}

// skip goes n bytes on.
func (l *lexer) skip(n int) {
	text := l.src[l.pos : l.pos+n]
	l.line += strings.Count(text, "\n")
	l.fresh = strings.HasSuffix(text, "\n")
	l.pos += n
}

func (l *lexer) rest() string { return l.src[l.pos:] }

// template reads text and the tags in it.
func (l *lexer) template() {
	for l.pos < len(l.src) {
		n, tag := nextTag(l.rest())
		if tag == 0 {
			l.add(kindData, l.rest())
			l.skip(n)
			return
		}
		text := l.rest()[:n]
		after := l.rest()[n+2:]
		sign := byte(0)
		if after != "" && (after[0] == '-' || after[0] == '+') {
			sign, after = after[0], after[1:]
		}
		start := l.pos + n
		if text = trimBefore(text, tag, sign, l.fresh); text != "" {
			l.add(kindData, text)
		}
		l.skip(n)
		l.skip(len(l.src) - len(after) - start)
		l.fresh = false
		switch tag {
		case '#':
			l.comment()
		case '{':
			l.add(kindOutputBegin, "")
			l.code(kindOutputEnd, "}}")
		case '%':
			if size := rawBegin(after); size > 0 {
				l.skip(size)
				l.raw()
				break
			}
			l.add(kindBlockBegin, "")
			l.code(kindBlockEnd, "%}")
		}
	}
}

// nextTag finds the first tag of a text and its second byte, or the text's end
// and 0.
func nextTag(text string) (int, byte) {
	for i := 0; ; i++ {
		j := strings.IndexByte(text[i:], '{')
		if j < 0 || i+j+1 >= len(text) {
			return len(text), 0
		}
		i += j
		if c := text[i+1]; c == '%' || c == '{' || c == '#' {
			return i, c
		}
	}
}

// trimBefore takes the white space off a text that a tag ends: all of it for a
// tag with a minus, and what stands alone on the tag's line for a block or a
// comment without a plus.
func trimBefore(text string, tag, sign byte, fresh bool) string {
	switch {
	case sign == '-':
		return strings.TrimRightFunc(text, isSpace)
	case sign == '+' || tag == '{':
		return text
	}
	line := strings.LastIndexByte(text, '\n') + 1
	if (line > 0 || fresh) && strings.TrimLeftFunc(text[line:], isSpace) == "" {
		return text[:line]
	}
	return text
}

// closing returns the length of the end of a tag at the beginning of text,
// with the white space that it takes along, or 0. Blocks and comments take
// one line end; output ends do not, nor do they know a plus.
func closing(text, end string) int {
	switch {
	case strings.HasPrefix(text, "-"+end):
		rest := text[1+len(end):]
		return len(text) - len(strings.TrimLeftFunc(rest, isSpace))
	case end == "}}":
		if strings.HasPrefix(text, end) {
			return len(end)
		}
		return 0
	case strings.HasPrefix(text, "+"+end):
		return 1 + len(end)
	case strings.HasPrefix(text, end+"\n"):
		return len(end) + 1
	case strings.HasPrefix(text, end):
		return len(end)
	}
	return 0
}

func (l *lexer) comment() {
	for i := l.pos; i < len(l.src); i++ {
		if c := l.src[i]; c != '#' && c != '-' && c != '+' {
			continue
		}
		if n := closing(l.src[i:], "#}"); n > 0 {
			l.skip(i - l.pos + n)
			return
		}
	}
	if l.pos == len(l.src) {
		return
	}
	panic(raise("", "Missing end of comment tag"))
}

// rawBegin returns the length of what follows {% in a raw tag, or 0.
func rawBegin(text string) int {
	rest, ok := strings.CutPrefix(strings.TrimLeftFunc(text, isSpace), "raw")
	if !ok {
		return 0
	}
	rest = strings.TrimLeftFunc(rest, isSpace)
	switch {
	case strings.HasPrefix(rest, "-%}"):
		rest = strings.TrimLeftFunc(rest[3:], isSpace)
	case strings.HasPrefix(rest, "%}"):
		rest = rest[2:]
	default:
		return 0
	}
	return len(text) - len(rest)
}

// raw reads the text of a raw block and its end.
func (l *lexer) raw() {
	for i := l.pos; i < len(l.src); i++ {
		if !strings.HasPrefix(l.src[i:], "{%") {
			continue
		}
		after, sign := l.src[i+2:], byte(0)
		if after != "" && (after[0] == '-' || after[0] == '+') {
			sign, after = after[0], after[1:]
		}
		after, ok := strings.CutPrefix(strings.TrimLeftFunc(after, isSpace), "endraw")
		if !ok {
			continue
		}
		after = strings.TrimLeftFunc(after, isSpace)
		n := closing(after, "%}")
		if n == 0 {
			continue
		}
		if text := trimBefore(l.src[l.pos:i], '%', sign, l.fresh); text != "" {
			l.add(kindData, text)
		}
		l.skip(len(l.src) - len(after) + n - l.pos)
		return
	}
	if l.pos == len(l.src) {
		return
	}
	panic(raise("", "Missing end of raw directive"))
}

// operators, longer ones first.
var operators = []string{
	"**", "//", "==", "!=", ">=", "<=",
	"+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
}

// code reads the inside of a tag and its end.
func (l *lexer) code(kind, end string) {
	for l.pos < len(l.src) {
		text := l.rest()
		if n := closing(text, end); n > 0 && len(l.open) == 0 {
			l.add(kind, "")
			l.skip(n)
			return
		}
		if n := len(text) - len(strings.TrimLeftFunc(text, isSpace)); n > 0 {
			l.skip(n)
			continue
		}
		size := l.word(text)
		if size == 0 {
			size = l.operator(text)
		}
		l.skip(size)
	}
}

// operator adds an operator and minds the brackets.
func (l *lexer) operator(text string) int {
	for _, op := range operators {
		if !strings.HasPrefix(text, op) {
			continue
		}
		switch op {
		case "(":
			l.open = append(l.open, ')')
		case "[":
			l.open = append(l.open, ']')
		case "{":
			l.open = append(l.open, '}')
		case ")", "]", "}":
			if len(l.open) == 0 {
				panic(raise("", "unexpected '%s'", op))
			}
			want := l.open[len(l.open)-1]
			l.open = l.open[:len(l.open)-1]
			if op[0] != want {
				panic(raise("", "unexpected '%s', expected '%c'", op, want))
			}
		}
		l.add(op, "")
		return len(op)
	}
	r, _ := utf8.DecodeRuneInString(text)
	panic(raise("", "unexpected char %s at %d", quote(string(r)), utf8.RuneCountInString(l.src[:l.pos])))
}

// word adds a number, a name or a string and returns its length, or 0 if text
// begins with none.
func (l *lexer) word(text string) int {
	if n := floatLen(text); n > 0 && (l.pos == 0 || l.src[l.pos-1] != '.') {
		f, _ := strconv.ParseFloat(strings.ReplaceAll(text[:n], "_", ""), 64)
		l.tokens = append(l.tokens, token{kind: kindFloat, line: l.line, val: f})
		return n
	}
	if n := integerLen(text); n > 0 {
		i, ok := new(big.Int).SetString(text[:n], 0)
		if !ok {
			i, _ = new(big.Int).SetString(strings.ReplaceAll(text[:n], "_", ""), 10) // 00
		}
		l.tokens = append(l.tokens, token{kind: kindInteger, line: l.line, val: normal(i)})
		return n
	}
	if n := len(text) - len(strings.TrimLeftFunc(text, inName)); n > 0 {
		if !isIdentifier(text[:n]) {
			panic(raise("", "Invalid character in identifier"))
		}
		l.add(kindName, text[:n])
		return n
	}
	if text[0] != '\'' && text[0] != '"' {
		return 0
	}
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case text[0]:
			s := unescape(text[1:i])
			l.add(kindString, s)
			return i + 1
		}
	}
	return 0
}

func inName(r rune) bool {
	return r == '_' || unicode.In(r, unicode.L, unicode.N, unicode.Mn, unicode.Mc) || unicode.Is(unicode.Other_ID_Start, r) || unicode.Is(unicode.Other_ID_Continue, r)
}

// digitsLen returns the length of the digits, with single underscores between
// them, that a text begins with.
func digitsLen(text string, digit func(byte) bool) int {
	n := 0
	for n < len(text) && (digit(text[n]) || text[n] == '_' && n > 0 && text[n-1] != '_' && n+1 < len(text) && digit(text[n+1])) {
		n++
	}
	return n
}

func decimal(c byte) bool { return c >= '0' && c <= '9' }

func floatLen(text string) int {
	n := digitsLen(text, decimal)
	if n == 0 {
		return 0
	}
	isFloat := false
	if n < len(text) && text[n] == '.' {
		if m := digitsLen(text[n+1:], decimal); m > 0 {
			n, isFloat = n+1+m, true
		}
	}
	if n < len(text) && (text[n] == 'e' || text[n] == 'E') {
		m := n + 1
		if m < len(text) && (text[m] == '+' || text[m] == '-') {
			m++
		}
		if d := digitsLen(text[m:], decimal); d > 0 {
			n, isFloat = m+d, true
		}
	}
	if !isFloat {
		return 0
	}
	return n
}

func integerLen(text string) int {
	if len(text) > 2 && text[0] == '0' {
		digit := map[byte]func(byte) bool{
			'b': func(c byte) bool { return c == '0' || c == '1' },
			'o': func(c byte) bool { return c >= '0' && c <= '7' },
			'x': func(c byte) bool { return decimal(c) || c|0x20 >= 'a' && c|0x20 <= 'f' },
		}[text[1]|0x20]
		if digit != nil {
			under := 0
			if text[2] == '_' {
				under = 1
			}
			if n := digitsLen(text[2+under:], digit); n > 0 {
				return 2 + under + n
			}
		}
	}
	if text[0] == '0' {
		return digitsLen(text, func(c byte) bool { return c == '0' })
	}
	return digitsLen(text, decimal)
}

// escapes are the letters that follow a backslash and what they mean.
var escapes = map[byte]string{
	'\n': "", '\\': "\\", '\'': "'", '"': `"`, 'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v",
}

// unescape reads the inside of a string as Python's unicode-escape does.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for text != "" {
		i := strings.IndexByte(text, '\\')
		if i < 0 {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:i])
		c := text[i+1]
		text = text[i+1:]
		hex := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
		switch s, ok := escapes[c]; {
		case ok:
			b.WriteString(s)
			text = text[1:]
		case hex > 0:
			n := 1
			for n <= hex && n < len(text) && strings.IndexByte("0123456789abcdefABCDEF", text[n]) >= 0 {
				n++
			}
			code, err := strconv.ParseUint(text[1:n], 16, 32)
			if n != hex+1 || err != nil {
				panic(raise("", "truncated \\%c%s escape", c, strings.Repeat("X", hex)))
			}
			if code > unicode.MaxRune {
				panic(raise("", "illegal Unicode character"))
			}
			b.WriteRune(rune(code))
			text = text[n:]
		case c >= '0' && c <= '7':
			n := 1
			for n < 3 && n < len(text) && text[n] >= '0' && text[n] <= '7' {
				n++
			}
			code, _ := strconv.ParseUint(text[:n], 8, 32)
			b.WriteRune(rune(code))
			text = text[n:]
		case c == 'N':
			panic(raise("", "names of characters (\\N) are not supported"))
		case c < utf8.RuneSelf:
			b.WriteByte('\\')
		default:
			// Python escapes the character first, whose backslash the one
			// before it then protects.
			r, size := utf8.DecodeRuneInString(text)
			b.WriteString(`\` + asciiEscape(r)[1:])
			text = text[size:]
		}
	}
	return b.String()
}
